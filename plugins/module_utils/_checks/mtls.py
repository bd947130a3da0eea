# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Certificates, revocation lists and an nginx in front of the gateway: what is there, what is due, what cannot work."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _files
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import _mtls_findings as findings
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import _mtls_nginx as nginx
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import _mtls_plan as plan
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import _mtls_store as stores
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host

Params = t.Mapping[str, t.Any]
Seen = t.Mapping[str, t.Any]

OPTIONS: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "required": True},
    # Where the host keeps keys, certificates and revocation lists; nginx's configuration; what the verdict reads.
    "directory": {"type": "path", "required": True},
    "site": {"type": "path", "required": True},
    "health_file": {"type": "path", "required": True},
    # What the server's certificate carries, and which of it clients use.
    "names": {"type": "list", "elements": "str", "required": True},
    "address": {"type": "str", "required": True},
    # Names of clients that get a certificate, of those that are refused, and of the host's own.
    "clients": {"type": "list", "elements": "str", "default": []},
    "revoked": {"type": "list", "elements": "str", "default": []},
    "probe": {"type": "str", "required": True},
    # Ports of the mTLS proxy: that of TLS, and that of plain HTTP where there is one.
    "ports": {"type": "list", "elements": "int", "required": True},
    "packages": {"type": "list", "elements": "str", "required": True},
    # CAs that are not on the host, ``cas`` and ``problems``, as the filter mtls_cas gives them; empty for those of the host.
    "cas": {"type": "dict", "default": {}},
    # Whether a CA that is missing is created, and the beginning of its common name.
    "ca_create": {"type": "bool", "required": True},
    "ca_subject": {"type": "str", "required": True},
    # What opens the key of a CA on the host.
    "passphrase": {"type": "str", "no_log": True},
    # Days for which the previous CA stays trusted. Negative where the inventory says which CAs are.
    "overlap_days": {"type": "int", "required": True},
    # Whatever has fewer days left is renewed.
    "renew_before_days": {"type": "int", "required": True},
    # Options of the role, with the days for which what they are about is valid.
    "valid_days": {"type": "dict", "default": {}},
    # The role's other files, as entries of file_set, for a host with IPv6.
    "files": {"type": "list", "elements": "dict", "default": []},
    # Keys of openclaw.json that the gateway needs behind the mTLS proxy.
    "gateway_settings": {"type": "dict", "default": {}},
    # What is renewed although it is not due, and the only client that is meant; empty for all.
    "rotate": {"type": "str", "choices": ["none", "server", "client", "ca"], "default": "none"},
    "rotate_client": {"type": "str", "default": ""},
}


def look(host: Host, params: Params) -> dict[str, t.Any]:
    """Certificates, keys, revocation lists, nginx and its ports. No process is started."""
    sites = nginx.other_sites(host, params)
    seen: dict[str, t.Any] = {
        "installed": [name for name in params["packages"] if name in host.packages],
        "nginx": nginx.look(host, params, sites),
        "ipv6": bool(host.text("/proc/net/if_inet6").strip()),
        "_health_file": os.path.lexists(params["health_file"]),
    }
    if params["state"] == "absent":
        return seen
    return {
        **seen,
        "gateway_settings": params["gateway_settings"],
        "_now": time.time(),
        "_store": stores.read(host, params),
        "_sites": sites,
        "_unread": nginx.unread(host, params) if "nginx" in host.packages else "",
        "_site": host.text(params["site"]),
        "_listeners": nginx.other_listeners(host, params),
        "_files": {path: _files.look(path) for path in managed_paths(params)},
    }


def managed_paths(params: Params) -> list[str]:
    """Every path that the role makes, but for what it issues."""
    links = plan.links(params, stores.Store([], [], {}, {}, [], False), "", [])
    trust = plan.trust_files(params, [], [])
    return [os.path.normpath(entry["path"]) for entry in [*params["files"], *links, *trust]]


