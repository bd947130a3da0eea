# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""The host's node of a tailnet: how it is, whether it has to join, which of its settings differ, what cannot work."""

from __future__ import annotations

import os
import re
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _apt, _files, _tailnet
from ansible_collections.clawops.openclaw.plugins.module_utils import _http as http
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import Finding, OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host

Params = t.Mapping[str, t.Any]
Seen = t.Mapping[str, t.Any]

OPTIONS: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "required": True},
    # What the controller has found: about keys, which do not travel for it, and about gateways on the same host.
    "problems": {"type": "list", "elements": "str", "default": []},
    "socket": {"type": "path", "default": _tailnet.SOCKET},
    # Version of the package; empty for any.
    "version": {"type": "str", "default": ""},
    # Entries of file_set that make the apt source.
    "source_files": {"type": "list", "elements": "dict", "default": []},
    # Whether there is a key to join with.
    "key_given": {"type": "bool", "required": True, "no_log": False},
    # The node's name, its tags and its coordination server; empty for those of the host, of the key, and Tailscale's own.
    "hostname": {"type": "str", "default": ""},
    "tags": {"type": "list", "elements": "str", "default": []},
    "login_server": {"type": "str", "default": ""},
    "accept_dns": {"type": "bool", "default": True},
    "accept_routes": {"type": "bool", "default": False},
    "ssh": {"type": "bool", "default": False},
    # Account, port and bind of the gateway, and ``gateway.tailscale.mode`` of its settings, which is no choice here.
    "account": {"type": "str", "required": True},
    "gateway_port": {"type": "int", "required": True},
    "gateway_bind": {"type": "str", "default": "loopback"},
    "gateway_mode": {"type": "str", "default": "off"},
    # Whether tailscaled is to serve the gateway to the tailnet.
    "serve": {"type": "bool", "default": True},
    # Entries of file_set that the role writes: what describes the node to the verdict.
    "files": {"type": "list", "elements": "dict", "default": []},
    # Files beside the gateway's unit that the role has a say in.
    "paths": {"type": "list", "elements": "path", "default": []},
    # Seconds to wait at most for a node that is starting, or that the coordination server does not serve: for most of a second
    # after ``tailscale up``, and after a start of tailscaled, a node looks like one that was removed.
    "settle": {"type": "int", "default": 5},
    # Seconds to wait at most for the desired name, under which things are served: the server gives it a moment later, or another.
    "settle_name": {"type": "int", "default": 0},
}

TUN = "/dev/net/tun"
_TAG = re.compile(r"tag:[a-zA-Z][a-zA-Z0-9-]*\Z")
_LABEL = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\Z")
_SERVER = re.compile(r"https?://[^\s/@?#]+/?\Z")


def look(host: Host, params: Params) -> dict[str, t.Any]:
    """The package, and what tailscaled says over its socket. No process is started."""
    node = settled(params)
    seen: dict[str, t.Any] = {
        "installed": host.packages.get("tailscale", ""),
        "source": _apt.source_ready(params["source_files"]),
        "described": _files.in_sync(params["files"]),
        # Whether tailscaled answers, and whether the node has a key of its own, valid or not.
        "running": node.running,
        "known": node.has_key,
        # Why the node cannot be reached over the tailnet; empty where it can.
        "problem": _tailnet.problem(node),
        "name": node.name,
        "tags": node.tags,
        # What tailscaled complains about.
        "health": [str(each) for each in node.status.get("Health") or []],
        "files": [_files.describe(path) for path in params["paths"]],
        "_node": node,
        "_server_answers": server_answers(node),
        "_tun": os.path.exists(TUN),
    }
    if serves(params) and node.name:
        seen["gateway_settings"] = gateway_settings(node.name, params["gateway_port"])
    return seen


def settled(params: Params) -> _tailnet.Node:
    """The node once it is served and has the desired name, or as it is when the time for that is over.

    The server may have removed it, or given it another name: then waiting does not help.
    """
    began = time.monotonic()
    while True:
        node, passed = _tailnet.look(params["socket"]), time.monotonic() - began
        unserved = _tailnet.unsettled(node) and passed < params["settle"]
        unnamed = not _tailnet.is_named(node, params["hostname"]) and passed < params["settle_name"]
        if not (unserved or unnamed):
            return node
        time.sleep(0.1)


