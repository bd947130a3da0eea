# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a backup is young enough, in words and figures."""

from __future__ import annotations

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _health_backup as health_backup

NOW = 1_800_000_000
WELL = {"last_success": NOW - 600, "max_age_minutes": 60, "drill_max_age_days": 0, "error": "", "seconds": 4.2}


def test_a_backup_that_is_young_enough_is_nothing_to_tell_of():
    assert health_backup.problems(WELL, NOW) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"last_success": NOW - 4000}, "the newest backup: 67 min old, more than 60 min. "),
        ({"last_success": NOW - 400_000}, "the newest backup: 5 days old"),
        ({"last_success": 0}, "the newest backup: there is none yet. "),
        ({"last_success": None, "error": "no network"}, "there is none yet (no network)"),
        ({"last_success": "x"}, "there is none yet"),
        ({"last_success": NOW + 7200}, "it is of the future, by 2 h. Set the host's clock right"),
        ({"error": "no network"}, "the last backup failed (no network). "),
        ({"drill_max_age_days": 35}, "the newest drill: there is none yet. Run restore.yml -e restore_drill=true."),
        (
            {"drill_max_age_days": 35, "drill": {"last_success": NOW - 40 * 86400}},
            "the newest drill: 40 days old, more than 35 days",
        ),
    ],
)
def test_what_would_not_come_back_is_told_of(changes, words):
    [problem] = health_backup.problems({**WELL, **changes}, NOW)
    assert words in problem


def test_no_age_is_too_old_where_none_is_asked_for():
    assert health_backup.problems({**WELL, "last_success": 1, "max_age_minutes": 0}, NOW) == []


def test_figures_are_those_that_are_known():
    drill = {"last_success": NOW - 86400, "rto_seconds": 31.5, "rpo_seconds": 600}
    assert health_backup.figures({**WELL, "drill": drill}, NOW) == {
        "backup_age_seconds": 600,
        "backup_seconds": 4.2,
        "drill_age_seconds": 86400,
        "drill_rto_seconds": 31.5,
        "drill_rpo_seconds": 600,
    }
    assert health_backup.figures({"drill": []}, NOW) == {}