def judge(params: Params, seen: Seen) -> tuple[list[OpenClawError], list[OpenClawError]]:
    """What cannot work, and what the operator should know. An mTLS proxy that is to go is never refused."""
    if params["state"] == "absent":
        return [], []
    store, now = seen["_store"], seen["_now"]
    errors = [
        *store.problems,
        *findings.names(params),
        *findings.clients(params),
        *findings.days(params),
        *findings.ca(params, store, now),
        *findings.ports(params, seen["_listeners"], seen["_sites"]),
        *findings.include(params, seen["_unread"]),
    ]
    return errors, [*findings.unsigned(params, store, now), *findings.orphaned(params, store, now)]


def due(params: Params, seen: Seen) -> dict[str, t.Any]:
    """The phases, and what each of them has to do."""
    if params["state"] == "absent":
        ours, shared = seen["nginx"]["ours"], seen["nginx"]["shared"]
        remove_nginx = "nginx" in seen["installed"] and ours and not shared
        return {"phases": ["remove"], "health": seen["_health_file"], "remove_nginx": remove_nginx}
    store, now, stamp = seen["_store"], seen["_now"], plan.stamp_of(seen["_now"])
    ca, issue, lists = (
        plan.ca(params, store),
        plan.certificates(params, store, now),
        plan.revocation_lists(params, store, now),
    )
    trusted, links = plan.trusted(params, store, now), plan.links(params, store, stamp, issue)
    disconnect = lists.refuses_more or bool(newly_refused(params, seen)) or store.disconnecting
    marker = os.path.join(params["directory"], stores.DISCONNECTING)
    obsolete = plan.obsolete(params, store, issue, now) + ([marker] if disconnect else [])
    files = [*plan.own_files(params, seen["ipv6"]), *links, *plan.trust_files(params, trusted, lists.lists)]
    steps = {
        "install": set(params["packages"]) - set(seen["installed"]),
        "issue": ca["create"] or issue or [each for each in lists.lists if not each["keep"]],
        "nginx": disconnect or seen["nginx"]["stale"] or not seen["nginx"]["running"],
        "configure": obsolete or not in_sync(files, seen["_files"]),
    }
    phases = phases_of({step for step, reason in steps.items() if reason})
    return {
        "phases": phases,
        # Whether the mTLS proxy is not yet as it is to be looked at.
        "health": bool(phases),
        "stamp": stamp,
        "ca": ca,
        # Previous CAs that are trusted, with a key to sign with.
        "previous": [each.name for each in (trusted if ca["create"] else trusted[1:]) if each.has_key],
        # Certificates of all trusted CAs that are there already, the one that signs first.
        "trusted": [each.certificate.pem for each in trusted],
        # While clients of the previous CA are let in, they have to accept the server too.
        "cross": trusted[0].cross if len(trusted) > 1 else "",
        "certificates": issue,
        "folders": plan.folders(params, stamp, issue),
        "links": links,
        "lists": lists.lists,
        # Whether a client is refused that was not before, by this run or by one that was interrupted.
        "disconnect": disconnect,
        # Whether nginx has to be told, even if no file changes.
        "reload": bool(steps["install"] or steps["nginx"]),
        "obsolete": obsolete,
    }


def phases_of(steps: t.Collection[str]) -> list[str]:
    """The phases that these steps take. What an installation shows may ask for any of the later ones."""
    if "install" in steps:
        return ["install", "issue", "configure"]
    return [*(["issue"] if "issue" in steps else []), *(["configure"] if steps else [])]


def newly_refused(params: Params, seen: Seen) -> list[str]:
    """Names that nginx is to refuse and does not yet, where it has a site."""
    site = seen["_site"]
    return [name for name in params["revoked"] if site and f'"{name}" 1;' not in site]


def in_sync(entries: t.Iterable[t.Mapping[str, t.Any]], there: t.Mapping[str, _files.Entry]) -> bool:
    """Whether everything is as these entries of file_set ask, of root and readable by all where they do not say otherwise."""
    defaults = {"owner": "root", "group": "root", "mode": "0644"}
    blank = {"state": "file", **dict.fromkeys(("content", "src", "owner", "group", "mode"))}
    try:
        desired = [_files.desired_entry({**blank, **entry}, defaults) for entry in entries]
    except OpenClawError:
        return False  # a link to what is yet to be issued
    return not any(_files.differs(_files.Change(there[each.path], each)) for each in desired)


__all__ = ("OPTIONS", "due", "judge", "look")
