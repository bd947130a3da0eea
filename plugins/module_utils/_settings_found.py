# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What a gateway has of settings and secrets: the files, and the journal of what was applied last."""

from __future__ import annotations

import hashlib
import json
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _runtime, _store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._merge import Settings

Secrets = dict[str, str]


class Paths(t.NamedTuple):
    """The files of one gateway's settings."""

    settings: str
    secrets: str

    @property
    def previous(self) -> str:
        return self.settings + ".previous"

    @property
    def last_good(self) -> str:
        return self.settings + ".last-good"

    @property
    def journal(self) -> str:
        return self.settings + ".applied"

    @property
    def previous_secrets(self) -> str:
        return self.secrets + ".previous"


class Found(t.NamedTuple):
    """What stands on the host; ``raw`` is ``None`` without a settings file and empty for one that cannot be read."""

    settings: Settings
    raw: bytes | None
    secrets: Secrets
    journal: dict[str, t.Any]

    @property
    def unremembered(self) -> bool:
        """Whether a person's JSON5 stands there that the journal does not know yet."""
        return (
            bool(self.raw) and not is_json(self.raw) and self.journal.get("json5", {}).get("sha256") != digest(self.raw)
        )


class Unread(OpenClawError):
    """The settings that are there cannot be read, and the operator has not said what to start from."""


def look(paths: Paths, account: _store.Account | None, release: _runtime.Release, *, recover: str) -> Found:
    """Read what stands on the host; a file that cannot be read stops the run unless the operator has decided."""
    journal = read_journal(paths, account)
    try:
        raw = _store.read(paths.settings, account)
        settings = parse(raw, release, journal) if raw is not None else {}
    except (ValueError, _store.Unreadable) as error:
        cause = error.cause if isinstance(error, _store.Unreadable) else str(error)
        settings, raw = recovered(paths, account, release, cause, recover), b""
    return Found(settings, raw, read_secrets(paths.secrets, account), journal)


def parse(raw: bytes, release: _runtime.Release, journal: t.Mapping[str, t.Any]) -> Settings:
    """Settings as the program reads them: JSON, or JSON5 by the program's own library."""
    try:
        settings = json.loads(raw)
    except ValueError as error:
        seen = journal.get("json5", {})
        if seen.get("sha256") == digest(raw):
            settings = seen["settings"]
        elif release.installed and raw.strip():
            settings = release.parse_json5(raw)
        else:
            raise ValueError(f"it is not JSON ({error})") from error
    if not isinstance(settings, dict):
        raise ValueError("it holds no object")
    return settings


def recovered(
    paths: Paths, account: _store.Account | None, release: _runtime.Release, reason: str, recover: str
) -> Settings:
    """The settings to start from in place of an unreadable file, as the operator has decided."""
    choices = {"last_good": paths.last_good, "previous": paths.previous}
    there = [name for name, path in choices.items() if _store.read(path, account) is not None]
    if recover == "none":
        offers = [f"gateway_settings_recover={name} starts from {choices[name]}" for name in there]
        offers.append("gateway_settings_recover=discard keeps only what the inventory says")
        raise Unread(
            paths.settings,
            f"cannot be read: {reason}. It was left as it is",
            f"Repair it, or decide what to start from: {'; '.join(offers)}.",
        )
    if recover == "discard":
        return {}
    kept = _store.read(choices[recover], account)
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
            f"cannot be read either: {error}",
            "Use gateway_settings_recover=discard, which keeps only what the inventory says.",
        ) from error


def read_journal(paths: Paths, account: _store.Account | None) -> dict[str, t.Any]:
    """What we wrote down last; a journal that cannot be read is as good as none, and is said so."""
    raw = _store.read(paths.journal, account)
    try:
        journal = json.loads(raw) if raw else {}
    except ValueError:
        journal = {}
    return journal if isinstance(journal, dict) else {}


def read_secrets(path: str, account: _store.Account | None) -> Secrets:
    raw = _store.read(path, account)
    try:
        secrets = json.loads(raw) if raw else {}
    except ValueError:
        secrets = None
    if not isinstance(secrets, dict):
        # What stands there is not quoted: it may be a secret.
        remedy = "Restore it, or remove it: every secret of the inventory is written again."
        raise OpenClawError(path, "is no JSON object", remedy)
    return secrets


def is_json(raw: bytes | None) -> bool:
    try:
        json.loads(raw or b"")
    except ValueError:
        return False
    return True


def digest(raw: bytes | None) -> str:
    return hashlib.sha256(raw or b"").hexdigest()


__all__ = ("Found", "Paths", "Secrets", "Unread", "digest", "is_json", "look", "read_journal", "read_secrets")
