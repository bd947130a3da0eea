# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Another password for the repositories: the new one opens all of them before the old one goes from any.

Interrupted, it leaves repositories that both open; the next run goes on from there.
"""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _store as store
from ansible_collections.clawops.openclaw.plugins.module_utils._backup.repository import Repository, RepositoryError
from ansible_collections.clawops.openclaw.plugins.module_utils._backup.settings import Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._text import parse_json, printable

_LARGEST_NOTE = 1 << 20
Make = t.Callable[..., Repository]


def rotate(settings: Settings, make: Make = Repository) -> dict[str, t.Any]:
    """Give each repository the password in ``password.new``, then take the former one away; what became of each.

    The former key alone goes: others may be somebody else's, as of the machine that removes old snapshots. Which it is, is
    noted until it is gone everywhere, as from then on nothing else tells it.
    """
    new = f"{settings.password_file}.new"
    if not store.read(new, None):
        raise OpenClawError(new, "there is no new password", "Run rotate.yml -e rotate=backup_password.")
    deadline = time.monotonic() + settings.timeout
    olds = {remote.name: make(settings, remote, deadline) for remote in settings.remotes}
    news = {remote.name: make(settings._replace(password_file=new), remote, deadline) for remote in settings.remotes}
    noted = store.read_object(note_path(settings), None, _LARGEST_NOTE, "Remove it.")
    former: dict[str, list[str]] = {}
    for name, old in olds.items():
        # Those that a run before this one could not take away go with it.
        former[name] = [*map(str, noted.get(name) or ()), current(old)]
        if not opens(news[name]):
            old.ask("key", "add", "--new-password-file", new)
        if not opens(news[name]):
            raise OpenClawError(
                f"repository {name}", "it does not open with the new password", "The old one opens it as before."
            )
        former[name] = sorted({*former[name]} - {current(news[name]), ""})
    store.write(note_path(settings), json.dumps(former).encode(), None)
    # From here on every run uses the new one.
    os.rename(new, settings.password_file)
    news = {remote.name: make(settings, remote, deadline) for remote in settings.remotes}
    found = {name: take_away(news[name], keys) for name, keys in former.items()}
    if all(row["old_refused"] for row in found.values()):
        os.unlink(note_path(settings))
    return {"repositories": found}


def note_path(settings: Settings) -> str:
    """Names the former keys of each repository, while one of them may still open it."""
    return f"{settings.password_file}.former.json"


def opens(repository: Repository) -> bool:
    """Whether the password is one of the repository's."""
    try:
        return not repository.ready(make=False)
    except RepositoryError as error:
        if error.kind == "password":
            return False
        raise


def current(repository: Repository) -> str:
    """The key that the password opens; empty where it opens none any more."""
    if not opens(repository):
        return ""
    keys = parse_json(repository.ask("key", "list", "--json"))
    return next((str(key["id"]) for key in keys if key.get("current")), "")


def take_away(repository: Repository, keys: t.Collection[str]) -> dict[str, t.Any]:
    """Remove the former keys; whether they are gone, and why not."""
    try:
        for key in set(keys) & listed(repository):
            repository.ask("key", "remove", key)
        left = set(keys) & listed(repository)
        return {"old_refused": not left, "why": "the server kept it" if left else ""}
    except OpenClawError as error:
        return {"old_refused": False, "why": printable(str(error), 300)}


def listed(repository: Repository) -> set[str]:
    """The names of all keys."""
    return {str(row["id"]) for row in parse_json(repository.ask("key", "list", "--json"))}


__all__ = ("rotate",)
