# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run of backups: what is noted of it, whatever fails, and another password for the repositories."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _bounded
from ansible_collections.clawops.openclaw.plugins.module_utils._backup import (
    archive,
    backup,
    drill,
    password,
    program,
    restore,
    status,
)
from ansible_collections.clawops.openclaw.plugins.module_utils._backup import repository as repositories
from ansible_collections.clawops.openclaw.plugins.module_utils._backup import settings as written
from ansible_collections.clawops.openclaw.plugins.module_utils._backup.settings import Remote, Settings, load
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError


def remote(name: str, **more: t.Any) -> Remote:
    return Remote(
        **{"name": name, "url": f"/{name}", "append_only": False, "environment": {}, **more},
        ssh_key="",
        ssh_known_hosts="",
        ca="",
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    values = dict.fromkeys(Settings._fields, "")
    (tmp_path / "password").write_text("the-former-password")
    return Settings(
        **{  # type: ignore[arg-type]
            **values,
            "instance": "main",
            "host": "vps",
            "folder": str(tmp_path),
            "status": str(tmp_path / "status.json"),
            "password_file": str(tmp_path / "password"),
            "timeout": 60,
            "delay": 0,
            "max_age_minutes": 60,
            "drill_max_age_days": 0,
            "remotes": [remote("one"), remote("two")],
        }
    )


@pytest.fixture(autouse=True)
def umask() -> t.Iterator[None]:
    """The program sets its own, which is this process's here."""
    former = os.umask(0o022)
    yield
    os.umask(former)


class Servers:
    """Repositories by name: which exist, which are down, and which keys open them."""

    def __init__(self) -> None:
        self.there, self.down, self.made = {"one", "two"}, set[str](), list[str]()
        self.keys = {name: {"k1": "the-former-password"} for name in ("one", "two")}
        self.refuses: set[str] = set()
        # What says yes and does nothing.
        self.forgets: set[str] = set()

    def repository(self, settings: Settings, remote: Remote, deadline: float) -> t.Any:
        servers, name = self, remote.name

        class Repository:
            def __init__(self) -> None:
                self.remote = remote

            def ready(self, *, make: bool) -> bool:
                if name in servers.down:
                    raise repositories.meaning(name, "connection refused")
                if name not in servers.there:
                    if not make:
                        raise repositories.meaning(name, "Is there a repository")
                    servers.there.add(name)
                    servers.made.append(name)
                    return True
                if Path(settings.password_file).read_text() not in servers.keys[name].values():
                    raise repositories.meaning(name, "wrong password or no key found")
                return False

            def backup(self, folder: str, kind: str) -> dict[str, t.Any]:
                return {"snapshot": f"of-{name}", "bytes": 10, "added_bytes": 1}

            def ask(self, *words: str) -> str:
                if words[:2] == ("key", "add") and name in servers.forgets:
                    return ""
                if words[:2] == ("key", "remove") and name in servers.forgets:
                    return self.ask("key", "list")
                if words[:2] == ("key", "add"):
                    servers.keys[name]["k2"] = Path(words[3]).read_text()
                elif words[:2] == ("key", "remove"):
                    if name in servers.refuses:
                        raise repositories.meaning(name, "403 Forbidden")
                    del servers.keys[name][words[2]]
                mine = Path(settings.password_file).read_text()
                return json.dumps([{"id": key, "current": text == mine} for key, text in servers.keys[name].items()])

        return Repository()


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    found = Servers()
    monkeypatch.setattr(repositories, "Repository", found.repository)
    return found


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """What would be backed up, taken at 1000."""

    def stage(settings: Settings, kind: str, deadline: float) -> dict[str, t.Any]:
        Path(settings.staging).mkdir()
        (Path(settings.staging) / "secret").write_text("not encrypted")
        return {"time": 1000, "files": 3, "bytes": 10}

    monkeypatch.setattr(backup, "stage", stage)


def noted(settings: Settings) -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], json.loads(Path(settings.status).read_text()))


