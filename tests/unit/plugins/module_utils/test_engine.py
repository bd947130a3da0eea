# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The laws of what daemon.json should hold, the kernel's own route tables, and engines that answer byte by byte."""

from __future__ import annotations

import contextlib
import copy
import ipaddress
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.clawops.openclaw.plugins.module_utils import _engine, _host, _merge, _store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._merge import MISSING, Settings

if TYPE_CHECKING:
    from ansible_collections.clawops.openclaw.tests.unit.plugins.conftest import Within

Network = ipaddress.IPv4Network

# ---- what daemon.json should hold ----------------------------------------------------------------------------


class World(NamedTuple):
    """The role's defaults, the inventory's options, what was applied last and what stands in the file."""

    defaults: Settings
    options: Settings
    applied: Settings
    live: Settings


# Few names and few values, so that the four sides often meet; each statement goes into any number of them.
VALUES: list[Any] = [1, True, "x", 0, False, "ü", None, {}, [], [{"base": None}]]
PATHS = [path for length in (1, 2) for path in itertools.product("abc", repeat=length)]
SIDES = [sides for length in (1, 2, 3, 4) for sides in itertools.combinations(World._fields, length)]
STATEMENTS = list(itertools.product(VALUES, PATHS, SIDES))


def world(numbers: bytes) -> World:
    """The four sides, out of two bytes for each statement: bytes are drawn at once, which is quick."""
    sides = World({}, {}, {}, {})
    for first, second in zip(numbers[::2], numbers[1::2], strict=False):
        value, (*parents, last), names = STATEMENTS[(256 * first + second) % len(STATEMENTS)]
        # Only an option says null, and with it what was applied.
        for name in set(names) & {"options", "applied"} if value is None else names:
            node = getattr(sides, name)
            for key in parents:
                if not isinstance(node.get(key), dict):
                    node[key] = {}
                node = node[key]
            node[last] = copy.deepcopy(value)
    return sides


WORLDS = st.binary(min_size=2, max_size=18).map(world)


def applied_once(sides: World) -> World:
    """The world after a run: the file is in sync, and what was desired is noted."""
    desired, live = _engine.daemon_settings(**sides._asdict())
    return sides._replace(applied=desired, live=live)


def exactly(value: Any) -> str:
    """A text that is equal only for values of the same types and the same keys, in whatever order."""
    return json.dumps(value, sort_keys=True)


def meet(path: _merge.Path, other: _merge.Path) -> bool:
    """Whether one of the two lies on the way to the other."""
    return all(first == second for first, second in zip(path, other, strict=False))


@given(WORLDS)
def test_applying_twice_changes_nothing(sides: World) -> None:
    once = applied_once(sides)
    twice = applied_once(once)
    assert exactly(twice.live) == exactly(once.live)
    assert exactly(twice.applied) == exactly(once.applied)


@given(WORLDS)
def test_applying_twice_changes_nothing_where_nobody_else_writes_the_file(sides: World) -> None:
    once = applied_once(sides._replace(applied={}, live={}))
    twice = applied_once(once)
    assert exactly(twice.live) == exactly(once.live)
    assert exactly(twice.applied) == exactly(once.applied)


@given(WORLDS)
def test_foreign_keys_survive(sides: World) -> None:
    result = applied_once(sides).live
    claimed = [path for path, _ in [*_merge.leaves(sides.options), *_merge.leaves(sides.applied)]]
    for path, value in _merge.leaves(sides.live):
        if not any(meet(path, other) for other in claimed):
            assert exactly(_merge.lookup(result, path)) == exactly(value), path


@given(WORLDS)
def test_a_default_never_replaces_what_the_operator_had_before(sides: World) -> None:
    result = applied_once(sides).live
    for key in sides.defaults.keys() & sides.live.keys() - sides.options.keys() - sides.applied.keys():
        assert exactly(result[key]) == exactly(sides.live[key]), key


