#!/usr/bin/python
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tailscale_preflight
short_description: Looks at a host's node of a tailnet, says what is to be done, and refuses what cannot work
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Asks tailscaled over its socket how the node is, what it was told and what it serves, in one call, changes nothing and starts
    no process.
  - Fails, with every finding at once, where what is wished cannot work on this host.
  - Computes whether the node has to join, and which settings differ.
attributes:
  check_mode:
    description: Can run in check mode and return what it would return otherwise.
    support: full
  diff_mode:
    description: Changes nothing, so has no difference to show.
    support: none
options:
  state:
    description: Whether the node is wished for. For one that is to go nothing is refused.
    type: str
    choices: [present, absent]
    default: present
  socket:
    description: Where tailscaled listens.
    type: path
    default: /run/tailscale/tailscaled.sock
  key_given:
    description: Whether there is a key to join with. The key itself is of no concern here.
    type: bool
    required: true
  hostname:
    description: The node's name; empty for that of the host.
    type: str
    default: ""
  tags:
    description: The node's tags; empty for whatever it has.
    type: list
    elements: str
    default: []
  login_server:
    description: The coordination server; empty for Tailscale's own.
    type: str
    default: ""
  accept_dns:
    description: Whether the host takes over the tailnet's name service.
    type: bool
    default: true
  accept_routes:
    description: Whether the host uses subnets that other nodes advertise.
    type: bool
    default: false
  ssh:
    description: Whether tailscaled answers SSH from the tailnet.
    type: bool
    default: false
  account:
    description: Account that the gateway runs as.
    type: str
    required: true
  gateway_port:
    description: Port of the gateway, and of the tailnet that it is served on.
    type: int
    required: true
  gateway_bind:
    description: Where the gateway listens.
    type: str
    default: loopback
  gateway_mode:
    description: What C(gateway.tailscale.mode) says in the gateway's settings. It is no choice here, since the gateway has the last word.
    type: str
    default: "off"
  serve:
    description: Whether tailscaled is to serve the gateway to the tailnet.
    type: bool
    default: true
  dropin_path:
    description: The drop-in beside the gateway's unit, which is there where the gateway serves itself.
    type: path
    required: true
  settle:
    description: >-
      For how many seconds at most to wait for a node that is starting, or that the coordination server does not serve. For most of
      a second after C(tailscale up) has succeeded, and after a start of tailscaled, a node looks like one that was removed.
    type: int
    default: 5
  settle_name:
    description: >-
      For how many seconds at most to wait until the node has the wished name. The coordination server gives it a moment after it
      was asked, or another one; what is served is served under the name that the node has.
    type: int
    default: 0
  source_files:
    description: Entries of M(clawops.openclaw.file_set) that make the apt source, all of root and readable by all.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: preflight | Look at the node
  clawops.openclaw.tailscale_preflight:
    key_given: true
    account: openclaw
    gateway_port: 18789
    dropin_path: /etc/systemd/system/openclaw-gateway.service.d/60-tailscale.conf
  register: node
"""

RETURN = r"""
asked:
  description: What was asked for, all options but those with a default place.
  type: dict
  returned: always
installed:
  description: Version of the package, or an empty text.
  type: str
  returned: always
source:
  description: Whether O(source_files) are all as they should be.
  type: bool
  returned: always
running:
  description: Whether tailscaled answers.
  type: bool
  returned: always
known:
  description: Whether the node has a key of its own, valid or not.
  type: bool
  returned: always
trouble:
  description: Why the node cannot be reached over the tailnet; empty where it can.
  type: str
  returned: always
join:
  description: >-
    What has to happen so that it is in the tailnet: V(none), V(up) for a node that was only taken down, V(join) with a key, or
    V(rejoin) with another one.
  type: str
  returned: always
join_flags:
  description: Arguments of C(tailscale up), the key left out.
  type: list
  elements: str
  returned: always
settings_due:
  description: Arguments of C(tailscale set) for settings that differ.
  type: list
  elements: str
  returned: always
serve_due:
  description: Whether tailscaled has yet to serve the gateway.
  type: bool
  returned: always
unserve_due:
  description: Whether tailscaled serves the gateway and should not.
  type: bool
  returned: always
dropin:
  description: Whether the drop-in is there.
  type: bool
  returned: always
name:
  description: The node's name in the tailnet, or an empty text.
  type: str
  returned: always
addresses:
  description: The node's addresses in the tailnet.
  type: list
  elements: str
  returned: always
tags:
  description: The node's tags.
  type: list
  elements: str
  returned: always
health:
  description: What tailscaled complains about.
  type: list
  elements: str
  returned: always
"""

import os
import re
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _files, _host, _tailnet
from ansible_collections.clawops.openclaw.plugins.module_utils import _http as http
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

TUN = "/dev/net/tun"
_TAG = re.compile(r"tag:[a-zA-Z][a-zA-Z0-9-]*\Z")
_LABEL = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\Z")
_SERVER = re.compile(r"https?://[^\s/@?#]+/?\Z")
_ASKED = (
    "state", "hostname", "tags", "login_server", "accept_dns", "accept_routes", "ssh", "gateway_port", "gateway_mode", "serve",
)  # fmt: skip


def wish_of(params: t.Mapping[str, t.Any]) -> _tailnet.Wish:
    """The wishes for the node; the gateway's account is its operator where the gateway serves itself."""
    names = ("hostname", "tags", "login_server", "accept_dns", "accept_routes", "ssh")
    operator = params["account"] if params["gateway_mode"] != "off" else ""
    return _tailnet.Wish(**{name: params[name] for name in names}, operator=operator)


def target_of(params: t.Mapping[str, t.Any]) -> str:
    return f"http://127.0.0.1:{params['gateway_port']}"


