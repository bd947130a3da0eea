# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The exchange of a gateway's data: at whatever step it is interrupted, what was confirmed before is there again."""

from __future__ import annotations

import errno
import functools
import itertools
import json
import os
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils._backup import (
    archive,
    backup,
    drill,
    repository,
    restore,
)
from ansible_collections.clawops.openclaw.plugins.module_utils._backup.repository import Snapshot
from ansible_collections.clawops.openclaw.plugins.module_utils._backup.settings import Remote, Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError


class Host:
    """A gateway's directories below a folder, and a backup that was fetched."""

    def __init__(self, root: Path) -> None:
        self.root, self.home, self.etc = root, root / "lib/main", root / "etc/main"
        names = dict.fromkeys(Settings._fields, "")
        paths = {
            "home": self.home,
            "state": self.home / "state",
            "settings": self.home / "openclaw.json",
            "workspace": self.home / "workspace",
            "etc": self.etc,
            "folder": root / "var",
        }
        known = {name: str(path) for name, path in paths.items()}
        self.settings = Settings(**{**names, **known, "instance": "main", "account": "root", "max_mb": 10})  # type: ignore[arg-type]
        self.fill(self.home, "now")
        (self.home / "workspace").mkdir()
        (self.home / "workspace/notes").write_text("now")
        (self.home / "docker").mkdir()
        (self.home / "docker/layer").write_text("now")
        (self.home / "openclaw.json.bak").write_text("now")
        for name in ("secrets", "mtls"):
            (self.etc / name).mkdir(parents=True)
            (self.etc / name / "one").write_text("now")
        (self.etc / "applied.json").write_text("now")

    def fill(self, home: Path, word: str) -> None:
        (home / "state").mkdir(parents=True)
        (home / "state/db").write_text(word)
        (home / "openclaw.json").write_text(word)

    def fetched(self, *, workspace: bool = False) -> None:
        """What ``fetch`` leaves: a new directory, and the host's files of the snapshot."""
        work = Path(self.settings.restoring)
        self.fill(work / "home", "then")
        if workspace:
            (work / "home/workspace").mkdir()
            (work / "home/workspace/notes").write_text("then")
        saved = work / "root" / backup.HOST / str(self.etc).lstrip("/")
        for name in ("secrets", "mtls"):
            (saved / name).mkdir(parents=True)
            (saved / name / "one").write_text("then")
        (saved / "applied.json").write_text("then")
        restore.write_note(self.settings, {"root": str(work / "root"), "placed": False})

    def seen(self) -> dict[str, str]:
        paths = {
            "state": self.home / "state/db",
            "settings": self.home / "openclaw.json",
            "workspace": self.home / "workspace/notes",
            "engine": self.home / "docker/layer",
            "secrets": self.etc / "secrets/one",
            "mtls": self.etc / "mtls/one",
            "applied": self.etc / "applied.json",
        }
        return {name: path.read_text() if path.exists() else "" for name, path in paths.items()}


NOW = dict.fromkeys(("state", "settings", "workspace", "engine", "secrets", "mtls", "applied"), "now")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture(autouse=True)
def no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "systemctl", lambda settings, verb: None, raising=False)


def test_data_is_exchanged_and_the_former_is_kept_beside_it(host):
    host.fetched()
    aside = restore.place(host.settings, secrets=False)["aside"]
    # A host that has secrets of its own keeps them, and a backup without workspaces leaves them.
    assert host.seen() == {**NOW, "state": "then", "settings": "then", "applied": "then"}
    assert Path(aside, "state/db").read_text() == "now"


def test_onto_a_bare_host_secrets_and_certificates_come_too(host):
    host.fetched(workspace=True)
    restore.place(host.settings, secrets=True)
    # The backup holds nothing of the engine's.
    assert host.seen() == {**dict.fromkeys(NOW, "then"), "engine": "now"}
    assert not (host.home / "openclaw.json.bak").exists()


