# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""A Docker Engine as seen through its socket, and what its daemon.json should hold."""

from __future__ import annotations

import ipaddress
import json
import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _merge
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._unix_http import ask

Network = ipaddress.IPv4Network

# Private ranges in the order in which they are tried: first those that providers, offices and homes use least.
_POOLS = tuple(
    ipaddress.IPv4Network(text) for text in ("172.31.0.0/16", "172.24.0.0/16", "10.213.0.0/16", "192.168.192.0/18")
)
# Networks that the engine itself has made, as far as their interfaces tell; br-lan is the operator's bridge.
_OWN_INTERFACE = re.compile(r"docker|br-[0-9a-f]{12}$|veth")


def parse(path: str, text: str | None) -> _merge.Settings:
    """The object in a daemon.json; a missing or empty file holds nothing."""
    if not (text or "").strip():
        return {}
    remedy = "Repair it, or move it away to begin with none; nothing on the host was changed."
    try:
        settings = json.loads(text or "")
    except ValueError as error:
        raise OpenClawError(path, f"it is not valid JSON: {error}", remedy) from error
    if not isinstance(settings, dict):
        raise OpenClawError(path, f"it holds a {type(settings).__name__}, and has to hold an object", remedy)
    return settings


def render(settings: _merge.Settings) -> str:
    """The text of a daemon.json."""
    return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"


def daemon_settings(
    *, defaults: _merge.Settings, options: _merge.Settings, applied: _merge.Settings, live: _merge.Settings
) -> tuple[_merge.Settings, _merge.Settings]:
    """What the inventory asks for, and what the file is to hold then.

    A default holds where the host does not set its key, or where the key is as the last run left it. A default that the
    operator has edited on the host is theirs from then on, and stays.
    """
    ours, known = {}, dict(applied)
    for key, value in defaults.items():
        was = applied.get(key, _merge.MISSING)
        # Where the last run had only an option inside an object of the operator's, the rest of the default is not in it.
        built_on_it = was is not _merge.MISSING and _merge.same(_merge.overlay({key: value}, {key: was})[key], was)
        if key not in live or (built_on_it and _merge.same(live[key], _merge.without_null(was))):
            ours[key] = value
        elif built_on_it:
            known[key] = _without(was, value) if key in options else _merge.MISSING
            if known[key] is _merge.MISSING:
                del known[key]
    # What only the last run had put there is gone now, and its place is free for the default.
    left = _merge.merge(applied=known, desired=_merge.overlay(ours, options), live=live)
    ours.update({key: value for key, value in defaults.items() if key not in left})
    desired = _merge.overlay(ours, options)
    return desired, _merge.merge(applied=known, desired=desired, live=live)


def _without(value: t.Any, default: t.Any) -> t.Any:
    """What remains of a value when all that is as in the default is left out."""
    if isinstance(value, dict) and isinstance(default, dict):
        rest = {key: _without(item, default.get(key, _merge.MISSING)) for key, item in value.items()}
        return {key: item for key, item in rest.items() if item is not _merge.MISSING} or _merge.MISSING
    return _merge.MISSING if _merge.same(value, default) else value


def taken_networks(routes: str) -> list[Network]:
    """The networks that the host reaches by its own interfaces, out of the text of ``/proc/net/route``."""
    found = []
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or _OWN_INTERFACE.match(fields[0]):
            continue
        # The kernel prints them as numbers of a little-endian machine.
        address, mask = (int.from_bytes(bytes.fromhex(field), "little") for field in (fields[1], fields[7]))
        # A default route, also one in halves, as tunnels set it, is no network of the host.
        if bin(mask).count("1") >= 8:
            found.append(Network((address, bin(mask).count("1")), strict=False))
    return found


def collides(pools: t.Any, taken: t.Sequence[Network]) -> bool:
    """Whether one of the pools overlaps a network of the host; what is no list of pools does too."""
    try:
        bases = [Network(pool["base"]) for pool in pools]
    except (KeyError, TypeError, ValueError):
        return True
    return any(base.overlaps(network) for base in bases for network in taken)


def free_pool(taken: t.Sequence[Network]) -> list[dict[str, t.Any]]:
    """An address pool that collides with none of the host's networks, as ``default-address-pools`` takes it."""
    for pool in _POOLS:
        if not any(pool.overlaps(network) for network in taken):
            return [{"base": str(pool), "size": 24}]
    raise OpenClawError(
        "docker_daemon_options",
        f"every address pool that the role knows ({', '.join(map(str, _POOLS))}) collides with a network of the host",
        "Name a free one in default-address-pools.",
    )


__all__ = ("ask", "collides", "daemon_settings", "free_pool", "parse", "render", "taken_networks")
