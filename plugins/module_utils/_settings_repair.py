# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""The repair of a broken settings file: from what was applied last, OpenClaw's last good copy, and what is sound in the file.

Broken is what cannot be read, is missing, or is refused by the release that had accepted the file before somebody changed it.
"""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _merge, _runtime, _settings, _store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._merge import Path, Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._settings_found import (
    SETTINGS_LIMIT,
    Copy,
    Found,
    Paths,
    Repair,
    Unread,
    look,
    parse,
    read_journal,
)
from ansible_collections.clawops.openclaw.plugins.module_utils._settings_plan import Params, Plan, make_plan
from ansible_collections.clawops.openclaw.plugins.module_utils._text import parse_object, printable

Issues = list[dict[str, t.Any]]

# How often the release is asked again: it may find more once something is gone.
_ROUNDS = 5
# Findings of the release, and names of keys, in one sentence.
_FINDINGS = 3
_SHOWN = 20
# An unclosed text ends with the file, so that no letter is looked at twice.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}\[\],]', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}


def look_or_repair(paths: Paths, account: _store.Account | None, release: _runtime.Release) -> Found:
    """What stands on the host; in place of a file that cannot be read, or is missing, the newest copy of it.

    :raises Unread: it was never applied by a run here, or there is no release to tell JSON5 from nonsense.
    """
    try:
        found = look(paths, account, release, recover="none")
    except Unread as error:
        journal = read_journal(paths)
        if "applied" not in journal or not release.installed:
            raise
        # The account may have put a sound one there meanwhile: it is kept aside like the other.
        found = look(paths, account, release, recover="discard")._replace(raw=b"")
        return _from_copy(found, paths, account, release, error.cause, whole_part(paths, account))
    if found.raw is None and "applied" in found.journal:
        return _from_copy(found, paths, account, release, "it is missing", {})
    return found


def _from_copy(
    found: Found, paths: Paths, account: _store.Account | None, release: _runtime.Release, reason: str, broken: Settings
) -> Found:
    copy = newest_copy(paths, account, release, found.journal)
    return found._replace(settings=copy.settings, repair=Repair(reason, copy, broken))


def newest_copy(
    paths: Paths, account: _store.Account | None, release: _runtime.Release, journal: t.Mapping[str, t.Any]
) -> Copy:
    """The newest settings that are kept: as the last run left them, or as OpenClaw last ran with them."""
    copies = []
    if "file" in journal:
        with contextlib.suppress(ValueError):
            noted = journal["file"].encode()
            copies.append(
                (_changed_at(paths.journal), Copy("what was applied last", parse(noted, release, journal), noted))
            )
    if good := _readable(paths.last_good, account, release):
        copies.append((_changed_at(paths.last_good), good))
    if copies:
        return max(copies, key=lambda each: each[0])[1]
    # Of a journal that an earlier version of this collection has written.
    if previous := _readable(paths.previous, account, release):
        return previous
    return Copy("what was applied last, without the host's own keys", journal.get("applied", {}))


def _readable(path: str, account: _store.Account | None, release: _runtime.Release) -> Copy | None:
    """Settings in a file of the account's, where there are any."""
    with contextlib.suppress(OpenClawError, ValueError):
        raw = _store.read(path, account, SETTINGS_LIMIT)
        return Copy(path, parse(raw, release, {}), raw) if raw else None
    return None


def _changed_at(path: str) -> float:
    with contextlib.suppress(OSError):
        return os.lstat(path).st_mtime
    return 0.0


def whole_part(paths: Paths, account: _store.Account | None) -> Settings:
    """What is whole of a file of JSON that is torn; only to tell what was in it, no value of it is used."""
    try:
        text = (_store.read(paths.settings, account, SETTINGS_LIMIT) or b"").decode(errors="replace")
    except OpenClawError:
        return {}
    opened: list[str] = []
    cut = 0
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark in _CLOSING:
            opened.append(_CLOSING[mark])
        elif opened and mark == opened[-1]:
            opened.pop()
        elif mark != ",":
            continue
        cut = token.end() - (mark == ",")
    with contextlib.suppress(ValueError):
        return parse_object(text[:cut] + "".join(reversed(opened)))
    return {}


