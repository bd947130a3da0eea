# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel's and dpkg's own texts, and this very host."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _host

# Lines as Linux prints them on a little-endian machine.
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:4965 00000000:0000 0A 00000000:00000000 00:00000000 0   995        0 17292 1 00000000765c2971
   1: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 0     0        0 576 1 00000000a3e0e5fb
   2: 0100007F:A144 0100007F:4965 06 00000000:00000000 03:00000A0D 00000000     0        0 0 3 000000006bfa9c2a
   3: 0501A8C0:0016 00000000:0000 0A 00000000:00000000 00:00000000 0     0        0 900 1 00000000a3e0e5fb
   4: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 0   991        0 901 1 00000000a3e0e5fb
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:4965 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 0   995        0 17293 1 0000000077f1b41b
   1: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 0     0        0 600 1 0000000077f1b41b
   2: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 0     0        0 601 1 0000000077f1b41b
   3: B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 0     0        0 602 1 0000000077f1b41b
   4: 000080FE00000000FF005450B6AD1DFE:01BC 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 0     0        0 603 1 0000000077f1b41b
"""
MEMINFO = "MemTotal:        2014424 kB\nMemFree:         1595372 kB\nMemAvailable:    1818344 kB\nSwapTotal:             0 kB\n"
STATUS = """\
Package: nodejs-doc
Status: install ok installed
Version: 1.2.3

Package: nodejs
Status: {status}
Priority: optional
Section: web
Maintainer: Nobody <nobody@example.com>
Architecture: amd64
Version: 24.21.0-1nodesource1
Description: Node.js
 Version: of a description