@given(WORLDS)
def test_a_default_never_replaces_what_the_operator_made_of_it(sides: World) -> None:
    sides = sides._replace(applied={**sides.applied, **sides.defaults})
    result = applied_once(sides).live
    for key in sides.defaults.keys() & sides.live.keys() - sides.options.keys():
        assert exactly(result[key]) == exactly(sides.live[key]), key


@given(WORLDS)
def test_a_default_holds_where_nobody_says_otherwise(sides: World) -> None:
    result = applied_once(sides).live
    for key in sides.defaults.keys() - sides.options.keys() - sides.live.keys():
        assert exactly(result[key]) == exactly(sides.defaults[key]), key


@given(WORLDS)
def test_a_default_follows_where_the_value_is_the_one_that_was_set(sides: World) -> None:
    sides = sides._replace(applied={**sides.applied, **sides.live})
    result = applied_once(sides).live
    for key in sides.defaults.keys() & sides.live.keys() - sides.options.keys():
        assert exactly(result[key]) == exactly(sides.defaults[key]), key


@given(WORLDS)
def test_an_option_always_wins_and_null_removes(sides: World) -> None:
    result = applied_once(sides).live
    for path, value in _merge.leaves(sides.options):
        found = _merge.lookup(result, path)
        if value is None:
            assert found is MISSING, path
        else:
            assert isinstance(found, dict) if value == {} else exactly(found) == exactly(value), path


@given(WORLDS)
def test_what_was_ours_and_is_no_longer_desired_goes(sides: World) -> None:
    result = applied_once(sides).live
    spoken = sides.defaults.keys() | sides.options.keys()
    for path, value in _merge.leaves(sides.applied):
        if path[0] in spoken or value is None:
            continue
        left = _merge.lookup(result, path)
        # Of an object that was desired without keys only the object goes, not what others put into it.
        assert left is MISSING or (value == {} and left != {}), path


@given(WORLDS)
def test_an_engine_that_goes_leaves_the_file_as_it_was_before(sides: World) -> None:
    foreign = {key: value for key, value in sides.live.items() if key not in sides.options}
    once = applied_once(sides._replace(applied={}, live=foreign))
    left = _merge.merge(applied=once.applied, desired={}, live=once.live)
    assert json.dumps(left) == json.dumps(foreign)


@given(WORLDS)
def test_no_argument_is_modified(sides: World) -> None:
    before = copy.deepcopy(sides)
    applied_once(sides)
    assert json.dumps(sides) == json.dumps(before)


LOG: Settings = {"log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"}}


