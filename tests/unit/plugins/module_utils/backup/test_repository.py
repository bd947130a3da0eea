# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What restic says, and what it means: words of the four distributions' releases, gathered from real servers."""

from __future__ import annotations

import subprocess
import time
import urllib.parse

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils._backup import repository as repositories
from ansible_collections.clawops.openclaw.plugins.module_utils._backup.settings import Remote, Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError


def remote(url: str = "/srv/backup", **more: object) -> Remote:
    plain = {"append_only": False, "environment": {}, "ssh_key": "", "ssh_known_hosts": "", "ca": ""}
    return Remote(**{"name": "offsite", "url": url, **plain, **more})  # type: ignore[arg-type]


def settings(**changes: object) -> Settings:
    values = dict.fromkeys(Settings._fields, "")
    numbers = {
        "delay": 0,
        "timeout": 60,
        "max_mb": 10,
        "check_parts": 4,
        "max_age_minutes": 60,
        "drill_max_age_days": 0,
    }
    keep = {"hourly": 2, "daily": 1, "weekly": 0, "monthly": 0}
    return Settings(**{**values, **numbers, "instance": "main", "host": "vps", "keep": keep, **changes})  # type: ignore[arg-type]


class Restic(repositories.Repository):
    """A repository whose restic says what it was told to say."""

    def __init__(self, *answers: tuple[int, str, str], **more: object) -> None:
        super().__init__(settings(), remote(**more), time.monotonic() + 60)  # type: ignore[arg-type]
        self.answers, self.asked = list(answers), list[tuple[str, ...]]()

    def run(self, *words, seconds=None):
        self.asked.append(words)
        status, out, err = self.answers.pop(0)
        return subprocess.CompletedProcess(words, status, out, err)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Fatal: wrong password or no key found", "password"),
        (
            "Fatal: unable to open config file: Stat: stat /srv/backup/config: no such file or directory\n"
            "Is there a repository at the following location?\n/srv/backup",
            "missing",
        ),
        (
            'Fatal: unable to open config file: Head "http://u:p@h:8000/config": dial tcp 10.0.0.1:8000: connect: connection refused\n'
            "Is there a repository at the following location?",
            "unreachable",
        ),
        (
            "unexpected HTTP response (502): 502 Bad Gateway\nIs there a repository at the following location?",
            "unreachable",
        ),
        ("Fatal: unable to open config file: unexpected HTTP response (401): 401 Unauthorized", "refused"),
        ("Fatal: unable to create lock in backend: repository is already locked by PID 7 on vps by root", "locked"),
        ("Fatal: unable to save snapshot: write /srv/backup/x: no space left on device", "full"),
        ("Remove(<snapshot/1234>) returned error, blob not removed: 403 Forbidden", "append_only"),
        ("Host key verification failed.\nsubprocess ssh: exit status 255", "refused"),
        ("ssh: Could not resolve hostname h: Name or service not known", "unreachable"),
        ("error for tree 1a2b: ciphertext verification failed", "damaged"),
        ("Fatal: something nobody has seen before", "other"),
        ("", "other"),
    ],
)
def test_words_of_restic_have_a_meaning(words, kind):
    assert repositories.meaning("offsite", words).kind == kind


def test_no_message_repeats_a_password_in_an_address():
    error = repositories.meaning("offsite", 'Head "http://user:hunter2@h/config": connection refused')
    assert "hunter2" not in str(error)
    assert "repository offsite: the server does not answer" in str(error)


@pytest.mark.parametrize("password", ["hun/ter2", "hun@ter2", "hun%2Fter2"])
def test_no_message_repeats_a_password_that_makes_an_address_none(password):
    """As restic itself quotes it: the whole address, or what it takes for the port."""
    for said in (password, f"https://user:{password}@h/x", urllib.parse.unquote(password)):
        words = f'Fatal: parse "{said}": invalid port'
        restic = Restic((1, "", words), url=f"rest:https://user:{password}@h/x")
        with pytest.raises(OpenClawError) as raised:
            restic.snapshots()
        assert "ter2" not in str(raised.value)
    keys = {"AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-K7MDENG"}
    with pytest.raises(OpenClawError) as raised:
        Restic((1, "", f"Fatal: bad key {keys['AWS_SECRET_ACCESS_KEY']}"), environment=keys).snapshots()
    assert "wJalr" not in str(raised.value)


def test_restic_says_how_far_it_is_so_rarely_that_its_last_words_are_read():
    restic = repositories.Repository(settings(), remote(), time.monotonic() + 60)
    assert float(restic.environment()["RESTIC_PROGRESS_FPS"]) <= 1


