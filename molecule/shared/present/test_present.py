# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What expected.yml promises is on the host, and another run would change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.clawops.openclaw.molecule.shared.promises import predicted_changes, promised


@pytest.mark.parametrize("package", promised("packages"))
def test_the_package_is_installed(host: Any, package: str) -> None:
    assert host.package(package).is_installed


@pytest.mark.parametrize("service", promised("services"))
def test_the_service_runs_and_will_after_a_reboot(host: Any, service: str) -> None:
    unit = host.service(service)
    assert (unit.is_running, unit.is_enabled) == (True, True)


@pytest.mark.parametrize("port", promised("ports"))
def test_the_port_is_listened_on(host: Any, port: str) -> None:
    assert host.socket(port).is_listening


@pytest.mark.parametrize("row", promised("files"))
def test_the_file_is_there_with_its_owner_and_its_mode(host: Any, row: dict[str, Any]) -> None:
    file = host.file(row["path"])
    assert file.exists
    assert file.user == row.get("owner", "root")
    assert file.group == row.get("group", file.group)
    assert f"{file.mode:04o}" == row.get("mode", f"{file.mode:04o}")


def test_a_dry_run_on_the_live_host_predicts_no_change() -> None:
    assert predicted_changes("converge.yml") == [0]
