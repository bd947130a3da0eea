# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found out about a host before an engine for sandboxes is put on it, what of it is refused, and what is due."""

from __future__ import annotations

import glob
import http.server
import json
import os
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.clawops.openclaw.plugins.module_utils import _engine, _host, _merge, _preflight, _store
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import docker
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

DEFAULTS: dict[str, Any] = {"log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"}}
FIRST_POOL = [{"base": "172.31.0.0/16", "size": 24}]
ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
IN_THE_FIRST_POOL = "eth1\t00001FAC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
EVERYTHING_PRIVATE = """\
tun0\t0000000A\t0100080A\t0003\t0\t0\t0\t000000FF\t0\t0\t0
tun0\t000010AC\t0100080A\t0003\t0\t0\t0\t0000F0FF\t0\t0\t0
tun0\t0000A8C0\t0100080A\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0
"""


def package(name: str, status: str = "install ok installed") -> str:
    return f"Package: {name}\nStatus: {status}\nPriority: optional\nArchitecture: amd64\nVersion: 5:28.0.1-1\n\n"


class Answer(NamedTuple):
    """What the check found, and its findings."""

    found: dict[str, Any]
    errors: list[str]
    warnings: list[str]


class Host:
    """A directory that stands for a host: the check reads the system's files below it, and its own beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.free_mb = 50000
        self.daemon = root / "etc/openclaw/main/docker/daemon.json"
        self.applied = root / "etc/openclaw/main/docker/daemon.json.applied"
        self.socket = root / "s"
        self.put("/proc/net/route", ROUTES)
        self.put(
            "/var/lib/dpkg/status", package("docker-ce") + package("containerd.io") + package("runc", "purge ok x")
        )
        self.put("/proc/sys/kernel/unprivileged_userns_clone", "1\n")
        self.put("/proc/sys/user/max_user_namespaces", "15405\n")
        self.put("/sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
        self.daemon.parent.mkdir(parents=True)

    def put(self, path: str, text: str = "") -> None:
        below = self.root / path.lstrip("/")
        below.parent.mkdir(parents=True, exist_ok=True)
        below.write_text(text)

    def below(self, path: str) -> str:
        return path if path.startswith(str(self.root)) else f"{self.root}{path}"

    def write(self, daemon: Any, applied: Any = None) -> None:
        for file, content in ((self.daemon, daemon), (self.applied, applied)):
            if content is not None:
                file.write_bytes((content if isinstance(content, str) else _engine.render(content)).encode())

    def parameters(self, **changes: Any) -> dict[str, Any]:
        return {
            "distribution": "Debian",
            "package_source": "vendor",
            "account": "openclaw",
            "rootless": True,
            "socket": str(self.socket),
            "daemon_path": str(self.daemon),
            "daemon_defaults": DEFAULTS,
            "daemon_options": {},
            "data_path": str(self.root / "data"),
            "image": "openclaw-sandbox:bookworm-slim",
            "recipe": "0123456789abcdef",
            "packages": ["docker-ce", "containerd.io", "uidmap"],
            **changes,
        }

    def desired(self, **changes: Any) -> dict[str, str]:
        """The texts of daemon.json and of what stands beside it."""
        given = {"state": "present", "daemon_options": {}, **self.parameters(**changes)}
        return docker.desired_daemon(_host.Host(), given)

    def check(self, **changes: Any) -> Answer:
        answer = _preflight.run({"docker": self.parameters(**changes)}, _host.Host())
        return Answer(answer.found.get("docker", {}), answer.errors, answer.warnings)

    def tree(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host that has all that an engine needs, and no engine yet."""
    host = Host(tmp_path)
    read_text, exists, find = _host.read_text, os.path.exists, glob.glob

    def looked_at(path: Any) -> bool:
        # Python and Ansible look at the true host meanwhile.
        return exists(host.below(path) if str(path).startswith(("/sys/fs/cgroup", "/var/lib/systemd")) else path)

    monkeypatch.setattr(_host, "read_text", lambda path: read_text(host.below(path)))
    monkeypatch.setattr(_host, "free_mb", lambda path: host.free_mb if path == str(tmp_path / "data") else -1)
    monkeypatch.setattr(os.path, "exists", looked_at)
    monkeypatch.setattr(glob, "glob", lambda pattern: find(host.below(pattern)))
    # The account is none of this machine's, and the engine's socket is where only its owner can go.
    monkeypatch.setattr(_store, "find_account", lambda name: None)
    return host


Answers = dict[str, tuple[int, Any]]


