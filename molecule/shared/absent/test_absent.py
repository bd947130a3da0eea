# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What expected.yml promises is gone again, but for the files that it marks ``kept``; and nothing is left to do."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.clawops.openclaw.molecule.shared.promises import predicted_changes, promised


@pytest.mark.parametrize("package", promised("packages"))
def test_the_package_is_gone(host: Any, package: str) -> None:
    assert not host.package(package).is_installed


@pytest.mark.parametrize("service", promised("services"))
def test_systemd_does_not_know_the_service(host: Any, service: str) -> None:
    assert not host.service(service).exists


@pytest.mark.parametrize("port", promised("ports"))
def test_the_port_is_closed(host: Any, port: str) -> None:
    assert not host.socket(port).is_listening


@pytest.mark.parametrize("row", promised("files"))
def test_the_file_is_gone_or_kept_as_promised(host: Any, row: dict[str, Any]) -> None:
    assert host.file(row["path"]).exists is row.get("kept", False)


def test_a_dry_run_predicts_that_taking_away_again_changes_nothing() -> None:
    assert predicted_changes("absent.yml") == [0]
