# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""One backup: OpenClaw's archive, unpacked, with what it leaves out, into each repository."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _store as store
from ansible_collections.clawops.openclaw.plugins.module_utils._backup import archive, host_files, status
from ansible_collections.clawops.openclaw.plugins.module_utils._backup import repository as repositories
from ansible_collections.clawops.openclaw.plugins.module_utils._backup.settings import Remote, Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._text import printable

# What a snapshot says of itself, beside the data and the host's files.
ABOUT, DIGESTS, DATA, HOST = "about.json", "sha256sums", "data", "host"
Say = t.Callable[[str], None]


def run(settings: Settings, kind: str, say: Say) -> bool:
    """Back the gateway up now. Whether every repository has it.

    :param kind: ``state``, or ``full`` with workspaces, retention and a check of what is there.
    :param say: is told of each step, for the journal.
    """
    began = time.monotonic()
    deadline = began + settings.timeout
    try:
        try:
            about = stage(settings, kind, deadline)
            say(f"{about['files']} files, {about['bytes'] / 1e6:.1f} MB, in {time.monotonic() - began:.1f} s")
            known = status.read(settings).get("repositories", {})
            rows = {
                # One that had backups and is gone is a volume that is not mounted, and no reason for an empty one.
                remote.name: keep(
                    settings, remote, kind, about, deadline, say, make="snapshot" not in known.get(remote.name, {})
                )
                for remote in settings.remotes
            }
        finally:
            # What lies there is not encrypted; and the account may hold the other one up.
            try:
                archive.clear(settings.staging)
            finally:
                archive.clear(settings.incoming)
    except BaseException as raised:
        if error := status.note_failure(settings, raised):
            raise error from None
        raise
    rows = {name: {**known.get(name, {}), **row} for name, row in rows.items()}
    failures = [row["error"] for row in rows.values() if row["error"]]
    news: dict[str, t.Any] = {
        "repositories": rows,
        "error": " ".join(failures),
        "seconds": round(time.monotonic() - began, 1),
        # As old as in the repository that has been without it for longest.
        "last_success": min(row.get("last_success", 0) for row in rows.values()),
    }
    status.note(settings, **news)
    for failure in failures:
        say(f"error: {failure}")
    return not failures


def stage(settings: Settings, kind: str, deadline: float) -> dict[str, t.Any]:
    """Put together what belongs to a backup; what it says of itself."""
    # A drill that was killed has left all of the data there.
    archive.clear(settings.drill)
    archive.clear(settings.staging)
    for folder in (settings.staging, settings.cache):
        os.makedirs(folder, 0o700, exist_ok=True)
    data, host = (os.path.join(settings.staging, name) for name in (DATA, HOST))
    os.mkdir(data, 0o700)
    os.mkdir(host, 0o700)
    full = kind == "full"
    taken = int(time.time())
    handle = archive.make(settings, deadline - time.monotonic(), workspaces=full and settings.workspaces)
    contents = archive.unpack(
        handle, data, max_mb=settings.max_mb, excludes=settings.excludes, state=settings.state, home=settings.home
    )
    archive.clear(settings.incoming)
    own = os.path.join(settings.etc, "backup")
    digests = {f"{DATA}/{path}": digest for path, digest in contents.digests.items()}
    copied = host_files.copy(settings.host_files, host, store.find_account(settings.account), without=[own])
    digests |= {f"{HOST}/{path}": digest for path, digest in copied.items()}
    # As sha256sum has it; a name with a line end in it is left out.
    lines = [f"{digest}  {path}\n" for path, digest in sorted(digests.items()) if "\n" not in path]
    store.write(os.path.join(settings.staging, DIGESTS), "".join(lines).encode(errors="surrogateescape"), None)
    about = {
        "time": taken,
        "instance": settings.instance,
        "host": settings.host,
        "kind": kind,
        "workspaces": full and settings.workspaces,
        "release": printable(contents.manifest.get("runtimeVersion", ""), 40),
        "files": len(digests),
        "bytes": contents.size,
        "plugins": listed_plugins(settings, deadline, refresh=full),
    }
    archive.write_json(os.path.join(settings.staging, ABOUT), about)
    return about


def listed_plugins(settings: Settings, deadline: float, *, refresh: bool) -> list[dict[str, str]]:
    """The plugins as they were listed last: asking takes as long as the rest of a small backup."""
    path = os.path.join(settings.folder, "plugins.json")
    known = repositories.read_json(path)
    if isinstance(known, list) and not refresh:
        return known
    listed = archive.plugins(settings, min(60.0, max(1.0, deadline - time.monotonic())))
    archive.write_json(path, listed)
    return listed


def keep(
    settings: Settings,
    remote: Remote,
    kind: str,
    about: t.Mapping[str, t.Any],
    deadline: float,
    say: Say,
    *,
    make: bool,
) -> dict[str, t.Any]:
    """Make a snapshot in one repository; what became of it there. A failure is told, and the others go on.

    :param make: whether to make the repository, where there is none.
    """
    began = time.monotonic()
    repository = repositories.Repository(settings, remote, deadline)
    row: dict[str, t.Any] = {"error": ""}
    try:
        if repository.ready(make=make):
            say(f"repository {remote.name}: made, there was none")
        made = repository.backup(settings.staging, kind)
        row |= {**made, "last_success": about["time"], "seconds": round(time.monotonic() - began, 1)}
        say(f"repository {remote.name}: snapshot {made['snapshot'][:8]}, {made['added_bytes'] / 1e6:.1f} MB added")
        if kind == "full":
            row |= tend(settings, repository, say)
    except OpenClawError as error:
        row["error"] = str(error)
    return row


def tend(settings: Settings, repository: repositories.Repository, say: Say) -> dict[str, t.Any]:
    """Retention and a check, once a day."""
    name = repository.remote.name
    if repository.remote.append_only:
        count = len(repository.snapshots())
        say(f"repository {name}: {count} snapshots; it is append-only, so retention runs where deleting is allowed")
    else:
        count = repository.forget()
        say(f"repository {name}: {count} snapshots kept")
    repository.check(int(time.time()) // 86400)
    return {"snapshots": count, "checked": int(time.time())}


__all__ = ("ABOUT", "DATA", "DIGESTS", "HOST", "run", "stage")
