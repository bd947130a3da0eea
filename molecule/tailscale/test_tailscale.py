# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role tailscale: the host, which is the coordination server too, is a node as desired."""

from __future__ import annotations

import json
from typing import Any


def test_the_node_has_joined_with_its_name_and_its_tag(host: Any) -> None:
    node = json.loads(host.check_output("tailscale status --json --peers=false"))
    assert (node["BackendState"], node["Self"]["DNSName"]) == ("Running", "scenario.tailnet.lab.")
    assert node["Self"]["Tags"] == ["tag:gateway"]


def test_the_names_of_the_host_are_its_own(host: Any) -> None:
    assert json.loads(host.check_output("tailscale debug prefs"))["CorpDNS"] is False


def test_the_gateways_port_is_served(host: Any) -> None:
    assert '"Proxy": "http://127.0.0.1:18789"' in host.check_output("tailscale serve status --json")


def test_no_key_is_left(host: Any) -> None:
    assert "tailscale-key" not in host.check_output("ls /run")
