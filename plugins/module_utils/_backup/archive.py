# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""OpenClaw's own backup of a gateway's state, unpacked into a folder of root's.

The account may write anything into its archive, and change it while it is read. So it is opened with the account's rights,
read once from its beginning to its end, and only plain files, directories and links are made of it, in a folder that the
account cannot reach; links last, so that nothing is written through one.
"""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import hashlib
import itertools
import json
import os
import stat
import subprocess
import tarfile
import typing as t
import zlib

from ansible_collections.clawops.openclaw.plugins.module_utils import _bounded
from ansible_collections.clawops.openclaw.plugins.module_utils import _store as store
from ansible_collections.clawops.openclaw.plugins.module_utils._backup.settings import Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._text import parse_json, printable

# The archive's own description of itself, and where it keeps the files, by their former absolute paths.
MANIFEST = "manifest.json"
PAYLOAD = "payload/posix"
_PIECE = 1 << 20
_MOST_ENTRIES = 2_000_000
_LONGEST_PATH = 4096
_MOST_WORDS = 8 << 20
_FREE_MB = 512
_FREE_FILES = 10_000
# Bytes of all names together, and of what describes one entry: both are kept in memory.
_MOST_NAMES = 256 << 20
_LONGEST_HEADER = 4 << 20
# What a directory takes on the disk.
_DIRECTORY = 4096


class Contents(t.NamedTuple):
    """What came out of an archive."""

    manifest: dict[str, t.Any]
    # SHA-256 of each file, by its path below the folder.
    digests: dict[str, str]
    size: int
    # How many entries were neither files nor directories nor links.
    left_out: int


def clear(path: str) -> None:
    """Remove a tree, however deep it is and whoever it belongs to. No link in it is followed."""
    if not os.path.lexists(path):
        return
    try:
        done = _bounded.run(["rm", "-rf", "--one-file-system", "--", path], "", seconds=600, limit=4096)
        words = done.stderr if done.returncode != 0 or os.path.lexists(path) else ""
    except subprocess.TimeoutExpired as expired:
        words = f"it has not ended within {expired.timeout:.0f} s"
    if words or os.path.lexists(path):
        raise OpenClawError(path, f"cannot be removed: {printable(words)}", f"Remove it: rm -rf {path}")


def make(settings: Settings, seconds: float, *, workspaces: bool) -> int:
    """Have OpenClaw write its archive, with the account's rights.

    :param seconds: at most, for all of it.
    :return: a descriptor of the archive.
    """
    account = store.find_account(settings.account)
    clear(settings.incoming)
    os.mkdir(settings.incoming, 0o700)
    if account:
        os.chown(settings.incoming, account.uid, account.gid)
    argv = [settings.command, "backup", "create", "--output", settings.incoming, "--verify", "--json"]
    done = _bounded.run(
        argv + ([] if workspaces else ["--no-include-workspace"]), "", seconds=seconds, limit=_MOST_WORDS
    )
    subject = "openclaw backup create"
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        remedy = "Correct what it names; 'openclaw doctor' tells more. The next run tries again."
        raise OpenClawError(subject, printable(words[-1]), remedy)
    with store.rights_of(account):
        # No more than it takes to see that there are too many: the account may have put anything there.
        with os.scandir(settings.incoming) as entries:
            names = [entry.name for entry in itertools.islice(entries, 100) if entry.name.endswith(".tar.gz")]
        if len(names) != 1:
            raise OpenClawError(subject, f"it has written {len(names)} archives in place of one", "Try again.")
        return _open_plain(os.path.join(settings.incoming, names[0]))


def _open_plain(path: str) -> int:
    """A descriptor of a plain file; no link is followed and no pipe waited for."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise OpenClawError(path, "it is no plain file", "Try again.")


def unpack(
    handle: int, folder: str, *, max_mb: int, excludes: t.Sequence[str] = (), state: str = "", home: str = ""
) -> Contents:
    """Make of an archive what it holds, below a folder that is there and empty.

    :param handle: a descriptor, which is closed.
    :param max_mb: MiB that it may take.
    :param excludes: patterns of names of files and directories that are left out of workspaces.
    :param state: the former path of the state, and that of the account's directory.
    :raises OpenClawError: it is damaged, too large, or names a place outside the folder.
    """
    subject = "the archive"
    try:
        with os.fdopen(handle, "rb") as file, gzip.open(file, "rb") as plain:
            metered = _Metered(t.cast(t.BinaryIO, plain))
            with tarfile.open(fileobj=t.cast(t.BinaryIO, metered), mode="r|", bufsize=_PIECE >> 4) as tar:
                found = _Unpacking(folder, max_mb << 20, excludes, state, home).run(tar, metered)
            # The checksum of all of it is at its end.
            metered.left = _LONGEST_HEADER
            while metered.read(_PIECE):
                pass
    except (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError, RecursionError) as error:
        remedy = "Make another one; this one was damaged while it was written or carried."
        raise OpenClawError(subject, f"it cannot be unpacked: {error}", remedy) from None
    except OSError as error:
        # Of gzip, and of a disk that is full.
        remedy = f"Free some space in {folder}, or make another archive."
        raise OpenClawError(subject, f"it cannot be unpacked: {error.strerror or error}", remedy) from None
    try:
        with open(os.path.join(folder, MANIFEST), "rb") as file:
            manifest = parse_json(file.read(64 << 20))
        if not isinstance(manifest, dict) or not isinstance(manifest.get("paths"), dict):
            raise ValueError
    except (OSError, ValueError):
        raise OpenClawError(subject, "it is none of OpenClaw's", "Make one with 'openclaw backup create'.") from None
    return found._replace(manifest=manifest)