@pytest.fixture
def engine(host: Host) -> Iterator[Answers]:
    """An engine that answers a ping, and what a test adds."""
    answers: Answers = {"/_ping": (200, "OK")}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, {"message": f"No such thing: {self.path}"}))
            self.send_response(status)
            self.end_headers()
            self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

        def log_message(self, *_arguments: Any) -> None:
            """Who asks has no address that could be told."""

    with socketserver.UnixStreamServer(str(host.socket), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield answers
        server.shutdown()
        thread.join()


IMAGE = "/images/openclaw-sandbox:bookworm-slim/json"
LABELLED = (200, {"Id": "sha256:1", "Config": {"Labels": {"clawops.recipe": "0123456789abcdef"}}})


# ---- subordinate ids -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("openclaw:100000:65536\n", (True, "100000-165535"), id="as-useradd-gives-them"),
        pytest.param("a:100000:65536\nopenclaw:165536:65536\n", (True, "165536-231071"), id="after-another-account"),
        pytest.param("openclaw:100000:131072\n", (True, "100000-231071"), id="more-than-are-needed"),
        pytest.param("openclaw:100000:65536", (True, "100000-165535"), id="without-an-end-of-the-line"),
        pytest.param("openclaw:1:100\nopenclaw:400000:65536\n", (True, "400000-465535"), id="the-range-that-is-enough"),
        pytest.param("", (False, "300000-365535"), id="no-account-has-any"),
        pytest.param("a:100000:65536\nb:165536:65536\n", (False, "300000-365535"), id="others-where-useradd-puts-them"),
        pytest.param("a:300000:65536\n", (False, "365536-431071"), id="another-where-ours-would-be"),
        pytest.param("a:299999:2\n", (False, "300001-365536"), id="another-that-ends-there"),
        pytest.param("a:500000:65536\nb:100000:65536\n", (False, "565536-631071"), id="another-that-is-further-up"),
        pytest.param("openclaw:100000:65535\n", (False, "300000-365535"), id="one-too-few"),
        pytest.param("openclaw:300000:1000\n", (False, "301000-366535"), id="too-few-where-ours-would-be"),
        pytest.param("openclaw2:1:65536\nopen:1:65536\n", (False, "300000-365535"), id="a-name-that-is-only-alike"),
        pytest.param("#openclaw:100000:65536\n", (False, "300000-365535"), id="a-comment"),
        pytest.param("openclaw:100000\nopenclaw:x:65536\n", (False, "300000-365535"), id="lines-that-say-nothing"),
        pytest.param(
            "a:100000:65536\n\nopenclaw:165536:65536\n",
            (True, "165536-231071"),
            id="after-an-empty-line",
        ),
    ],
)
def test_subordinate_ids(text: str, expected: tuple[bool, str]) -> None:
    assert docker.subordinate_ids(text, text, "openclaw") == expected


@pytest.mark.parametrize(
    ("users", "groups"),
    [
        pytest.param("openclaw:100000:65536\n", "a:300000:65536\n", id="users-only"),
        pytest.param("a:300000:65536\n", "openclaw:100000:65536\n", id="groups-only"),
    ],
)
def test_ids_for_users_or_for_groups_alone_are_not_enough(users: str, groups: str) -> None:
    assert docker.subordinate_ids(users, groups, "openclaw") == (False, "365536-431071")


RANGES = st.lists(
    st.tuples(
        st.sampled_from(["openclaw", "a", "b"]),
        st.integers(0, 2**20) | st.integers(0, 2**31),
        st.sampled_from([0, 1, 65535, 65536]) | st.integers(0, 2**18),
    ),
    max_size=6,
)


@given(RANGES)
def test_free_ids_overlap_no_others(ranges: list[tuple[str, int, int]]) -> None:
    text = "".join(f"{name}:{first}:{count}\n" for name, first, count in ranges)
    present, answer = docker.subordinate_ids(text, text, "openclaw")
    first, last = map(int, answer.split("-"))
    enough = [(first, first + count - 1) for name, first, count in ranges if name == "openclaw" and count >= 65536]
    assert present == bool(enough)
    if present:
        assert (first, last) in enough
    else:
        assert last - first + 1 == 65536
        assert first >= 300000
        assert all(last < other or other + count <= first for _, other, count in ranges)


