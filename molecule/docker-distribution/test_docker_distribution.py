# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role docker with the distribution's engine."""

from __future__ import annotations

from typing import Any


def test_the_engine_that_runs_and_the_sandbox_image_are_those_that_were_asked_for(host: Any) -> None:
    # Ubuntu's package cannot start an engine without root: molecule.yml.
    rootful = host.system_info.distribution == "ubuntu"
    assert {process.user for process in host.process.filter(comm="dockerd")} == {"root" if rootful else "openclaw"}
    socket = "/run/docker.sock" if rootful else "/var/lib/openclaw/main/docker/docker.sock"
    run = f"docker --host unix://{socket} run --rm --network none openclaw-sandbox:bookworm-slim id -un"
    assert host.check_output(run) == "sandbox"
