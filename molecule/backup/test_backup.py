# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role backup: the first backup is there, and cron knows when the next one is."""

from __future__ import annotations

import json
from typing import Any

RESTIC = "restic -r /srv/backup --password-file /etc/openclaw/main/backup/password"


def test_the_first_backup_is_in_the_repository(host: Any) -> None:
    [snapshot] = json.loads(host.check_output(f"{RESTIC} snapshots --json"))
    assert set(snapshot["tags"]) == {"openclaw-main", "full"}
    listed = host.check_output(f"{RESTIC} ls latest")
    for name in ("state/openclaw.sqlite", "openclaw.json", "secrets/secrets.json", "openclaw-gateway.service"):
        assert f"/{name}\n" in listed
    assert "backup/password" not in listed


def test_it_is_noted_for_the_verdict_and_by_openclaw(host: Any) -> None:
    status = json.loads(host.check_output("cat /etc/openclaw/main/health.d/backup.json"))
    assert (status["error"], status["repositories"]["local"]["error"]) == ("", "")
    assert status["last_success"] > 0
    assert "last ok" in host.check_output("cd / && openclaw status")


def test_nothing_unencrypted_stays(host: Any) -> None:
    assert host.check_output("ls /var/backups/openclaw/main").split() == ["cache", "lock", "plugins.json"]
