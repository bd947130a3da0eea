# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role docker: the gateway's account has an engine of its own, in which root's files are out of reach."""

from __future__ import annotations

from typing import Any

import pytest

AS_GATEWAY = "runuser -u openclaw -- docker --host unix:///var/lib/openclaw/main/docker/docker.sock"


def test_the_only_engine_that_runs_is_the_gateways_own(host: Any) -> None:
    assert {process.user for process in host.process.filter(comm="dockerd")} == {"openclaw"}


def test_the_engine_runs_without_root_and_logs_as_asked_for(host: Any) -> None:
    told = host.check_output(f"{AS_GATEWAY} info --format '{{{{.SecurityOptions}}}} {{{{.LoggingDriver}}}}'")
    assert "name=rootless" in told
    assert told.endswith("json-file")


def test_compose_is_there(host: Any) -> None:
    assert "Docker Compose version" in host.check_output(f"{AS_GATEWAY} compose version")


# The user of a sandbox, and the root in it.
@pytest.mark.parametrize(("words", "name"), [("", "sandbox"), ("--user 0", "root")])
def test_what_root_owns_on_the_host_is_out_of_reach_in_a_sandbox(host: Any, words: str, name: str) -> None:
    tried = "id -un; cat /host/shadow; echo x > /host/passwd"
    done = host.run(
        f"{AS_GATEWAY} run --rm --network none {words} --volume /etc:/host openclaw-sandbox:bookworm-slim sh -c '{tried}'"
    )
    assert done.stdout.split() == [name]
    assert "shadow: Permission denied" in done.stderr
    assert "cannot create /host/passwd: Permission denied" in done.stderr
