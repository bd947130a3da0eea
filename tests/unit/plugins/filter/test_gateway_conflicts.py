# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two inventory hosts may share an address, but no gateway."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.filter import gateway_conflicts as module
from ansible_collections.clawops.openclaw.plugins.filter.gateway_conflicts import gateway_conflicts

HostVars = dict[str, dict[str, Any]]


def test_the_filter_is_found_by_its_name() -> None:
    assert module.FilterModule().filters() == {"gateway_conflicts": gateway_conflicts}


@pytest.mark.parametrize(
    "hostvars",
    [
        pytest.param({"a": {}, "b": {}}, id="two-addresses-by-their-names"),
        pytest.param({"a": {"ansible_host": "1"}, "b": {"ansible_host": "2"}}, id="two-addresses"),
        pytest.param(
            {"a": {"ansible_host": "1"}, "b": {"ansible_host": "1", "gateway_instance": "b", "gateway_port": 18790}},
            id="two-gateways-on-one-address",
        ),
        pytest.param({"a": {}}, id="one-host"),
        pytest.param({}, id="no-host"),
    ],
)
def test_gateways_of_their_own_do_not_conflict(hostvars: HostVars) -> None:
    assert gateway_conflicts(hostvars, list(hostvars)) == []


@pytest.mark.parametrize(
    ("second", "reasons"),
    [
        pytest.param({}, ["gateway_instance main", "gateway_port 18789"], id="both-defaults"),
        pytest.param({"gateway_port": 1}, ["gateway_instance main"], id="the-instance"),
        pytest.param({"gateway_instance": "b"}, ["gateway_port 18789"], id="the-port"),
        pytest.param({"gateway_instance": "b", "gateway_port": "18789"}, ["gateway_port 18789"], id="the-port-as-text"),
    ],
)
def test_a_clash_names_hosts_address_and_remedy(second: dict[str, Any], reasons: list[str]) -> None:
    hostvars: HostVars = {"a": {"ansible_host": "192.0.2.1"}, "b": {"ansible_host": "192.0.2.1", **second}}
    assert gateway_conflicts(hostvars, ["a", "b"]) == [
        f"The inventory hosts a and b: both stand for 192.0.2.1 with {reason}. "
        f"Give one of them another {reason.split()[0]}."
        for reason in reasons
    ]


@pytest.mark.parametrize(
    ("proxies", "conflicting"),
    [
        pytest.param(({}, {}), ["mtls_port 443", "mtls_http_port 80"], id="both-defaults"),
        pytest.param(({"mtls_http_port": 0}, {"mtls_http_port": 0}), ["mtls_port 443"], id="no-redirection"),
        pytest.param(({}, {"mtls_port": 8443, "mtls_http_port": 0}), [], id="ports-of-their-own"),
        pytest.param(({}, {"mtls_state": "absent"}), [], id="one-proxy"),
    ],
)
def test_two_doors_of_one_address_have_ports_of_their_own(
    proxies: tuple[dict[str, Any], dict[str, Any]], conflicting: list[str]
) -> None:
    common = {"ansible_host": "192.0.2.1", "mtls_state": "present"}
    other = {"gateway_instance": "b", "gateway_port": 18790}
    told = gateway_conflicts({"a": {**common, **proxies[0]}, "b": {**common, **other, **proxies[1]}}, ["a", "b"])
    assert [sentence.partition(" with ")[2].partition(". ")[0] for sentence in told] == conflicting


def test_a_name_that_is_another_ones_address_conflicts() -> None:
    assert len(gateway_conflicts({"a": {}, "b": {"ansible_host": "a"}}, ["a", "b"])) == 2


def test_only_the_hosts_asked_for_are_compared() -> None:
    hostvars: HostVars = {name: {"ansible_host": "1"} for name in "abc"}
    assert gateway_conflicts(hostvars, ["b"]) == []
    assert len(gateway_conflicts(hostvars, ["a", "b", "c"])) == 4