def examined(
    params: Params,
    asked: Settings,
    found: Found,
    judge: t.Callable[[Settings], Issues],
    copy: t.Callable[[], Copy],
) -> Found:
    """The same without what the release refuses of the host's own keys; the copy's value stands in, where it has one."""
    if found.repair is None:
        issues = judge(found.settings)
        if not issues:
            return found
        last = copy()
        sound = found.settings
        for place in places(issues, found.settings):
            sound = _with(sound, place, _merge.MISSING)
        settings = _merge.overlay(last.settings, sound)
        # As for a file that cannot be read: it is no version to go back to, and nothing in it is drift.
        found = found._replace(settings=settings, raw=b"", repair=Repair(_words(issues), last, found.settings))
    kept = t.cast(Repair, found.repair).copy
    for _ in range(_ROUNDS):
        plan = make_plan(params, asked, found)
        settings = found.settings
        for place in places(judge(plan.settings), found.settings):
            settings = _reverted(settings, place, kept.settings)
        if settings == found.settings:
            break
        found = found._replace(settings=settings)
    return found


def _reverted(settings: Settings, place: Path, kept: Settings) -> Settings:
    """The same with the copy's value where the release has found something, or without it.

    What the inventory says of the place it says again in the next plan; a mistake of its own stays one.
    """
    if not place:
        # It does not say what is wrong: a copy that is refused as a whole is the operator's to decide about.
        return kept
    value = _merge.lookup(kept, place)
    again = _merge.same(value, _merge.lookup(settings, place))
    return _with(settings, place, _merge.MISSING if again else value)


def places(issues: Issues, settings: Settings) -> list[Path]:
    """Where in the settings the release has found something, as far as there are keys."""
    found = []
    for issue in issues:
        for where in _settings.places(issue):
            path: list[str] = []
            node: t.Any = settings
            rest = list(where)
            while isinstance(node, dict) and rest:
                # A key may have dots of its own.
                length = next((n for n in range(len(rest), 0, -1) if ".".join(rest[:n]) in node), 0)
                if not length:
                    break
                path.append(".".join(rest[:length]))
                node, rest = node[path[-1]], rest[length:]
            found.append(tuple(path))
    return list(dict.fromkeys(found))


def _words(issues: Issues) -> str:
    told = []
    for issue in issues[:_FINDINGS]:
        subject = _settings.dotted(_settings.places(issue)[0])
        told.append(": ".join(filter(None, (subject, str(issue.get("message") or "is not accepted")))))
    more = f"; and {len(issues) - _FINDINGS} more" if len(issues) > _FINDINGS else ""
    return printable("; ".join(told)) + more


def _with(settings: Settings, place: Path, value: t.Any) -> Settings:
    """A copy with another value at a place, or without it."""
    if not place:
        return {} if value is _merge.MISSING else t.cast(Settings, value)
    below = settings.get(place[0])
    rest = dict(settings)
    if len(place) > 1:
        rest[place[0]] = _with(below if isinstance(below, dict) else {}, place[1:], value)
    elif value is _merge.MISSING:
        rest.pop(place[0], None)
    else:
        rest[place[0]] = value
    return rest


def report(found: Found, plan: Plan, paths: Paths) -> tuple[dict[str, t.Any], list[str]]:
    """What was broken, and which of the host's own keys are saved; the same in words."""
    repair = found.repair
    if repair is None:
        return {}, []
    ours = (plan.target, found.journal.get("applied", {}))

    def hosts(settings: Settings) -> dict[Path, t.Any]:
        return {path: value for path, value in _merge.leaves(settings) if is_foreign(path, *ours)}

    saved, broken = hosts(plan.settings), hosts(repair.broken)
    former = [path for path in broken if path in saved and not _merge.same(broken[path], saved[path])]
    lost = [path for path in {**hosts(repair.copy.settings), **broken} if path not in saved]
    names = {
        "saved": [_settings.dotted(path) for path in saved if path not in former],
        "former": [_settings.dotted(path) for path in former],
        "lost": [_settings.dotted(path) for path in lost],
    }
    beside = (
        "" if found.raw is None else f", and is kept beside it as {os.path.basename(paths.settings)}.unreadable-<time>"
    )
    words = (
        f"{paths.settings} is broken: {repair.reason}. It is repaired from {repair.copy.name}{beside}."
        f" Keys of the host's own: saved {_listed(names['saved'])}; with their former value {_listed(names['former'])};"
        f" not saved {_listed(names['lost'])}."
    )
    return {"copy": repair.copy.name, **names}, [words]


def is_foreign(path: Path, *inventories: Settings) -> bool:
    """Whether a key is the host's own: neither OpenClaw's, nor one that the inventory speaks about, or did last."""
    if path[0] in _settings.PROGRAM_KEYS:
        return False
    for node in inventories:
        below: t.Any = node
        for key in path:
            if not isinstance(below, dict):
                return False
            below = below.get(key, _merge.MISSING)
            if below is _merge.MISSING:
                break
        else:
            return False
    return True


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) + more) or "none"


__all__ = ("examined", "is_foreign", "look_or_repair", "newest_copy", "places", "report", "whole_part")
