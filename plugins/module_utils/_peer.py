# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Who is at the other end of a connection within this host.

A port of the loopback interface belongs to whoever listens there first. Before a credential is sent, the kernel's table
of connections tells which socket has accepted this one, and ``/proc`` which process holds that socket. The unit of a
process is its cgroup, which only root can choose.
"""

from __future__ import annotations

import socket
import sys
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _host

_ESTABLISHED = "01"
_MAPPED = b"\0" * 10 + b"\xff\xff"
# Seconds between two looks, while a server that is busy has not accepted the connection yet.
_INTERVAL = 0.01


class Foreign(Exception):
    """The other end is not the unit; the argument says who it is, as far as it can be told."""


def prove(connection: socket.socket, unit: str, deadline: float) -> None:
    """Show that a process of a systemd service has accepted a TCP connection within this host.

    :param connection: the connected socket, on which nothing has been sent.
    :param unit: name of the service (``str``), such as ``openclaw-gateway.service``.
    :param deadline: the moment of ``time.monotonic()`` until which the other end may accept it.
    :raises Foreign: another process has.
    :raises TimeoutError: none has in time.
    """
    here, there = connection.getsockname(), connection.getpeername()
    while not (inode := accepted(_tables(), server=there, client=here)):
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(_INTERVAL)
    top = _top(_host.read_text("/proc/1/cgroup"))
    if not any(_host.holds(pid, inode) for pid in _host.processes() if is_in(_cgroup(pid), unit, top)):
        pid, name = _host.owner_of(inode)
        raise Foreign(f"{name} (process {pid})" if pid else "a process that cannot be seen")


def _tables() -> str:
    return "".join(_host.read_text(f"/proc/net/{name}") for name in ("tcp", "tcp6"))


def accepted(table: str, *, server: tuple[t.Any, ...], client: tuple[t.Any, ...]) -> str:
    """The inode of the socket that has accepted a connection; empty while the kernel still holds it for its server.

    :param table: the text of ``/proc/net/tcp`` and ``/proc/net/tcp6``.
    :param server: address (``str``) and port (``int``) of the end that accepts.
    :param client: address and port of the other end.
    """
    ends = {(local, remote) for local, remote in zip(_written(server), _written(client), strict=True)}
    for line in table.splitlines():
        fields = line.split()
        if len(fields) > 9 and fields[3] == _ESTABLISHED and (fields[1], fields[2]) in ends and fields[9] != "0":
            return fields[9]
    return ""


def _written(end: tuple[t.Any, ...]) -> list[str]:
    """An address and port as the kernel writes them, in the tables of IPv4 and of IPv6."""
    address, port = end[0], end[1]
    if ":" in address:
        raw = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
        return [f"{_hexadecimal(raw)}:{port:04X}"]
    raw = socket.inet_pton(socket.AF_INET, address)
    # A server that listens on :: has the connection of a client of IPv4 in the table of IPv6.
    return [f"{_hexadecimal(each)}:{port:04X}" for each in (raw, _MAPPED + raw)]


def _hexadecimal(raw: bytes) -> str:
    """Bytes of an address, each four of them as a number of this machine."""
    words = (int.from_bytes(raw[at : at + 4], sys.byteorder) for at in range(0, len(raw), 4))
    return "".join(f"{word:08X}" for word in words)


def is_in(cgroup: str, unit: str, top: str = "") -> bool:
    """Whether the text of ``/proc/<pid>/cgroup`` is that of a process of a system service of this host.

    A container, or an account's own systemd, may have a service of the same name further down.

    :param top: the cgroup of the host's own systemd, in which all others are; empty where the host is no container itself.
    """
    place = f"{top}/system.slice/{unit}"
    return any(path == place or path.startswith(f"{place}/") for path in _paths(cgroup))


def _paths(cgroup: str) -> list[str]:
    """The paths in systemd's hierarchies, of which there may be two: control groups of the first version have more."""
    rows = (line.split(":", 2) for line in cgroup.splitlines())
    return [row[2] for row in rows if len(row) == 3 and row[1] in ("", "name=systemd")]


def _top(cgroup: str) -> str:
    """Where the first process's own cgroup is, out of its text."""
    return next((path.removesuffix("/init.scope") for path in _paths(cgroup) if path.endswith("/init.scope")), "")


def _cgroup(pid: int) -> str:
    return _host.read_text(f"/proc/{pid}/cgroup")


__all__ = ("Foreign", "accepted", "is_in", "prove")