# ---- the kernel ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "subjects"),
    [
        pytest.param({}, [], id="a-kernel-without-the-settings"),
        pytest.param(
            {"kernel/unprivileged_userns_clone": "1\n", "user/max_user_namespaces": "15405\n"}, [], id="allowed"
        ),
        pytest.param({"user/max_user_namespaces": "10\n"}, [], id="a-number-that-ends-with-nought"),
        pytest.param(
            {"kernel/unprivileged_userns_clone": "0\n"}, ["kernel.unprivileged_userns_clone"], id="not-for-accounts"
        ),
        pytest.param({"user/max_user_namespaces": "0\n"}, ["user.max_user_namespaces"], id="for-no-account"),
        pytest.param(
            {"kernel/unprivileged_userns_clone": "0", "user/max_user_namespaces": "0"},
            ["kernel.unprivileged_userns_clone", "user.max_user_namespaces"],
            id="both",
        ),
    ],
)
def test_kernel_findings(host: Host, settings: dict[str, str], subjects: list[str]) -> None:
    for name in ("kernel/unprivileged_userns_clone", "user/max_user_namespaces"):
        host.put(f"/proc/sys/{name}", settings.get(name, ""))
    assert host.check().errors == [
        f"The kernel setting {name}: it is 0, and an engine without root needs user namespaces. "
        "Raise it with sysctl, or give the gateway root on the host with docker_grant_gateway_root_on_host."
        for name in subjects
    ]


# ---- what makes an engine impossible -------------------------------------------------------------------------


def test_a_good_host_has_no_finding(host: Host) -> None:
    assert host.check(conflicts=["docker.io", "runc"])[1:] == ([], [])


def test_a_package_that_cannot_be_beside_is_refused(host: Host) -> None:
    host.put("/var/lib/dpkg/status", package("docker.io") + package("containerd") + package("runc"))
    answer = host.check(conflicts=["docker.io", "docker-cli", "runc"], packages=["docker-ce=5:28.*"])
    assert answer.errors == [
        f"The package {name}: it is installed, and cannot be beside docker-ce. "
        "Remove it, choose the other docker_source, or leave the engine that is there as it is with docker_state: unmanaged."
        for name in ("docker.io", "runc")
    ]
    assert answer.warnings == []


@pytest.mark.parametrize(
    ("changes", "is_refused"),
    [
        pytest.param({"distribution": "Ubuntu"}, False, id="the-vendors-packages"),
        pytest.param({"package_source": "distribution"}, False, id="Debians-packages"),
        pytest.param({"package_source": "distribution", "distribution": "Ubuntu"}, True, id="Ubuntus-packages"),
        pytest.param(
            {"package_source": "distribution", "distribution": "Ubuntu", "rootless": False},
            False,
            id="Ubuntus-packages-with-root",
        ),
        pytest.param(
            {"package_source": "distribution", "distribution": "Ubuntu", "state": "absent"},
            False,
            id="Ubuntus-packages-that-go",
        ),
    ],
)
def test_packages_without_a_rootless_engine_are_refused(host: Host, changes: dict[str, Any], is_refused: bool) -> None:
    told = (
        "docker_source distribution: docker.io of Ubuntu has no script that starts a rootless engine. "
        "Use docker_source vendor, or give the gateway root on the host with docker_grant_gateway_root_on_host."
    )
    assert host.check(**changes).errors == ([told] if is_refused else [])


def test_too_little_disk_is_refused(host: Host) -> None:
    host.free_mb = 1599
    answer = host.check()
    assert answer.errors == [
        f"The disk of {host.root / 'data'}: 1599 MiB are free; engine and sandbox image take about 1600 MiB. "
        "Free some space or use a larger disk."
    ]
    assert answer.warnings == []


def test_just_enough_disk_is_no_finding(host: Host) -> None:
    host.free_mb = 1600
    assert host.check()[1:] == ([], [])


def test_what_is_there_already_needs_no_disk(host: Host, engine: Answers) -> None:
    host.free_mb = 1
    engine[IMAGE] = LABELLED
    assert host.check()[1:] == ([], [])


def test_control_groups_of_the_first_version_are_warned_of(host: Host) -> None:
    (host.root / "sys/fs/cgroup/cgroup.controllers").unlink()
    _, errors, [warning] = host.check()
    assert errors == []
    assert warning == (
        "Memory and CPU of sandboxes: the host has control groups of the first version, where an engine without root "
        "cannot set limits: they are not enforced. Boot it with systemd.unified_cgroup_hierarchy=1."
    )


def test_an_engine_with_root_needs_neither_namespaces_nor_control_groups_of_the_second_version(host: Host) -> None:
    host.put("/proc/sys/user/max_user_namespaces", "0\n")
    (host.root / "sys/fs/cgroup/cgroup.controllers").unlink()
    assert host.check(rootless=False)[1:] == ([], [])


# ---- daemon.json ---------------------------------------------------------------------------------------------


def test_a_host_without_a_file_gets_the_defaults_and_a_pool(host: Host) -> None:
    text = _engine.render({**DEFAULTS, "default-address-pools": FIRST_POOL})
    assert host.desired() == {"daemon": text, "applied": text}