def server_answers(node: _tailnet.Node) -> bool:
    """Whether the coordination server of a node that it does not serve can be reached from here."""
    if not _tailnet.offline(node):
        return False
    try:
        http.Client(url=str(node.prefs.get("ControlURL")), timeout=5).request("/key?v=100")
    except (http.HttpFailure, OpenClawError):
        return False
    return True


def serves(params: Params) -> bool:
    """Whether tailscaled is to serve the gateway, which does not serve itself."""
    return bool(params["state"] == "present" and params["serve"] and params["gateway_mode"] == "off")


def gateway_settings(name: str, port: int) -> dict[str, t.Any]:
    """What the gateway needs behind tailscaled: whose word about a client's address to take, and which pages may speak to it."""
    origin = f"http://{name}:{port}"
    return {"gateway": {"trustedProxies": ["127.0.0.1"], "controlUi": {"allowedOrigins": [origin]}}}


def desired_of(params: Params) -> _tailnet.Desired:
    """What is desired of the node; the gateway's account is its operator where the gateway serves itself."""
    names = ("hostname", "tags", "login_server", "accept_dns", "accept_routes", "ssh")
    operator = params["account"] if params["gateway_mode"] != "off" else ""
    return _tailnet.Desired(**{name: params[name] for name in names}, operator=operator)


def due(params: Params, seen: Seen) -> dict[str, t.Any]:
    """The phases, whether and how the node joins, which settings differ, and whether the gateway has to be served."""
    node, desired = seen["_node"], desired_of(params)
    ours = _tailnet.served(node, params["gateway_port"]) == f"http://127.0.0.1:{params['gateway_port']}"
    steps = {
        "install": install_due(params, seen),
        "join": join_kind(params, seen),
        # Arguments of ``tailscale up``, without the key.
        "join_flags": _tailnet.join_flags(node, desired),
        # Arguments of ``tailscale set``.
        "settings": _tailnet.settings_due(node, desired, previous_operator=params["account"]) if node.running else [],
        "serve": serves(params) and not ours,
        "unserve": ours and not serves(params),
        # Whether the file that describes the node to the verdict has to be written.
        "describe": not seen["described"],
    }
    return {"phases": phases_of(params["state"], steps), **steps}


def install_due(params: Params, seen: Seen) -> bool:
    """Whether apt is asked. A version that is given is left to apt to judge."""
    there = seen["installed"] and seen["source"] and seen["running"]
    return params["state"] == "present" and bool(not there or params["version"])


def join_kind(params: Params, seen: Seen) -> str:
    """What has to happen so that the node is in the tailnet: C(none), C(up), C(join) or C(rejoin)."""
    if params["state"] == "absent":
        return "none"
    return _tailnet.join_kind(seen["_node"], desired_of(params), server_answers=seen["_server_answers"])


def phases_of(state: str, steps: t.Mapping[str, t.Any]) -> list[str]:
    """The phases that these steps take. What an earlier one shows may ask for any of the later ones."""
    if state == "absent":
        return ["remove"]
    if steps["install"]:
        return ["install", "join", "configure"]
    if steps["join"] != "none":
        return ["join", "configure"]
    return ["configure"] if steps["settings"] or steps["serve"] or steps["unserve"] or steps["describe"] else []


def judge(params: Params, seen: Seen) -> tuple[list[OpenClawError], list[OpenClawError]]:
    """What cannot work. A node that is to go is never refused."""
    errors: list[OpenClawError] = [Finding(text) for text in params["problems"]]
    if params["state"] == "present":
        errors += judge_words(params) + judge_gateway(params) + judge_host(params, seen)
    return errors, []