@pytest.mark.parametrize("workspace", [False, True])
@pytest.mark.parametrize("secrets", [False, True])
def test_what_was_exchanged_is_put_back_whole(host, workspace, secrets):
    host.fetched(workspace=workspace)
    restore.place(host.settings, secrets=secrets)
    assert restore.back(host.settings) is True
    assert host.seen() == NOW
    assert [path.name for path in host.home.parent.iterdir() if "before" in path.name] == []
    assert restore.back(host.settings) is False


def test_a_link_of_the_accounts_is_not_where_secrets_and_certificates_are_kept_meanwhile(host):
    """The account may have a link in its directory, and a backup that holds the same name, which therefore stays."""
    elsewhere = host.root / "elsewhere"
    elsewhere.mkdir()
    host.fetched()
    (host.home / ".etc").symlink_to(elsewhere)
    (Path(host.settings.restoring) / "home/.etc").mkdir()
    restore.place(host.settings, secrets=True)
    assert list(elsewhere.iterdir()) == []
    # Nor is what the account has put there brought back.
    (elsewhere / "mtls").mkdir()
    (elsewhere / "mtls/one").write_text("forged")
    restore.back(host.settings)
    assert host.seen() == NOW


def test_what_was_lent_to_the_new_directory_survives_another_one_in_its_place(host, monkeypatch):
    """As when the host is started anew in the middle, and something makes the account's directory again."""
    host.fetched()
    moves = restore.move
    with monkeypatch.context() as patched:

        def cut(source, target):
            if target == host.settings.home:
                raise Cut
            moves(source, target)

        patched.setattr(restore, "move", cut)
        with pytest.raises(Cut):
            restore.place(host.settings, secrets=False)
    (host.home / "workspace").mkdir(parents=True)
    restore.undo_unfinished(host.settings)
    assert host.seen() == NOW


def test_what_a_gateway_has_written_since_an_interrupted_restore_is_kept(host, monkeypatch):
    said = []
    monkeypatch.setattr(restore, "systemctl", lambda settings, verb: said.append((verb, host.seen()["state"])))
    host.fetched()
    restore.place(host.settings, secrets=False)
    (host.home / "state/db").write_text("since")
    restore.undo_unfinished(host.settings)
    assert host.seen() == NOW
    kept = [path for path in host.home.parent.iterdir() if "interrupted" in path.name]
    assert (kept[0] / "state/db").read_text() == "since"
    # It is not running while its data goes.
    assert said == [("stop", "since"), ("start", "now")]


def test_half_a_copy_of_what_cannot_be_renamed_is_not_taken_for_the_whole(host, monkeypatch):
    """Another file system: what is removed after it was copied is not put back over the copy."""
    host.fetched()
    restore.place(host.settings, secrets=True)
    rename, clear = os.rename, archive.clear

    def other(source, target):
        if str(source).startswith(str(host.etc)) != str(target).startswith(str(host.etc)):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    def torn(path):
        if "etc-before" in path and "secrets" in path and os.path.lexists(path):
            clear(os.path.join(path, "one"))
            raise Cut
        clear(path)

    with monkeypatch.context() as patched:
        patched.setattr("os.rename", other)
        patched.setattr(archive, "clear", torn)
        with pytest.raises(Cut):
            restore.back(host.settings)
    restore.undo_unfinished(host.settings)
    assert host.seen() == NOW


def test_what_was_applied_to_the_former_settings_is_known_again_when_they_return(host):
    """An archive of somewhere else has no such note, and the roles write one for its settings."""
    host.fetched()
    (Path(host.settings.restoring) / "root" / backup.HOST / str(host.etc).lstrip("/") / "applied.json").unlink()
    restore.place(host.settings, secrets=False)
    (host.etc / "applied.json").write_text("to those of the archive")
    restore.back(host.settings)
    assert host.seen() == NOW


class Cut(Exception):
    """Where the power went."""


def cut_after(monkeypatch: pytest.MonkeyPatch, steps: int, action: t.Callable[[], object]) -> bool:
    """Do something that is cut off after so many steps; whether it was."""
    left = [steps]

    def counted(function):
        def step(*words):
            if left[0] == 0:
                raise Cut
            left[0] -= 1
            return function(*words)

        return step

    with monkeypatch.context() as patched:
        for name in ("move", "replace", "write_note"):
            patched.setattr(restore, name, counted(getattr(restore, name)))
        try:
            action()
        except Cut:
            return True
    return False