def test_what_is_noted_is_what_is_desired_with_its_nulls_and_not_the_file(host: Host) -> None:
    host.write({"debug": True, "mtu": 1400})
    texts = host.desired(daemon_defaults={"live-restore": True}, daemon_options={"mtu": None, "ipv6": False})
    assert json.loads(texts["daemon"]) == {
        "debug": True,
        "live-restore": True,
        "default-address-pools": FIRST_POOL,
        "ipv6": False,
    }
    assert json.loads(texts["applied"]) == {
        "live-restore": True,
        "default-address-pools": FIRST_POOL,
        "mtu": None,
        "ipv6": False,
    }


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="no-options"),
        pytest.param({"mtu": 1400, "labels": ["a=1"]}, id="options"),
        pytest.param({"log-opts": {"max-size": "1g"}}, id="an-option-inside-a-default"),
        pytest.param({"log-driver": None}, id="null"),
        pytest.param(
            {"log-opts": {"max-file": None}},
            id="null-inside-a-default",
        ),
    ],
)
def test_a_second_run_writes_the_same(host: Host, options: dict[str, Any]) -> None:
    host.write({"debug": True})
    once = host.desired(daemon_options=options)
    host.write(once["daemon"], once["applied"])
    assert host.desired(daemon_options=options) == once


ODD = '{"log-opts":{"max-file":"3",   "max-size":"10m"},\n\n\t"debug" : true, "log-driver":"json-file"\n ,"mtu":1.4e3'
ODD += ', "default-address-pools": [{"size":24,"base":"172.31.0.0/16"}]}'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ODD, id="without-an-end-of-the-line"),
        pytest.param(f"\n {ODD} \n\n", id="with-blanks-around-it"),
        pytest.param(ODD.replace("true", '"\\u00fc"'), id="with-an-escaped-letter"),
        pytest.param(
            ODD.replace("\n", "\r\n"),
            id="with-another-systems-ends-of-lines",
        ),
    ],
)
def test_a_file_that_is_in_sync_stays_as_the_operator_wrote_it(host: Host, text: str) -> None:
    desired = {**DEFAULTS, "default-address-pools": FIRST_POOL}
    for applied in (desired, {}):
        host.write(text, applied)
        assert host.desired()["daemon"] == text
    assert host.desired(daemon_options={"mtu": 1400})["daemon"] == text
    assert host.desired(state="absent")["daemon"] == text


def test_a_file_that_is_out_of_sync_is_written_as_a_whole(host: Host) -> None:
    host.write(ODD, {})
    daemon = host.desired(daemon_options={"mtu": 1500})["daemon"]
    assert daemon == _engine.render({**json.loads(ODD), "mtu": 1500})


def test_a_number_in_the_place_of_true_is_out_of_sync(host: Host) -> None:
    host.write({"ipv6": 1, "default-address-pools": FIRST_POOL})
    texts = host.desired(daemon_defaults={}, daemon_options={"ipv6": True})
    assert json.loads(texts["daemon"])["ipv6"] is True


# ---- defaults that depend on what is set already ------------------------------------------------------------


POOL = {"default-address-pools": FIRST_POOL}
OTHER_POOL = {"default-address-pools": [{"base": "100.64.0.0/16", "size": 24}]}


@pytest.mark.parametrize(
    ("options", "applied", "live", "result"),
    [
        pytest.param(
            {},
            {},
            {"log-driver": "journald"},
            {"log-driver": "journald", **POOL},
            id="the-operators-driver-on-the-host-gets-no-options-of-another",
        ),
        pytest.param(
            {"log-driver": "journald"},
            {},
            {},
            {"log-driver": "journald", **POOL},
            id="nor-does-the-operators",
        ),
        pytest.param(
            {"log-driver": "journald"},
            {**DEFAULTS, **POOL},
            {**DEFAULTS, **POOL},
            {"log-driver": "journald", **POOL},
            id="those-of-the-former-driver-go-with-it",
        ),
        pytest.param(
            {},
            {**DEFAULTS, **POOL},
            {**DEFAULTS, **POOL, "log-driver": "journald"},
            {"log-driver": "journald", **POOL},
            id="and-where-the-operator-has-changed-it",
        ),
        pytest.param(
            {"log-driver": "json-file"},
            {},
            {"log-driver": "journald"},
            {**DEFAULTS, **POOL},
            id="the-inventorys-driver-counts-before-the-hosts",
        ),
        pytest.param(
            {"log-driver": "local", "log-opts": {"max-size": "5m"}},
            {**DEFAULTS, **POOL},
            {**DEFAULTS, **POOL},
            {"log-driver": "local", "log-opts": {"max-size": "5m"}, **POOL},
            id="the-operators-options-stay",
        ),
        pytest.param(
            {},
            {**DEFAULTS, **POOL},
            {"log-driver": "local", "log-opts": {"max-size": "50m"}, **POOL},
            {"log-driver": "local", "log-opts": {"max-size": "50m"}, **POOL},
            id="the-operators-options-on-the-host-stay",
        ),
        pytest.param(
            {},
            {"log-driver": "journald", **POOL},
            {"log-driver": "journald", **POOL},
            {**DEFAULTS, **POOL},
            id="a-driver-that-is-taken-back",
        ),
        pytest.param(
            {},
            {**DEFAULTS, **POOL},
            {**DEFAULTS, **OTHER_POOL},
            {**DEFAULTS, **OTHER_POOL},
            id="a-pool-that-the-operator-has-changed",
        ),
        pytest.param(OTHER_POOL, {**DEFAULTS, **POOL}, {**DEFAULTS, **POOL}, {**DEFAULTS, **OTHER_POOL}, id="a-pool"),
        pytest.param({}, {**DEFAULTS, **POOL}, DEFAULTS, {**DEFAULTS, **POOL}, id="a-pool-that-was-taken-away"),
    ],
)
def test_a_default_fits_what_is_set_already(
    host: Host, options: dict[str, Any], applied: dict[str, Any], live: dict[str, Any], result: dict[str, Any]
) -> None:
    host.write(live, applied)
    once = host.desired(daemon_options=options)
    assert json.loads(once["daemon"]) == result
    host.write(once["daemon"], once["applied"])
    assert host.desired(daemon_options=options) == once


