# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What became of backups and drills: a file in the gateway's ``health.d``, which the verdict over the gateway reads."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _store as store
from ansible_collections.clawops.openclaw.plugins.module_utils._backup import archive
from ansible_collections.clawops.openclaw.plugins.module_utils._backup.settings import Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

_LIMIT = 64 << 10


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


__all__ = ("note", "read")
