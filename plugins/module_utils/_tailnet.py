# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""A node of a tailnet as tailscaled describes it over its socket, and what has to be done about it."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._text import printable
from ansible_collections.clawops.openclaw.plugins.module_utils._unix_http import ask

SOCKET = "/run/tailscale/tailscaled.sock"
OFFICIAL_SERVER = "https://controlplane.tailscale.com"
# Tailscale's own client takes these for one server.
_SYNONYMS = ("", "https://login.tailscale.com", OFFICIAL_SERVER)

Object = dict[str, t.Any]


class Node(t.NamedTuple):
    """What tailscaled says: how the node is, what it was told, and what it serves. Empty where no tailscaled answers."""

    status: Object
    prefs: Object
    serve: Object

    @property
    def self(self) -> Object:
        return self.status.get("Self") or {}

    @property
    def running(self) -> bool:
        """Whether tailscaled answers."""
        return bool(self.status)

    @property
    def has_key(self) -> bool:
        """Whether it has ever joined, and not been logged out since."""
        return bool(self.status.get("HaveNodeKey"))

    @property
    def name(self) -> str:
        """The node's name in the tailnet."""
        return str(self.self.get("DNSName") or "").rstrip(".")

    @property
    def addresses(self) -> list[str]:
        return [str(address) for address in self.self.get("TailscaleIPs") or []]

    @property
    def tags(self) -> list[str]:
        return [str(tag) for tag in self.self.get("Tags") or []]


def look(socket: str) -> Node:
    """Ask tailscaled; three requests, no process."""
    status, prefs, serve = (
        body if answered == 200 and isinstance(body, dict) else {}
        for answered, body in (
            ask(socket, f"/localapi/v0/{what}", 5, "local-tailscaled.sock")
            for what in ("status?peers=false", "prefs", "serve-config")
        )
    )
    return Node(status, prefs, serve)


def problem(node: Node) -> str:
    """Why the node is not reachable over the tailnet, in words; empty where it is."""
    state = str(node.status.get("BackendState") or "")
    if state == "Running":
        away = "it was removed from the tailnet, or the coordination server cannot be reached"
        return f"{away}{_said(node)}" if offline(node) else ""
    if not node.running:
        return "tailscaled does not answer"
    if state == "NeedsLogin" and node.self.get("Expired"):
        return "its key has expired, or it was removed from the tailnet"
    if state == "NeedsLogin":
        return f"it is not logged in{_said(node)}"
    known = {
        "NeedsMachineAuth": "an administrator of the tailnet has not approved it yet",
        "Stopped": "it was taken down ('tailscale down')",
        "NoState": "tailscaled is still starting",
        "Starting": f"tailscaled is still starting{_said(node)}",
    }
    return known.get(state, f"tailscaled says {printable(state, 40) or 'nothing'}")


def remedy(node: Node) -> str:
    """What to do about that problem."""
    state = node.status.get("BackendState")
    if not node.running:
        return "Look at journalctl --unit tailscaled --lines 50; site.yml --tags tailscale installs and starts it."
    if state == "NeedsMachineAuth":
        return "Approve it in the console of the tailnet, or use a key that is preapproved."
    if state == "Running":
        return (
            "Look at the coordination server; where the node was removed there, run site.yml --tags tailscale with a "
            "valid tailscale_auth_key."
        )
    return "Run site.yml --tags tailscale, with a valid tailscale_auth_key where it has to join again."


def _said(node: Node) -> str:
    """tailscaled's own words that bear on it."""
    words = [str(each) for each in node.status.get("Health") or []]
    told = [each for each in words if re.search(r"logged out|login|coordination|map response|control", each)]
    return f" ({printable(told[0], 300)})" if told else ""


def same_server(one: str, other: str) -> bool:
    """Whether two addresses mean one coordination server."""
    one, other = one.rstrip("/"), other.rstrip("/")
    return one == other or (one in _SYNONYMS and other in _SYNONYMS)


class Desired(t.NamedTuple):
    """What the inventory asks for. Empty means that the host decides."""

    hostname: str
    tags: t.Sequence[str]
    login_server: str
    accept_dns: bool
    accept_routes: bool
    ssh: bool
    operator: str


def _desired_prefs(desired: Desired) -> Object:
    """The preferences that the inventory decides, in tailscaled's own names."""
    prefs: Object = {"CorpDNS": desired.accept_dns, "RouteAll": desired.accept_routes, "RunSSH": desired.ssh}
    if desired.hostname:
        prefs["Hostname"] = desired.hostname
    if desired.operator:
        prefs["OperatorUser"] = desired.operator
    return prefs


_FLAGS = {
    "CorpDNS": "accept-dns",
    "RouteAll": "accept-routes",
    "RunSSH": "ssh",
    "Hostname": "hostname",
    "OperatorUser": "operator",
}


def _flag(name: str, value: t.Any) -> str:
    return f"--{name}={str(value).lower() if isinstance(value, bool) else value}"


