# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Files of a gateway's account, read and written with that account's rights.

The directories belong to the gateway, which an agent may have turned against its host: root never follows a
link there and never opens a file there with its own rights.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pwd
import secrets as random
import stat
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

_REMEDY = "Put a plain file in its place that belongs to the gateway's account."


class Account(t.NamedTuple):
    """The gateway's account; ``None`` in place of one means the caller's own rights."""

    name: str
    uid: int
    gid: int


def find_account(name: str | None) -> Account | None:
    """The account to work as, where the caller is root and it exists."""
    if not name or os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
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


def read(path: str, account: Account | None) -> bytes | None:
    """The content of a plain file, or ``None`` where there is none."""
    with rights_of(account):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Unreadable(path, "it is a symbolic link") from error
            remedy = _REMEDY
            if account and error.errno == errno.EACCES:
                remedy = f"Give it back: chown -R {account.name}: {os.path.dirname(path)}"
            raise OpenClawError(path, f"cannot be read: {error.strerror}", remedy) from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise Unreadable(path, "it is not a plain file")
        with os.fdopen(handle, "rb") as file:
            return file.read()


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
    """Have the directory of *path* to oneself: a run whose controller was killed may still be at work there."""
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    deadline = time.monotonic() + timeout
    try:
        while True:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    reason = f"another run has been changing it for {timeout:.0f} s"
                    raise OpenClawError(path, reason, "Wait until it has ended, then run again.") from None
                time.sleep(0.2)
        yield
    finally:
        os.close(directory)


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
    """Keep whatever stands at *path* under another name; a plain file stays there too, until it is replaced."""
    with rights_of(account):
        try:
            os.link(path, kept, follow_symlinks=False)
        except OSError:  # a directory has one name only
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
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


__all__ = (
    "Account",
    "Unreadable",
    "alone",
    "dump",
    "find_account",
    "read",
    "remove",
    "rights_of",
    "set_aside",
    "staged",
    "sweep",
    "write",
    "wrong_attributes",
)
