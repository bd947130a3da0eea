# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Files of a gateway's account, read and written with that account's rights.

The directories belong to the gateway, which an agent may have turned against its host: root never follows a
link there and never opens a file there with its own rights. No other module opens one at all.

What is read is opened by descriptor, step by step, past no link but those of root's own directories. What is written
goes by path: a link on its way leads only to where the account could write itself. A file system of the account's
(FUSE) refuses a process whose real user is another, as ours stays, so it cannot keep us waiting.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pwd
import resource
import secrets as random
import select
import signal
import sqlite3
import stat
import time
import typing as t
import urllib.parse

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._text import parse_json

# Where root locks. A lock in a directory of the account's could be held by the account.
LOCKS = "/run/openclaw"
# The user and group that owns nothing.
_NOBODY = 65534
# Bytes of a file, unless the caller says otherwise.
_LIMIT = 1 << 20
# Seconds for a question to OpenClaw's database, which takes some milliseconds; 2 of them it may be locked.
_DATABASE_SECONDS = 5
_DATABASE_LOCKED_SECONDS = 2
# Bytes that the process which asks may take besides what it inherits, and bytes that it may answer.
_DATABASE_MEMORY = 256 << 20
_DATABASE_ANSWER = 1 << 20
_WRITABLE_BY_OTHERS = 0o022
_REMEDY = "Put a plain file in its place that belongs to the gateway's account."


class Account(t.NamedTuple):
    """The gateway's account; ``None`` in place of one means the caller's own rights."""

    name: str
    uid: int
    gid: int
    # There is none of this name: its rights are those of nobody.
    missing: bool = False


def find_account(name: str | None) -> Account | None:
    """The account to work as; the caller's own rights where no name is given, or the caller is not root.

    Where there is no such account, whatever lies in its place was left by somebody else: nobody's rights open it, which
    are none.
    """
    if not name or os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return Account(name, _NOBODY, _NOBODY, missing=True)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


@contextlib.contextmanager
def rights_of(account: Account | None) -> t.Iterator[None]:
    """Have the account's rights inside the block, and only those."""
    if account is None or account.uid == 0:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


class Unreadable(OpenClawError):
    """Something else stands in the place of a plain file."""

    def __init__(self, path: str, cause: str) -> None:
        self.cause = cause
        super().__init__(path, f"cannot be read: {cause}", _REMEDY)


def read(path: str, account: Account | None, limit: int = _LIMIT) -> bytes | None:
    """The content of a plain file, or ``None`` where there is none.

    :param limit: bytes; a file that has more, be it a hole, is refused.
    """
    with _opened(path, account) as handle:
        if handle is None:
            return None
        content = _read(path, handle, limit + 1)
        if len(content) > limit:
            raise Unreadable(path, f"it has more than {limit // 1024} KiB")
        return content


def read_part(path: str, account: Account | None, start: int, limit: int) -> tuple[int, bytes]:
    """The size of a plain file that grows, 0 where there is none, and at most *limit* bytes from *start* on."""
    with _opened(path, account) as handle:
        if handle is None:
            return 0, b""
        size = os.fstat(handle).st_size
        os.lseek(handle, start, os.SEEK_SET)
        return size, _read(path, handle, limit)


def read_object(path: str, account: Account | None, limit: int, remedy: str) -> dict[str, t.Any]:
    """The JSON object in a plain file, empty where there is none. What stands there is not quoted: it may be a secret."""
    raw = read(path, account, limit)
    try:
        found = parse_json(raw) if raw else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise OpenClawError(path, "is no JSON object", remedy)
    return found


@contextlib.contextmanager
def _opened(path: str, account: Account | None) -> t.Iterator[int | None]:
    """A descriptor of a plain file, with the account's rights inside the block; ``None`` where there is no file."""
    with rights_of(account):
        try:
            handle = _open_plain(path)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Unreadable(path, "it is a symbolic link") from error
            if error.errno == errno.ENOTDIR:
                raise Unreadable(path, "a symbolic link or a file stands where its directory should be") from error
            if error.errno == errno.ENXIO:  # a socket
                raise Unreadable(path, "it is not a plain file") from error
            remedy = _REMEDY
            if account and error.errno == errno.EACCES:
                remedy = f"Give it back: chown -R {account.name}: {os.path.dirname(path)}"
                if account.missing:
                    remedy = f"There is no account {account.name}: move what an earlier one left away, or create it anew and give it all of it."
            raise OpenClawError(path, f"cannot be read: {error.strerror}", remedy) from error
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise Unreadable(path, "it is not a plain file")
            yield handle
        finally:
            os.close(handle)


def _open_plain(path: str) -> int:
    """Open for reading, past no link but those that only root can have made, and without waiting for a pipe or a lease."""
    *parents, name = os.path.abspath(path).strip("/").split("/")
    directory = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        for parent in parents:
            follow = 0 if _is_roots(os.fstat(directory)) else os.O_NOFOLLOW
            below = os.open(parent, os.O_PATH | os.O_DIRECTORY | follow, dir_fd=directory)
            os.close(directory)
            directory = below
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    finally:
        os.close(directory)


def _is_roots(status: os.stat_result) -> bool:
    return status.st_uid == 0 and not status.st_mode & _WRITABLE_BY_OTHERS


def _read(path: str, handle: int, limit: int) -> bytes:
    """At most *limit* bytes from where the descriptor stands."""
    try:
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read(limit)
    except OSError as error:
        raise OpenClawError(path, f"cannot be read: {error.strerror}", _REMEDY) from error


