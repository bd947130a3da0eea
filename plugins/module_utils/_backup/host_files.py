# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What OpenClaw's own backup leaves out: secrets, unit, environment and drop-ins, certificates."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _store as store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

# These are lines and keys; whatever is larger is something else.
_LARGEST = 4 << 20
_MOST = 10_000
# Bytes of all that the account has in its directory: holes, which take it nothing, are written out here.
_MOST_OF_ACCOUNT = 64 << 20


def copy(
    paths: t.Iterable[str], folder: str, account: store.Account | None, *, without: t.Collection[str] = ()
) -> dict[str, str]:
    """Copy files and directories of root's, by their absolute paths, into a folder. Links are copied as such.

    :param account: the gateway's; of a directory that is its own, only plain files are taken, read with its rights.
    :param without: paths that are left out, with all below.
    :return: SHA-256 of each file, by its path below the folder.
    """
    digests: dict[str, str] = {}
    for path in paths:
        if os.path.lexists(path):
            _copy(path, folder, account, without, digests)
    return digests


def _copy(
    path: str, folder: str, account: store.Account | None, without: t.Collection[str], digests: dict[str, str]
) -> None:
    if path in without:
        return
    if len(digests) > _MOST:
        raise OpenClawError(path, f"it holds more than {_MOST} files", "Move what does not belong there.")
    place = os.path.join(folder, path.lstrip("/"))
    os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(path), place)
    elif stat.S_ISDIR(found.st_mode):
        os.mkdir(place, 0o700)
        if found.st_uid != os.geteuid():
            _copy_accounts(path, place, folder, account, digests)
        else:
            for name in sorted(os.listdir(path)):
                _copy(os.path.join(path, name), folder, account, without, digests)
        _like(place, found)
    elif stat.S_ISREG(found.st_mode):
        content = store.read(path, None, _LARGEST) or b""
        digests[os.path.relpath(place, folder)] = _write(place, content)
        _like(place, found)


def _copy_accounts(path: str, place: str, folder: str, account: store.Account | None, digests: dict[str, str]) -> None:
    """The plain files in a directory of the account's, which may exchange anything in it at any time."""
    with store.rights_of(account), os.scandir(path) as entries:
        names = [entry.name for entry in itertools.islice(entries, _MOST)]
    left = _MOST_OF_ACCOUNT
    for name in names:
        try:
            content = store.read(os.path.join(path, name), account, _LARGEST)
        except store.Unreadable:
            continue
        if content is not None:
            left -= len(content)
            if left < 0:
                reason = f"its files have more than {_MOST_OF_ACCOUNT >> 20} MiB"
                raise OpenClawError(path, reason, "Move what does not belong there.")
            digests[os.path.relpath(os.path.join(place, name), folder)] = _write(os.path.join(place, name), content)
            if account:
                os.chown(os.path.join(place, name), account.uid, account.gid)


def _write(place: str, content: bytes) -> str:
    """Write a file that only its owner can read; its SHA-256."""
    store.write(place, content, None)
    return hashlib.sha256(content).hexdigest()


def _like(place: str, found: os.stat_result) -> None:
    os.chown(place, found.st_uid, found.st_gid)
    os.chmod(place, stat.S_IMODE(found.st_mode))
    os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns))


__all__ = ("copy",)
