# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What became of backups and drills: a file in the gateway's ``health.d``, which the verdict over the gateway reads."""

from __future__ import annotations

import contextlib
import subprocess
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _store as store
from ansible_collections.clawops.openclaw.plugins.module_utils._backup import archive
from ansible_collections.clawops.openclaw.plugins.module_utils._backup.settings import Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._text import printable

_LIMIT = 64 << 10


class Ended(BaseException):
    """systemd has ended this run. No step takes it for a failure of its own, and goes on with the next."""


def problem(raised: BaseException) -> OpenClawError | None:
    """What a run has failed of, as a person would want to read it; ``None`` for what is a fault of this program."""
    if isinstance(raised, OpenClawError):
        return raised
    if isinstance(raised, Ended):
        return OpenClawError("this run", f"it was ended by {raised}", "The next run starts anew.")
    if isinstance(raised, subprocess.TimeoutExpired):
        words = raised.cmd if isinstance(raised.cmd, list) else [raised.cmd]
        reason = f"it has not ended within {raised.timeout:.0f} s"
        return OpenClawError(" ".join(map(str, words[:3])), reason, "See what holds it up; the next run tries again.")
    if isinstance(raised, OSError):
        subject, remedy = printable(raised.filename or "this host"), "Correct it; the next run tries again."
        return OpenClawError(subject, raised.strerror or printable(raised), remedy)
    return None


def note_failure(settings: Settings, raised: BaseException) -> OpenClawError | None:
    """Note why a run has failed. The same, where it is no fault of this program."""
    error = problem(raised)
    # A disk that is full may not even take this; its own error is the one to tell.
    with contextlib.suppress(OSError):
        note(settings, error=str(error or f"{type(raised).__name__}: {printable(raised)}"))
    return error


def read(settings: Settings) -> dict[str, t.Any]:
    """What is known; empty before the first run."""
    try:
        return store.read_object(settings.status, None, _LIMIT, "Remove it.")
    except OpenClawError:
        return {}


def note(settings: Settings, **news: t.Any) -> dict[str, t.Any]:
    """Note what is new; what is known stays, and repositories that the inventory no longer has go.

    ``last_success`` is when the data of the newest backup was taken that every repository has, in seconds since 1970.
    """
    known = {**read(settings), **news}
    names = [remote.name for remote in settings.remotes]
    known["repositories"] = {name: row for name, row in known.get("repositories", {}).items() if name in names}
    known |= {
        "kind": "backup",
        "max_age_minutes": settings.max_age_minutes,
        "drill_max_age_days": settings.drill_max_age_days,
        "updated": int(time.time()),
    }
    archive.write_json(settings.status, known, 0o644)
    return known


__all__ = ("Ended", "note", "note_failure", "problem", "read")
