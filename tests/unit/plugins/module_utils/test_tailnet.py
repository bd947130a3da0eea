# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tailscaled's words mean, and what follows from them for a run."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _tailnet
from ansible_collections.clawops.openclaw.plugins.module_utils._tailnet import Desired, Node

# As tailscaled 1.102.5 says it of a node of Headscale.
SELF: dict[str, Any] = {
    "Online": True,
    "DNSName": "vps.tailnet.lab.",
    "TailscaleIPs": ["100.64.0.1"],
    "Tags": ["tag:gateway"],
}
PREFS: dict[str, Any] = {
    "ControlURL": "https://control",
    "RouteAll": False,
    "CorpDNS": True,
    "RunSSH": False,
    "Hostname": "vps",
    "AdvertiseRoutes": None,
    "NoSNAT": False,
    "NetfilterMode": 2,
    "AppConnector": {"Advertise": False},
}
SERVED: dict[str, Any] = {
    "TCP": {"18789": {"HTTP": True}},
    "Web": {"vps.tailnet.lab:18789": {"Handlers": {"/": {"Proxy": "http://127.0.0.1:18789"}}}},
}
LOGGED_OUT = "You are logged out. The last login error was: authkey expired"
NOTHING = Node({}, {}, {})


def node(state: str = "Running", *, key: bool = True, health: list[str] | None = None, **about: Any) -> Node:
    status = {"BackendState": state, "HaveNodeKey": key, "Health": health, "Self": {**SELF, **about}}
    return Node(status, dict(PREFS), SERVED)


def desired(**changes: Any) -> Desired:
    return Desired(
        **{
            "hostname": "",
            "tags": [],
            "login_server": "https://control",
            "accept_dns": True,
            "accept_routes": False,
            "ssh": False,
            "operator": "",
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        pytest.param(node(), "", id="well"),
        pytest.param(node(Online=False), "it was removed from the tailnet, or the coordination server", id="removed"),
        pytest.param(node(Online=False, health=[LOGGED_OUT]), "authkey expired", id="removed-and-told-why"),
        pytest.param(node("NeedsLogin", Expired=True), "its key has expired, or it was removed", id="expired"),
        pytest.param(
            node("NeedsLogin", key=False, health=[LOGGED_OUT]), f"it is not logged in ({LOGGED_OUT})", id="out"
        ),
        pytest.param(node("NeedsMachineAuth"), "has not approved it yet", id="not-approved"),
        pytest.param(node("Stopped"), "it was taken down", id="down"),
        pytest.param(node("Starting"), "still starting", id="starting"),
        pytest.param(node("Odd\n" * 30), "tailscaled says Odd", id="a-state-of-the-future"),
        pytest.param(NOTHING, "tailscaled does not answer", id="no-daemon"),
        pytest.param(Node({"BackendState": None, "Self": None}, {}, {}), "tailscaled says nothing", id="no-words"),
    ],
)
def test_a_problem_is_told_in_words(seen: Node, words: str) -> None:
    told = _tailnet.problem(seen)
    assert (words in told) if words else (told == "")
    if told:
        assert _tailnet.remedy(seen).endswith(".")


@pytest.mark.parametrize(
    ("seen", "asked", "server_answers", "kind"),
    [
        pytest.param(NOTHING, desired(), True, "join", id="a-bare-host"),
        pytest.param(node("NeedsLogin", key=False), desired(), True, "join", id="logged-out"),
        pytest.param(node("NeedsLogin"), desired(), True, "rejoin", id="expired"),
        pytest.param(node(Online=False), desired(), True, "rejoin", id="removed"),
        pytest.param(node(Online=False), desired(), False, "none", id="the-server-is-away"),
        pytest.param(node("Stopped"), desired(), True, "up", id="taken-down"),
        pytest.param(node("Stopped"), desired(tags=["tag:x"]), True, "rejoin", id="taken-down-with-other-tags"),
        pytest.param(node("Stopped", key=False), desired(), True, "join", id="never-joined-and-down"),
        pytest.param(node(), desired(), True, "none", id="well"),
        pytest.param(node(), desired(tags=["tag:gateway"]), True, "none", id="the-same-tags"),
        pytest.param(
            node(Tags=["tag:b", "tag:a"]), desired(tags=["tag:a", "tag:b"]), True, "none", id="in-another-order"
        ),
        pytest.param(node(), desired(tags=["tag:spare"]), True, "rejoin", id="other-tags"),
        pytest.param(node("Starting"), desired(tags=["tag:spare"]), True, "none", id="starting"),
    ],
)
def test_what_a_node_has_to_do_to_be_in_the_tailnet(
    seen: Node, asked: Desired, server_answers: bool, kind: str
) -> None:
    assert _tailnet.join_kind(seen, asked, server_answers=server_answers) == kind


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"hostname": "vps"}, [], id="the-same-name"),
        pytest.param({"hostname": "new"}, ["--hostname=new"], id="another-name"),
        pytest.param({"accept_dns": False, "ssh": True}, ["--accept-dns=false", "--ssh=true"], id="switches"),
        pytest.param({"accept_routes": True}, ["--accept-routes=true"], id="routes"),
        pytest.param({"operator": "openclaw"}, ["--operator=openclaw"], id="an-operator"),
    ],
)
def test_only_settings_that_differ_are_set(changes: dict[str, Any], arguments: list[str]) -> None:
    assert _tailnet.settings_due(node(), desired(**changes), previous_operator="openclaw") == arguments


