# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which hosts the collection supports."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _preflight
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host

PARAMETERS: dict[str, Any] = {
    "host": "vps1",
    "distribution": "Debian 13",
    "service_manager": "systemd",
    "supported": ["Debian 13", "Ubuntu 24.04"],
}


@pytest.mark.parametrize("distribution", ["Debian 13", "Ubuntu 24.04"])
def test_a_supported_host_has_no_findings_and_nothing_due(distribution: str) -> None:
    answer = _preflight.run({"common": {**PARAMETERS, "distribution": distribution}}, Host())
    assert answer == ({"common": {"brought": {}, "due": {}}}, [], [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"distribution": "Debian 11"}, "Debian 11 with systemd", id="too-old"),
        pytest.param({"distribution": "Ubuntu 24.10"}, "Ubuntu 24.10 with systemd", id="another-release"),
        pytest.param({"distribution": "Debian 1"}, "Debian 1 with systemd", id="not-even-a-part-of-one"),
        pytest.param({"service_manager": "openrc"}, "Debian 13 with openrc", id="another-init-system"),
        pytest.param(
            {"distribution": "Fedora 44", "service_manager": "runit"}, "Fedora 44 with runit", id="another-world"
        ),
    ],
)
def test_any_other_is_refused_with_those_that_are_supported(change: dict[str, str], words: str) -> None:
    answer = _preflight.run({"common": {**PARAMETERS, **change}}, Host())
    assert answer.errors == [
        f"vps1: it runs {words}, which is not supported. Use a host with systemd and one of Debian 13, Ubuntu 24.04."
    ]
    assert (answer.found, answer.warnings) == ({"common": {"brought": {}}}, [])