@pytest.mark.parametrize("workspace", [False, True])
def test_an_exchange_that_is_cut_at_any_step_is_put_back_by_the_next_restore(tmp_path, monkeypatch, workspace):
    for steps in itertools.count():
        host = Host(tmp_path / str(steps))
        host.fetched(workspace=workspace)
        cut = cut_after(monkeypatch, steps, functools.partial(restore.place, host.settings, secrets=True))
        restore.undo_unfinished(host.settings)
        assert host.seen() == NOW, steps
        if not cut:
            break
    assert steps > 8


def test_a_way_back_that_is_cut_at_any_step_is_gone_again(tmp_path, monkeypatch):
    for steps in itertools.count():
        host = Host(tmp_path / str(steps))
        host.fetched()
        restore.place(host.settings, secrets=True)
        cut = cut_after(monkeypatch, steps, functools.partial(restore.back, host.settings))
        restore.undo_unfinished(host.settings)
        assert host.seen() == NOW, steps
        if not cut:
            break
    assert steps > 4


def test_a_directory_that_cannot_be_renamed_is_copied_and_then_removed(host, monkeypatch):
    rename = os.rename

    def refused(source, target):
        if str(source) == str(host.home):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr("os.rename", refused)
    host.fetched()
    aside = restore.place(host.settings, secrets=False)["aside"]
    assert Path(aside, "state/db").read_text() == "now"
    assert host.seen()["state"] == "then"
    assert not os.path.exists(f"{aside}.part")


def test_nothing_is_placed_that_was_not_fetched(host):
    with pytest.raises(OpenClawError, match="nothing was fetched"):
        restore.place(host.settings, secrets=False)
    assert host.seen() == NOW


# ---- which snapshot, and where its paths go ------------------------------------------------------------------

SNAPSHOTS = [Snapshot("aaaa1111", 1000.0, "state", "vps"), Snapshot("bbbb2222", 2000.0, "full", "vps")]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("latest", "bbbb2222"),
        ("aaaa", "aaaa1111"),
        ("1970-01-01T00:20:00Z", "aaaa1111"),
        ("1970-01-01T01:00:00Z", "bbbb2222"),
    ],
)
def test_a_snapshot_is_chosen_by_name_or_by_time(wanted, chosen):
    assert restore.pick(SNAPSHOTS, wanted, "vps", "offsite").id == chosen


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("yesterday", r"neither 'latest' nor .*bbbb2222"),
        ("1970-01-01T00:01:00Z", "the oldest snapshot is of 1970-01-01T00:16:40Z"),
        ("aa", "neither"),
    ],
)
def test_what_is_no_snapshot_is_refused_with_those_that_are(wanted, words):
    with pytest.raises(OpenClawError, match=words):
        restore.pick(SNAPSHOTS, wanted, "vps", "offsite")
    with pytest.raises(OpenClawError, match="no snapshot of vps"):
        restore.pick([], wanted, "vps", "offsite")


def test_a_snapshot_of_the_future_is_not_the_newest_for_ever():
    future = Snapshot("cccc3333", time.time() + 86400 * 365, "state", "vps")
    assert restore.pick([*SNAPSHOTS, future], "latest", "vps", "offsite").id == "bbbb2222"
    # But of a host whose clock is not set yet all are.
    assert restore.pick([future], "latest", "vps", "offsite").id == "cccc3333"