@pytest.mark.usefixtures("staged")
def test_a_backup_that_every_repository_has_is_noted(settings, servers):
    assert backup.run(settings, "state", print) is True
    found = noted(settings)
    assert (found["kind"], found["last_success"], found["error"]) == ("backup", 1000, "")
    assert found["repositories"]["two"]["snapshot"] == "of-two"
    assert not Path(settings.staging).exists()


@pytest.mark.usefixtures("staged")
def test_a_repository_that_is_down_is_told_of_and_the_others_have_it(settings, servers):
    backup.run(settings, "state", print)
    servers.down = {"one"}
    Path(settings.status).write_text(Path(settings.status).read_text().replace("1000", "500"))
    assert backup.run(settings, "state", print) is False
    found = noted(settings)
    assert "repository one: the server does not answer" in found["error"]
    # As old as in the one that lacks it; what is known of it stays.
    assert (found["last_success"], found["repositories"]["two"]["last_success"]) == (500, 1000)
    assert found["repositories"]["one"]["snapshot"] == "of-one"


@pytest.mark.usefixtures("staged")
def test_a_repository_is_made_once_and_not_again_when_it_is_gone(settings, servers):
    servers.there = {"two"}
    assert backup.run(settings, "state", print) is True
    assert servers.made == ["one"]
    servers.there = {"two"}
    assert backup.run(settings, "state", print) is False
    assert servers.made == ["one"]
    assert "there is no repository" in noted(settings)["error"]


@pytest.mark.usefixtures("staged")
def test_a_repository_that_the_inventory_no_longer_has_is_forgotten(settings, servers):
    backup.run(settings, "state", print)
    backup.run(settings._replace(remotes=settings.remotes[:1]), "state", print)
    assert list(noted(settings)["repositories"]) == ["one"]


def test_a_failure_before_the_first_repository_is_noted_and_leaves_nothing(settings, servers, monkeypatch):
    def stage(settings, kind, deadline):
        Path(settings.staging).mkdir()
        raise OpenClawError("openclaw backup create", "no", "Try.")

    monkeypatch.setattr(backup, "stage", stage)
    with pytest.raises(OpenClawError):
        backup.run(settings, "state", print)
    assert noted(settings)["error"] == "openclaw backup create: no. Try."
    assert not Path(settings.staging).exists()


@pytest.mark.usefixtures("staged")
def test_a_failure_is_noted_without_repositories_that_are_gone(settings, servers):
    backup.run(settings, "state", print)
    assert list(status.note(settings._replace(remotes=settings.remotes[1:]), error="x")["repositories"]) == ["two"]


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/var/backups/x"), "/var/backups/x: No space left on device"),
        (
            subprocess.TimeoutExpired(["openclaw", "backup", "create", "--output"], 60),
            "openclaw backup create: it has not ended within 60 s",
        ),
        (status.Ended("signal 15"), "it was ended by signal 15"),
    ],
    ids=["full-disk", "hang", "stopped"],
)
def test_whatever_ends_a_run_is_noted_and_leaves_nothing(settings, servers, monkeypatch, raised, words):
    def stage(settings, kind, deadline):
        Path(settings.staging).mkdir()
        raise raised

    monkeypatch.setattr(backup, "stage", stage)
    with pytest.raises(OpenClawError, match=words):
        backup.run(settings, "state", print)
    assert words in noted(settings)["error"]
    assert not Path(settings.staging).exists()


@pytest.mark.usefixtures("staged")
def test_a_run_that_is_stopped_does_not_go_on_with_the_next_repository(settings, servers, monkeypatch):
    asked = []

    class Stopped:
        def __init__(self, settings, remote, deadline):
            self.remote = remote

        def ready(self, *, make):
            asked.append(self.remote.name)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)

    monkeypatch.setattr(repositories, "Repository", Stopped)
    monkeypatch.setattr(written, "load", lambda instance: settings)
    former = signal.getsignal(signal.SIGTERM)
    try:
        assert program.main(["--instance", "main", "state"]) == 1
    finally:
        signal.signal(signal.SIGTERM, former)
    assert asked == ["one"]
    assert "ended by signal" in noted(settings)["error"]


