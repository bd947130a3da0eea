# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Files, directories and links as they are, as they should be, and the way from the one to the other."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import re
import secrets as random
import stat
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

_DIRECTORY_MODE = 0o755
# No file that a role writes comes near it, and no module may take the memory that a log file would.
_CONTENT_LIMIT = 8 << 20


class Entry(t.NamedTuple):
    """One path: what stands there, or should. ``None`` means "does not matter"."""

    path: str
    state: str
    content: bytes | None = None
    src: str | None = None
    owner: str | None = None
    group: str | None = None
    mode: int | None = None


class Change(t.NamedTuple):
    """A path that is not yet as it should be."""

    found: Entry
    desired: Entry


def desired_entry(entry: t.Mapping[str, t.Any], defaults: t.Mapping[str, t.Any]) -> Entry:
    """What one entry of the module's parameters asks for."""
    path, state = entry["path"], entry["state"]
    if not os.path.isabs(path):
        raise OpenClawError(f"The path {path}", "is not absolute", "Write it from the root of the filesystem.")
    if state == "link" and not entry["src"]:
        raise OpenClawError(f"The link {path}", "points to nothing", "Give it a src.")
    mode = entry["mode"] or (f"{_DIRECTORY_MODE:04o}" if state == "directory" else defaults["mode"])
    # Unquoted, YAML reads 0644 as the number 420, and 644 as what is 01204.
    if not isinstance(mode, str) or not re.fullmatch(r"0?[0-7]{3,4}", mode):
        raise OpenClawError(
            f"The mode of {path}", f"{mode!r} is not an octal number in quotes", 'Write it as in "0644".'
        )
    return Entry(
        path=os.path.normpath(path),
        state=state,
        content=None if entry["content"] is None or state != "file" else entry["content"].encode(),
        src=entry["src"] if state == "link" else None,
        owner=_as_name(pwd.getpwuid, entry["owner"] or defaults["owner"]),
        group=_as_name(grp.getgrgid, entry["group"] or defaults["group"]),
        mode=None if state in ("link", "absent") else int(mode, 8),
    )