Package: npm
Status: install ok installed
Version: 9.9.9
"""


def test_listening_sockets_are_read_and_no_others() -> None:
    assert _host.listeners(TCP) == [
        ("loopback", 18789, "17292"),
        ("any", 2024, "576"),
        ("other", 22, "900"),
        ("loopback", 53, "901"),
    ]


def test_listening_sockets_of_ipv6_are_read() -> None:
    assert _host.listeners(TCP6) == [
        ("loopback", 18789, "17293"),
        ("any", 80, "600"),
        ("loopback", 8080, "601"),
        ("other", 443, "602"),
        ("other", 444, "603"),
    ]


@pytest.mark.parametrize("table", ["", TCP.splitlines()[0], TCP[:150]], ids=["nothing", "a-heading", "a-torn-line"])
def test_a_table_without_a_whole_line_has_no_listeners(table: str) -> None:
    assert _host.listeners(table) == []


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("0.0.0.0", "any"),  # noqa: S104 - any address is what is looked for
        ("::1", "loopback"),
        ("::", "any"),
    ],
)
def test_a_real_listener_is_found_with_its_owner(listen: Callable[[str], int], address: str, kind: str) -> None:
    port = listen(address)
    table = _host.read_text("/proc/net/tcp6" if ":" in address else "/proc/net/tcp")
    [found] = [each for each in _host.listeners(table) if each.port == port]
    assert found.address == kind
    assert _host.owner_of(found.inode) == (os.getpid(), Path("/proc/self/comm").read_text().strip())


def test_a_socket_of_nobody_has_no_owner() -> None:
    assert _host.owner_of("0123") == (0, "")


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        pytest.param("0::/system.slice/openclaw-gateway.service\n", "openclaw-gateway.service", id="a-service"),
        pytest.param(
            "0::/system.slice/openclaw-gateway-blue.service/inner\n",
            "openclaw-gateway-blue.service",
            id="a-group-inside",
        ),
        pytest.param(
            "0::/docker/0a1b/system.slice/nginx.service\n",
            "nginx.service",
            id="a-service-in-a-container-without-namespace",
        ),
        pytest.param(
            "9:name=systemd:/system.slice/ssh.service\n4:memory:/system.slice/ssh.service\n0::/\n",
            "ssh.service",
            id="v1",
        ),
        pytest.param("0::/user.slice/user-0.slice/session-1.scope\n", "", id="a-session"),
        pytest.param("0::/system.slice/my.serviceless\n", "", id="a-name-that-only-looks-like-one"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_unit_of(text: str, unit: str) -> None:
    assert _host.unit_of(text) == unit


@pytest.mark.parametrize(
    ("text", "megabytes"), [(MEMINFO, 1967), ("MemTotal: 1024 kB", 1), ("Other: 5 kB\n", 0), ("", 0)]
)
def test_memory_mb(text: str, megabytes: int) -> None:
    assert _host.memory_mb(text) == megabytes


def test_other_lines_of_memory_are_read_too() -> None:
    assert _host.memory_mb(MEMINFO, "MemAvailable") == 1775
    assert _host.memory_mb(MEMINFO, "SwapTotal") == 0


def test_what_swaps_is_read_with_what_is_used_of_it() -> None:
    heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    table = f"{heading}/dev/sda2 partition\t1048572\t0\t-2\n/var/openclaw_swap file\t524284\t307200\t-3\n"
    assert _host.swaps(table) == {"/dev/sda2": 0, "/var/openclaw_swap": 300}
    assert _host.swaps(heading) == _host.swaps("") == {}


@pytest.mark.parametrize("comm", ["node", "a) b (c", "x y z"])
def test_a_process_began_when_the_kernel_says(comm: str) -> None:
    fields = " ".join(["S", "1", *["0"] * 17, "210774", "3133440"])
    assert _host.started_at(
        f"4711 ({comm}) {fields}\n", "cpu 1 2\nbtime 1795412996\nprocesses 3\n", 100
    ) == pytest.approx(1795412996 + 2107.74)


def test_without_the_time_of_the_boot_a_process_began_some_seconds_after_it() -> None:
    assert _host.started_at("1 (x) " + " ".join(["S", "1", *["0"] * 17, "500"]), "cpu 1 2\n", 100) == 5


def test_a_real_process_began_just_now() -> None:
    with subprocess.Popen(["/bin/sleep", "30"]) as process:
        began = _host.started_at(
            _host.read_text(f"/proc/{process.pid}/stat"), _host.read_text("/proc/stat"), os.sysconf("SC_CLK_TCK")
        )
        process.kill()
    assert abs(time.time() - began) < 10


@pytest.mark.parametrize(
    ("status", "version"),
    [
        pytest.param("install ok installed", "24.21.0-1nodesource1", id="installed"),
        pytest.param("hold ok installed", "24.21.0-1nodesource1", id="held"),
        pytest.param("deinstall ok config-files", "", id="removed"),
        pytest.param("install ok unpacked", "", id="half-way"),
        pytest.param("install reinstreq half-installed", "", id="broken"),
    ],
)
def test_package_version(status: str, version: str) -> None:
    assert _host.package_version(STATUS.format(status=status), "nodejs") == version


@pytest.mark.parametrize("package", ["node", "nodej.", "odejs", "nodejs-d"])
def test_only_the_whole_name_of_a_package_counts(package: str) -> None:
    assert _host.package_version(STATUS.format(status="install ok installed"), package) == ""


def test_a_real_package_is_found() -> None:
    asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "dpkg"], capture_output=True, text=True, check=True)
    assert _host.package_version(_host.read_text("/var/lib/dpkg/status"), "dpkg") == asked.stdout


@pytest.mark.parametrize(
    ("status", "there"),
    [
        pytest.param("install ok installed", True, id="installed"),
        pytest.param("hold ok installed", True, id="held"),
        pytest.param("deinstall ok config-files", False, id="removed"),
        pytest.param("install ok unpacked", False, id="half-way"),
        pytest.param("install reinstreq half-installed", False, id="broken"),
    ],
)
def test_package_versions(status: str, there: bool) -> None:
    others = {"nodejs-doc": "1.2.3", "npm": "9.9.9"}
    expected = {**others, "nodejs": "24.21.0-1nodesource1"} if there else others
    assert _host.package_versions(STATUS.format(status=status)) == expected


@pytest.mark.parametrize("status", ["", "\n", "\n\n\n\n", "Package: a\n\n", "Version: 1\n"])
def test_a_list_without_a_whole_paragraph_has_no_packages(status: str) -> None:
    assert _host.package_versions(status) == {}


def test_all_real_packages_are_found() -> None:
    format_ = "${db:Status-Want} ${db:Status-Status} ${Package} ${Version}\n"
    asked = subprocess.run(["dpkg-query", "-W", "-f", format_], capture_output=True, text=True, check=True)
    rows = [line.split() for line in asked.stdout.splitlines()]
    there = {(name, version) for want, state, name, version in rows if state == "installed" and want != "deinstall"}
    found = _host.Host().packages
    # A package of two architectures has two versions, which are the same as a rule.
    assert set(found) == {name for name, _version in there}
    assert set(found.items()) <= there


MOUNTS = r"""22 1 254:1 / / ro,relatime shared:1 - ext4 /dev/vda1 rw
23 22 254:1 /var/lib/openclaw/main /var/lib/openclaw/main rw,nosuid - ext4 /dev/vda1 rw
24 22 254:1 /a /srv/a\040b rw,relatime - ext4 /dev/vda1 rw
25 22 0:5 / /later rw - tmpfs tmpfs rw
26 25 0:6 / /later ro - tmpfs tmpfs rw
torn
"""


@pytest.mark.parametrize(
    ("path", "readonly"),
    [
        ("/var/lib/openclaw/main", False),
        ("/var/lib/openclaw/main/state", False),
        ("/var/lib/openclaw/mainly", True),
        ("/var/cache/openclaw/main", True),
        ("/srv/a b/c", False),
        ("/srv/a", True),
        ("/later/x", True),
        ("/", True),
    ],
)
def test_whether_a_path_is_on_a_mount_that_is_read_only(path: str, readonly: bool) -> None:
    assert _host.mounted_readonly(MOUNTS, path) is readonly


def test_a_host_that_tells_nothing_of_its_mounts_has_none_that_is_read_only() -> None:
    assert _host.mounted_readonly("", "/var") is False


def test_a_process_that_has_ended_has_lost_nothing() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert _host.missing_directories(process.pid, ["/var"]) == []


def test_a_text_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    assert _host.read_text(str(tmp_path / "none")) == ""
    assert _host.read_text(str(tmp_path)) == ""
    (tmp_path / "odd").write_bytes(b"a\xff")
    assert _host.read_text(str(tmp_path / "odd")) == "a\ufffd"


def test_the_processes_are_those_of_this_host() -> None:
    assert os.getpid() in set(_host.processes())


@pytest.mark.parametrize(
    ("table", "main"),
    [
        pytest.param({}, 0, id="nothing-runs"),
        pytest.param({10: ("other.service", 1)}, 0, id="only-another-unit"),
        pytest.param({10: ("our.service", 1)}, 10, id="one-process"),
        pytest.param({30: ("our.service", 1), 10: ("our.service", 30)}, 30, id="a-child-with-a-smaller-number"),
        pytest.param({10: ("our.service", 1), 12: ("our.service", 10), 14: ("our.service", 12)}, 10, id="a-grandchild"),
        pytest.param({10: ("our.service", 1), 12: ("other.service", 10)}, 10, id="a-child-in-another-unit"),
    ],
)
def test_main_process(monkeypatch: pytest.MonkeyPatch, table: dict[int, tuple[str, int]], main: int) -> None:
    def read_text(path: str) -> str:
        pid, kind = re.fullmatch(r"/proc/(\d+)/(cgroup|stat)", path).groups()  # type: ignore[union-attr]
        unit, parent = table[int(pid)]
        return f"0::/system.slice/{unit}\n" if kind == "cgroup" else f"{pid} (a) b) S {parent} 0"

    monkeypatch.setattr(_host, "read_text", read_text)
    monkeypatch.setattr(_host, "processes", lambda: iter(table))
    assert _host.main_process("our.service") == main


def test_a_process_that_ends_while_it_is_looked_at_does_not_disturb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_host, "processes", lambda: iter([2**22 + 1]))
    assert _host.main_process("our.service") == 0
    assert _host.owner_of("1") == (0, "")


class Looks:
    """A host of texts, which notes how often each is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **texts: str) -> None:
        self.texts = {f"/{name.replace('_', '/')}": text for name, text in texts.items()}
        self.read: list[str] = []
        monkeypatch.setattr(_host, "read_text", self.text)
        monkeypatch.setattr(_host, "processes", self.processes)

    def text(self, path: str) -> str:
        self.read.append(path)
        return self.texts.get(path, "")

    def processes(self) -> list[int]:
        self.read.append("/proc")
        return sorted({int(path.split("/")[2]) for path in self.texts if path.split("/")[2].isdigit()})


