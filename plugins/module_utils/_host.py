# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What the host says about itself, read from the kernel's and dpkg's own files: no process is started."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._text import printable

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

_LISTEN = "0A"


class Listener(t.NamedTuple):
    """A TCP socket that listens."""

    address: str
    port: int
    inode: str


def memory_mb(meminfo: str, line: str = "MemTotal") -> int:
    """Memory in MiB, the total if nothing else is asked for, out of the text of ``/proc/meminfo``."""
    found = re.search(rf"^{line}:\s+(\d+) kB", meminfo, re.MULTILINE)
    return int(found.group(1)) // 1024 if found else 0


def swaps(table: str) -> dict[str, int]:
    """What swaps, with how many MiB of it are used, out of the text of ``/proc/swaps``."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return {fields[0]: int(fields[3]) // 1024 for fields in rows if len(fields) > 3}


def listeners(table: str) -> list[Listener]:
    """The listening sockets in the text of ``/proc/net/tcp`` or ``/proc/net/tcp6``."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            address, port = fields[1].split(":")
            found.append(Listener(_address(address), int(port, 16), fields[9]))
    return found


def _address(text: str) -> str:
    """The kernel's hexadecimal address, of which only the two special kinds matter here."""
    if not text.strip("0"):
        return "any"
    # 127.0.0.0/8 and ::1, as a little-endian machine prints them; ::ffff:127.0.0.1 ends like the first.
    loopback = text.endswith("7F") if len(text) == 8 else text.endswith("01000000") and not text[:24].strip("0")
    return "loopback" if loopback or text.endswith("0100007F") else "other"


def unit_of(cgroup: str) -> str:
    """The systemd service in the text of ``/proc/<pid>/cgroup``, or an empty string."""
    found = re.search(r"/([^/\n]+\.service)(?:/|$)", cgroup, re.MULTILINE)
    return found.group(1) if found else ""


def started_at(stat: str, boot_stat: str, ticks: int) -> float:
    """Seconds since the epoch at which the process of this ``/proc/<pid>/stat`` began; good to one second."""
    boot = re.search(r"^btime (\d+)", boot_stat, re.MULTILINE)
    fields = stat.rpartition(")")[2].split()
    return (int(boot.group(1)) if boot else 0) + int(fields[19]) / ticks


def package_version(status: str, package: str) -> str:
    """The version of an installed Debian package out of the text of ``/var/lib/dpkg/status``, or ``""``."""
    found = re.search(
        rf"^Package: {re.escape(package)}\n(?:(?!\n\n).)*?^Status: (?:install|hold) ok installed\n(?:(?!\n\n).)*?^Version: (\S+)",
        status,
        re.MULTILINE | re.DOTALL,
    )
    return found.group(1) if found else ""


def package_versions(status: str) -> dict[str, str]:
    """The versions of all installed Debian packages out of the text of ``/var/lib/dpkg/status``, by name."""
    found = {}
    for paragraph in status.split("\n\n"):
        name, state, version = (
            match[1] if (match := re.search(rf"^{field}: (.+)$", paragraph, re.MULTILINE)) else ""
            for field in ("Package", "Status", "Version")
        )
        if state in ("install ok installed", "hold ok installed"):
            found[name] = version
    return found


def read_text(path: str) -> str:
    """The text of a file of the system, empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            return file.read()
    except OSError:
        return ""


def write_text(path: str, text: str) -> None:
    """Write to a file of the kernel's, as those in ``/sys``."""
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def processes() -> t.Iterator[int]:
    """The ids of the processes that run."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            yield int(name)


def owner_of(inode: str) -> tuple[int, str]:
    """Process id and name of the owner of a socket; ``(0, "")`` where none can be seen."""
    for pid in processes():
        if holds(pid, inode):
            return pid, printable(read_text(f"/proc/{pid}/comm").strip())
    return 0, ""


def holds(pid: int, inode: str) -> bool:
    """Whether a process has this socket. One that opens and closes others meanwhile does not disturb the look."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return False  # it has ended
    for name in names:
        with contextlib.suppress(OSError):
            if os.readlink(f"{folder}/{name}") == f"socket:[{inode}]":
                return True
    return False


def main_process(unit: str) -> int:
    """The main process of a systemd service: the one of its processes whose parent is not one; 0 if none runs."""
    parents = {}
    for pid in processes():
        if unit_of(read_text(f"/proc/{pid}/cgroup")) == unit:
            fields = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
            parents[pid] = int(fields[1]) if len(fields) > 1 else 0
    mains = [pid for pid, parent in parents.items() if parent not in parents]
    return min(mains, default=0)