@pytest.mark.parametrize(
    ("options", "applied", "live", "result"),
    [
        pytest.param({}, {}, {}, LOG, id="an-empty-file"),
        pytest.param({}, {}, {"debug": True}, {"debug": True, **LOG}, id="a-foreign-key"),
        pytest.param({"debug": True}, {}, {}, {**LOG, "debug": True}, id="an-option-beside-the-defaults"),
        pytest.param({}, {}, {**LOG, "log-driver": "local"}, {**LOG, "log-driver": "local"}, id="the-operators-value"),
        pytest.param({"log-driver": "local"}, {}, {"log-driver": "x"}, {**LOG, "log-driver": "local"}, id="an-option"),
        pytest.param({"log-driver": None}, LOG, LOG, {"log-opts": LOG["log-opts"]}, id="null-takes-a-default-away"),
        pytest.param({"a": None}, {}, {"a": 1, **LOG}, LOG, id="null-takes-a-foreign-key-away"),
        pytest.param(
            {}, {**LOG, "log-driver": None}, {"log-opts": LOG["log-opts"]}, LOG, id="a-null-that-is-taken-back"
        ),
        pytest.param({}, {"log-driver": "old"}, {"log-driver": "old"}, LOG, id="a-default-that-is-another-now"),
        pytest.param({}, {**LOG, "a": 1}, {**LOG, "a": 1, "b": 2}, {**LOG, "b": 2}, id="an-option-that-is-taken-back"),
        pytest.param(
            {"log-opts": {"max-size": "1g"}},
            {},
            {},
            {**LOG, "log-opts": {"max-size": "1g", "max-file": "3"}},
            id="an-option-inside-a-default",
        ),
        pytest.param(
            {},
            LOG,
            {**LOG, "log-driver": "local"},
            {**LOG, "log-driver": "local"},
            id="a-default-that-the-operator-changed",
        ),
        pytest.param(
            {},
            LOG,
            {**LOG, "log-opts": {**LOG["log-opts"], "tag": "x"}},
            {**LOG, "log-opts": {**LOG["log-opts"], "tag": "x"}},
            id="a-default-to-which-the-operator-added",
        ),
        pytest.param(
            {},
            {**LOG, "log-opts": {**LOG["log-opts"], "tag": "x"}},
            {**LOG, "log-opts": {"max-size": "1g", "max-file": "3", "tag": "x"}},
            {**LOG, "log-opts": {"max-size": "1g", "max-file": "3", "tag": "x"}},
            id="an-option-in-what-the-operator-changed-is-theirs-too",
        ),
        pytest.param(
            {"log-opts": {"env": "A"}},
            {**LOG, "log-opts": {**LOG["log-opts"], "tag": "x"}},
            {**LOG, "log-opts": {"max-size": "1g", "max-file": "3", "tag": "x"}},
            {**LOG, "log-opts": {"max-size": "1g", "max-file": "3", "env": "A"}},
            id="but-goes-where-another-option-takes-its-place",
        ),
    ],
)
def test_desired(options: Settings, applied: Settings, live: Settings, result: Settings) -> None:
    assert exactly(applied_once(World(LOG, options, applied, live)).live) == exactly(result)


@pytest.mark.parametrize(
    ("options", "live", "result"),
    [
        pytest.param({}, {"log-driver": "local"}, {**LOG, "log-driver": "local"}, id="the-operators-value"),
        pytest.param({"log-driver": None}, {}, {"log-opts": LOG["log-opts"]}, id="null-for-a-default"),
        pytest.param(
            {"log-opts": {"max-file": None}},
            {},
            {**LOG, "log-opts": {"max-size": "10m"}},
            id="null-inside-a-default",
        ),
    ],
)
def test_one_run_is_enough(options: Settings, live: Settings, result: Settings) -> None:
    once = applied_once(World(LOG, options, {}, live))
    assert exactly(once.live) == exactly(result)
    assert exactly(applied_once(once).live) == exactly(result)


def test_one_run_is_enough_for_an_option_inside_an_object_of_the_operators() -> None:
    once = applied_once(World(LOG, {"log-opts": {"max-size": "1g"}}, {}, {"log-opts": {"max-size": "50m"}}))
    assert once.live["log-opts"]["max-size"] == "1g"
    assert exactly(applied_once(once).live) == exactly(once.live)


# ---- the text of daemon.json ---------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_written_is_read_again(settings: Settings) -> None:
    assert json.dumps(_engine.parse("daemon.json", _engine.render(settings))) == json.dumps(settings)


def test_it_is_written_for_people() -> None:
    text = '{\n  "labels": [\n    "café=1"\n  ],\n  "debug": true\n}\n'
    assert _engine.render({"labels": ["café=1"], "debug": True}) == text