class TestHost:
    """One look: whatever is asked for is read once, and nothing else is."""

    def test_nothing_is_read_before_it_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        looks = Looks(monkeypatch)
        _host.Host()
        assert looks.read == []

    def test_each_file_and_table_is_read_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        status = STATUS.format(status="install ok installed")
        looks = Looks(
            monkeypatch, var_lib_dpkg_status=status, proc_meminfo=MEMINFO, proc_net_tcp=TCP, proc_net_tcp6=TCP6
        )
        host = _host.Host()
        for _again in range(2):
            assert host.packages["nodejs"] == "24.21.0-1nodesource1"
            assert host.text("/var/lib/dpkg/status") == status
            assert host.memory_mb == 2014424 // 1024
            assert host.listeners == [*_host.listeners(TCP), *_host.listeners(TCP6)]
            assert host.text("/nowhere") == ""
        expected = ["/var/lib/dpkg/status", "/proc/meminfo", "/proc/net/tcp", "/proc/net/tcp6", "/nowhere"]
        assert looks.read == expected

    def test_another_look_reads_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        looks = Looks(monkeypatch, proc_meminfo=MEMINFO)
        assert _host.Host().memory_mb
        looks.texts["/proc/meminfo"] = ""
        assert _host.Host().memory_mb == 0

    def test_processes_are_looked_through_once_for_all_units(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ours, other = "0::/system.slice/our.service\n", "0::/system.slice/other.service\n"
        looks = Looks(
            monkeypatch,
            proc_10_cgroup=ours,
            proc_10_stat="10 (a) b) S 30 0",
            proc_30_cgroup=ours,
            proc_30_stat="30 (a) S 1 0",
            proc_12_cgroup=other,
            proc_12_stat="12 (a) S 30 0",
            proc_14_cgroup="0::/user.slice\n",
            proc_16_cgroup=other,  # it ends before its parent is read
        )
        host = _host.Host()
        for _again in range(2):
            assert (host.processes_of("our.service"), host.main_process("our.service")) == ([10, 30], 30)
            assert (host.processes_of("other.service"), host.main_process("other.service")) == ([12, 16], 12)
            assert (host.processes_of("no.service"), host.main_process("no.service")) == ([], 0)
        assert sorted(looks.read) == sorted({*looks.read}), "it was read again"
        assert "/proc/14/stat" not in looks.read

    def test_what_was_found_before_is_known_and_stays_the_callers(self) -> None:
        known = {"gateway": {"version": "1"}}
        host = _host.Host(found=known)
        host.found["nodejs"] = {}
        assert (host.found["gateway"], known) == ({"version": "1"}, {"gateway": {"version": "1"}})
        assert _host.Host().found == {}
        assert _host.Host().module is None

    def test_this_very_host(self, listen: Callable[[str], int]) -> None:
        port = listen("127.0.0.1")
        host = _host.Host()
        assert host.memory_mb > 100
        assert port in {listener.port for listener in host.listeners}
        assert host.packages["dpkg"]


def test_free_space_is_that_of_the_nearest_directory_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    usage = os.statvfs(tmp_path)
    expected = usage.f_bavail * usage.f_frsize / 2**20
    for path in (tmp_path, tmp_path / "none", tmp_path / "none/at/all", "none/at/all"):
        assert _host.free_mb(str(path)) == pytest.approx(expected, rel=0.05)


def test_the_name_of_a_process_reaches_no_terminal_raw() -> None:
    """A process may call itself anything, and whoever listens on a gateway's port is named in a message."""
    script = (
        "import socket; open('/proc/self/comm', 'w').write('\\x1b[31m\\x07\\x9bx');"
        "l = socket.create_server(('127.0.0.1', 0)); print(l.getsockname()[1], flush=True); input()"
    )
    argv = [sys.executable, "-c", script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        [found] = [each for each in _host.Host().listeners if each.port == port]
        pid, name = _host.owner_of(found.inode)
        process.kill()
    assert pid == process.pid
    assert name == " [31m  x"


def test_a_socket_is_found_in_a_process_that_opens_and_closes_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        inode = os.readlink(f"/proc/self/fd/{server.fileno()}")[len("socket:[") : -1]
        # The descriptor by which the folder was listed is gone when its name is looked at.
        monkeypatch.setattr(os, "listdir", lambda folder: ["999999", str(server.fileno())])
        assert _host.holds(os.getpid(), inode)
        assert not _host.holds(os.getpid(), f"{inode}0")


def test_a_process_that_has_ended_holds_no_socket() -> None:
    assert not _host.holds(2**22 + 1, "77")