@pytest.mark.usefixtures("staged")
def test_what_the_account_holds_up_does_not_keep_what_is_not_encrypted(settings, servers, monkeypatch):
    clear = archive.clear

    def held(path):
        if path == settings.incoming:
            raise OpenClawError(path, "cannot be removed: Directory not empty", "Remove it.")
        clear(path)

    monkeypatch.setattr(archive, "clear", held)
    with pytest.raises(OpenClawError):
        backup.run(settings, "state", print)
    assert "cannot be removed" in noted(settings)["error"]
    assert not Path(settings.staging).exists()


def test_plugins_that_are_not_listed_in_time_do_not_end_the_backup(settings, monkeypatch):
    def hang(argv, *words, **options):
        raise subprocess.TimeoutExpired(argv, 60)

    monkeypatch.setattr(_bounded, "run", hang)
    assert archive.plugins(settings, 60) == []


# ---- another password ----------------------------------------------------------------------------------------


def given(settings: Settings, text: str = "the-new-password-of-all") -> None:
    Path(f"{settings.password_file}.new").write_text(text)


def test_the_new_password_opens_every_repository_and_the_old_one_none(settings, servers):
    given(settings)
    servers.keys["one"]["k9"] = "of-somebody-else"
    found = password.rotate(settings, servers.repository)["repositories"]
    assert [row["old_refused"] for row in found.values()] == [True, True]
    assert servers.keys["one"] == {"k2": "the-new-password-of-all", "k9": "of-somebody-else"}
    assert Path(settings.password_file).read_text() == "the-new-password-of-all"


def test_a_repository_that_is_down_leaves_the_old_password_in_use(settings, servers):
    given(settings)
    servers.down = {"two"}
    with pytest.raises(OpenClawError, match="repository two"):
        password.rotate(settings, servers.repository)
    assert Path(settings.password_file).read_text() == "the-former-password"
    assert servers.keys["one"]["k1"] == "the-former-password"
    # The next run goes on from there.
    servers.down = set()
    assert all(row["old_refused"] for row in password.rotate(settings, servers.repository)["repositories"].values())


def test_a_server_that_keeps_the_old_key_is_told_of(settings, servers):
    given(settings)
    servers.refuses = {"one"}
    found = password.rotate(settings, servers.repository)["repositories"]
    assert (found["one"]["old_refused"], found["two"]["old_refused"]) == (False, True)
    assert "refuses to delete" in found["one"]["why"]


def test_a_key_that_was_not_taken_leaves_the_old_password_in_use(settings, servers):
    given(settings)
    servers.forgets = {"two"}
    with pytest.raises(OpenClawError, match="repository two: it does not open with the new password"):
        password.rotate(settings, servers.repository)
    assert Path(settings.password_file).read_text() == "the-former-password"


def test_a_key_that_a_server_says_it_has_removed_and_has_not_is_told_of(settings, servers):
    given(settings)
    servers.keys["one"]["k2"] = "the-new-password-of-all"
    servers.forgets = {"one"}
    assert password.rotate(settings, servers.repository)["repositories"]["one"] == {
        "old_refused": False,
        "why": "the server kept it",
    }