@pytest.mark.parametrize(
    "text",
    [None, "", " \n\t\n", "{}", " { }\n"],
    ids=["no-file", "an-empty-file", "only-blanks", "an-empty-object", "blanks-in-an-empty-object"],
)
def test_a_file_that_holds_nothing_is_read_as_nothing(text: str | None) -> None:
    assert _engine.parse("daemon.json", text) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param('{"debug": true,}', "it is not valid JSON: ", id="a-comma-too-many"),
        pytest.param('{"debug": true', "it is not valid JSON: ", id="a-torn-file"),
        pytest.param('{} {"debug": true}', "it is not valid JSON: ", id="two-objects"),
        pytest.param('// mine\n{"debug": true}', "it is not valid JSON: ", id="a-comment"),
        pytest.param("\ufeff{}", "it is not valid JSON: ", id="a-byte-order-mark"),
        pytest.param("[]", "it holds a list, and has to hold an object", id="an-array"),
        pytest.param('"debug"', "it holds a str, and has to hold an object", id="a-text"),
        pytest.param("0", "it holds a int, and has to hold an object", id="a-number"),
        pytest.param("null", "it holds a NoneType, and has to hold an object", id="null"),
    ],
)
def test_what_is_no_object_is_refused(text: str, reason: str) -> None:
    with pytest.raises(OpenClawError) as caught:
        _engine.parse("/etc/docker/daemon.json", text)
    assert caught.value.subject == "/etc/docker/daemon.json"
    assert caught.value.reason.startswith(reason)
    assert caught.value.remedy == "Repair it, or move it away to begin with none; nothing on the host was changed."


def test_the_place_of_a_mistake_is_told() -> None:
    with pytest.raises(OpenClawError, match="line 3 column 3"):
        _engine.parse("daemon.json", '{\n  "debug": true\n  "mtu": 1400\n}')


# ---- the networks of the host --------------------------------------------------------------------------------

HEADING = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
# As Linux prints them, to the blanks at the end.
ETH0_DEFAULT = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0"
ETH0 = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0"
ETH0_GATEWAY = "eth0\t01011FAC\t00000000\t0005\t0\t0\t100\tFFFFFFFF\t0\t0\t0"
ENS5 = "ens5\t0000020A\t00000000\t0001\t0\t0\t512\t00F0FFFF\t0\t0\t0"
DOCKER0 = "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0"
BRIDGE = "br-3f2a9c0d1e4b\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0"
VETH = "veth1a2b3c4\t000013AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0"
WG0 = "wg0\t0000D50A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0"
VPN = [
    "tun0\t0000000A\t0100080A\t0003\t0\t0\t0\t000000FF\t0\t0\t0",
    "tun0\t000010AC\t0100080A\t0003\t0\t0\t0\t0000F0FF\t0\t0\t0",
    "tun0\t0000A8C0\t0100080A\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0",
]


def routes(*lines: str) -> str:
    return "".join(f"{line:<127}\n" for line in (HEADING, *lines))


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        pytest.param(routes(ETH0_DEFAULT, ETH0), ["192.0.2.0/24"], id="a-default-route-is-no-network"),
        pytest.param(routes(ETH0_DEFAULT, ETH0_GATEWAY), ["172.31.1.1/32"], id="a-gateway-that-is-a-host"),
        pytest.param(routes(ENS5), ["10.2.0.0/20"], id="a-mask-that-ends-within-a-byte"),
        pytest.param(routes(DOCKER0, BRIDGE, VETH), [], id="what-the-engine-has-made"),
        pytest.param(routes(DOCKER0, WG0, BRIDGE, ETH0), ["10.213.0.0/16", "192.0.2.0/24"], id="among-others"),
        pytest.param(routes(*VPN), ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], id="a-vpn-to-everything-private"),
        pytest.param(
            routes(ETH0.replace("eth0", "mybr-0")), ["192.0.2.0/24"], id="only-the-beginning-of-a-name-counts"
        ),
        pytest.param(routes(ETH0.replace("eth0", "br-lan")), ["192.0.2.0/24"], id="the-operators-own-bridge"),
        pytest.param(
            routes(
                "tun0\t00000000\t0100080A\t0003\t0\t0\t0\t00000080", "tun0\t00000080\t0100080A\t0003\t0\t0\t0\t00000080"
            ),
            [],
            id="a-default-route-in-two-halves",
        ),
        pytest.param(routes(), [], id="no-routes"),
        pytest.param("", [], id="no-table"),
        pytest.param(f"{ETH0}\n{ETH0_DEFAULT}\n", [], id="the-first-line-is-a-heading"),
        pytest.param(routes(ETH0[:33], "", "eth1", WG0), ["10.213.0.0/16"], id="torn-lines"),
    ],
)
def test_taken_networks(text: str, networks: list[str]) -> None:
    assert [str(network) for network in _engine.taken_networks(text)] == networks


