# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What a gateway has of settings and secrets: the files, and the journal of what was applied last."""

from __future__ import annotations

import contextlib
import hashlib
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _runtime, _store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._merge import Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._text import parse_json, parse_object, printable

Secrets = dict[str, str]

# Bytes. Settings of 200 agents take 300 KiB; the journal holds them twice, and twice more for each attempt that was interrupted.
SETTINGS_LIMIT = 4 << 20
SECRETS_LIMIT = 1 << 20
_JOURNAL_LIMIT = 16 << 20


class Paths(t.NamedTuple):
    """The files of one gateway's settings."""

    settings: str
    secrets: str
    journal: str

    @property
    def previous(self) -> str:
        return self.settings + ".previous"

    @property
    def last_good(self) -> str:
        return self.settings + ".last-good"

    @property
    def previous_secrets(self) -> str:
        return self.secrets + ".previous"


class Copy(t.NamedTuple):
    """Settings that are kept somewhere, and the words for where; ``raw`` is the very file, where it is known."""

    name: str
    settings: Settings
    raw: bytes | None = None


class Repair(t.NamedTuple):
    """Why a settings file is broken, the copy that it is repaired from, and what can be told of what is in it."""

    reason: str
    copy: Copy
    broken: Settings


class Found(t.NamedTuple):
    """What stands on the host; ``raw`` is ``None`` without a settings file and empty for one that is broken."""

    settings: Settings
    raw: bytes | None
    secrets: Secrets
    journal: dict[str, t.Any]
    repair: Repair | None = None

    @property
    def judged(self) -> bool:
        """Whether this very file is the one that a release has judged last."""
        notes = (self.journal, self.journal.get("pending", {}))
        return not self.raw or digest(self.raw) in [note.get("judged") for note in notes]

    @property
    def unremembered(self) -> bool:
        """Whether a person's JSON5 stands there that the journal does not know yet."""
        return (
            bool(self.raw) and not is_json(self.raw) and self.journal.get("json5", {}).get("sha256") != digest(self.raw)
        )


class Unread(OpenClawError):
    """The settings that are there cannot be read, and the operator has not said what to start from."""

    def __init__(self, path: str, cause: str, offers: t.Sequence[str]) -> None:
        self.cause = cause
        super().__init__(
            path,
            f"cannot be read: {cause}. It was left as it is",
            f"Repair it, or decide what to start from: {'; '.join(offers)}.",
        )


def look(paths: Paths, account: _store.Account | None, release: _runtime.Release, *, recover: str) -> Found:
    """Read what stands on the host; a file that cannot be read stops the run unless the operator has decided."""
    journal = read_journal(paths)
    try:
        raw = _store.read(paths.settings, account, SETTINGS_LIMIT)
        settings = parse(raw, release, journal) if raw is not None else {}
    except (ValueError, _store.Unreadable) as error:
        cause = error.cause if isinstance(error, _store.Unreadable) else printable(error)
        settings, raw = recovered(paths, account, release, cause, recover), b""
    return Found(settings, raw, read_secrets(paths.secrets, account), journal)


def parse(raw: bytes, release: _runtime.Release, journal: t.Mapping[str, t.Any]) -> Settings:
    """Settings as the program reads them: JSON, or JSON5 by the program's own library.

    :raises ValueError: they cannot be read; the words say why.
    """
    try:
        settings = parse_json(raw)
    except ValueError as error:
        seen = journal.get("json5", {})
        if seen.get("sha256") == digest(raw):
            settings = seen["settings"]
        elif release.installed and raw.strip():
            settings = release.parse_json5(raw)
        else:
            raise ValueError(f"it is not JSON ({printable(error)})") from error
    if not isinstance(settings, dict):
        raise ValueError("it holds no object")
    return settings


def recovered(
    paths: Paths, account: _store.Account | None, release: _runtime.Release, reason: str, recover: str
) -> Settings:
    """The settings to start from in place of an unreadable file, as the operator has decided."""
    choices = {"last_good": paths.last_good, "previous": paths.previous}
    there = [name for name, path in choices.items() if is_readable(path, account)]
    if recover == "none":
        offers = [f"gateway_settings_recover={name} starts from {choices[name]}" for name in there]
        offers.append("gateway_settings_recover=discard keeps only what the inventory says")
        raise Unread(paths.settings, reason, offers)
    if recover == "discard":
        return {}
    kept = _store.read(choices[recover], account, SETTINGS_LIMIT)
    if kept is None:
        raise OpenClawError(
            choices[recover],
            "is not there to start from",
            f"There is: {', '.join(there) or 'nothing'}; gateway_settings_recover=discard keeps only what the inventory says.",
        )
    try:
        return parse(kept, release, {})
    except ValueError as error:
        raise OpenClawError(
            choices[recover],
            f"cannot be read either: {printable(error)}",
            "Use gateway_settings_recover=discard, which keeps only what the inventory says.",
        ) from error


def is_readable(path: str, account: _store.Account | None) -> bool:
    """Whether settings to start from are there, as far as a look tells."""
    with contextlib.suppress(OpenClawError):
        return _store.read(path, account, SETTINGS_LIMIT) is not None
    return False


def read_journal(paths: Paths) -> dict[str, t.Any]:
    """What we wrote down last; a journal that cannot be read, or that we would not write, is as good as none."""
    try:
        journal = parse_object(_store.read(paths.journal, None, _JOURNAL_LIMIT) or b"{}")
    except (ValueError, _store.Unreadable):
        return {}
    return journal if _has_shape(journal, _JOURNAL, whole=False) else {}


def _has_shape(value: t.Any, shape: t.Any, *, whole: bool = True) -> bool:
    """Whether a value has the types of a shape: of a list the one type of its items, of an object those of what is in it.

    :param whole: whether all of what the shape names has to be there.
    """
    if isinstance(shape, list):
        return isinstance(value, list) and all(_has_shape(item, shape[0]) for item in value)
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(
            _has_shape(value[name], kind) if name in value else not whole for name, kind in shape.items()
        )
    return isinstance(value, shape)


# What _apply writes.
_JOURNAL: dict[str, t.Any] = {
    "applied": dict,
    "secrets": [str],
    "validated_by": str,
    "judged": str,
    "file": str,
    "json5": {"sha256": str, "settings": dict},
    "pending": {
        "desired": dict,
        "secrets": [str],
        "ours": [str],
        "release": str,
        "earlier": [dict],
        "existed": bool,
        "judged": str,
        "json5": dict,
    },
}


def read_secrets(path: str, account: _store.Account | None) -> Secrets:
    remedy = "Restore it, or remove it: every secret of the inventory is written again."
    return _store.read_object(path, account, SECRETS_LIMIT, remedy)


def is_json(raw: bytes | None) -> bool:
    try:
        parse_json(raw or b"")
    except ValueError:
        return False
    return True


def digest(raw: bytes | None) -> str:
    return hashlib.sha256(raw or b"").hexdigest()


__all__ = (
    "SECRETS_LIMIT",
    "SETTINGS_LIMIT",
    "Copy",
    "Found",
    "Paths",
    "Repair",
    "Secrets",
    "Unread",
    "digest",
    "is_json",
    "look",
    "parse",
    "read_journal",
    "read_secrets",
)