def settings_due(node: Node, desired: Desired, *, previous_operator: str = "") -> list[str]:
    """The arguments of ``tailscale set`` that bring a node that has joined to what is desired.

    :param previous_operator: an account that the role once made the operator, and that it takes the right from again.
    """
    prefs = _desired_prefs(desired)
    if previous_operator and not desired.operator and node.prefs.get("OperatorUser") == previous_operator:
        prefs["OperatorUser"] = ""
    return [_flag(_FLAGS[key], value) for key, value in prefs.items() if (node.prefs.get(key) or "") != (value or "")]


def join_flags(node: Node, desired: Desired) -> list[str]:
    """The arguments of ``tailscale up``, which wants to be told everything: what is desired, and what was set on the host.

    A node that has a key already keeps all its settings: if it cannot join, nothing about it has changed.
    Tags are asked for at Tailscale's own server only. Headscale takes them from the key, and refuses a node that asks.
    """
    prefs, given = node.prefs, _desired_prefs(desired)
    if node.has_key:
        given = {key: prefs.get(key) for key in ("CorpDNS", "RouteAll", "RunSSH")}
    flags = [_flag("login-server", desired.login_server or OFFICIAL_SERVER)]
    flags += [_flag(_FLAGS[key], value) for key, value in given.items()]
    flags += [
        _flag(_FLAGS[key], prefs[key]) for key in ("Hostname", "OperatorUser") if prefs.get(key) and key not in given
    ]
    if desired.tags and same_server(desired.login_server, OFFICIAL_SERVER):
        flags.append(_flag("advertise-tags", ",".join(desired.tags)))
    routes = [str(route) for route in prefs.get("AdvertiseRoutes") or []]
    exits = [route for route in routes if route in ("0.0.0.0/0", "::/0")]
    inner = [route for route in routes if route not in exits]
    kept = {
        "advertise-routes": ",".join(inner) or None,
        "advertise-exit-node": True if exits else None,
        "exit-node": prefs.get("ExitNodeIP") or None,
        "exit-node-allow-lan-access": True if prefs.get("ExitNodeAllowLANAccess") else None,
        "shields-up": True if prefs.get("ShieldsUp") else None,
        "snat-subnet-routes": False if prefs.get("NoSNAT") else None,
        "advertise-connector": True if (prefs.get("AppConnector") or {}).get("Advertise") else None,
        "report-posture": True if prefs.get("PostureChecking") else None,
        "netfilter-mode": {0: "off", 1: "nodivert"}.get(prefs.get("NetfilterMode", 2)) if node.has_key else None,
    }
    return flags + [_flag(name, value) for name, value in kept.items() if value is not None]


def offline(node: Node) -> bool:
    """Whether the coordination server does not serve a node that runs."""
    return node.status.get("BackendState") == "Running" and not node.self.get("Online")


def unsettled(node: Node) -> bool:
    """Whether a node that runs, or is about to, may be served by the coordination server in a moment by itself."""
    return offline(node) or node.status.get("BackendState") in ("NoState", "Starting")


def join_kind(node: Node, desired: Desired, *, server_answers: bool) -> str:
    """What has to happen so that the node is in the tailnet with the desired tags.

    ``none``; ``up``, it only was taken down; ``join``, with a key; ``rejoin``, with a key in place of the one that it has.

    :param server_answers: whether the coordination server can be reached, so that a node that it does not serve was removed.
    """
    state = node.status.get("BackendState")
    retag = bool(desired.tags) and sorted(desired.tags) != sorted(node.tags)
    if state == "Stopped" and node.has_key:
        return "rejoin" if retag else "up"
    if state in ("Running", "Starting", "NeedsMachineAuth"):
        removed = offline(node) and server_answers
        return "rejoin" if removed or (state == "Running" and retag) else "none"
    return "rejoin" if node.has_key else "join"


def is_named(node: Node, hostname: str) -> bool:
    """Whether the node has the desired name, or the numbered one that a server gives where the name is taken."""
    label = re.escape(hostname.lower())
    return not hostname or bool(re.match(rf"{label}(-\d+)?\Z", node.name.partition(".")[0]))


def served(node: Node, port: int) -> str:
    """What is served on a port of the node over HTTP: the target of its root, ``other`` for anything else, or empty.

    What was served under a previous name of the node is nothing any more.
    """
    listener = (node.serve.get("TCP") or {}).get(str(port))
    if not listener:
        return ""
    if not listener.get("HTTP"):
        return "other"
    handlers = ((node.serve.get("Web") or {}).get(f"{node.name}:{port}") or {}).get("Handlers") or {}
    if not handlers:
        return ""
    return str((handlers.get("/") or {}).get("Proxy") or "other") if list(handlers) == ["/"] else "other"


__all__ = (
    "OFFICIAL_SERVER",
    "SOCKET",
    "Desired",
    "Node",
    "is_named",
    "join_flags",
    "join_kind",
    "look",
    "offline",
    "problem",
    "remedy",
    "same_server",
    "served",
    "settings_due",
    "unsettled",
)
