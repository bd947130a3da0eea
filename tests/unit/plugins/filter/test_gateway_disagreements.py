# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gateways on the same host have to agree about what belongs to the host."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.filter.gateway_disagreements import FilterModule

find = FilterModule().filters()["gateway_disagreements"]
COMPARED: dict[str, Any] = {"tuning_state": "present", "tuning_sysctl": None, "tuning_swap_mb": 0}


def disagreements(*hosts: dict[str, Any]) -> Any:
    hostvars = {f"vps{number}": variables for number, variables in enumerate(hosts, start=1)}
    return find(hostvars, list(hostvars), COMPARED)


@pytest.mark.parametrize(
    "hosts",
    [
        pytest.param([{"tuning_swap_mb": 64}], id="a-host-of-its-own"),
        pytest.param([{}, {}], id="both-leave-all-to-the-role"),
        pytest.param([{"tuning_state": "present"}, {}], id="the-default-in-words"),
        pytest.param([{"tuning_swap_mb": 64}, {"tuning_swap_mb": "64"}], id="a-number-as-text"),
        pytest.param(
            [{"tuning_sysctl": {"a": 1, "b": 2}}, {"tuning_sysctl": {"b": 2, "a": 1}}], id="the-same-in-another-order"
        ),
        pytest.param([{"tuning_cpu_weight": 50}, {"tuning_cpu_weight": 60}], id="what-belongs-to-each-gateway"),
    ],
)
def test_hosts_that_agree(hosts: list[dict[str, Any]]) -> None:
    assert disagreements(*hosts) == []


@pytest.mark.parametrize(
    ("hosts", "variable"),
    [
        pytest.param([{"tuning_state": "absent"}, {}], "tuning_state", id="the-default-of-one"),
        pytest.param([{"tuning_swap_mb": 64}, {"tuning_swap_mb": 65}], "tuning_swap_mb", id="two-values"),
        pytest.param(
            [{"tuning_sysctl": {"a": 1}}, {"tuning_sysctl": {"a": 2}}], "tuning_sysctl", id="two-dictionaries"
        ),
        pytest.param([{"tuning_sysctl": {}}, {}], "tuning_sysctl", id="none-is-not-the-default"),
    ],
)
def test_a_variable_that_differs_is_named_with_hosts_and_remedy(hosts: list[dict[str, Any]], variable: str) -> None:
    assert disagreements(*hosts) == [
        f"{variable} of the inventory hosts vps1 and vps2: they share one host and have different values. "
        f"Give all of them the same {variable}."
    ]


def test_every_variable_and_every_host_is_named() -> None:
    first, second = disagreements({"tuning_swap_mb": 1}, {"tuning_swap_mb": 1}, {"tuning_state": "absent"})
    assert first.startswith("tuning_state of the inventory hosts vps1, vps2 and vps3: ")
    assert second.startswith("tuning_swap_mb of the inventory hosts vps1, vps2 and vps3: ")


def test_no_value_is_shown() -> None:
    assert "s3cret" not in "".join(find({"a": {"key": "s3cret"}, "b": {"key": "other"}}, ["a", "b"], {"key": ""}))