ADDRESSES = st.integers(0, 2**32 - 1)
# Half of them lie in or around the pools, where they matter.
NEAR = st.tuples(st.sampled_from(_engine._POOLS), ADDRESSES, st.integers(8, 32)).map(
    lambda drawn: Network((int(drawn[0].network_address) | (drawn[1] & int(drawn[0].hostmask)), drawn[2]), strict=False)
)
# Anything wider is a default route, or half of one.
ANYWHERE = st.tuples(ADDRESSES, st.integers(8, 32)).map(lambda drawn: Network(drawn, strict=False))
TAKEN = st.lists(NEAR | ANYWHERE, max_size=6)


@given(st.lists(ANYWHERE, max_size=4))
def test_networks_are_read_as_the_kernel_prints_them(networks: list[Network]) -> None:
    lines = [
        "eth0\t{:08X}\t00000000\t0001\t0\t0\t0\t{:08X}\t0\t0\t0".format(
            *(int.from_bytes(part.packed, "little") for part in (network.network_address, network.netmask))
        )
        for network in networks
    ]
    assert _engine.taken_networks(routes(*lines)) == networks


def test_the_routes_of_this_host_are_read() -> None:
    text = _host.read_text("/proc/net/route")
    found = _engine.taken_networks(text)
    assert all(network.prefixlen for network in found)
    assert len(found) <= max(0, len(text.splitlines()) - 1)


# ---- a pool of addresses -------------------------------------------------------------------------------------


@given(TAKEN)
def test_a_free_pool_overlaps_nothing_that_is_taken(taken: list[Network]) -> None:
    left = [pool for pool in _engine._POOLS if not any(pool.overlaps(network) for network in taken)]
    if left:
        [pool] = _engine.free_pool(taken)
        assert not any(Network(pool["base"]).overlaps(network) for network in taken)
        assert not _engine.collides([pool], taken)
        # So that an engine on a host that has not changed keeps its addresses.
        assert pool == {"base": str(left[0]), "size": 24}
    else:
        with pytest.raises(OpenClawError):
            _engine.free_pool(taken)


@pytest.mark.parametrize(
    ("text", "base"),
    [
        pytest.param(routes(ETH0_DEFAULT, ETH0), "172.31.0.0/16", id="a-public-network"),
        pytest.param(routes(ETH0_DEFAULT, ETH0_GATEWAY), "172.24.0.0/16", id="one-address-in-the-first-pool"),
        pytest.param(routes(VPN[1]), "10.213.0.0/16", id="a-network-around-two-pools"),
        pytest.param(routes(VPN[1], VPN[2]), "10.213.0.0/16", id="two-networks"),
        pytest.param(routes(VPN[0], VPN[1]), "192.168.192.0/18", id="the-last-one"),
    ],
)
def test_the_first_pool_that_is_free_is_taken(text: str, base: str) -> None:
    assert _engine.free_pool(_engine.taken_networks(text)) == [{"base": base, "size": 24}]


def test_a_host_without_a_free_pool_is_refused_with_what_to_do() -> None:
    with pytest.raises(OpenClawError) as caught:
        _engine.free_pool(_engine.taken_networks(routes(*VPN)))
    assert caught.value.subject == "docker_daemon_options"
    assert caught.value.reason == (
        "every address pool that the role knows (172.31.0.0/16, 172.24.0.0/16, 10.213.0.0/16, 192.168.192.0/18) "
        "collides with a network of the host"
    )
    assert caught.value.remedy == "Name a free one in default-address-pools."


