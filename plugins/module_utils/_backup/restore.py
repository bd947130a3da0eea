# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Brings a snapshot, or an archive that OpenClaw made anywhere, onto this host.

It takes four steps, so that whoever calls can stop and start the gateway in between: ``fetch`` makes a whole new directory
beside the account's, judges it, and touches nothing that runs; ``place`` exchanges the two; ``back`` exchanges them again;
``done`` clears up, and leaves the former data aside. Each exchange is noted before it is made: whatever was interrupted is
put back by the next ``fetch``.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _bounded
from ansible_collections.clawops.openclaw.plugins.module_utils import _store as store
from ansible_collections.clawops.openclaw.plugins.module_utils._backup import archive, backup
from ansible_collections.clawops.openclaw.plugins.module_utils._backup import repository as repositories
from ansible_collections.clawops.openclaw.plugins.module_utils._backup.settings import Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._text import parse_json, printable

# Of the host's own files: the note of what was applied to the settings belongs to these; secrets and certificates come back
# onto a bare host. The roles write the rest from the inventory.
APPLIED = ("applied.json",)
KEPT = ("secrets", "mtls")
_PIECE = 1 << 20
_MOST_AGENTS = 50
# Seconds by which the clocks of two hosts may differ.
_CLOCK = 3600
_MOST_DIGESTS = 1 << 30


class Found(t.NamedTuple):
    """A snapshot that was chosen."""

    repository: repositories.Repository
    snapshot: repositories.Snapshot


