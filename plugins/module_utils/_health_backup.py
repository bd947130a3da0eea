# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Whether a gateway's data would come back: what its backups have noted of themselves, judged by the clock."""

from __future__ import annotations

import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._health_probes import number
from ansible_collections.clawops.openclaw.plugins.module_utils._text import printable

_JOURNAL = "Read 'journalctl -u openclaw-backup*', correct the cause, then run backup.yml."


def problems(about: t.Mapping[str, t.Any], now: float) -> list[str]:
    """What is wrong with the backups, each in a sentence with its remedy.

    :param about: what each run of the role backup writes (``_backup/status.py``). Times are seconds since 1970.
    :param now: the same, on this host's clock.
    """
    why = _why(about.get("error"))
    found = _age("the newest backup", about.get("last_success"), _minutes(about, "max_age_minutes"), now, why, _JOURNAL)
    if not found and why:
        # What is there is young enough, but the next one may not come.
        found = [f"the last backup failed{why}. {_JOURNAL}"]
    drill = about.get("drill")
    drill = drill if isinstance(drill, dict) else {}
    why, remedy = _why(drill.get("error")), "Run restore.yml -e restore_drill=true."
    return found + _age(
        "the newest drill", drill.get("last_success"), _minutes(about, "drill_max_age_days") * 1440, now, why, remedy
    )


def _minutes(about: t.Mapping[str, t.Any], name: str) -> float:
    return number(about.get(name)) or 0


def _why(error: t.Any) -> str:
    return f" ({printable(error)})" if error else ""


def _age(subject: str, when: t.Any, most: float, now: float, why: str, remedy: str) -> list[str]:
    """That something is missing or older than it may be, in minutes; nothing where it may have any age."""
    if not most:
        return []
    at = number(when)
    if not at:
        return [f"{subject}: there is none yet{why}. {remedy}"]
    age = (now - at) / 60
    if age < -most:
        return [f"{subject}: it is of the future, by {_span(-age)}. Set the host's clock right, then run backup.yml."]
    if age > most:
        return [f"{subject}: {_span(age)} old, more than {_span(most)}{why}. {remedy}"]
    return []


def _span(minutes: float) -> str:
    """A length of time, as people say it."""
    if minutes < 120:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes < 2880 else f"{minutes / 1440:.0f} days"


def figures(about: t.Mapping[str, t.Any], now: float) -> dict[str, t.Any]:
    """The same as figures, under names of their own; what is not known is left out."""
    drill = about.get("drill")
    drill = drill if isinstance(drill, dict) else {}
    times = {"backup_age_seconds": about.get("last_success"), "drill_age_seconds": drill.get("last_success")}
    found = {name: int(now - at) for name, value in times.items() if (at := number(value))}
    plain = {
        "backup_seconds": about.get("seconds"),
        "drill_rto_seconds": drill.get("rto_seconds"),
        "drill_rpo_seconds": drill.get("rpo_seconds"),
    }
    return found | {name: at for name, value in plain.items() if (at := number(value)) is not None}


__all__ = ("figures", "problems")