class _Metered:
    """A stream that gives no more than it was told to: what describes an entry is taken into memory, however long it is."""

    def __init__(self, file: t.BinaryIO) -> None:
        self.file, self.left = file, _LONGEST_HEADER

    def read(self, size: int) -> bytes:
        piece = self.file.read(size)
        self.left -= len(piece)
        if self.left < 0:
            raise tarfile.ReadError("the description of an entry is too long")
        return piece


class _Unpacking:
    """One archive on its way into a folder."""

    def __init__(self, folder: str, limit: int, excludes: t.Sequence[str], state: str, home: str) -> None:
        self.folder, self.limit, self.excludes = folder, limit, excludes
        self.state, self.homes = f"{PAYLOAD}{state}/", (f"{PAYLOAD}{home}/", f"{PAYLOAD}/")
        self.digests: dict[str, str] = {}
        self.links: list[tuple[str, str]] = []
        self.size = self.taken = self.entries = self.left_out = self.names = 0

    def run(self, tar: tarfile.TarFile, metered: _Metered) -> Contents:
        for member in tar:
            # It keeps them all otherwise.
            tar.members.clear()  # type: ignore[attr-defined]
            metered.left = _LONGEST_HEADER + (0 if member.issparse() else max(0, member.size))
            self.entries += 1
            self.names += len(member.name) + len(member.linkname)
            if self.entries > _MOST_ENTRIES or self.names > _MOST_NAMES:
                raise OpenClawError("the archive", f"it has more than {_MOST_ENTRIES} entries", "Exclude some.")
            place = self.place(member.name)
            if not place or self.is_excluded(place):
                continue
            if member.isdir():
                self.make_folder(place)
            elif member.isreg() and not member.issparse():
                self.write(tar, member, place)
            elif member.issym():
                self.links.append((place, member.linkname))
            else:
                self.left_out += 1
        for place, target in self.links:
            path = os.path.join(self.folder, place)
            self.make_folder(os.path.dirname(place))
            if not os.path.lexists(path):
                os.symlink(target, path)
        return Contents({}, self.digests, self.size, self.left_out)

    def place(self, name: str) -> str:
        """The path below the folder: without the directory that everything in an archive lies in."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or len(name) > _LONGEST_PATH or "\0" in name:
            raise OpenClawError("the archive", f"it names a place outside: {printable(name)}", "Do not trust it.")
        return "/".join(parts[1:])

    def is_excluded(self, place: str) -> bool:
        """Whether a pattern leaves it out: by what it is called in a workspace, not by where that lies."""
        home = next((home for home in self.homes if place.startswith(home)), None)
        if place.startswith(self.state) or home is None:
            return False
        parts = place.removeprefix(home).split("/")[1:]
        return any(fnmatch.fnmatchcase(part, pattern) for part in parts for pattern in self.excludes)

    def make_folder(self, place: str) -> None:
        """Make a directory and those above it, each of which takes room on the disk."""
        path = self.folder
        for part in place.split("/"):
            path = os.path.join(path, part)
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                if os.path.isdir(path):
                    continue
                raise
            self.take(_DIRECTORY)
            self.keep_space()

    def take(self, size: int) -> None:
        self.taken += size
        if self.taken > self.limit:
            reason = f"it holds more than {self.limit >> 20} MiB"
            raise OpenClawError("the archive", reason, "Raise backup_max_mb, or exclude what is not needed.")

    def write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, place: str) -> None:
        source = tar.extractfile(member)
        if source is None:
            raise tarfile.ReadError("an entry has no content")
        self.take(max(0, member.size))
        path, digest = os.path.join(self.folder, place), hashlib.sha256()
        self.make_folder(os.path.dirname(place))
        self.keep_space()
        # An entry of the same name comes after this one, if there is one.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600 | member.mode & 0o700)
        with os.fdopen(handle, "wb") as file:
            while piece := source.read(_PIECE):
                file.write(piece)
                digest.update(piece)
                self.size += len(piece)
                self.keep_space()
            # restic tells by it that a file has not changed; one from far in the future would be refused.
            os.utime(handle, (member.mtime, member.mtime) if 0 <= member.mtime < 1 << 40 else None)
        self.digests[place] = digest.hexdigest()

    def keep_space(self) -> None:
        """Leave the gateway what it needs to write to."""
        free = os.statvfs(self.folder)
        if free.f_bavail * free.f_frsize < _FREE_MB << 20 or (free.f_files and free.f_favail < _FREE_FILES):
            reason = f"fewer than {_FREE_MB} MiB, or names for {_FREE_FILES} files, are free in {self.folder}"
            raise OpenClawError("the disk", reason, "Free some space; the gateway needs the rest for itself.")


def plugins(settings: Settings, seconds: float) -> list[dict[str, str]]:
    """Name, version and origin of the plugins, as the release lists them; empty where it does not in time."""
    try:
        done = _bounded.run([settings.command, "plugins", "list", "--json"], "", seconds=seconds, limit=_MOST_WORDS)
        listed = parse_json(done.stdout)
        rows = listed["plugins"] if isinstance(listed, dict) else listed
        keys = ("id", "name", "version", "origin", "enabled")
        return [
            {key: printable(row[key]) for key in keys if key in row}
            for row in rows
            if row.get("origin") != "bundled" and "id" in row
        ]
    except (subprocess.TimeoutExpired, ValueError, TypeError, KeyError, AttributeError):
        return []


def write_json(path: str, value: t.Any, mode: int = 0o600) -> None:
    """Replace a file of root's as a whole."""
    store.write(path, json.dumps(value, indent=2, sort_keys=True).encode() + b"\n", None, mode)


__all__ = ("MANIFEST", "PAYLOAD", "Contents", "clear", "make", "plugins", "unpack", "write_json")