# What an inventory, or a person on the host, may say about the keys that have defaults; None takes a key away.
SAYINGS = st.fixed_dictionaries(
    {},
    optional={
        "log-driver": st.sampled_from(["json-file", "journald", "local", None]),
        "log-opts": st.sampled_from([DEFAULTS["log-opts"], {"tag": "x"}, {"max-size": "50m"}, {"max-file": "3"}, {}]),
        **{key: st.sampled_from([value, FIRST_POOL]) for key, value in OTHER_POOL.items()},
        "mtu": st.sampled_from([1400, 1500]),
    },
)


def texts_of(daemon: str, applied: str, options: dict[str, Any]) -> dict[str, str]:
    """What the check desires of a host that has these two files."""
    files = {"d": daemon, "d.applied": applied, "/proc/net/route": ROUTES}
    given = {"state": "present", "daemon_path": "d", "daemon_defaults": DEFAULTS, "daemon_options": options}
    with mock.patch.object(_host, "read_text", files.__getitem__):
        return docker.desired_daemon(_host.Host(), given)


@given(SAYINGS, SAYINGS, SAYINGS, SAYINGS)
def test_one_run_is_enough_and_leaves_what_the_operator_wrote(
    before: dict[str, Any], former: dict[str, Any], change: dict[str, Any], options: dict[str, Any]
) -> None:
    first = texts_of(_engine.render(_merge.without_null(before)), "", former)
    changed = _merge.without_null({**json.loads(first["daemon"]), **change})
    once = texts_of(_engine.render(changed), first["applied"], options)
    assert texts_of(once["daemon"], once["applied"], options) == once
    result, applied = json.loads(once["daemon"]), json.loads(first["applied"])
    for path, value in _merge.leaves(changed):
        ours = _merge.same(_merge.lookup(applied, path), value)
        if not ours and path[0] not in {*former, *options}:
            assert _merge.lookup(result, path) == value, path


# ---- the addresses of its networks ---------------------------------------------------------------------------


def pools_of(texts: dict[str, str]) -> Any:
    return json.loads(texts["daemon"]).get("default-address-pools")


def test_a_pool_beside_the_networks_of_the_host_is_chosen(host: Host) -> None:
    host.put("/proc/net/route", ROUTES + IN_THE_FIRST_POOL)
    assert pools_of(host.desired()) == [{"base": "172.24.0.0/16", "size": 24}]


def test_a_pool_that_was_chosen_stays_while_it_is_free(host: Host) -> None:
    pool = [{"base": "10.213.0.0/16", "size": 24}]
    host.write({"default-address-pools": pool}, {"default-address-pools": pool})
    assert pools_of(host.desired()) == pool


@pytest.mark.parametrize(
    "pools",
    [FIRST_POOL, "nonsense", [{"base": "nonsense"}], []],
    ids=["a-network-of-the-host", "a-text", "no-network", "no-pool"],
)
def test_a_pool_that_was_chosen_and_cannot_stay_is_replaced(host: Host, pools: Any) -> None:
    host.put("/proc/net/route", ROUTES + IN_THE_FIRST_POOL)
    host.write({"default-address-pools": pools}, {"default-address-pools": pools})
    assert pools_of(host.desired()) == [{"base": "172.24.0.0/16", "size": 24}]