def judge_words(params: Params) -> list[OpenClawError]:
    """What no host can have."""
    errors = [
        OpenClawError(f"tailscale_tags {tag}", "it is no tag", "Write tag: and a word of letters, digits and hyphens.")
        for tag in params["tags"]
        if not _TAG.match(tag)
    ]
    hostname, server = params["hostname"], params["login_server"]
    if hostname and not _LABEL.match(hostname):
        remedy = "Use one label of up to 63 letters, digits and hyphens, a letter or digit at both ends."
        errors.append(OpenClawError(f"tailscale_hostname {hostname}", "it is no host name", remedy))
    if server and not _SERVER.match(server):
        remedy = "Write the scheme and the name of the server, as https://headscale.example.com."
        errors.append(OpenClawError(f"tailscale_login_server {server}", "it is no address of a server", remedy))
    return errors


def judge_gateway(params: Params) -> list[OpenClawError]:
    """What the gateway's settings ask of Tailscale and cannot have."""
    mode, subject = params["gateway_mode"], f"gateway_settings.gateway.tailscale.mode {params['gateway_mode']}"
    if mode == "funnel":
        reason = "a gateway that the whole internet reaches must have gateway.auth.mode password, and this collection gives it a token"
        remedy = "Write serve, or leave it out; the role mtls lets clients in from the internet."
        return [OpenClawError(subject, reason, remedy)]
    errors = []
    if mode == "serve" and params["gateway_bind"] != "loopback":
        reason = f"OpenClaw serves itself only from loopback, and gateway_bind is {params['gateway_bind']}"
        errors.append(OpenClawError(subject, reason, "Set gateway_bind to loopback."))
    if mode == "serve" and not _tailnet.same_server(params["login_server"], _tailnet.OFFICIAL_SERVER):
        reason = f"OpenClaw serves itself with a certificate of Tailscale's, and {params['login_server']} gives none"
        remedy = "Leave it out: tailscale_serve brings the gateway into the tailnet without one."
        errors.append(OpenClawError(subject, reason, remedy))
    if params["serve"] and mode == "off" and params["gateway_bind"] != "loopback":
        reason = f"the gateway listens by itself on port {params['gateway_port']} of the node (gateway_bind {params['gateway_bind']})"
        remedy = "Set gateway_bind to loopback, or tailscale_serve to false."
        errors.append(OpenClawError("tailscale_serve", reason, remedy))
    return errors


def judge_host(params: Params, seen: Seen) -> list[OpenClawError]:
    """What this host, as it is, stands in the way of."""
    node: _tailnet.Node = seen["_node"]
    errors = []
    if not seen["_tun"]:
        remedy = "Load the module tun, or have the provider of the machine enable TUN."
        errors.append(OpenClawError(TUN, "it is not there, and a tailnet needs it", remedy))
    server = str(node.prefs.get("ControlURL") or "")
    if node.has_key and server and not _tailnet.same_server(server, params["login_server"]):
        subject = f"tailscale_login_server {params['login_server'] or 'of Tailscale'}"
        remedy = (
            "Take it out of that one first, by a run with tailscale_state absent, or correct tailscale_login_server."
        )
        errors.append(OpenClawError(subject, f"the host is in a tailnet of {server}", remedy))
    elif join_kind(params, seen) in ("join", "rejoin") and not params["key_given"]:
        remedy = "Give a new auth key in tailscale_auth_key, or an OAuth client's secret in tailscale_oauth_secret."
        errors.append(OpenClawError("tailscale_auth_key", why_a_key(params, seen), remedy))
    port, other = params["gateway_port"], _tailnet.served(node, params["gateway_port"])
    if serves(params) and other not in ("", f"http://127.0.0.1:{port}"):
        reason = f"this port of the node is served to {other} already"
        remedy = f"Free it with 'tailscale serve --http={port} off', or set tailscale_serve to false."
        errors.append(OpenClawError(f"tailscale_serve, port {port}", reason, remedy))
    return errors


def why_a_key(params: Params, seen: Seen) -> str:
    """Why it takes a key, and there is none."""
    if not seen["problem"] and join_kind(params, seen) == "rejoin":
        return f"the node has {', '.join(seen['tags']) or 'no tags'}, and only a key brings others"
    return f"the host has to join, and there is no key ({seen['problem'] if seen['running'] else 'it never joined'})"


__all__ = ("OPTIONS", "due", "judge", "look")
