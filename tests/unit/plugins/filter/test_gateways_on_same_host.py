# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which inventory hosts stand for gateways of one machine."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.filter.gateways_on_same_host import FilterModule

HOSTVARS: dict[str, dict[str, Any]] = {
    "alone": {"ansible_host": "192.0.2.1"},
    "first": {"ansible_host": "192.0.2.2"},
    "second": {"ansible_host": "192.0.2.2", "gateway_state": "present"},
    "gone": {"ansible_host": "192.0.2.2", "gateway_state": "absent"},
    "vps": {},
    "vps-blue": {"ansible_host": "vps"},
}


@pytest.mark.parametrize(
    ("host", "neighbours"),
    [
        pytest.param("alone", ["alone"], id="a-machine-of-its-own"),
        pytest.param("first", ["first", "second"], id="a-shared-machine"),
        pytest.param("second", ["first", "second"], id="seen-from-the-other"),
        pytest.param("vps", ["vps", "vps-blue"], id="a-name-that-is-an-address"),
        pytest.param("gone", ["first", "second", "gone"], id="itself-though-it-goes"),
    ],
)
def test_neighbours(host: str, neighbours: list[str]) -> None:
    find = FilterModule().filters()["gateways_on_same_host"]
    assert find(HOSTVARS, list(HOSTVARS), host) == neighbours


def test_a_host_that_is_in_no_group_is_its_own_neighbour() -> None:
    assert FilterModule().filters()["gateways_on_same_host"](HOSTVARS, ["first"], "alone") == ["alone"]