def test_a_missing_repository_is_made_and_an_unreachable_one_is_not():
    missing = Restic((1, "", "Is there a repository at the following location?"), (0, "", ""))
    assert missing.ready(make=True) is True
    assert [words[0] for words in missing.asked] == ["cat", "init"]
    with pytest.raises(OpenClawError, match="does not answer"):
        Restic((1, "", "dial tcp: connection refused\nIs there a repository")).ready(make=True)
    with pytest.raises(OpenClawError, match="there is no repository"):
        Restic((1, "", "Is there a repository at the following location?")).ready(make=False)


def test_a_stale_lock_is_taken_away_and_the_work_goes_on():
    locked = (1, "", "repository is already locked by PID 7 on vps")
    restic = Restic(locked, (0, "", ""), (0, "[]", ""))
    assert restic.snapshots() == []
    assert [words[0] for words in restic.asked] == ["snapshots", "unlock", "snapshots"]


def test_a_lock_that_stays_is_told_of(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(repositories, "_LOCKED_TRIES", 2)
    locked = (1, "", "repository is already locked by PID 7 on vps")
    with pytest.raises(OpenClawError, match="another run has it locked"):
        Restic(locked, (0, "", ""), locked, (0, "", ""), locked).snapshots()


def test_a_backup_tells_what_it_has_added():
    said = '{"message_type":"status"}\n{"message_type":"summary","snapshot_id":"abc","total_bytes_processed":10,"data_added":4}\n'
    assert Restic((0, said, "")).backup("/staging", "state") == {"snapshot": "abc", "bytes": 10, "added_bytes": 4}
    with pytest.raises(OpenClawError, match="told of no snapshot"):
        Restic((0, "", "")).backup("/staging", "state")


def rows(count: int) -> str:
    listed = ",".join(
        f'{{"id":"{n}","time":"2026-12-01T00:00:0{n}Z","tags":["state"],"hostname":"vps"}}' for n in range(count)
    )
    return f"[{listed}]"


def test_snapshots_that_a_server_refused_to_remove_are_told_of_though_restic_says_removed():
    said = '[{"keep":[{}],"remove":[{},{}]}]\n'
    assert Restic((0, rows(3), ""), (0, said, ""), (0, rows(1), "")).forget() == 1
    with pytest.raises(OpenClawError, match=r"still there.*append_only: true"):
        Restic((0, rows(3), ""), (0, said, ""), (0, rows(3), "")).forget()


def test_only_what_is_to_be_kept_is_named_to_restic():
    restic = Restic((0, rows(1), ""), (0, "[]", ""), (0, rows(1), ""))
    restic.forget()
    asked = restic.asked[1]
    assert [word for word in asked if word.startswith("--keep")] == ["--keep-hourly", "--keep-daily"]
    assert asked[asked.index("--tag") + 1] == "openclaw-main"


def test_every_day_another_part_is_read_through():
    subsets = []
    for day in range(5):
        restic = Restic((0, "", ""))
        restic.check(day)
        subsets.append(restic.asked[0][1])
    assert subsets == [f"--read-data-subset={part}/4" for part in (1, 2, 3, 4, 1)]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("sftp:backup@host:/srv/x", ("backup@host", "")),
        ("sftp://backup@host:2222//srv/x", ("backup@host", "2222")),
        ("sftp:host:relative", ("host", "")),
    ],
)
def test_ssh_knows_user_host_and_port(url, target):
    assert repositories.ssh_target(url) == target


def test_ssh_asks_nobody_and_trusts_the_known_hosts_of_the_inventory_only():
    words = Restic(url="sftp:backup@host:/x", ssh_known_hosts="/etc/k", ssh_key="/etc/key").options()
    assert words[0] == "-o"
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "UserKnownHostsFile=/etc/k", "/etc/key"} <= set(
        words[1].split()
    )


def test_neither_password_nor_address_is_in_the_arguments():
    restic = Restic(url="rest:https://user:hunter2@host/x", environment={"AWS_SECRET_ACCESS_KEY": "hunter3"})
    assert "hunter" not in " ".join(restic.options())
    assert restic.environment()["RESTIC_REPOSITORY"] == "rest:https://user:hunter2@host/x"
    assert restic.environment()["AWS_SECRET_ACCESS_KEY"] == "hunter3"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-12-01T00:00:00Z", 1796083200.0),
        ("2026-12-01T01:00:00.123456789+01:00", 1796083200.123456),
        ("2026-12-01T00:00", 1796083200.0),
    ],
)
def test_times_of_restic_and_of_people_are_read(text, seconds):
    assert repositories.parse_time(text) == pytest.approx(seconds)