def test_a_pool_of_the_operators_on_the_host_stays(host: Host) -> None:
    pool = [{"base": "192.0.2.0/24", "size": 28}]
    host.write({"default-address-pools": pool})
    texts = host.desired()
    assert pools_of(texts) == pool
    assert "default-address-pools" not in json.loads(texts["applied"])


def test_a_pool_in_the_inventory_wins(host: Host) -> None:
    pool = [{"base": "fd00:1::/48", "size": 64}]
    host.write({"default-address-pools": FIRST_POOL}, {"default-address-pools": FIRST_POOL})
    assert pools_of(host.desired(daemon_options={"default-address-pools": pool})) == pool
    assert pools_of(host.desired(daemon_options={"default-address-pools": None})) is None


def test_a_host_without_a_free_pool_is_refused(host: Host) -> None:
    host.put("/proc/net/route", ROUTES + EVERYTHING_PRIVATE)
    with pytest.raises(OpenClawError, match=r"^docker_daemon_options: every address pool"):
        host.desired()


@pytest.mark.parametrize(
    ("options", "live"),
    [
        pytest.param({"default-address-pools": [{"base": "100.64.0.0/16", "size": 24}]}, {}, id="the-operator"),
        pytest.param(
            {}, {"default-address-pools": [{"base": "100.64.0.0/16", "size": 24}]}, id="the-operator-on-the-host"
        ),
    ],
)
def test_a_pool_that_is_named_is_enough_on_a_host_without_a_free_one(
    host: Host, options: dict[str, Any], live: dict[str, Any]
) -> None:
    host.put("/proc/net/route", ROUTES + EVERYTHING_PRIVATE)
    host.write(live)
    assert pools_of(host.desired(daemon_options=options)) == [{"base": "100.64.0.0/16", "size": 24}]


# ---- an engine that is removed -------------------------------------------------------------------------------------


def test_an_engine_that_is_removed_takes_only_its_own_keys_along(host: Host) -> None:
    host.write({"debug": True, "log-opts": {"tag": "x"}})
    once = host.desired(daemon_options={"mtu": 1400, "log-opts": {"max-size": "1g"}})
    host.write(once["daemon"], once["applied"])
    host.put("/proc/net/route", ROUTES + EVERYTHING_PRIVATE)
    gone = host.desired(state="absent", daemon_options={"mtu": 1400, "debug": False})
    assert json.loads(gone["daemon"]) == {"debug": True, "log-opts": {"tag": "x"}}
    assert json.loads(gone["applied"]) == {}


@pytest.mark.parametrize(
    "file", [None, "", "{}", "own"], ids=["no-file", "an-empty-file", "an-empty-object", "our-keys"]
)
def test_of_an_engine_that_is_removed_and_had_the_file_for_itself_nothing_is_left(host: Host, file: str | None) -> None:
    own = {**DEFAULTS, "default-address-pools": FIRST_POOL}
    host.write(own if file == "own" else file, own)
    assert json.loads(host.desired(state="absent")["daemon"]) == {}


def test_an_engine_that_never_was_takes_nothing_along(host: Host) -> None:
    host.write(ODD)
    assert host.desired(state="absent") == {"daemon": ODD, "applied": "{}\n"}


# ---- what is there -------------------------------------------------------------------------------------------


def test_a_bare_host_is_described(host: Host) -> None:
    found = host.check().found
    no = ("account", "subids", "linger", "engine", "image", "image_present", "shared")
    assert {name: found[name] for name in no} == dict.fromkeys(no, False)
    assert found["uid"] == -1
    assert found["subid_range"] == "300000-365535"
    assert found["installed"] == ["docker-ce", "containerd.io"]
    assert json.loads(found["daemon"]) == {**DEFAULTS, "default-address-pools": FIRST_POOL}


@pytest.mark.parametrize("state", ["present", "absent"])
def test_the_role_is_told_what_it_reads_and_nothing_else(host: Host, state: str) -> None:
    assert set(host.check(state=state).found) == {
        "account",
        "applied",
        "daemon",
        "due",
        "engine",
        "files",
        "image",
        "image_present",
        "installed",
        "linger",
        "shared",
        "source",
        "subid_range",
        "subids",
        "uid",
    }


SOURCES: list[list[dict[str, str]]] = [[], [{"path": "/nowhere"}]]


def test_whether_the_apt_source_is_in_sync_is_told(host: Host) -> None:
    assert [host.check(source_files=files).found["source"] for files in SOURCES] == [True, False]


def test_a_host_with_an_engine_is_described(host: Host, engine: Answers) -> None:
    ready(host, engine)
    yes = ("account", "subids", "linger", "engine", "image", "image_present")
    found = host.check(account="root").found
    assert {name: found[name] for name in yes} == dict.fromkeys(yes, True)
    assert found["uid"] == 0
    assert found["subid_range"] == "100000-165535"