@given(TAKEN, st.lists(NEAR | ANYWHERE, max_size=3))
def test_pools_collide_where_one_of_them_overlaps(taken: list[Network], pools: list[Network]) -> None:
    expected = any(pool.overlaps(network) for pool in pools for network in taken)
    assert _engine.collides([{"base": str(pool), "size": 24} for pool in pools], taken) == expected


@pytest.mark.parametrize(
    "taken",
    [
        pytest.param([Network("192.0.2.0/24")], id="beside-a-network"),
        pytest.param([], id="beside-none"),
    ],
)
@pytest.mark.parametrize(
    "pools",
    [
        pytest.param([{"base": "nonsense"}], id="no-network"),
        pytest.param([{"base": "10.0.0.0/33"}], id="a-mask-that-is-none"),
        pytest.param([{"base": "10.0.0.1/8"}], id="an-address-beyond-its-mask"),
        pytest.param([{"base": None}], id="null-for-a-network"),
        pytest.param([{"base": ["10.0.0.0/8"]}], id="a-list-for-a-network"),
        pytest.param([{"size": 24}], id="no-base"),
        pytest.param(["10.0.0.0/8"], id="a-text-for-a-pool"),
        pytest.param([None], id="null-for-a-pool"),
        pytest.param([24], id="a-number-for-a-pool"),
        pytest.param("10.0.0.0/8", id="a-text"),
        pytest.param({"base": "10.0.0.0/8", "size": 24}, id="a-pool-without-a-list"),
    ],
)
def test_what_is_no_pool_collides(pools: Any, taken: list[Network]) -> None:
    assert _engine.collides(pools, taken) is True


@pytest.mark.parametrize("pools", [None, 24, True, 1.5], ids=["null", "a-number", "true", "a-fraction"])
def test_what_is_no_list_of_pools_collides(pools: Any) -> None:
    assert _engine.collides(pools, []) is True


@settings(max_examples=200)
@given(JSON, TAKEN)
def test_whatever_stands_there_for_pools_is_judged(pools: Any, taken: list[Network]) -> None:
    assert _engine.collides(pools, taken) in (True, False)


# ---- an engine that answers ----------------------------------------------------------------------------------

Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def engine(path: Path, answer: Answer) -> Iterator[list[bytes]]:
    """A stand-in for the engine, which reads a request and then does what a test wants; yields the requests."""
    requests: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                received = b""
                while b"\r\n\r\n" not in received and (piece := connection.recv(65536)):
                    received += piece
                requests.append(received)
                answer(connection)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield requests
        # Closing alone does not wake up accept().
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        assert not thread.is_alive(), "the connection was left open"