def look(path: str) -> Entry:
    """What stands at a path."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Entry(path, "absent")
    owner, group = _name_of(pwd.getpwuid, status.st_uid), _name_of(grp.getgrgid, status.st_gid)
    if stat.S_ISLNK(status.st_mode):
        return Entry(path, "link", src=os.readlink(path), owner=owner, group=group)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return Entry(path, "directory", owner=owner, group=group, mode=mode)
    if not stat.S_ISREG(status.st_mode):
        return Entry(path, "other", owner=owner, group=group, mode=mode)
    content = None
    if status.st_size <= _CONTENT_LIMIT:
        # Not waiting: a pipe may have taken the file's place meanwhile.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            content = file.read()
    return Entry(path, "file", content=content, owner=owner, group=group, mode=mode)


def _name_of(look_up: t.Callable[[int], t.Any], number: int) -> str:
    try:
        return str(look_up(number)[0])
    except KeyError:
        return str(number)


def _as_name(look_up: t.Callable[[int], t.Any], owner: str | None) -> str | None:
    """An owner as look() tells it: by name where there is one."""
    return _name_of(look_up, int(owner)) if owner and owner.isdecimal() else owner or None


def plan(entries: t.Sequence[Entry], *, strict: bool = True) -> list[Change]:
    """The changes in the order in which they are made; what cannot be done is refused here.

    :param strict: refuse owners and parents that do not exist; in check mode, another task would have made them.
    """
    paths = [entry.path for entry in entries]
    for path in paths:
        if paths.count(path) > 1:
            raise OpenClawError(path, "stands in the list twice", "Remove one of the two entries.")
    changes = [Change(look(entry.path), entry) for entry in entries]
    for found, desired in changes:
        # Replacing what somebody put there as something else is not ours to decide, but for files and links.
        replaceable = {desired.state, "absent"} | ({"file", "link"} if desired.state in ("file", "link") else set())
        if desired.state != "absent" and found.state not in replaceable:
            reason = f"a {desired.state} should be there and a {found.state} is"
            raise OpenClawError(desired.path, reason, "Look what it is, and move it away.")
        if desired.state == "absent" and found.state == "directory" and os.listdir(found.path):
            kept = {entry.path for entry in entries if entry.state == "absent"}
            if any(os.path.join(found.path, name) not in kept for name in os.listdir(found.path)):
                raise OpenClawError(desired.path, "the directory is not empty", "Remove what is in it first.")
    due = [change for change in changes if differs(change)]
    if strict:
        _refuse_homeless(entries, due)
    made = [change for change in due if change.desired.state != "absent"]
    return made + [change for change in reversed(due) if change.desired.state == "absent"]


def _refuse_homeless(entries: t.Iterable[Entry], due: t.Iterable[Change]) -> None:
    """Refuse what has no directory to stand in, or nobody to belong to."""
    to_make = {change.desired.path for change in due if change.desired.state != "absent"}
    directories: set[str] = set()
    for desired in entries:
        parent = os.path.dirname(desired.path)
        if desired.path in to_make:
            if parent not in directories and not os.path.isdir(parent):
                raise OpenClawError(desired.path, f"{parent} is not a directory", "List it as a directory before this.")
            _owner_of(desired)
        if desired.state == "directory":
            directories.add(desired.path)


def differs(change: Change) -> bool:
    """Whether a managed attribute differs."""
    found, desired = change
    if found.state != desired.state:
        # Without content there is nothing to make a file of: missing() tells.
        return not (desired.state == "file" and desired.content is None)
    if desired.state == "absent":
        return False
    pairs = [(getattr(desired, name), getattr(found, name)) for name in ("content", "src", "owner", "group", "mode")]
    return any(wanted is not None and wanted != is_ for wanted, is_ in pairs)


def missing(entries: t.Iterable[Entry]) -> list[str]:
    """Files that should be there, are not, and whose content nobody gave."""
    return [
        entry.path
        for entry in entries
        if entry.state == "file" and entry.content is None and not os.path.isfile(entry.path)
    ]


def in_sync(entries: t.Iterable[t.Mapping[str, t.Any]]) -> bool:
    """Whether everything is as these entries ask, of root and readable by all where they do not say otherwise.

    Entries that cannot be fulfilled are not in sync: the task that makes them says why.
    """
    defaults = {"owner": "root", "group": "root", "mode": "0644"}
    blank = {"state": "file", **dict.fromkeys(("content", "src", "owner", "group", "mode"))}
    try:
        desired = [desired_entry({**blank, **entry}, defaults) for entry in entries]
        return not plan(desired, strict=False) and not missing(desired)
    except OpenClawError:
        return False


def describe(path: str) -> dict[str, t.Any]:
    """What stands at a path, as the entry with which root would make it: what such an entry has by itself is left out."""
    found = look(path)
    entry = _undo_of(Change(found, found)) if is_text(found.content) else {"path": path, "state": "other"}
    ordinary = {"owner": "root", "group": "root", "mode": "0755" if found.state == "directory" else "0644"}
    return {name: value for name, value in entry.items() if value != ordinary.get(name)}


def sweep(entries: t.Iterable[Entry]) -> None:
    """Remove the temporary files of runs that were killed; a run that is under way still needs its own."""
    for desired in entries:
        directory, name = os.path.split(desired.path)
        temporary = re.compile(rf"\.{re.escape(name)}\.([0-9]+)-[0-9a-f]{{8}}")
        with contextlib.suppress(OSError):
            for match in filter(None, map(temporary.fullmatch, os.listdir(directory))):
                if not os.path.exists(f"/proc/{match[1]}"):
                    os.unlink(os.path.join(directory, match[0]))


def carry_out(change: Change) -> None:
    """Make one path as it should be."""
    found, desired = change
    try:
        if desired.state == "absent":
            (os.rmdir if found.state == "directory" else os.unlink)(desired.path)
        elif desired.state == "directory":
            if found.state == "absent":
                os.mkdir(desired.path, 0o700)
            _set_attributes(desired.path, desired, os.O_DIRECTORY)
        elif desired.state == "link":
            _replace(desired, lambda temporary: os.symlink(str(desired.src), temporary))
        elif desired.content is not None and (found.state != "file" or found.content != desired.content):
            _replace(desired, lambda temporary: _fill(temporary, desired))
        else:
            _set_attributes(desired.path, desired)
    except OSError as error:
        raise OpenClawError(
            desired.path,
            f"could not be made: {error.strerror}",
            "Nothing else of this step was undone; run it again when the reason is gone.",
        ) from error


def _replace(desired: Entry, make: t.Callable[[str], None]) -> None:
    """Make it under another name, then put it in place in one step."""
    directory, name = os.path.split(desired.path)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}-{random.token_hex(4)}")
    try:
        make(temporary)
        _set_attributes(temporary, desired)
        os.rename(temporary, desired.path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _fill(path: str, desired: Entry) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(desired.content or b"")
        file.flush()
        os.fsync(handle)


def _set_attributes(path: str, desired: Entry, flags: int = 0) -> None:
    uid, gid = _owner_of(desired)
    if desired.state == "link":
        os.chown(path, uid, gid, follow_symlinks=False)
        return
    # By descriptor: where others may write, the path can become a link to something else between two calls.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | flags)
    try:
        os.fchown(handle, uid, gid)
        # After fchown, which clears the set-group bit.
        if desired.mode is not None:
            os.fchmod(handle, desired.mode)
    finally:
        os.close(handle)


def _owner_of(desired: Entry) -> tuple[int, int]:
    """The numbers of owner and group; -1 leaves what is."""
    return _number(pwd.getpwnam, desired.owner, desired.path), _number(grp.getgrnam, desired.group, desired.path)


def _number(look_up: t.Callable[[str], t.Any], name: str | None, path: str) -> int:
    if name is None:
        return -1
    try:
        return int(name) if name.isdigit() else int(look_up(name)[2])
    except KeyError as error:
        raise OpenClawError(
            path, f"should belong to {name}, which does not exist", "Make that account or group first."
        ) from error


def undo(changes: t.Sequence[Change]) -> list[dict[str, t.Any]]:
    """The entries that make the paths what they were, but for files that held no text: a play cannot carry those."""
    # Backwards, so that what is in a directory comes after it again. What is absent is removed backwards anyway.
    there = [change for change in reversed(changes) if change.found.state != "absent"]
    back = [_undo_of(change) for change in there if is_text(change.found.content)]
    return back + [_undo_of(change) for change in changes if change.found.state == "absent"]


def joined(earlier: t.Sequence[dict[str, t.Any]], undo_: t.Sequence[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Two ways back as one: for a path that is in both, the earlier one."""
    known = {entry["path"] for entry in earlier}
    entries = [*earlier, *(entry for entry in undo_ if entry["path"] not in known)]
    # A directory may be in the one and what is in it in the other.
    return sorted(entries, key=lambda entry: entry["path"].count("/"))