def test_an_old_key_that_was_left_is_taken_away_by_the_next_run(settings, servers, monkeypatch):
    """Cut after the new password is in use, nothing but the note tells which the old key is."""
    given(settings)
    with monkeypatch.context() as patched:
        patched.setattr(password, "take_away", lambda *words: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            password.rotate(settings, servers.repository)
    assert "k1" in servers.keys["one"]
    given(settings)
    found = password.rotate(settings, servers.repository)["repositories"]
    assert [row["old_refused"] for row in found.values()] == [True, True]
    assert servers.keys == {name: {"k2": "the-new-password-of-all"} for name in ("one", "two")}
    assert not Path(password.note_path(settings)).exists()


def test_no_key_is_forgotten_over_the_next_password(settings, servers):
    given(settings)
    servers.refuses = {"one"}
    password.rotate(settings, servers.repository)
    servers.refuses = set()
    servers.keys["one"] |= {"k2b": servers.keys["one"].pop("k2")}
    given(settings, "and-yet-another-one")
    assert all(row["old_refused"] for row in password.rotate(settings, servers.repository)["repositories"].values())
    assert set(servers.keys["one"].values()) == {"and-yet-another-one"}


def test_an_old_key_that_somebody_else_has_removed_is_gone(settings, servers):
    given(settings)
    servers.refuses = {"one"}
    password.rotate(settings, servers.repository)
    del servers.keys["one"]["k1"]
    given(settings)
    assert all(row["old_refused"] for row in password.rotate(settings, servers.repository)["repositories"].values())


# ---- settings and commands -----------------------------------------------------------------------------------


def test_settings_that_are_not_there_or_not_whole_are_told_of_without_their_content(tmp_path):
    path = tmp_path / "backup.json"
    with pytest.raises(OpenClawError, match="is not there"):
        load("main", str(path))
    path.write_text('{"remotes": [], "password": "hunter2"}')
    with pytest.raises(OpenClawError, match="cannot be used") as raised:
        load("main", str(path))
    assert "hunter2" not in str(raised.value)


def test_a_run_of_crons_is_left_out_while_a_restore_is_under_way(settings, monkeypatch, capsys):
    monkeypatch.setattr(written, "load", lambda instance: settings)
    monkeypatch.setattr(backup, "run", lambda *words: pytest.fail("it ran"))
    Path(settings.marker).write_text("")
    assert program.main(["--instance", "main", "scheduled"]) == 0
    assert "a restore is under way" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["state", "full", "drill"])
def test_nothing_takes_the_lock_that_a_restore_is_about_to_need(settings, monkeypatch, capsys, command):
    monkeypatch.setattr(written, "load", lambda instance: settings)
    monkeypatch.setattr(backup, "run", lambda *words: pytest.fail("it ran"))
    monkeypatch.setattr(drill, "run", lambda *words: pytest.fail("it ran"))
    Path(settings.marker).write_text("")
    assert program.main(["--instance", "main", command]) == 1
    assert "under way on this host" in capsys.readouterr().out


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_restore_that_was_killed_holds_backups_up_for_two_hours_whatever_the_clock_says(settings, hours):
    Path(settings.marker).write_text("")
    assert program.restore_is_under_way(settings) is True
    then = time.time() + hours * 3600
    os.utime(settings.marker, (then, then))
    assert program.restore_is_under_way(settings) is False


def found(*words: object) -> t.Any:
    snapshot = repositories.Snapshot("aaaa1111", 1000.0, "state", "vps")
    return restore.Found(t.cast(t.Any, type("Tried", (), {"remote": remote("one")})), snapshot)


def refused(*words: object) -> t.NoReturn:
    raise OpenClawError("restore_snapshot x", "no", "Try.")


@pytest.mark.parametrize(("choice", "held"), [(found, True), (refused, False)])
def test_backups_are_held_up_for_a_snapshot_and_not_for_a_mistake(settings, monkeypatch, choice, held):
    monkeypatch.setattr(written, "load", lambda instance: settings)
    monkeypatch.setattr(restore, "choose", choice)
    program.main(["--json", "--instance", "main", "choose", "--hold"])
    assert Path(settings.marker).exists() is held


def test_a_host_that_was_bare_is_backed_up_when_its_data_has_come(settings, monkeypatch, capsys):
    """Until then the newest backup of it would be one of an empty gateway, which the next restore would take."""
    ran = []
    monkeypatch.setattr(written, "load", lambda instance: settings)
    monkeypatch.setattr(restore, "choose", found)

    def backed_up(*words: object) -> bool:
        ran.append(words)
        return True

    monkeypatch.setattr(backup, "run", backed_up)
    assert program.main(["--instance", "main", "choose", "--hold", "--bare"]) == 0
    # The restore fails.
    assert program.main(["--instance", "main", "done", "--failed"]) == 0
    assert program.main(["--instance", "main", "scheduled"]) == 1
    assert "Run restore.yml again" in noted(settings)["error"]
    assert ran == []
    assert program.main(["--instance", "main", "done"]) == 0
    assert program.main(["--instance", "main", "scheduled"]) == 0
    assert len(ran) == 1