def test_the_newest_data_is_taken_of_whichever_repository_has_it(host, monkeypatch):
    has = {"full-for-weeks": SNAPSHOTS[:1], "offsite": SNAPSHOTS, "as-new": SNAPSHOTS, "down": []}

    class Repository:
        def __init__(self, settings, remote, deadline):
            self.remote = remote

        def ready(self, *, make):
            if self.remote.name == "down":
                raise OpenClawError("repository down", "the server does not answer", "Try.")

        def snapshots(self, host):
            return has[self.remote.name]

    monkeypatch.setattr(repository, "Repository", Repository)
    remotes = [
        Remote(name, "/x", append_only=False, environment={}, ssh_key="", ssh_known_hosts="", ca="") for name in has
    ]
    found = restore.choose(host.settings._replace(remotes=remotes), "latest", "", "", 1)
    assert (found.repository.remote.name, found.snapshot.id) == ("offsite", "bbbb2222")
    with pytest.raises(OpenClawError, match="does not answer"):
        restore.choose(host.settings._replace(remotes=remotes[3:]), "latest", "", "", 1)


def arranged(host: Host, paths: t.Mapping[str, t.Any], files: dict[str, str]) -> dict[str, object]:
    data = host.root / "data"
    (data / archive.PAYLOAD).mkdir(parents=True)
    (data / archive.MANIFEST).write_text(json.dumps({"paths": paths}))
    for path, content in files.items():
        place = data / archive.PAYLOAD / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    return restore.arrange(host.settings, str(data), str(host.root / "new"))


def test_a_laptops_archive_becomes_a_gateways_directory(host):
    laptop = "/home/ann/.openclaw"
    settings = f'{{"agents": {{"defaults": {{"workspace": "{laptop}/workspace"}}}}, "x": "{laptop}-other"}} // kept'
    found = arranged(
        host,
        {"stateDir": laptop, "configPath": f"{laptop}/openclaw.json", "workspaceDirs": [f"{laptop}/workspace"]},
        {
            f"{laptop}/openclaw.json": settings,
            f"{laptop}/state/openclaw.sqlite": "db",
            f"{laptop}/workspace/AGENTS.md": "hi",
        },
    )
    new = host.root / "new"
    assert (new / "workspace/AGENTS.md").read_text() == "hi"
    assert (new / "state/state/openclaw.sqlite").read_text() == "db"
    assert not (new / "state/openclaw.json").exists()
    text = (new / "openclaw.json").read_text()
    assert f'"workspace": "{host.home}/workspace"' in text
    assert f'"{laptop}-other"}} // kept' in text
    assert found["has_workspace"] is True


def test_a_second_workspace_and_an_agent_elsewhere_find_a_place(host):
    paths = {
        "stateDir": "/s",
        "configPath": "/c.json",
        "workspaceDirs": ["/w/one", "/w/two"],
        "agentRoots": [{"agentId": "ops", "sourcePath": "/agents/ops"}],
    }
    arranged(host, paths, {"/s/x": "", "/c.json": "{}", "/w/one/a": "1", "/w/two/b": "2", "/agents/ops/c": "3"})
    new = host.root / "new"
    assert (new / "workspace/a").exists()
    assert (new / "workspaces/two/b").exists()
    assert (new / "state/agents/ops/agent/c").exists()


def test_no_workspace_takes_the_place_of_another_one(host):
    """Two of the same name, one in another, and one that has the place already into which the first would go."""
    stays = f"{host.home}/workspace"
    paths = {"stateDir": "/s", "configPath": "/c.json", "workspaceDirs": ["/a/w", "/b/w", "/c/w", "/c/w/in", stays]}
    names = {f"{path}/name": path for path in paths["workspaceDirs"]}
    settings = json.dumps([*paths["workspaceDirs"]])
    arranged(host, paths, {"/s/x": "", "/c.json": settings, **names})
    new = host.root / "new"
    there = json.loads((new / "openclaw.json").read_text())
    assert len(set(there)) == 5
    for former, now in zip(paths["workspaceDirs"], there, strict=True):
        assert (new / os.path.relpath(now, host.home) / "name").read_text() == former


