# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What of apt's packages and sources is the operator's, and what a role of this collection has brought."""

from __future__ import annotations

import fcntl
import glob
import os
import re
import struct
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _files, _host
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._text import printable

# The packages that each role has installed, one file a role: only these go with it.
BROUGHT = "/etc/openclaw/brought"
_SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/*.list", "/etc/apt/sources.list.d/*.sources")
# What one apt or dpkg at a time may have.
LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock")
# struct flock of the kernel, on machines of 64 bits: type, whence, start, length, process.
_FLOCK = "hhqqi"


def brought(folder: str = BROUGHT) -> dict[str, list[str]]:
    """The packages that roles have installed on this host, by the role's name."""
    return {os.path.basename(path): _host.read_text(path).split() for path in sorted(glob.glob(f"{folder}/*"))}


def source_ready(files: t.Sequence[t.Mapping[str, t.Any]], sources: t.Sequence[str] = _SOURCES) -> bool:
    """Whether packages can come from a repository: its source is in sync, or the operator has one of their own for it.

    Two sources of one repository with different keys are an error for apt, in whatever it does from then on.

    :param files: entries of file_set that make the source (filter ``apt_source_files``).
    """
    return _files.in_sync(files) or bool(others_source(files, sources))


def others_source(files: t.Sequence[t.Mapping[str, t.Any]], sources: t.Sequence[str] = _SOURCES) -> str:
    """The operator's own file with a source of the same repository; empty where there is none."""
    ours = next((entry for entry in files if entry["path"].endswith(".sources")), None)
    if ours is None or os.path.lexists(ours["path"]):
        return ""
    fields = dict(line.split(": ", 1) for line in ours["content"].splitlines())
    for path in sorted(path for pattern in sources for path in glob.glob(pattern)):
        if names(_host.read_text(path), fields["URIs"], fields["Suites"]):
            return path
    return ""


def names(text: str, uri: str, suite: str) -> bool:
    """Whether the text of a source's file, in either format of apt's, has this suite of this repository."""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if not line.lstrip().startswith("#")]
        if re.search(r"^enabled:\s*(no|false|off|0)\s*$", "\n".join(lines), re.IGNORECASE | re.MULTILINE):
            continue
        # One line is a source of its own in the older format; in the newer one the paragraph is.
        newer = re.search(r"^types:.*\bdeb(\s|$)", "\n".join(lines), re.IGNORECASE | re.MULTILINE)
        single = [line.split() for line in lines if line.split()[:1] == ["deb"]]
        for words in [" ".join(lines).split()] if newer else single:
            if suite in words and uri.rstrip("/") in [word.rstrip("/") for word in words]:
                return True
    return False


def held_errors(host: _host.Host, packages: t.Iterable[str]) -> list[OpenClawError]:
    """An error for each package that would be installed in another version, and is held.

    :param packages: names, those that are not in sync.
    """
    reason = "'apt-mark hold' keeps it in version {}, and another one is needed"
    remedy = "Let it go with 'apt-mark unhold {}', or ask for the version that is there."
    return [
        OpenClawError(f"The package {name}", reason.format(host.packages[name]), remedy.format(name))
        for name in packages
        if name in host.held
    ]


def holder(path: str) -> tuple[int, str]:
    """Process id and name of who has a lock of apt's; ``(0, "")`` where nobody has it."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return 0, ""
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))
    finally:
        os.close(handle)
    if kind == fcntl.F_UNLCK:
        return 0, ""
    return pid, printable(_host.read_text(f"/proc/{pid}/comm").strip()) or "a process"


__all__ = ("BROUGHT", "LOCKS", "brought", "held_errors", "holder", "names", "others_source", "source_ready")
