# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of the inventory's backups cannot work, and what is due."""

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _preflight
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import backup
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host

PASSWORD = "opens-the-backups-of-a-test"
LOCAL = {"name": "local", "url": "/srv/backup"}
REMOTE = {"name": "offsite", "url": "rest:https://u:p@host/x"}
CRONS = {"backup_cron": "*/15 * * * *", "backup_cron_full": "17 3 * * *", "backup_cron_drill": ""}


def params(**changes: object) -> dict[str, object]:
    plain = {
        "state": "present",
        "repositories": [REMOTE],
        "password": PASSWORD,
        "password_path": "/none",
        "rotates_password": False,
        "crons": CRONS,
        "packages": ["restic"],
        "program_paths": [],
        "program_digest": hashlib.sha256(b"").hexdigest(),
        "files": [],
        "secret_files": [],
        "folders": [],
        "folder": "/none",
        "config_path": "/none",
        "forbidden": ["/var/lib/openclaw/main", "/tmp"],
        "status_path": "/none",
        "restoring": "/none",
        "restores": False,
    }
    return {**plain, **changes}


def told(**changes: object) -> tuple[list[str], list[str]]:
    known, interrupted = changes.pop("known", ""), changes.pop("interrupted", False)
    errors, warnings = backup.judge(params(**changes), {"_password": known, "interrupted": interrupted})
    return [str(each) for each in errors], [str(each) for each in warnings]


def test_backups_elsewhere_are_nothing_to_tell_of():
    assert told() == ([], [])


def test_backups_on_the_host_only_are_warned_of():
    assert told(repositories=[LOCAL, REMOTE]) == ([], [])
    errors, warnings = told(repositories=[LOCAL])
    assert errors == []
    assert "goes with it" in warnings[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"repositories": []}, "nowhere to keep a backup"),
        ({"repositories": [REMOTE, REMOTE]}, "2 of them have this name"),
        ({"repositories": [{**REMOTE, "name": "../x"}]}, "its name is not of small letters"),
        ({"repositories": [{**REMOTE, "url": "ftp://host/x"}]}, "its url is none of restic's"),
        ({"repositories": [{**REMOTE, "url": "sftp:b@h:/x"}]}, "the server's key is not known"),
        ({"repositories": [{**LOCAL, "url": "/var/lib/openclaw/main/b"}]}, "the gateway could remove it"),
        ({"repositories": [{**LOCAL, "url": "local:/srv/../tmp/b"}]}, "it lies in /tmp"),
        ({"repositories": [{**LOCAL, "url": "/etc/backup"}]}, "it lies in /etc"),
        ({"repositories": [{**LOCAL, "url": "//"}]}, "it is closed to them"),
        ({"repositories": [{**LOCAL, "url": "/srv/"}]}, "it is closed to them"),
        ({"repositories": [{**LOCAL, "url": "local:/mnt"}]}, "it is closed to them"),
        ({"repositories": [{**LOCAL, "url": "/var/lib"}]}, "it is closed to them"),
        ({"repositories": [{**LOCAL, "url": "/srv/my backup"}]}, "systemd does not take"),
        ({"repositories": [{**LOCAL, "url": "/srv/100%"}]}, "systemd does not take"),
        ({"repositories": [{**REMOTE, "environment": {"aws key": "x"}}]}, "no name of a variable"),
        ({"password": "short"}, "shorter than 16 letters"),
        ({"password": f"{PASSWORD}\n"}, "white space"),
        ({"known": "another-password-than-that"}, "Run rotate.yml -e rotate=backup_password"),
        ({"crons": {**CRONS, "backup_cron": "every 5 minutes"}}, "not five fields"),
        ({"crons": {**CRONS, "backup_cron": ""}}, "not five fields"),
        ({"crons": {**CRONS, "backup_cron": "99 * * * *"}}, "not five fields"),
        ({"crons": {**CRONS, "backup_cron": "*/0 * * * *"}}, "not five fields"),
        ({"crons": {**CRONS, "backup_cron": "5/15 * * * *"}}, "not five fields"),
        ({"crons": {**CRONS, "backup_cron": "0 24 * * *"}}, "not five fields"),
        ({"crons": {**CRONS, "backup_cron": "0 9-5 * * *"}}, "not five fields"),
        ({"crons": {**CRONS, "backup_cron": "0 0 0 * *"}}, "not five fields"),
        ({"crons": {**CRONS, "backup_cron": "0 0 * foo *"}}, "not five fields"),
        ({"crons": {**CRONS, "backup_cron": "0 0 * * *\n"}}, "not five fields"),
        ({"crons": {**CRONS, "backup_cron": "* * * * * rm -rf /"}}, "not five fields"),
        ({"crons": {**CRONS, "backup_cron_drill": "0 4 1"}}, "backup_cron_drill"),
    ],
)
def test_what_cannot_work_is_refused(changes, words):
    errors, _ = told(**changes)
    assert words in errors[0]