def says(text: bytes) -> Answer:
    """Say this, and wait until the client hangs up."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(text)
        connection.recv(1)

    return answer


def response(status: str, body: bytes, *headers: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", *(headers or [f"Content-Length: {len(body)}"])])
    return head.encode() + b"\r\n\r\n" + body


def hang_up(_connection: socket.socket) -> None:
    return


CHUNKED = b'6\r\n{"a": \r\n5\r\n"\xc3\xbc"}\r\n0\r\n\r\n'
NO_IMAGE = "No such image: x:latest"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(says(response("200 OK", b'{"Id": "sha256:1"}')), (200, {"Id": "sha256:1"}), id="an-object"),
        pytest.param(
            says(response("200 OK", CHUNKED, "Transfer-Encoding: chunked")), (200, {"a": "ü"}), id="in-pieces"
        ),
        pytest.param(says(response("200 OK", b"[]")), (200, []), id="a-list"),
        pytest.param(says(response("200 OK", b"OK")), (200, None), id="a-text-that-is-no-json"),
        pytest.param(says(response("200 OK", b"")), (200, None), id="no-text"),
        pytest.param(says(response("200 OK", b'"\xff"')), (200, None), id="bytes-that-are-no-text"),
        pytest.param(
            says(response("404 Not Found", json.dumps({"message": NO_IMAGE}).encode())),
            (404, {"message": NO_IMAGE}),
            id="no-such-thing",
        ),
        pytest.param(says(response("500 Oops", b"<html>")), (500, None), id="an-engine-in-trouble"),
        pytest.param(hang_up, (0, None), id="it-hangs-up-at-once"),
        pytest.param(says(b"SSH-2.0-OpenSSH_9.2\r\n"), (0, None), id="it-is-no-web-server"),
        pytest.param(says(b"HTTP/1.1 nonsense\r\n\r\n"), (0, None), id="it-has-no-status"),
        pytest.param(
            lambda connection: connection.sendall(response("200 OK", b"{}", "Content-Length: 9")),
            (0, None),
            id="it-hangs-up-in-the-middle",
        ),
    ],
)
def test_ask(tmp_path: Path, answer: Answer, expected: tuple[int, Any]) -> None:
    with engine(tmp_path / "s", answer) as requests:
        assert _engine.ask(str(tmp_path / "s"), "/images/x:latest/json", timeout=5) == expected
    [request] = requests
    assert request.startswith(b"GET /images/x:latest/json HTTP/1.1\r\nHost: localhost\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(says(b""), id="it-says-nothing"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nContent-"), id="it-stops-in-its-head"),
        pytest.param(says(response("200 OK", b"{", "Content-Length: 2")), id="it-stops-in-its-text"),
    ],
)
def test_an_engine_that_does_not_answer_in_time_is_none(tmp_path: Path, answer: Answer) -> None:
    began = time.monotonic()
    with engine(tmp_path / "s", answer):
        assert _engine.ask(str(tmp_path / "s"), "/_ping", timeout=0.2) == (0, None)
    assert 0.2 <= time.monotonic() - began < 4


def test_where_nothing_listens_there_is_no_engine(tmp_path: Path) -> None:
    left, file = tmp_path / "left", tmp_path / "file"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(left))
        listener.listen()
    file.touch()
    for path in (left, file, tmp_path, tmp_path / "none", tmp_path / ("long" * 40)):
        assert _engine.ask(str(path), "/_ping") == (0, None), path


# ---- what stands in the place of an engine that a hostile account has --------------------------------------


def drip(connection: socket.socket) -> None:
    """A byte every tenth of a second."""
    for letter in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
        connection.sendall(bytes([letter]))
        time.sleep(0.1)


def drip_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(1000):
        connection.sendall(b"[")
        time.sleep(0.1)


def flood(connection: socket.socket) -> None:
    """No end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"[" * 65536)


@pytest.mark.parametrize("answer", [drip, drip_body, flood])
def test_an_engine_that_does_not_end_its_answer_is_none_at_the_deadline(
    tmp_path: Path, within: Within, answer: Answer
) -> None:
    with engine(tmp_path / "s", answer):
        assert within(5, lambda: _engine.ask(str(tmp_path / "s"), "/_ping", timeout=1), memory_mb=200) == (0, None)


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b"[" * 200_000 + b"]" * 200_000, b"[" * 500 + b"]" * 500, b"9" * 5000], ids=len
)
def test_an_answer_that_is_a_trap_is_no_json(tmp_path: Path, body: bytes) -> None:
    with engine(tmp_path / "s", says(response("200 OK", body))):
        assert _engine.ask(str(tmp_path / "s"), "/_ping", timeout=5) == (200, None)


def test_the_socket_of_another_tenant_is_not_reached_through_a_link(
    open_directory: Path, another_account: _store.Account
) -> None:
    """The engine of another account is in a directory that the account cannot enter, and root can."""
    other, own = open_directory / "b", open_directory / "a"
    for path in (other, own):
        path.mkdir(mode=0o700)
    os.chown(own, another_account.uid, another_account.gid)
    (own / "docker.sock").symlink_to(other / "docker.sock")
    with engine(other / "docker.sock", says(response("200 OK", b"{}"))) as requests:
        assert _engine.ask(str(own / "docker.sock"), "/_ping", timeout=5, account=another_account) == (0, None)
        assert requests == []
        assert (os.geteuid(), os.getegid()) == (0, 0)