def look_settled(socket: str, hostname: str, *, settle: float, settle_name: float) -> _tailnet.Node:
    """The node once it is served and has the wished name, or as it is when the time for that is over.

    The server may have removed it, or given it another name: then it never is what is waited for.
    """
    began = time.monotonic()
    while True:
        node, passed = _tailnet.look(socket), time.monotonic() - began
        unserved = _tailnet.unsettled(node) and passed < settle
        unnamed = not _tailnet.is_named(node, hostname) and passed < settle_name
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


def observe(params: t.Mapping[str, t.Any], node: _tailnet.Node) -> dict[str, t.Any]:
    """What this host has, and what is due."""
    wish, port = wish_of(params), params["gateway_port"]
    ours = _tailnet.served(node, port) == target_of(params)
    wanted = params["serve"] and params["gateway_mode"] == "off" and params["state"] == "present"
    return {
        "asked": {name: params[name] for name in _ASKED},
        "installed": _host.package_version(_host.read_text("/var/lib/dpkg/status"), "tailscale"),
        "source": _files.as_wished(params["source_files"]),
        "running": node.running,
        "known": node.has_key,
        "trouble": _tailnet.trouble(node),
        "join": _tailnet.join_kind(node, wish, server_answers=server_answers(node))
        if params["state"] == "present"
        else "none",
        "join_flags": _tailnet.join_flags(node, wish),
        "settings_due": _tailnet.settings_due(node, wish, former_operator=params["account"]) if node.running else [],
        "serve_due": wanted and not ours,
        "unserve_due": ours and not wanted,
        "dropin": os.path.exists(params["dropin_path"]),
        "name": node.name,
        "addresses": node.addresses,
        "tags": node.tags,
        "health": [str(each) for each in node.status.get("Health") or []],
    }


def judge_words(params: t.Mapping[str, t.Any]) -> list[OpenClawError]:
    """Wishes that no host can fulfil."""
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


def judge_gateway(params: t.Mapping[str, t.Any]) -> list[OpenClawError]:
    """What the gateway's settings ask of Tailscale and cannot have."""
    mode, subject = params["gateway_mode"], f"gateway_settings.gateway.tailscale.mode {params['gateway_mode']}"
    if mode == "funnel":
        reason = "a gateway that the whole internet reaches must have gateway.auth.mode password, and this collection gives it a token"
        return [
            OpenClawError(subject, reason, "Write serve, or leave it out; the role mtls is the way in from outside.")
        ]
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
        errors.append(
            OpenClawError("tailscale_serve", reason, "Set gateway_bind to loopback, or tailscale_serve to false.")
        )
    return errors


def judge_host(params: t.Mapping[str, t.Any], node: _tailnet.Node, seen: t.Mapping[str, t.Any]) -> list[OpenClawError]:
    """What of the wishes this host stands against."""
    errors = []
    if not os.path.exists(TUN):
        remedy = "Load the module tun, or have the provider of the machine enable TUN."
        errors.append(OpenClawError(TUN, "it is not there, and a tailnet needs it", remedy))
    former = str(node.prefs.get("ControlURL") or "")
    moved = bool(former) and not _tailnet.same_server(former, params["login_server"])
    if node.has_key and moved:
        reason = f"the host is in a tailnet of {former}"
        remedy = (
            "Take it out of that one first, by a run with tailscale_state absent, or correct tailscale_login_server."
        )
        errors.append(
            OpenClawError(f"tailscale_login_server {params['login_server'] or 'of Tailscale'}", reason, remedy)
        )
    elif seen["join"] in ("join", "rejoin") and not params["key_given"]:
        retag = not seen["trouble"] and seen["join"] == "rejoin"
        reason = (
            f"the node has the tags {', '.join(node.tags) or 'of nobody'}, and only a key brings others"
            if retag
            else f"the host has to join, and there is no key ({seen['trouble'] if seen['running'] else 'it never joined'})"
        )
        remedy = "Give a new auth key in tailscale_auth_key, or an OAuth client's secret in tailscale_oauth_secret."
        errors.append(OpenClawError("tailscale_auth_key", reason, remedy))
    other = _tailnet.served(node, params["gateway_port"])
    if seen["serve_due"] and other:
        reason = f"this port of the node is served to {other} already"
        remedy = f"Free it with 'tailscale serve --http={params['gateway_port']} off', or set tailscale_serve to false."
        errors.append(OpenClawError(f"tailscale_serve, port {params['gateway_port']}", reason, remedy))
    return errors


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "socket": {"type": "path", "default": _tailnet.SOCKET},
            "key_given": {"type": "bool", "required": True, "no_log": False},
            **{name: {"type": "str", "default": ""} for name in ("hostname", "login_server")},
            "tags": {"type": "list", "elements": "str", "default": []},
            "accept_dns": {"type": "bool", "default": True},
            **{name: {"type": "bool", "default": False} for name in ("accept_routes", "ssh")},
            "account": {"type": "str", "required": True},
            "gateway_port": {"type": "int", "required": True},
            "gateway_bind": {"type": "str", "default": "loopback"},
            "gateway_mode": {"type": "str", "default": "off"},
            "serve": {"type": "bool", "default": True},
            "dropin_path": {"type": "path", "required": True},
            "settle": {"type": "int", "default": 5},
            "settle_name": {"type": "int", "default": 0},
            "source_files": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    patience = {name: params[name] for name in ("settle", "settle_name")}
    node = look_settled(params["socket"], params["hostname"], **patience)
    seen = observe(params, node)
    if params["state"] == "present":
        errors = judge_words(params) + judge_gateway(params) + judge_host(params, node, seen)
        if errors:
            module.fail_json(msg="\n".join(map(str, errors)), **seen)
    module.exit_json(changed=False, **seen)


if __name__ == "__main__":
    main()