def read_journal(path: str) -> list[dict[str, t.Any]]:
    """The way back that a run has left which was interrupted; none where there is no such file."""
    content = _store.read(path, None)
    if content is None:
        return []
    try:
        entries = json.loads(content)
        if not all(isinstance(entry["path"], str) and isinstance(entry["state"], str) for entry in entries):
            raise ValueError("an entry is incomplete")
    except (ValueError, TypeError, KeyError) as error:
        reason = f"it does not say how to undo what an interrupted run wrote: {error}"
        raise OpenClawError(path, reason, "Look at the files beside the gateway's unit, then remove it.") from error
    return t.cast("list[dict[str, t.Any]]", entries)


def write_journal(path: str, entries: t.Sequence[dict[str, t.Any]]) -> None:
    """Keep the way back, so that a run after one that is interrupted knows it."""
    try:
        _store.sweep(path, None)
        _store.write(path, _store.dump(entries), None)
    except OSError as error:
        raise OpenClawError(
            path, f"could not be written: {error.strerror}", "Run again when the reason is gone."
        ) from error


def is_text(content: bytes | None) -> bool:
    """Whether a content, where there is one, is UTF-8."""
    try:
        (content or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _undo_of(change: Change) -> dict[str, t.Any]:
    found = change.found
    entry: dict[str, t.Any] = {"path": found.path, "state": found.state}
    if found.content is not None:
        entry["content"] = found.content.decode()
    if found.src is not None:
        entry["src"] = found.src
    for name in ("owner", "group"):
        if getattr(found, name) is not None:
            entry[name] = getattr(found, name)
    if found.mode is not None:
        entry["mode"] = f"{found.mode:04o}"
    return entry


def difference(change: Change) -> dict[str, str]:
    """One entry of a diff: the content, after a line for each attribute that differs."""
    found, desired = change
    return {
        "before_header": found.path,
        "after_header": found.path,
        "before": _describe(found, change),
        "after": _describe(desired, change),
    }


def _describe(side: Entry, change: Change) -> str:
    if side.state == "absent":
        return ""
    lines = [] if change.found.state == change.desired.state else [f"# {side.state}"]
    for name in ("owner", "group", "mode", "src"):
        wanted = getattr(change.desired, name)
        if wanted is not None and wanted != getattr(change.found, name):
            value = getattr(side, name)
            lines.append(f"# {name} {value:04o}" if name == "mode" and value is not None else f"# {name} {value}")
    content = b"" if change.desired.content is None and change.desired.state == "file" else side.content or b""
    return "\n".join([*lines, content.decode(errors="replace")])


__all__ = (
    "Change",
    "Entry",
    "carry_out",
    "describe",
    "desired_entry",
    "difference",
    "differs",
    "in_sync",
    "joined",
    "look",
    "missing",
    "plan",
    "read_journal",
    "sweep",
    "undo",
    "write_journal",
)
