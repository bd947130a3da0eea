# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Ends what an account runs, and removes what it could leave behind for the next one of its name or number.

The account may work against it all the while: it starts processes as fast as they are ended, mounts file systems of its
own, nests directories without end.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import subprocess
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _bounded, _host
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

# Seconds to go on ending processes that start others.
_ENDS_WITHIN = 20
# Seconds for a manager of user services to stop what it runs, before it is ended like any other process.
_STOPS_WITHIN = 15
_INTERVAL = 0.05
# Looks that have to find nothing, one after the other.
_QUIET = 3
# Seconds to look for what an account has left in places that are everybody's, and how much of it is listed.
_SEARCH_SECONDS = 60
_SEARCH_BYTES = 1 << 20
# What a program on the host keeps for an account, by its name.
_NAMED = ("/var/spool/cron/crontabs/{}", "/var/mail/{}", "/var/lib/systemd/linger/{}")
# Where jobs for later are files that belong to the account (at), and where anybody may put a file.
_SHARED = (
    "/var/spool/cron/atjobs",
    "/var/spool/cron/atspool",
    "/tmp",  # noqa: S108 - to be looked at, not to be written to
    "/var/tmp",  # noqa: S108 - the same
    "/dev/shm",  # noqa: S108 - the same
    "/dev/mqueue",
    "/run/lock",
)
# Shared memory, semaphores and queues of System V: their table, and how ipcrm calls them.
_IPC = {"shm": "--shmem-id", "sem": "--semaphore-id", "msg": "--queue-id"}
# Who may not have jobs: a name on each line. The second of each is read where it is there, and then alone.
_CRON, _AT = ("/etc/cron.deny", "/etc/cron.allow"), ("/etc/at.deny", "/etc/at.allow")


class Owner(t.NamedTuple):
    """An account, and all user ids that its processes can have.

    :param extra: ``(first, count)`` of each range of ids that the account may use in a namespace of its own.
    """

    name: str
    uid: int
    extra: tuple[tuple[int, int], ...] = ()

    def owns(self, uid: int) -> bool:
        return uid == self.uid or any(first <= uid < first + count for first, count in self.extra)


def find(name: str, subuid: str) -> Owner | None:
    """The account of this name, where there is one.

    :param subuid: the text of ``/etc/subuid``.
    :raises OpenClawError: it is root, of whom nothing is ended.
    """
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:
        return None
    if uid == 0:
        raise OpenClawError(name, "has the rights of root", "Name the account of a gateway.")
    return Owner(name, uid, ranges(subuid, name, uid))


def ranges(subuid: str, name: str, uid: int) -> tuple[tuple[int, int], ...]:
    """The ranges of user ids that belong to an account."""
    rows = (line.split(":") for line in subuid.splitlines())
    found = [(int(row[1]), int(row[2])) for row in rows if len(row) == 3 and row[0] in (name, str(uid))]
    return tuple((first, count) for first, count in found if first > 0)


def deny_files(name: str) -> list[str]:
    """Files in which a line with the account's name is missing that keeps it out of cron and at.

    Without either file cron lets everybody in; at lets in root alone, and everybody with an empty ``at.deny``: so that one is
    not made.
    """
    missing = []
    for (deny, allow), without in ((_CRON, True), (_AT, False)):
        text = _host.read_text(deny)
        if not os.path.lexists(allow) and name not in text.split() and (text or without or os.path.lexists(deny)):
            missing.append(deny)
    return missing


def processes(owner: Owner) -> list[int]:
    """The ids of the account's processes that have not ended, whichever of its rights they have given up."""
    return [pid for pid in _host.processes() if is_of(_host.read_text(f"/proc/{pid}/status"), owner)]


def is_of(status: str, owner: Owner) -> bool:
    """Whether the text of ``/proc/<pid>/status`` is that of a process of the account which still runs."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    uids = [int(uid) for uid in fields.get("Uid", "").split()]
    # One that has ended and whose parent does not ask for it (zombie, dead) does nothing any more.
    return any(owner.owns(uid) for uid in uids) and fields.get("State", "").strip()[:1] not in ("Z", "X")


def end_processes(owner: Owner) -> int:
    """End every process of the account; how many were seen at once.

    :raises OpenClawError: some go on.
    """
    if processes(owner):
        _stop_user_manager(owner)
    deadline = time.monotonic() + _ENDS_WITHIN
    seen = quiet = 0
    # One that starts another and ends while the list is read is in none.
    while quiet < _QUIET:
        left = processes(owner)
        seen, quiet = max(seen, len(left)), 0 if left else quiet + 1
        if left and time.monotonic() > deadline:
            reason = f"{len(left)} of its processes go on, as {left[0]}"
            raise OpenClawError(owner.name, reason, f"Look at 'ps -u {owner.name}', restart the host and run again.")
        _end_all(owner.uid)
        for pid in left:
            _end(pid, owner)
        time.sleep(_INTERVAL)
    return seen


def _stop_user_manager(owner: Owner) -> None:
    """Have systemd stop what it runs for the account, so that it restarts nothing."""
    argv = ["systemctl", "stop", f"user@{owner.uid}.service", f"user-{owner.uid}.slice"]
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        subprocess.run(argv, capture_output=True, check=False, timeout=_STOPS_WITHIN)


def _end_all(uid: int) -> None:
    """End in one step what a process of the account may end, so that none is started between two of them."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _end(pid: int, owner: Owner) -> None:
    """End a process, unless its number has become that of another one."""
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            if is_of(_host.read_text(f"/proc/{pid}/status"), owner):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