def test_a_restore_that_was_interrupted_comes_first():
    errors, _ = told(interrupted=True)
    assert "Run restore.yml again" in errors[0]
    assert told(interrupted=True, restores=True) == ([], [])


def test_no_message_repeats_a_password():
    errors, _ = told(repositories=[{"name": "X", "url": "ftp://u:hunter2@h"}], known="former-secret-password")
    text = " ".join(errors)
    assert "hunter2" not in text
    assert PASSWORD not in text
    assert "former-secret" not in text


@pytest.mark.parametrize("text", ["*/15 * * * *", "17 3 * * 1-5", "0,30 */2 1 jan *", "5 4 * * sun"])
def test_times_as_cron_has_them_are_taken(text):
    assert told(crons={**CRONS, "backup_cron": text}) == ([], [])


@pytest.mark.parametrize(
    ("changes", "seen", "phases"),
    [
        ({}, {}, []),
        ({}, {"installed": []}, ["install"]),
        ({}, {"program": False}, ["configure"]),
        ({}, {"files": False}, ["configure"]),
        ({}, {"tried": False}, ["run"]),
        ({"state": "absent"}, {"there": False}, []),
        ({"state": "absent"}, {"there": True}, ["remove"]),
    ],
)
def test_only_what_is_not_there_is_due(changes, seen, phases):
    found = {"installed": ["restic"], "program": True, "files": True, "tried": True, "there": True, **seen}
    assert backup.due(params(**changes), found)["phases"] == phases


def test_the_program_is_compared_by_its_text(tmp_path):
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("two")
    paths = [str(tmp_path / "a"), str(tmp_path / "b")]
    right = hashlib.sha256(b"onetwo").hexdigest()
    assert backup.look(Host(), params(program_paths=paths, program_digest=right))["program"] is True
    (tmp_path / "b").write_text("too")
    assert backup.look(Host(), params(program_paths=paths, program_digest=right))["program"] is False


@pytest.mark.parametrize("text", ["*/5 0-23/2 1,15 jan-mar Mon-Fri", "0 4 1 * 7", "0\t4 * * sun,3", "10-50/20 * * * *"])
def test_what_cron_takes_is_taken(text):
    assert told(crons={**CRONS, "backup_cron": text}) == ([], [])


def test_the_way_back_from_an_interrupted_restore_is_not_taken_away():
    assert "Run restore.yml again" in told(state="absent", interrupted=True)[0][0]


def test_of_a_repository_its_name_is_shown_and_its_secrets_are_not():
    repository = {"name": "s3", "url": "s3:https://k:hunter2@h", "environment": {"A": "wJalr"}, "ssh_key": "PRIVATE"}
    _, problems, secrets = _preflight.validated("backup", backup, params(repositories=[repository]))
    assert problems == []
    assert {"s3:https://k:hunter2@h", "wJalr", "PRIVATE", PASSWORD} == set(secrets)