def test_a_new_path_in_the_settings_is_not_taken_for_a_former_one(host):
    former = str(host.home.parent)
    paths = {"stateDir": former, "configPath": "/c.json", "workspaceDirs": [f"{former}/w"]}
    arranged(host, paths, {f"{former}/x": "", f"{former}/w/a": "", "/c.json": f'["{former}/w", "{former}/x"]'})
    assert json.loads((host.root / "new/openclaw.json").read_text()) == [
        f"{host.home}/workspace",
        f"{host.home}/state/x",
    ]


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ({"stateDir": "/s", "configPath": "/c.json"}, "holds nothing of"),
        ({"stateDir": "relative", "configPath": "/c.json"}, "names no absolute path"),
        ({"stateDir": "/s/../../etc", "configPath": "/c.json"}, "names no absolute path"),
    ],
)
def test_an_archive_without_what_a_gateway_needs_is_refused(host, paths, words):
    with pytest.raises(OpenClawError, match=words):
        arranged(host, paths, {"/c.json": "{}"})


def test_a_link_in_an_archive_leads_root_nowhere(host):
    """What the account writes into its archive must not have root move, or give away, what lies elsewhere on the host."""
    elsewhere = host.root / "elsewhere"
    (elsewhere / "x").mkdir(parents=True)
    data = host.root / "data"
    (data / archive.PAYLOAD).mkdir(parents=True)
    (data / archive.MANIFEST).write_text(json.dumps({"paths": {"stateDir": "/s/x", "configPath": "/c.json"}}))
    (data / archive.PAYLOAD / "c.json").write_text("{}")
    (data / archive.PAYLOAD / "s").symlink_to(elsewhere)
    with pytest.raises(OpenClawError, match="a link stands at s/x"):
        restore.arrange(host.settings, str(data), str(host.root / "new"))
    assert (elsewhere / "x").is_dir()


def test_an_agent_of_an_archive_is_put_nowhere_else(host):
    elsewhere = host.root / "elsewhere"
    elsewhere.mkdir()
    data = host.root / "data"
    (data / archive.PAYLOAD / "s").mkdir(parents=True)
    (data / archive.PAYLOAD / "s/agents").symlink_to(elsewhere)
    (data / archive.PAYLOAD / "a").mkdir()
    (data / archive.PAYLOAD / "c.json").write_text("{}")
    agents = [{"agentId": "../../x", "sourcePath": "/a"}]
    paths = {"stateDir": "/s", "configPath": "/c.json", "agentRoots": agents}
    (data / archive.MANIFEST).write_text(json.dumps({"paths": paths}))
    with pytest.raises(OpenClawError, match="a link stands at"):
        restore.arrange(host.settings, str(data), str(host.root / "new"))
    assert list(elsewhere.iterdir()) == []


def test_a_file_that_is_not_what_was_backed_up_is_found(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").write_text("now")
    digest = restore.digest_of(str(tmp_path / "data/a"))
    (tmp_path / backup.DIGESTS).write_text(f"{digest}  data/a\n")
    restore.compare(str(tmp_path), "offsite")
    (tmp_path / "data/a").write_text("flipped")
    with pytest.raises(OpenClawError, match="data/a is not what was backed up"):
        restore.compare(str(tmp_path), "offsite")


# ---- the drill -----------------------------------------------------------------------------------------------


def test_a_gateway_of_a_drill_reaches_nobody(host):
    reference = {"source": "file", "provider": "clawops", "id": "/KEY"}
    settings = {
        "channels": {"telegram": {"botToken": reference}},
        "hooks": {"enabled": True},
        "cron": {"enabled": True},
        "gateway": {"bind": "lan", "port": 18789, "auth": {"token": reference}},
        "models": {"providers": {"x": {"apiKey": reference, "baseUrl": "https://x"}}},
        "agents": {"defaults": {"workspace": "/w", "heartbeat": {"every": "30m"}}, "entries": {"ops": {"name": "Ops"}}},
    }
    found = drill.silenced(settings, host.settings, 12345, "throw-away")
    assert "channels" not in found
    assert "hooks" not in found
    assert found["cron"] == {"enabled": False}
    assert (found["gateway"]["bind"], found["gateway"]["port"]) == ("loopback", 12345)
    assert found["gateway"]["auth"] == {"mode": "token", "token": "throw-away"}
    assert found["models"]["providers"]["x"] == {"baseUrl": "https://x"}
    assert found["agents"]["defaults"]["heartbeat"] == {"every": "0m"}
    assert found["agents"]["entries"] == {"ops": {"name": "Ops"}}