def ready(host: Host, engine: Answers) -> None:
    """Have all that the account root needs, and an engine with the image."""
    engine[IMAGE] = LABELLED
    host.put("/etc/subuid", "root:100000:65536\n")
    host.put("/etc/subgid", "root:100000:65536\n")
    host.put("/var/lib/systemd/linger/root")
    host.put("/etc/systemd/user/root-docker.service")
    host.put("/var/lib/dpkg/status", "".join(map(package, ["docker-ce", "containerd.io", "uidmap"])))
    texts = host.check(account="root").found
    host.write(texts["daemon"], texts["applied"])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param((404, {"message": "No such image"}), (False, False), id="no-image"),
        pytest.param((200, {"Config": {"Labels": {"clawops.recipe": "another"}}}), (False, True), id="another-recipe"),
        pytest.param((200, {"Config": {"Labels": {"x": "0123456789abcdef"}}}), (False, True), id="another-label"),
        pytest.param((200, {"Config": {"Labels": None}}), (False, True), id="no-labels"),
        pytest.param((200, {"Config": None}), (False, True), id="no-config"),
        pytest.param((200, "not JSON"), (False, True), id="no-json"),
        pytest.param((200, [1]), (False, True), id="a-list"),
        pytest.param((200, {"Config": [1]}), (False, True), id="config-that-is-a-list"),
        pytest.param((200, {"Config": {"Labels": ["clawops.recipe"]}}), (False, True), id="labels-that-are-a-list"),
        pytest.param((200, {"Config": {"Labels": "clawops.recipe"}}), (False, True), id="labels-that-are-a-text"),
    ],
)
def test_an_image_that_is_not_the_desired_one(
    host: Host, engine: Answers, answer: tuple[int, Any], expected: tuple[bool, bool]
) -> None:
    engine[IMAGE] = answer
    found = host.check().found
    assert (found["image"], found["image_present"]) == expected


def test_an_image_is_asked_for_by_its_whole_name(host: Host, engine: Answers) -> None:
    engine["/images/images.example:5000/a/b:c%3Fd/json"] = (200, {})
    assert host.check(image="images.example:5000/a/b:c?d").found["image_present"] is True


def test_an_engine_that_answers_with_an_error_does_not_count(host: Host, engine: Answers) -> None:
    engine["/_ping"] = (500, "")
    assert host.check().found["engine"] is False


@pytest.mark.parametrize(
    ("unit", "shared"),
    [
        pytest.param("openclaw-docker.service", False, id="the-engine-itself"),
        pytest.param("openclaw-blue-docker.service", True, id="another-gateways-engine"),
        pytest.param("other-docker.service", False, id="another-engine"),
        pytest.param("openclaw-blue-docker.service.d", False, id="no-unit"),
    ],
)
def test_packages_are_shared_with_an_engine_of_this_kind(host: Host, unit: str, shared: bool) -> None:
    host.put(f"/etc/systemd/user/{unit}")
    assert host.check().found["shared"] is shared


def test_paths_that_the_gateway_reads_are_described(host: Host) -> None:
    host.put("/etc/docker.env", "DOCKER_HOST=x\n")
    path = host.below("/etc/docker.env")
    found = host.check(paths=[path, "/nowhere/at/all"]).found["files"]
    assert found == [
        {"path": path, "state": "file", "content": "DOCKER_HOST=x\n"},
        {"path": "/nowhere/at/all", "state": "absent"},
    ]


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("daemon", '{"debug": true,}', "it is not valid JSON: "),
        ("daemon", "[1]", "it holds a list, and has to hold an object. "),
        ("applied", "{", "it is not valid JSON: "),
    ],
    ids=["no-json", "a-list", "what-was-applied-last"],
)
def test_a_file_that_cannot_be_read_is_refused(host: Host, state: str, name: str, text: str, reason: str) -> None:
    path: Path = getattr(host, name)
    path.write_text(text)
    found, [error], _ = host.check(state=state)
    assert found == {}
    assert error.startswith(f"{path}: {reason}")
    assert error.endswith(". Repair it, or move it away to begin with none; nothing on the host was changed.")
    assert path.read_text() == text


def test_every_error_is_told(host: Host) -> None:
    host.free_mb = 5
    host.put("/proc/sys/kernel/unprivileged_userns_clone", "0\n")
    (host.root / "sys/fs/cgroup/cgroup.controllers").unlink()
    answer = host.check(conflicts=["containerd.io", "docker-ce"], package_source="distribution", distribution="Ubuntu")
    assert [line.split(":")[0] for line in answer.errors] == [
        "docker_source distribution",
        "The package containerd.io",
        "The package docker-ce",
        f"The disk of {host.root / 'data'}",
        "The kernel setting kernel.unprivileged_userns_clone",
    ]
    assert [warning.split(":")[0] for warning in answer.warnings] == ["Memory and CPU of sandboxes"]