def choose(settings: Settings, wanted: str, host: str, repository: str, seconds: float) -> Found:
    """The snapshot that is wanted.

    :param wanted: ``latest``, the beginning of a snapshot's name, or a time as ``2026-05-01T12:00`` for the last one before.
    :param host: whose; empty for this gateway's own.
    :param repository: the repository's name; empty for the one that has the newest such snapshot, as one of them may have
        been full for weeks.
    """
    remotes = [remote for remote in settings.remotes if repository in ("", remote.name)]
    if not remotes:
        names = ", ".join(remote.name for remote in settings.remotes)
        raise OpenClawError(f"restore_repository {repository}", "there is none of this name", f"There are: {names}.")
    failures, found = [], []
    for remote in remotes:
        tried = repositories.Repository(settings, remote, time.monotonic() + seconds)
        try:
            tried.ready(make=False)
            found.append(Found(tried, pick(tried.snapshots(host), wanted, host or settings.host, remote.name)))
        except OpenClawError as error:
            failures.append(error)
    if found:
        # The first of those that are as new.
        return max(found, key=lambda each: each.snapshot.time // 60)
    if len(failures) == 1:
        raise failures[0]
    raise OpenClawError("no repository", "has the snapshot", " ".join(map(str, failures)))


def pick(snapshots: t.Sequence[repositories.Snapshot], wanted: str, host: str, name: str) -> repositories.Snapshot:
    """The snapshot that is wanted, of those that are there."""
    if not snapshots:
        remedy = "Give the name that its snapshots carry with -e restore_from=NAME ('restic snapshots' lists them)."
        raise OpenClawError(f"repository {name}", f"it has no snapshot of {host}", remedy)
    if wanted == "latest":
        # One of the future was taken while the clock was wrong, and would be the newest for as long.
        return next((each for each in reversed(snapshots) if each.time < time.time() + _CLOCK), snapshots[-1])
    named = [each for each in snapshots if each.id.startswith(wanted)] if len(wanted) >= 4 else []
    if len(named) == 1:
        return named[0]
    listed = ", ".join(f"{each.id[:8]} ({clock(each.time)}, {each.kind})" for each in snapshots[-5:])
    try:
        moment = repositories.parse_time(wanted)
    except ValueError:
        reason = "it is neither 'latest' nor a snapshot's name nor a time"
        raise OpenClawError(f"restore_snapshot {wanted}", reason, f"The newest are: {listed}.") from None
    before = [each for each in snapshots if each.time <= moment]
    if not before:
        reason = f"the oldest snapshot is of {clock(snapshots[0].time)}"
        raise OpenClawError(f"restore_snapshot {wanted}", reason, f"The newest are: {listed}.")
    return before[-1]


def clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def fetch(settings: Settings, found: Found | None, archive_path: str = "") -> dict[str, t.Any]:
    """Make the new directory, and judge it. What it is of.

    :param found: the snapshot; ``None`` for an archive.
    """
    if os.path.ismount(settings.home):
        reason = "it is a mount point, which cannot be exchanged for another directory"
        raise OpenClawError(settings.home, reason, "Mount the volume at its parent directory.")
    undo_unfinished(settings)
    work = settings.restoring
    archive.clear(work)
    os.mkdir(work, 0o700)
    try:
        root = from_snapshot(found, work) if found else from_archive(settings, archive_path, work)
        about = read_about(root, found)
        home = arrange(settings, os.path.join(root, backup.DATA), os.path.join(work, "home"))
        about |= home
        judge(settings, os.path.join(work, "home"), about)
        write_note(settings, {"fetched": int(time.time()), "root": root, "placed": False})
    except BaseException:
        archive.clear(work)
        raise
    return about


def from_snapshot(found: Found, work: str) -> str:
    """The folder with a snapshot's files, each as it was."""
    fetched = os.path.join(work, "fetched")
    found.repository.fetch(found.snapshot.id, fetched)
    # restic brings it back by the absolute path that it had.
    for place, folders, _ in os.walk(fetched):
        if backup.DATA in folders:
            compare(place, found.repository.remote.name)
            return place
    reason = f"snapshot {found.snapshot.id[:8]} holds no gateway"
    raise OpenClawError(f"repository {found.repository.remote.name}", reason, "Choose another one.")


def compare(root: str, name: str) -> None:
    """Refuse files that are not what they were when they were backed up."""
    text = (store.read(os.path.join(root, backup.DIGESTS), None, _MOST_DIGESTS) or b"").decode(errors="surrogateescape")
    rows = [line.split("  ", 1) for line in text.split("\n") if line]
    for digest, path in rows:
        try:
            same = digest_of(os.path.join(root, path)) == digest
        except OSError:
            same = False
        if not same:
            remedy = "Run 'restic check --read-data' there, and choose another snapshot."
            raise OpenClawError(f"repository {name}", f"{printable(path)} is not what was backed up", remedy)


def digest_of(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def from_archive(settings: Settings, path: str, work: str) -> str:
    """The folder with an archive's files."""
    root = os.path.join(work, "unpacked")
    data = os.path.join(root, backup.DATA)
    os.makedirs(data, 0o700)
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise OpenClawError(path, f"cannot be read: {error.strerror}", "Give restore_archive another path.") from None
    contents = archive.unpack(handle, data, max_mb=settings.max_mb)
    manifest = contents.manifest
    try:
        taken = int(repositories.parse_time(str(manifest["createdAt"])))
    except (KeyError, ValueError):
        taken = int(os.stat(path).st_mtime)
    about = {
        "time": taken,
        "release": printable(manifest.get("runtimeVersion", ""), 40),
        "files": len(contents.digests),
        "bytes": contents.size,
        "kind": "archive",
        "host": "",
        "plugins": [],
    }
    archive.write_json(os.path.join(root, backup.ABOUT), about)
    return root


def read_about(root: str, found: Found | None) -> dict[str, t.Any]:
    about = repositories.read_json(os.path.join(root, backup.ABOUT))
    if not isinstance(about, dict):
        raise OpenClawError("the snapshot", "it does not say what it holds", "Choose another one.")
    if found:
        about |= {"snapshot": found.snapshot.id, "repository": found.repository.remote.name}
    return about


def arrange(settings: Settings, data: str, home: str) -> dict[str, t.Any]:
    """Make the account's directory of what an archive holds, wherever it lay before. Which former paths became which."""
    manifest = repositories.read_json(os.path.join(data, archive.MANIFEST))
    paths = manifest.get("paths") if isinstance(manifest, dict) else None
    if not isinstance(paths, dict):
        raise OpenClawError("the archive", "it does not say what it holds", "Make another one.")
    os.mkdir(home, 0o700)
    moves = moved(settings, paths)
    has_workspace = False
    for former, now in moves.items():
        source = plain_path(os.path.join(data, archive.PAYLOAD), former.lstrip("/"))
        target = plain_path(home, os.path.relpath(now, settings.home))
        if not os.path.lexists(source):
            continue
        os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
        if os.path.isdir(target) and not os.path.islink(target) and not os.listdir(target):
            os.rmdir(target)
        os.rename(source, target)
        has_workspace = has_workspace or now == settings.workspace
    for needed in (settings.state, settings.settings):
        if not os.path.lexists(os.path.join(home, os.path.relpath(needed, settings.home))):
            raise OpenClawError("the archive", f"it holds nothing of {needed}", "Make a full one, not --only-config.")
    renamed = {former: now for former, now in moves.items() if former != now}
    if renamed:
        rewrite(os.path.join(home, os.path.relpath(settings.settings, settings.home)), renamed)
    own(settings, home)
    return {"has_workspace": has_workspace, "moved": renamed}


def plain_path(folder: str, below: str) -> str:
    """A path below a folder with what an archive held, where a link would lead root to whatever the archive's author chose.

    :raises OpenClawError: there is a link on the way, or at its end.
    """
    path = folder
    for part in below.split("/"):
        path = os.path.join(path, part)
        if part == ".." or os.path.islink(path):
            reason = f"a link stands at {printable(below)}, where a directory or a file should be"
            raise OpenClawError("the archive", reason, "Do not trust it.")
    return path


def moved(settings: Settings, paths: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Where each of an archive's paths goes: what lies in the state before it is moved, what comes into it afterwards."""
    state = str(paths.get("stateDir", ""))
    moves: dict[str, str] = {}
    workspaces = [str(each) for each in paths.get("workspaceDirs") or () if isinstance(each, str)]
    # Those that stay where they are come first, so that no other takes their place.
    workspaces.sort(key=lambda former: not former.startswith(settings.home + "/"))
    for number, former in enumerate(workspaces):
        inside = former.startswith(settings.home + "/") and not former.startswith(settings.state + "/")
        first = settings.workspace if number == 0 else f"{settings.home}/workspaces/{os.path.basename(former)}"
        moves[former] = former if inside else unused(first, moves.values())
    moves[str(paths.get("configPath", ""))] = settings.settings
    for agent in paths.get("agentRoots") or ():
        former = str(agent.get("sourcePath", "")) if isinstance(agent, dict) else ""
        if former and not former.startswith(state + "/"):
            moves[former] = f"{settings.state}/agents/{str(agent.get('agentId')).replace('/', '_')}/agent"
    moves[state] = settings.state
    for former in moves:
        if not former.startswith("/") or ".." in former.split("/"):
            raise OpenClawError("the archive", f"it names no absolute path: {printable(former)}", "Make another one.")
    return dict(
        sorted(
            moves.items(),
            # And what lies in another one before that.
            key=lambda row: (
                (row[0] == state) + 2 * (not (row[0] + "/").startswith(state + "/")),
                -len(row[0].split("/")),
            ),
        )
    )


def unused(path: str, used: t.Collection[str]) -> str:
    """A path, or one with a number where another one has it: two agents may call their workspaces the same."""
    names = itertools.chain([path], (f"{path}-{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in used)


def rewrite(path: str, renamed: t.Mapping[str, str]) -> None:
    """Have the settings name the new paths. As text: they may have comments."""
    text = (store.read(path, None, 64 << 20) or b"").decode(errors="surrogateescape")
    # All at once: a new path may begin as another former one does.
    formers = "|".join(map(re.escape, sorted(renamed, key=len, reverse=True)))
    text = re.sub(rf'"({formers})(?=["/])', lambda found: f'"{renamed[found[1]]}', text)
    store.write(path, text.encode(errors="surrogateescape"), None)


def own(settings: Settings, home: str) -> None:
    """Give the account what is its, while it cannot reach it."""
    account = store.find_account(settings.account)
    if account is None:
        return
    if account.missing:
        raise OpenClawError(f"account {settings.account}", "is not there", "Run site.yml first.")
    for place, folders, files, handle in os.fwalk(home, follow_symlinks=False):
        del place
        os.fchown(handle, account.uid, account.gid)
        os.fchmod(handle, 0o700)
        for name in (*folders, *files):
            os.chown(name, account.uid, account.gid, dir_fd=handle, follow_symlinks=False)


def judge(settings: Settings, home: str, about: t.Mapping[str, t.Any]) -> None:
    """Have the release say whether it takes the databases.

    It reads them as the account, which therefore has to reach them; nothing of them runs yet.
    """
    state = os.path.join(home, os.path.relpath(settings.state, settings.home))
    os.chmod(settings.restoring, 0o711)  # noqa: S103, nobody can list it
    databases = [(["preflight"], os.path.join(state, "state", "openclaw.sqlite"))]
    agents = os.path.join(state, "agents")
    with store.rights_of(store.find_account(settings.account)):
        names = sorted(os.listdir(agents))[:_MOST_AGENTS] if os.path.isdir(agents) else []
        databases += [
            (
                ["preflight-agent", "--agent-id", name],
                os.path.join(agents, name, "agent", "openclaw-agent.sqlite"),
            )
            for name in names
        ]
        databases = [(how, path) for how, path in databases if os.path.isfile(path)]
    for how, path in databases:
        done = _bounded.run([settings.command, "database", *how, "--json", path], "", seconds=300, limit=_PIECE)
        try:
            answer = parse_json(done.stdout)
            verdict = answer.get("status") if isinstance(answer, dict) else None
        except ValueError:
            verdict = None
        if done.returncode == 0:
            continue
        words = (done.stderr.strip().splitlines() or [str(verdict)])[-1]
        release = about.get("release") or "an unknown release"
        if verdict == "incompatible":
            remedy = f"The data is of OpenClaw {release}: set gateway_version to it or a newer one, run site.yml, then restore."
            raise OpenClawError("the data", "the host's release does not take it: its schema is newer", remedy)
        reason = f"the host's release cannot use it: {printable(words)}"
        raise OpenClawError(os.path.relpath(path, home), reason, "Choose another snapshot.")


def place(settings: Settings, *, secrets: bool) -> dict[str, t.Any]:
    """Exchange the account's directory for the new one. The gateway must not run.

    :param secrets: whether secrets and certificates of the snapshot come, too, as onto a bare host. Otherwise those of the
        host stay: a token that was rotated does not return.
    """
    note = read_note(settings)
    if not note or note["placed"]:
        raise OpenClawError(settings.restoring, "nothing was fetched", "Run restore.yml.")
    work, now = settings.restoring, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    # What is root's does not go into a directory of the account's, where a link may wait for it.
    aside, former = f"{settings.home}.before-{now}", f"{settings.home}.etc-before-{now}"
    note |= {"placed": True, "aside": aside, "former": former, "etc": [], "stay": []}
    write_note(settings, note)
    move(settings.home, aside)
    new = os.path.join(work, "home")
    for name in stays(aside, new, os.path.basename(settings.settings)):
        note["stay"].append(name)
        write_note(settings, note)
        move(os.path.join(aside, name), os.path.join(new, name))
    move(new, settings.home)
    saved = os.path.join(note["root"], backup.HOST, settings.etc.lstrip("/"))
    for name in (*APPLIED, *(KEPT if secrets else ())):
        path = os.path.join(settings.etc, name)
        if name in APPLIED and os.path.isfile(path) and not os.path.lexists(os.path.join(saved, name)):
            # An archive has none. What this restore applies must not be noted of the former settings, should they return.
            os.makedirs(former, 0o700, exist_ok=True)
            shutil.copy2(path, os.path.join(former, name), follow_symlinks=False)
            note["etc"].append(name)
            write_note(settings, note)
        if os.path.lexists(os.path.join(saved, name)):
            note["etc"].append(name)
            write_note(settings, note)
            replace(os.path.join(saved, name), path, os.path.join(former, name))
    own_secrets(settings)
    return {"aside": aside}


def stays(former: str, new: str, settings: str) -> list[str]:
    """What the backup does not hold and a restore therefore leaves: workspaces, where it has none, and the engine's data.

    Copies of the settings, which lie beside them, are of the former ones.
    """
    return [
        name
        for name in sorted(os.listdir(former))
        if not name.lstrip(".").startswith(settings) and not os.path.lexists(os.path.join(new, name))
    ]


def replace(saved: str, path: str, former: str) -> None:
    """Put a copy in the place of what is there, which is kept."""
    os.makedirs(os.path.dirname(former), 0o700, exist_ok=True)
    if os.path.lexists(path):
        move(path, former)
    if os.path.isdir(saved) and not os.path.islink(saved):
        shutil.copytree(saved, path, symlinks=True)
    else:
        shutil.copy2(saved, path, follow_symlinks=False)


def own_secrets(settings: Settings) -> None:
    """OpenClaw refuses a secrets file that is not its own account's."""
    account = store.find_account(settings.account)
    folder = os.path.join(settings.etc, "secrets")
    if account and os.path.isdir(folder):
        for path in (os.path.join(folder, name) for name in os.listdir(folder)):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
        os.chmod(folder, 0o700)
        os.chown(folder, account.uid, account.gid)


def back(settings: Settings, *, keep: bool = False) -> bool:
    """Put back what was there before ``place``; whether there was anything to put back.

    :param keep: the data that goes, too: a gateway may have served with it since.
    """
    note = read_note(settings)
    if not note or not note["placed"]:
        return False
    work, aside = settings.restoring, note["aside"]
    for name in reversed(note["etc"]):
        former, path = os.path.join(note["former"], name), os.path.join(settings.etc, name)
        if os.path.lexists(former):
            archive.clear(path)
            move(former, path)
    if os.path.lexists(aside):
        new = os.path.join(work, "home")
        # First of all what was lent to the new directory, wherever that got to: somebody may have made another one since.
        for name, lender in ((name, lender) for name in note["stay"] for lender in (new, settings.home)):
            if os.path.lexists(os.path.join(lender, name)) and not os.path.lexists(os.path.join(aside, name)):
                move(os.path.join(lender, name), os.path.join(aside, name))
        if os.path.lexists(settings.home) and keep and not os.path.lexists(new):
            now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            move(settings.home, f"{settings.home}.interrupted-{now}")
        elif os.path.lexists(settings.home):
            archive.clear(new)
            move(settings.home, new)
        move(aside, settings.home)
    archive.clear(note["former"])
    write_note(settings, {**note, "placed": False, "etc": [], "stay": []})
    return True


def done(settings: Settings, *, failed: bool = False) -> None:
    """Clear up after a restore, or after one that was given up.

    :param failed: it was given up; a host that was bare still has no data that is worth a backup.
    """
    archive.clear(settings.restoring)
    archive.clear(settings.marker)
    if not failed:
        archive.clear(settings.bare)


def undo_unfinished(settings: Settings) -> None:
    """Put back what a restore has exchanged that was interrupted before it was proven.

    Its gateway may have served since: it is stopped, as it would go on writing to what is taken away, and what it has
    written stays beside the data.
    """
    if read_note(settings).get("placed"):
        systemctl(settings, "stop")
        back(settings, keep=True)
        archive.clear(settings.restoring)
        # Until the data has come it serves as before.
        systemctl(settings, "start")


def systemctl(settings: Settings, verb: str) -> None:
    """Stop or start the gateway, which may take as long as its turns."""
    done = _bounded.run(["systemctl", verb, settings.unit], "", seconds=600, limit=4096)
    if done.returncode != 0:
        remedy = f"Run 'systemctl {verb} {settings.unit}', then restore.yml again."
        raise OpenClawError(settings.unit, f"systemctl {verb} failed: {printable(done.stderr.strip())}", remedy)


def move(source: str, target: str) -> None:
    """Rename; where a directory cannot be, as one of a container's image, copy it and then remove it."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            remedy = (
                "Correct it, unmount what is mounted there, then run restore.yml again: it puts back what was there."
            )
            raise OpenClawError(source, f"cannot be moved to {target}: {error.strerror}", remedy) from None
        archive.clear(f"{target}.part")
        copied = _bounded.run(["cp", "-a", "--", source, f"{target}.part"], "", seconds=3600, limit=4096)
        if copied.returncode != 0:
            archive.clear(f"{target}.part")
            words = printable(copied.stderr.strip())
            raise OpenClawError(source, f"cannot be copied: {words}", "Free some space, then run again.") from None
        os.sync()
        os.rename(f"{target}.part", target)
        # Gone at once, where it can be: half of it would be taken for the whole by a run that finds both names.
        gone = f"{source}.gone"
        with contextlib.suppress(OSError):
            archive.clear(gone)
            os.rename(source, gone)
        archive.clear(gone)
        archive.clear(source)


def note_path(settings: Settings) -> str:
    return os.path.join(settings.restoring, "note.json")


def read_note(settings: Settings) -> dict[str, t.Any]:
    note = repositories.read_json(note_path(settings))
    return note if isinstance(note, dict) else {}


def write_note(settings: Settings, note: t.Mapping[str, t.Any]) -> None:
    store.write(note_path(settings), json.dumps(note).encode(), None)


__all__ = ("KEPT", "Found", "back", "choose", "done", "fetch", "pick", "place")