@pytest.mark.parametrize(("live", "arguments"), [("openclaw", ["--operator="]), ("alice", [])])
def test_an_operator_that_the_role_made_goes_and_another_one_stays(live: str, arguments: list[str]) -> None:
    seen = node()
    seen.prefs["OperatorUser"] = live
    assert _tailnet.settings_due(seen, desired(), previous_operator="openclaw") == arguments


def test_a_host_that_never_joined_is_told_all_that_is_desired() -> None:
    asked = desired(hostname="new", tags=["tag:gateway"], accept_dns=False, operator="openclaw")
    assert _tailnet.join_flags(NOTHING, asked) == [
        "--login-server=https://control",
        "--accept-dns=false",
        "--accept-routes=false",
        "--ssh=false",
        "--hostname=new",
        "--operator=openclaw",
    ]


def test_tags_are_asked_for_at_tailscales_own_server_only() -> None:
    flags = _tailnet.join_flags(NOTHING, desired(login_server="", tags=["tag:a", "tag:b"]))
    assert "--login-server=https://controlplane.tailscale.com" in flags
    assert "--advertise-tags=tag:a,tag:b" in flags


def test_a_node_that_joins_again_keeps_what_somebody_set() -> None:
    seen = node("NeedsLogin")
    seen.prefs.update(
        CorpDNS=False,
        OperatorUser="alice",
        AdvertiseRoutes=["10.0.0.0/8", "0.0.0.0/0", "::/0"],
        ExitNodeIP="100.64.0.9",
        ExitNodeAllowLANAccess=True,
        ShieldsUp=True,
        NoSNAT=True,
        NetfilterMode=1,
        AppConnector={"Advertise": True},
        PostureChecking=True,
    )
    assert _tailnet.join_flags(seen, desired(hostname="new", accept_dns=True)) == [
        "--login-server=https://control",
        "--accept-dns=false",
        "--accept-routes=false",
        "--ssh=false",
        "--hostname=vps",
        "--operator=alice",
        "--advertise-routes=10.0.0.0/8",
        "--advertise-exit-node=true",
        "--exit-node=100.64.0.9",
        "--exit-node-allow-lan-access=true",
        "--shields-up=true",
        "--snat-subnet-routes=false",
        "--advertise-connector=true",
        "--report-posture=true",
        "--netfilter-mode=nodivert",
    ]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("", "https://controlplane.tailscale.com", True),
        ("https://login.tailscale.com/", "", True),
        ("https://control/", "https://control", True),
        ("https://control", "", False),
    ],
)
def test_two_addresses_of_one_server_are_the_same(one: str, other: str, same: bool) -> None:
    assert _tailnet.same_server(one, other) is same


WEB = "vps.tailnet.lab:18789"


@pytest.mark.parametrize(
    ("config", "target"),
    [
        pytest.param(SERVED, "http://127.0.0.1:18789", id="the-gateway"),
        pytest.param({}, "", id="nothing"),
        pytest.param({"TCP": {"443": {"HTTPS": True}}}, "", id="another-port"),
        pytest.param({"TCP": {"18789": {"TCPForward": "127.0.0.1:1"}}}, "other", id="no-http"),
        pytest.param({**SERVED, "Web": {"old.tailnet.lab:18789": SERVED["Web"][WEB]}}, "", id="a-previous-name"),
        pytest.param({**SERVED, "Web": {WEB: {"Handlers": {"/": {"Text": "hi"}}}}}, "other", id="a-text"),
        pytest.param({**SERVED, "Web": {WEB: {"Handlers": {"/a": {"Proxy": "http://x"}}}}}, "other", id="a-path"),
    ],
)
def test_what_a_port_is_served_to(config: dict[str, Any], target: str) -> None:
    assert _tailnet.served(node()._replace(serve=config), 18789) == target