def missing_directories(pid: int, paths: t.Iterable[str]) -> list[str]:
    """Directories that a process was to write to and cannot any more, because they were removed under it.

    Its working directory, and what its unit has mounted writable in a system that is read-only for it: such a mount ends
    with the directory, and a new one in its place is read-only.

    :param paths: what the unit lets the process write to (``list`` of paths).
    """
    try:
        directory = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return []  # it has ended meanwhile
    gone = [printable(directory.removesuffix(" (deleted)"))] if directory.endswith(" (deleted)") else []
    mounts = read_text(f"/proc/{pid}/mountinfo")
    return gone + [path for path in paths if path not in gone and mounted_readonly(mounts, os.path.realpath(path))]


def mount_points(mountinfo: str) -> list[str]:
    """Where something is mounted, in the order in which it was, out of the text of ``/proc/<pid>/mountinfo``."""
    rows = (line.split(" ") for line in mountinfo.splitlines())
    return [_unescaped(fields[4]) for fields in rows if len(fields) > 5]


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point)


def mounted_readonly(mountinfo: str, path: str) -> bool:
    """Whether the mount that a path is on is read-only, by the table of a process's mounts."""
    best, readonly = "", False
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if len(fields) < 6:
            continue
        point = _unescaped(fields[4])
        # Of two mounts at one place the later one is seen.
        if f"{path}/".startswith(f"{point.rstrip('/')}/") and len(point) >= len(best):
            best, readonly = point, "ro" in fields[5].split(",")
    return readonly


class Host:
    """One look at the host: each file, table and list of processes is read when it is first asked for, and only then.

    :param module: the Ansible module that asks, for the few programs that have to be run. ``None`` in tests.
    :param found: what the checks of roles have found before, by the role's name.
    """

    def __init__(
        self, module: AnsibleModule | None = None, found: t.Mapping[str, dict[str, t.Any]] | None = None
    ) -> None:
        self.module = module
        # What the checks of the roles before have found, by the role's name.
        self.found: dict[str, dict[str, t.Any]] = dict(found or {})
        self._texts: dict[str, str] = {}

    def text(self, path: str) -> str:
        """The text of a file of the system, empty where it cannot be read."""
        if path not in self._texts:
            self._texts[path] = read_text(path)
        return self._texts[path]

    @functools.cached_property
    def packages(self) -> dict[str, str]:
        """The versions of all installed Debian packages, by name."""
        return package_versions(self.text("/var/lib/dpkg/status"))

    @functools.cached_property
    def held(self) -> set[str]:
        """The packages that apt is told to leave in their version."""
        status = self.text("/var/lib/dpkg/status")
        return set(re.findall(r"^Package: (\S+)\nStatus: hold ok installed$", status, re.MULTILINE))

    @property
    def memory_mb(self) -> int:
        """Total memory in MiB."""
        return memory_mb(self.text("/proc/meminfo"))

    @functools.cached_property
    def listeners(self) -> list[Listener]:
        """The TCP sockets that listen, of IPv4 and IPv6."""
        return [each for name in ("tcp", "tcp6") for each in listeners(self.text(f"/proc/net/{name}"))]

    @functools.cached_property
    def _units(self) -> dict[str, dict[int, int]]:
        units: dict[str, dict[int, int]] = {}
        for pid in processes():
            unit = unit_of(read_text(f"/proc/{pid}/cgroup"))
            if unit:
                fields = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
                units.setdefault(unit, {})[pid] = int(fields[1]) if len(fields) > 1 else 0
        return units

    def processes_of(self, unit: str) -> list[int]:
        """The ids of a systemd service's processes."""
        return sorted(self._units.get(unit, {}))

    def main_process(self, unit: str) -> int:
        """The main process of a systemd service: the one whose parent is not one of its processes; 0 if none runs."""
        parents = self._units.get(unit, {})
        return min((pid for pid, parent in parents.items() if parent not in parents), default=0)


def free_mb(path: str) -> int:
    """Free space in MiB for a path, on the filesystem of its nearest parent that exists."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    usage = os.statvfs(path)
    return usage.f_bavail * usage.f_frsize // 1024 // 1024


__all__ = (
    "Host",
    "Listener",
    "free_mb",
    "holds",
    "listeners",
    "main_process",
    "memory_mb",
    "mount_points",
    "owner_of",
    "package_version",
    "package_versions",
    "processes",
    "read_text",
    "started_at",
    "swaps",
    "unit_of",
    "write_text",
)