class Mount(t.NamedTuple):
    """A file system that the account itself serves (FUSE), and the number of its connection to the kernel."""

    point: str
    connection: str


def own_mounts(owner: Owner, mountinfo: str) -> list[Mount]:
    """The file systems that the account serves, wherever they are, the latest first.

    Nobody but the account sees what is in them, and a process that waits for one cannot be ended.
    """
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind, options = left.split(" "), right.split(" ")[0], right.split(" ")[-1]
        served = re.search(r"(?:^|,)user_id=(\d+)(?:,|$)", options)
        if kind.startswith("fuse") and served and owner.owns(int(served.group(1))) and len(fields) > 4:
            found.append(Mount(_host.mount_points(line)[0], fields[2].partition(":")[2]))
    return found[::-1]


def release(mounts: t.Iterable[Mount]) -> None:
    """Take the account's own file systems away; whoever waits for one goes on with an error."""
    mounts = list(mounts)
    for mount in mounts:
        with contextlib.suppress(OSError):
            _host.write_text(f"/sys/fs/fuse/connections/{mount.connection}/abort", "1")
    unmount(mount.point for mount in mounts)


def mounts_below(paths: t.Iterable[str], mountinfo: str) -> list[str]:
    """Where something is mounted at or below these paths, the latest first."""
    tops = [f"{os.path.abspath(path)}/" for path in paths]
    points = _host.mount_points(mountinfo)
    return [point for point in reversed(points) if any(f"{point}/".startswith(top) for top in tops)]


def is_there(path: str) -> bool:
    """Whether anything is at a path, also what cannot be looked at."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def unmount(points: t.Iterable[str]) -> None:
    """Take mounts away without a question to whoever serves them.

    :raises OpenClawError: one stays.
    """
    for point in points:
        argv = ["umount", "--lazy", "--no-canonicalize", "--", point]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OpenClawError(point, f"is mounted, and stays: {done.stderr.strip()}", "Unmount it and run again.")


def remains(owner: Owner) -> list[str]:
    """What programs on the host keep for the account, and whatever is its own in places that are everybody's."""
    return _named(owner) + _found(owner, "-print0")


def remove_remains(owner: Owner) -> list[str]:
    """Remove that; what was removed.

    :raises OpenClawError: it could not be looked for in time, or something is left.
    """
    named = _named(owner)
    remove_trees(named)
    # By find itself, which holds the directory: by its path, another account could lead root elsewhere meanwhile.
    return named + _found(owner, "-print0", "-delete")


def _named(owner: Owner) -> list[str]:
    return [path for path in (place.format(owner.name) for place in _NAMED) if is_there(path)]


def _found(owner: Owner, *actions: str) -> list[str]:
    """The account's own files in places that are everybody's, as far as the list is kept."""
    shared = [path for path in _SHARED if os.path.isdir(path)]
    if not shared:
        return []
    owned = ["-uid", str(owner.uid)]
    for first, count in owner.extra:
        owned += ["-o", "-uid", f"+{first - 1}", "-uid", f"-{first + count}"]
    # find opens each directory by its parent's descriptor, and stays on the file systems that it was given.
    argv = ["find", *shared, "-xdev", "-mindepth", "1", "(", *owned, ")", *actions]
    try:
        listed = _bounded.run(argv, "", seconds=_SEARCH_SECONDS, limit=_SEARCH_BYTES).stdout
    except subprocess.TimeoutExpired as error:
        reason = f"its files in {', '.join(shared)} could not all be looked for within {_SEARCH_SECONDS} s"
        raise OpenClawError(owner.name, reason, "Remove some of them and run again.") from error
    # What follows the last end of a path was cut off at the limit, and is none.
    return listed.split("\0")[:-1]


def remove_ipc(owner: Owner) -> list[str]:
    """Remove the account's shared memory, semaphores and queues of System V; what was removed, in words."""
    removed = []
    for kind, option in _IPC.items():
        heading, *rows = _host.read_text(f"/proc/sysvipc/{kind}").splitlines() or [""]
        columns = heading.split()
        for row in (dict(zip(columns, line.split(), strict=False)) for line in rows):
            if owner.owns(int(row["uid"])) or owner.owns(int(row["cuid"])):
                subprocess.run(["ipcrm", option, row[f"{kind}id"]], capture_output=True, check=False)
                removed.append(f"{kind} {row[f'{kind}id']}")
    return removed


def remove_trees(paths: t.Iterable[str]) -> None:
    """Remove files and directories, however deep, and nothing of another file system.

    :raises OpenClawError: something is left.
    """
    # rm opens a directory by its parent's descriptor, follows no link and keeps no list of names as deep as the tree.
    there = [path for path in paths if is_there(path)]
    if not there:
        return
    argv = ["rm", "--recursive", "--force", "--one-file-system", "--", *there]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    left = [path for path in there if is_there(path)]
    if left:
        said = done.stderr.strip().splitlines()[:1]
        raise OpenClawError(left[0], f"could not be removed: {' '.join(said)[:300]}", "Remove it and run again.")


__all__ = (
    "Mount",
    "Owner",
    "deny_files",
    "end_processes",
    "find",
    "is_of",
    "is_there",
    "mounts_below",
    "own_mounts",
    "processes",
    "ranges",
    "release",
    "remains",
    "remove_ipc",
    "remove_remains",
    "remove_trees",
    "unmount",
)
