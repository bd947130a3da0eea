# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is at the other end of a connection, by the kernel's own tables and real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _peer

UNIT = "openclaw-gateway.service"
# A line of /proc/net/tcp: number, local, remote, state, queues, timer, retransmissions, uid, timeout, inode.
LINE = (
    "   {n}: {local} {remote} {state} 00000000:00000000 00:00000000 00000000   997        0 {inode} 1 0 20 4 30 10 -1\n"
)
GATEWAY, CLIENT = "0100007F:4965", "0100007F:9C40"  # 127.0.0.1:18789 and 127.0.0.1:40000


def line(local: str = GATEWAY, remote: str = CLIENT, state: str = "01", inode: str = "77") -> str:
    return LINE.format(n=0, local=local, remote=remote, state=state, inode=inode)


def accepted(table: str, server: str = "127.0.0.1", client: str = "127.0.0.1") -> str:
    return _peer.accepted(table, server=(server, 18789), client=(client, 40000))


def test_the_socket_that_accepted_is_found_among_others() -> None:
    others = [
        line(CLIENT, GATEWAY, inode="1"),  # our own end
        line(remote="0100007F:9C41", inode="2"),  # another client's
        line(remote="0200007F:9C40", inode="3"),  # of another address, from a port of the same number
        line(remote="00000000:0000", state="0A", inode="4"),  # the one that listens
        line(state="06", inode="5"),  # a former one between the same ends
    ]
    assert accepted("".join([*others, line(), *others])) == "77"
    assert accepted("".join(others)) == ""


def test_a_connection_that_waits_to_be_accepted_has_nobody_yet() -> None:
    assert accepted(line(inode="0")) == ""


@pytest.mark.parametrize(
    ("server", "local", "remote"),
    [
        pytest.param(
            "::1", "00000000000000000000000001000000:4965", "00000000000000000000000001000000:9C40", id="ipv6"
        ),
        pytest.param(
            "127.0.0.1",
            "0000000000000000FFFF00000100007F:4965",
            "0000000000000000FFFF00000100007F:9C40",
            id="ipv4-at-a-server-of-both",
        ),
    ],
)
def test_addresses_are_found_as_the_kernel_writes_them(server: str, local: str, remote: str) -> None:
    assert accepted(line(local, remote), server, server) == "77"


@pytest.fixture(params=["127.0.0.1", "::1", "127.0.0.1 at a server of both"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server that listens, and a client that is connected to it."""
    address = request.param.split()[0]
    both = address != request.param
    family = socket.AF_INET6 if both or ":" in address else socket.AF_INET
    with socket.socket(family) as server:
        if both:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::" if both else address, 0))
        server.listen()
        with socket.create_connection((address, server.getsockname()[1])) as client:
            yield server, client


def in_unit(monkeypatch: pytest.MonkeyPatch, *pids: int) -> None:
    """Have these processes, and no other, in the unit."""
    monkeypatch.setattr(_peer, "_cgroup", lambda pid: f"0::/system.slice/{UNIT if pid in pids else 'other.service'}\n")
    monkeypatch.setattr(_peer, "_top", lambda cgroup: "")


def test_the_unit_that_accepted_is_let_through(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_unit(monkeypatch, os.getpid())
    server, client = ends
    with server.accept()[0]:
        _peer.prove(client, UNIT, time.monotonic() + 5)


def test_another_program_that_accepted_is_named(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_unit(monkeypatch, 1)
    server, client = ends
    with server.accept()[0], pytest.raises(_peer.Foreign, match=rf"\(process {os.getpid()}\)"):
        _peer.prove(client, UNIT, time.monotonic() + 5)


def test_a_thief_that_took_over_while_the_unit_listens_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); c = s.accept(); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as thief:
        assert thief.stdout
        port = int(thief.stdout.readline())
        in_unit(monkeypatch, os.getpid())
        with (
            socket.create_server(("127.0.0.2", port)),
            socket.create_connection(("127.0.0.1", port)) as client,
            pytest.raises(_peer.Foreign, match=rf"\(process {thief.pid}\)"),
        ):
            _peer.prove(client, UNIT, time.monotonic() + 5)
        thief.communicate()


def test_a_server_that_never_accepts_is_waited_for_until_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    in_unit(monkeypatch, os.getpid())
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        pytest.raises(TimeoutError),
    ):
        _peer.prove(client, UNIT, time.monotonic() + 0.05)


@pytest.mark.parametrize(
    ("cgroup", "top", "inside"),
    [
        pytest.param(f"0::/system.slice/{UNIT}\n", "", True, id="the-unit"),
        pytest.param(f"0::/system.slice/{UNIT}/below\n", "", True, id="below-it"),
        pytest.param(f"12:cpu:/\n1:name=systemd:/system.slice/{UNIT}\n", "", True, id="control-groups-of-version-1"),
        pytest.param(f"0::/docker/77/system.slice/{UNIT}\n", "/docker/77", True, id="on-a-host-that-is-a-container"),
        pytest.param(f"0::/docker/77/system.slice/{UNIT}\n", "", False, id="in-a-container-of-the-host"),
        pytest.param(f"0::/machine.slice/x.scope/system.slice/{UNIT}\n", "", False, id="in-a-machine"),
        pytest.param(f"0::/user.slice/user-9.slice/user@9.service/app.slice/{UNIT}\n", "", False, id="of-a-user"),
        pytest.param(f"0::/system.slice/{UNIT}2\n", "", False, id="a-longer-name"),
        pytest.param(f"5:cpu:/system.slice/{UNIT}\n", "", False, id="another-hierarchy"),
        pytest.param("", "", False, id="gone"),
    ],
)
def test_only_the_hosts_own_systemd_decides_what_is_in_the_unit(cgroup: str, top: str, inside: bool) -> None:
    assert _peer.is_in(cgroup, UNIT, top) is inside


def test_the_cgroup_of_the_hosts_systemd_is_where_its_own_process_is() -> None:
    assert _peer._top("0::/init.scope\n") == ""
    assert _peer._top("0::/docker/77/init.scope\n") == "/docker/77"
    assert _peer._top("0::/\n") == ""