def first_row(path: str, query: str, account: Account | None) -> list[str]:
    """The texts in the first row that a query finds in an SQLite database; empty where it finds none in time.

    What the account wrote there may be a view without end, or a cell as large as the disk. So a process asks that has
    nothing but the account's rights, little memory and little time.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _have_little(account, writing)
            os.write(writing, json.dumps(_ask_database(path, query)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        answer = parse_json(_drain(reading, time.monotonic() + _DATABASE_SECONDS))
    except ValueError:
        answer = []
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return [str(text) for text in answer] if isinstance(answer, list) else []


def _have_little(account: Account | None, kept: int) -> None:
    """Keep of this process no descriptor but one, no rights but the account's, and little memory and time."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != kept:
            with contextlib.suppress(OSError):
                os.close(int(name))
    # Should nobody be left to end it.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_DATABASE_SECONDS + 1)
    with open("/proc/self/statm", encoding="ascii") as file:
        memory = int(file.read().split()[0]) * resource.getpagesize() + _DATABASE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if account is not None and account.uid != 0:
        os.setgroups([])
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)


def _ask_database(path: str, query: str) -> list[str]:
    try:
        connection = sqlite3.connect(
            f"file:{urllib.parse.quote(path)}?mode=ro", uri=True, timeout=_DATABASE_LOCKED_SECONDS
        )
        with contextlib.closing(connection):
            return [cell for cell in connection.execute(query).fetchone() or () if isinstance(cell, str)]
    except (sqlite3.Error, OSError, MemoryError):
        return []


def _drain(pipe: int, deadline: float) -> bytes:
    """What comes out of a pipe until its end; nothing of what is too long or too late."""
    content = b""
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    while len(content) <= _DATABASE_ANSWER and waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
        piece = os.read(pipe, 1 << 16)
        if not piece:
            return content
        content += piece
    return b""


def write(path: str, content: bytes, account: Account | None, mode: int = 0o600) -> None:
    """Replace a file as a whole: at every moment either version stands there, also after a power cut."""
    directory = os.path.dirname(path)
    with rights_of(account):
        temporary = os.path.join(directory, f".{os.path.basename(path)}.{random.token_hex(4)}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, mode)
                file.write(content)
                file.flush()
                os.fsync(handle)
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


@contextlib.contextmanager
def alone(path: str, *, timeout: float) -> t.Iterator[None]:
    """Have *path* to oneself: a run whose controller was killed may still be at work there.

    :param timeout: seconds to wait for it.
    """
    lock = os.path.join(LOCKS, f"{hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:32]}.lock")
    handle = _open_lock(lock)
    deadline = time.monotonic() + timeout
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    reason = f"another run has been changing it for {timeout:.0f} s"
                    remedy = f"Wait until it has ended, then run again; 'fuser {lock}' finds it."
                    raise OpenClawError(path, reason, remedy) from None
                time.sleep(0.2)
        yield
    finally:
        os.close(handle)


def _open_lock(lock: str) -> int:
    """A descriptor of a file that nobody but root, or the caller, can have opened."""
    folder = os.path.dirname(lock)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            status = os.fstat(directory)
            if status.st_uid != os.geteuid() or status.st_mode & _WRITABLE_BY_OTHERS:
                raise OpenClawError(folder, "others than root can write it", "Remove it: it holds locks, and no data.")
            return os.open(os.path.basename(lock), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise OpenClawError(
            folder, f"no lock can be had there: {error.strerror}", "Run as root, and remove what stands there."
        ) from error


@contextlib.contextmanager
def staged(path: str, content: bytes, account: Account | None) -> t.Iterator[str]:
    """A candidate beside *path*, gone after the block."""
    candidate = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.candidate-{random.token_hex(4)}")
    write(candidate, content, account)
    try:
        yield candidate
    finally:
        remove(candidate, account)


def remove(path: str, account: Account | None) -> None:
    """Remove a file that may not be there."""
    with rights_of(account), contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def set_aside(path: str, kept: str, account: Account | None) -> None:
    """Keep whatever stands at *path* under another name; a plain file of ordinary size stays there too, until it is replaced."""
    try:
        # No second name of the same file: a gateway that watches it would go on watching that one (measured).
        content = read(path, account)
    except OpenClawError:
        content = None
    if content is not None:
        write(kept, content, account)
        return
    with rights_of(account):
        os.rename(path, kept)


def sweep(path: str, account: Account | None) -> None:
    """Remove what an interrupted writer left beside *path*."""
    directory, prefix = os.path.dirname(path), f".{os.path.basename(path)}."
    with rights_of(account):
        for name in os.listdir(directory):
            # A candidate's own temporary file has one dot more.
            if name.startswith((prefix, f".{prefix}")):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(directory, name))


def wrong_attributes(path: str, account: Account | None, mode: int) -> bool:
    """Whether a file has another owner or mode than it should."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_IMODE(found.st_mode) != mode or (account is not None and found.st_uid != account.uid)


def dump(value: t.Any) -> bytes:
    """Plain JSON as a person would want to read it."""
    # JSON knows halves of letters that are no text (surrogates): they stay the escapes as which they came.
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


__all__ = (
    "LOCKS",
    "Account",
    "Unreadable",
    "alone",
    "dump",
    "find_account",
    "first_row",
    "read",
    "read_object",
    "read_part",
    "remove",
    "rights_of",
    "set_aside",
    "staged",
    "sweep",
    "write",
    "wrong_attributes",
)