def test_nothing_is_refused_for_an_engine_that_is_to_be_removed(host: Host) -> None:
    host.free_mb = 5
    host.put("/proc/sys/user/max_user_namespaces", "0\n")
    host.put("/proc/net/route", ROUTES + EVERYTHING_PRIVATE)
    (host.root / "sys/fs/cgroup/cgroup.controllers").unlink()
    answer = host.check(state="absent", conflicts=["docker-ce"])
    assert answer[1:] == ([], [])
    assert answer.found["due"] == {"phases": ["remove"], "restart": False}


# ---- what is due ---------------------------------------------------------------------------------------------


def test_on_a_bare_host_everything_is_due(host: Host) -> None:
    assert host.check().found["due"] == {"phases": ["install", "configure", "image"], "restart": True}


def test_where_everything_is_in_sync_nothing_is_due(host: Host, engine: Answers) -> None:
    ready(host, engine)
    assert host.check(account="root").found["due"] == {"phases": [], "restart": False}


UNIT = {"path": "/etc/unit", "content": "[Service]\n"}


@pytest.mark.parametrize(
    ("change", "params", "phases", "restart"),
    [
        pytest.param(
            lambda host, _: host.put("/var/lib/dpkg/status", package("docker-ce")),
            {},
            ["install", "configure"],
            False,
            id="a-package-is-missing",
        ),
        pytest.param(
            lambda *_: None,
            {"source_files": [{"path": "/x"}]},
            ["install", "configure"],
            False,
            id="the-source-is-missing",
        ),
        pytest.param(
            lambda *_: None,
            {"packages": ["docker-ce=5:29.*"]},
            ["install", "configure"],
            False,
            id="another-version-of-the-engine",
        ),
        pytest.param(lambda *_: None, {"packages": ["docker-ce=5:28.*"]}, [], False, id="the-version-of-the-engine"),
        pytest.param(lambda *_: None, {"engine_files": [UNIT]}, ["configure"], False, id="a-file-is-missing"),
        pytest.param(lambda host, _: host.write({"mtu": 1}), {}, ["configure"], False, id="daemon-json-is-out-of-sync"),
        pytest.param(lambda host, _: host.applied.unlink(), {}, ["configure"], False, id="what-was-applied-is-missing"),
        pytest.param(
            lambda _, engine: engine.update({"/_ping": (500, "")}),
            {},
            ["configure"],
            True,
            id="the-engine-does-not-answer",
        ),
        pytest.param(lambda host, _: host.put("/etc/subuid"), {}, ["configure"], True, id="no-subordinate-ids"),
        pytest.param(
            lambda host, _: (host.root / "var/lib/systemd/linger/root").unlink(),
            {},
            ["configure"],
            True,
            id="services-only-with-a-login",
        ),
        pytest.param(
            lambda host, _: (host.root / "var/lib/systemd/linger/root").unlink(),
            {"rootless": False},
            [],
            False,
            id="an-engine-with-root-needs-neither",
        ),
        pytest.param(lambda _, engine: engine.pop(IMAGE), {}, ["image"], False, id="no-image"),
    ],
)
def test_only_the_phases_are_due_that_have_something_to_do(
    host: Host,
    engine: Answers,
    change: Callable[[Host, Answers], None],
    params: dict[str, Any],
    phases: list[str],
    restart: bool,
) -> None:
    ready(host, engine)
    change(host, engine)
    assert host.check(account="root", **params).found["due"] == {"phases": phases, "restart": restart}


def test_an_account_that_is_missing_is_due_with_the_packages(host: Host, engine: Answers) -> None:
    ready(host, engine)
    assert host.check().found["due"] == {"phases": ["install", "configure"], "restart": True}


def test_a_file_is_due_until_it_is_written(host: Host, engine: Answers) -> None:
    ready(host, engine)
    unit = {"path": host.below("/etc/unit"), "content": "[Service]\n"}
    assert host.check(account="root", engine_files=[unit]).found["due"]["phases"] == ["configure"]
    host.put("/etc/unit", "[Service]\n")
    assert host.check(account="root", engine_files=[unit]).found["due"]["phases"] == []


def test_it_starts_no_process_and_changes_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_process(*_arguments: Any, **_keywords: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    host.write({"debug": True}, {"mtu": 1400})
    before = host.tree()
    first, again = host.check(), host.check()
    assert first == again
    assert first.errors == []
    assert host.tree() == before
