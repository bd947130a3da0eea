# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What OpenClaw's own backup leaves out: secrets, unit, environment and drop-ins, certificates."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

# These are lines and keys; whatever is larger is something else.
_LARGEST = 4 << 20
_MOST = 10_000


def copy(paths: t.Iterable[str], folder: str, *, without: t.Collection[str] = ()) -> dict[str, str]:
    """Copy files and directories, by their absolute paths, into a folder. No link is followed; links are copied as such.

    :param without: paths that are left out, with all below.
    :return: SHA-256 of each file, by its path below the folder.
    """
    digests: dict[str, str] = {}
    for path in paths:
        if os.path.lexists(path):
            _copy(path, folder, without, digests)
    return digests


def _copy(path: str, folder: str, without: t.Collection[str], digests: dict[str, str]) -> None:
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
        for name in sorted(os.listdir(path)):
            _copy(os.path.join(path, name), folder, without, digests)
        _like(place, found)
    elif stat.S_ISREG(found.st_mode):
        digests[os.path.relpath(place, folder)] = _copy_file(path, place)


def _copy_file(path: str, place: str) -> str:
    """One plain file with its mode and owner; its SHA-256."""
    source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(source)
        # Another name of somebody else's file, which the account may have put into a directory of its own.
        if found.st_nlink > 1 or not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            raise OpenClawError(path, "it is no small plain file of its own", "Remove it, and run site.yml.")
        with os.fdopen(os.dup(source), "rb") as file:
            content = file.read(_LARGEST + 1)
    finally:
        os.close(source)
    with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    _like(place, found)
    return hashlib.sha256(content).hexdigest()


def _like(place: str, found: os.stat_result) -> None:
    os.chown(place, found.st_uid, found.st_gid)
    os.chmod(place, stat.S_IMODE(found.st_mode))
    os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns))


def space(path: str) -> int:
    """Bytes that are free where a path lies."""
    return shutil.disk_usage(path).free


__all__ = ("copy", "space")
