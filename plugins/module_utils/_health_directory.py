# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What else belongs to the verdict over a gateway: a folder in which each role describes its own thing in a file.

A file is a JSON object with the key ``kind``; the other keys are those of its kind. They are ``mtls``;
``tailscale``, whose other key is ``socket``, where tailscaled listens; and ``backup``, which each backup writes
(``_backup/status.py``).
"""

from __future__ import annotations

import glob
import ipaddress
import json
import os
import socket
import stat
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _http as http
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

KINDS = ("mtls", "tailscale", "backup")
# A description is some lines; no module may take the memory that a log file would.
_LIMIT = 64 << 10
_REMEDY = "Run site.yml again, or remove it where no role of yours writes it."
_WRITABLE_BY_OTHERS = 0o022


class Described(t.NamedTuple):
    """One thing: the file that describes it, and what that says."""

    path: str
    about: dict[str, t.Any]


def read(folder: str) -> tuple[dict[str, Described], list[str]]:
    """What is described, by kind, and why files cannot be used. Without the folder there is nothing to look at."""
    found: dict[str, Described] = {}
    problems = []
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json") and not name.startswith("."))
        _refuse_foreign(folder, os.stat(folder, follow_symlinks=False), stat.S_ISDIR, "directory")
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [str(OpenClawError(folder, f"it cannot be read: {error.strerror}", _REMEDY))]
    except OpenClawError as error:
        return {}, [str(error)]
    for name in names:
        path = os.path.join(folder, name)
        try:
            described = Described(path, _read_object(path))
            kind = described.about.get("kind")
            if kind not in KINDS:
                raise OpenClawError(path, "its kind is not one that this release knows", _REMEDY)
            if kind in found:
                raise OpenClawError(path, f"{found[kind].path} is of the same kind, {kind}", "Remove one of the two.")
            found[kind] = described
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(str(OpenClawError(path, f"it cannot be read: {error.strerror}", _REMEDY)))
        except OpenClawError as error:
            problems.append(str(error))
    return found, problems


def _read_object(path: str) -> dict[str, t.Any]:
    """The JSON object in a plain file of root's; no link is followed, and no pipe is waited for."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        _refuse_foreign(path, os.fstat(handle), stat.S_ISREG, "plain file")
        content = file.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise OpenClawError(path, f"it has more than {_LIMIT} bytes", _REMEDY)
    try:
        about = json.loads(content)
    except (ValueError, RecursionError):
        raise OpenClawError(path, "it is not valid JSON", _REMEDY) from None
    if not isinstance(about, dict):
        raise OpenClawError(path, "it is not a JSON object", _REMEDY)
    return about


def _refuse_foreign(path: str, status: os.stat_result, is_kind: t.Callable[[int], bool], kind: str) -> None:
    """Refuse what another account than root's, or than the caller's, could have written."""
    if not is_kind(status.st_mode):
        raise OpenClawError(path, f"it is not a {kind}", _REMEDY)
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & _WRITABLE_BY_OTHERS:
        raise OpenClawError(path, "others than root can write it", _REMEDY)


def tailscale_socket(described: Described | None) -> str:
    """Where tailscaled listens, on a host that belongs to a tailnet; otherwise empty."""
    return str(described.about.get("socket") or "") if described else ""


class MtlsProxy:
    """The reverse proxy in front of the gateway, as its clients reach it, with the host's own client certificate."""

    def __init__(self, described: Described, timeout: float) -> None:
        about = described.about
        name = f"[{about['name']}]" if ":" in about["name"] else about["name"]
        self.client = http.Client(
            url=f"https://{name}:{about['port']}",
            timeout=timeout,
            ca_path=about["ca"],
            client_cert=about["certificate"],
            client_key=about["key"],
            connect_to=own_address(about["name"]),
        )
        self.anonymous = self.client.anonymous()
        self.expiring = expiries(about["expiring"])


def mtls_proxy(described: Described | None, timeout: float) -> tuple[MtlsProxy | None, str]:
    """The proxy that is described, or why it cannot be looked at."""
    if described is None:
        return None, ""
    try:
        return MtlsProxy(described, timeout), ""
    except OpenClawError as error:
        return None, f"mTLS proxy ({described.path}): {error}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, str(OpenClawError(described.path, f"it cannot be used: {error!r}", "Run site.yml again."))


def own_address(name: str) -> str:
    """The address by which this host is seen from outside: OpenClaw answers no proxy's client that is on loopback.

    :param name: what clients call the host. It tells the address of one that has no way to the rest of the world.
    """
    places = (
        (socket.AF_INET, "192.0.2.1"),
        (socket.AF_INET6, "2001:db8::1"),
        (socket.AF_INET, name),
        (socket.AF_INET6, name),
    )
    for family, place in places:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as nothing_is_sent:
                nothing_is_sent.connect((place, 9))
                address = str(nothing_is_sent.getsockname()[0])
        except OSError:
            continue
        if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            return address
    reason = "the host has no address but that of loopback, from where OpenClaw answers no proxy's client"
    remedy = (
        f"Give it an address and a route, or have {name} mean one of its addresses; clients may get in all the same."
    )
    raise OpenClawError("it cannot be tried", reason, remedy)


def expiries(patterns: t.Mapping[str, str]) -> dict[str, float]:
    """When what these files hold expires, the first of each kind."""
    # Only here: cryptography is slow to load, and most gateways have no mTLS proxy.
    from ansible_collections.clawops.openclaw.plugins.module_utils import _pki as pki

    if not pki.HAS_CRYPTOGRAPHY:
        raise OpenClawError("python3-cryptography", "it is not there to read certificates with", "Run site.yml again.")
    found = {}
    for name, pattern in patterns.items():
        texts = []
        for path in glob.glob(pattern):
            with open(path, encoding="utf-8") as file:
                texts.append(file.read())
        times = [each.next_update for text in texts for each in pki.revocation_lists(text)]
        times += [pki.certificate(pattern, text).not_after for text in texts if "BEGIN CERTIFICATE" in text]
        if times:
            found[name] = min(times)
    return found


__all__ = ("KINDS", "Described", "MtlsProxy", "expiries", "mtls_proxy", "own_address", "read", "tailscale_socket")
