# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module file_set through its real arguments."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _files
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.modules import file_set

if TYPE_CHECKING:
    from ansible_collections.clawops.openclaw.tests.unit.plugins.conftest import Killed

FileSet = Callable[..., dict[str, Any]]


@pytest.fixture
def run(run_module: Callable[..., dict[str, Any]]) -> FileSet:
    def run(*entries: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        return run_module(file_set.main, entries=list(entries), **arguments)

    return run


@pytest.fixture
def entries(tmp_path: Path) -> list[dict[str, Any]]:
    return [
        {"path": str(tmp_path / "etc"), "state": "directory", "mode": "0750"},
        {"path": str(tmp_path / "etc/unit"), "content": "[Unit]\n"},
        {"path": str(tmp_path / "current"), "state": "link", "src": "releases/1"},
        {"path": str(tmp_path / "old"), "state": "absent"},
    ]


def test_a_set_is_predicted_then_made_then_left_alone(
    run: FileSet, entries: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "old").touch()
    expected = [str(tmp_path / name) for name in ("etc", "etc/unit", "current", "old")]

    predicted = run(*entries, _ansible_check_mode=True)
    assert (predicted["changed"], predicted["changed_paths"]) == (True, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]

    assert run(*entries)["changed_paths"] == expected
    assert (tmp_path / "etc/unit").read_text() == "[Unit]\n"
    assert (tmp_path / "etc").stat().st_mode & 0o7777 == 0o750

    again = run(*entries)
    assert (again["changed"], again["changed_paths"], again["diff"], again["undo"]) == (False, [], [], [])


def test_the_diff_shows_content_and_attributes_path_by_path(run: FileSet, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one\n")
    path.chmod(0o600)
    (diff,) = run({"path": str(path), "content": "two\n"}, _ansible_check_mode=True)["diff"]
    assert diff == {
        "before_header": str(path),
        "after_header": str(path),
        "before": "# mode 0600\none\n",
        "after": "# mode 0644\ntwo\n",
    }


def test_undo_takes_everything_back(run: FileSet, entries: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "old").write_text("kept")
    (tmp_path / "current").symlink_to("releases/0")
    undo = run(*entries)["undo"]
    assert run(*undo)["changed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "old"]
    assert ((tmp_path / "old").read_text(), str((tmp_path / "current").readlink())) == ("kept", "releases/0")


def test_undo_leaves_out_what_was_no_text(run: FileSet, tmp_path: Path) -> None:
    """A play cannot carry it: the controller refuses text that is not UTF-8."""
    for name, content in (("binary", b"\xff\xfe\n"), ("text", b"before\n")):
        (tmp_path / name).write_bytes(content)
    undo = run(*({"path": str(tmp_path / name), "content": "after"} for name in ("binary", "text")))["undo"]
    assert [entry["path"] for entry in undo] == [str(tmp_path / "text")]
    assert run(*undo)["changed"]
    assert (tmp_path / "text").read_bytes() == b"before\n"


def test_nothing_is_touched_when_one_entry_cannot_be_made(run: FileSet, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    result = run({"path": str(tmp_path / "new"), "content": "x"}, {"path": str(tmp_path / "taken"), "content": "x"})
    assert result["failed"]
    assert "a file should be there and a directory is" in result["msg"]
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_failure_in_the_middle_tells_what_was_changed_and_how_to_undo_it(
    run: FileSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_source: str, _target: str) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "rename", refuse)
    directory = str(tmp_path / "d")
    result = run({"path": directory, "state": "directory"}, {"path": str(tmp_path / "d/f"), "content": "x"})
    assert result["failed"]
    assert "Read-only file system" in result["msg"]
    assert (result["changed"], result["changed_paths"]) == (True, [directory])
    assert result["undo"] == [{"path": directory, "state": "absent"}]


def test_a_file_without_content_only_has_to_be_there(run: FileSet, tmp_path: Path) -> None:
    path = tmp_path / "key.asc"
    result = run({"path": str(path)})
    assert (result["changed"], result["missing"]) == (False, [str(path)])
    path.write_text("fetched")
    result = run({"path": str(path)})
    assert (result["changed"], result["missing"]) == (False, [])


def test_check_mode_takes_accounts_and_directories_of_other_tasks_for_granted(run: FileSet, tmp_path: Path) -> None:
    entry = {"path": str(tmp_path / "later/file"), "content": "", "owner": "no-such-account"}
    assert run(entry, _ansible_check_mode=True)["changed_paths"] == [entry["path"]]
    assert "is not a directory" in run(entry)["msg"]


def test_a_mode_without_quotes_is_refused_rather_than_misread(run: FileSet, tmp_path: Path) -> None:
    result = run({"path": str(tmp_path / "a"), "content": "", "mode": 420})
    assert result["failed"]
    assert "420 is not an octal number in quotes" in result["msg"]


# ---- killed in between ---------------------------------------------------------------------------------

# Whatever makes a change, or the temporary file of one, visible.
STEPS = ("rename", "mkdir", "rmdir", "symlink", "unlink", "fchmod")
Tree = dict[str, _files.Entry]


class World:
    """A directory in which each kind of change is due, brought back as often as a test needs it."""

    def __init__(self, directory: Path) -> None:
        self.root, self.kept = directory / "root", directory / "kept"
        for name in ("etc", "going"):
            (self.kept / name).mkdir(parents=True)
        for name in ("etc/changed", "etc/closed", "turns-into-a-link", "gone", "going/inner"):
            (self.kept / name).write_text(f"{name} before\n")
            (self.kept / name).chmod(0o644)
        for name in ("current", "turns-into-a-file"):
            (self.kept / name).symlink_to("releases/1")
        wanted: dict[str, dict[str, Any]] = {
            "etc": {"state": "directory", "mode": "0750"},
            "etc/changed": {"content": "changed\n", "mode": "0600"},
            "etc/closed": {"content": "etc/closed before\n", "mode": "0600"},
            "new": {"state": "directory"},
            "new/file": {"content": "new\n" * 10_000},
            "current": {"state": "link", "src": "releases/2"},
            "turns-into-a-link": {"state": "link", "src": "etc"},
            "turns-into-a-file": {"content": ""},
            "gone": {"state": "absent"},
            "going": {"state": "absent"},
            "going/inner": {"state": "absent"},
        }
        self.entries = [{"path": str(self.root / name), **entry} for name, entry in wanted.items()]

    def bring_back(self) -> Tree:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.kept, self.root, symlinks=True)
        return self.tree()

    def tree(self) -> Tree:
        return {str(path.relative_to(self.root)): _files.look(str(path)) for path in self.root.rglob("*")}


@pytest.fixture
def world(memory: Path) -> World:
    return World(memory)


@pytest.mark.parametrize(
    ("after", "steps"),
    [
        pytest.param(False, STEPS, id="before-a-step"),
        # What stands after another step stands before the next one too.
        pytest.param(True, ("rename", "rmdir"), id="after-a-step"),
    ],
)
def test_a_run_that_is_killed_leaves_whole_files_and_is_finished_by_the_next(
    world: World, run: FileSet, killed: Killed, after: bool, steps: tuple[str, ...]
) -> None:
    before = world.bring_back()
    run(*world.entries)
    expected = world.tree()

    for n in range(1, 40):
        world.bring_back()
        came_that_far = killed(lambda: run(*world.entries), n, after=after, steps=steps)
        found = world.tree()
        for name in {*before, *expected}:
            allowed = [before.get(name), expected.get(name)]
            if name == "new":  # closed to others until it has its owner and its mode
                allowed.append(expected[name]._replace(mode=0o700))
            assert found.get(name) in allowed, (n, name)
        assert all(Path(name).name.startswith(".") for name in {*found} - {*before, *expected}), n

        assert run(*world.entries)["changed"] is (found != expected), n
        assert world.tree() == expected, n
        assert not run(*world.entries)["changed"], n
        if not came_that_far:
            assert n > (5 if after else len(world.entries)), "not every entry was a step"
            return
    pytest.fail("it never came to an end")


def test_a_killed_run_that_is_taken_back_leaves_what_was_there(world: World, run: FileSet, killed: Killed) -> None:
    before = world.bring_back()
    back = run(*world.entries)["undo"]

    for n in range(1, 40):
        world.bring_back()
        came_that_far = killed(lambda: run(*world.entries), n, after=True, steps=STEPS)
        run(*back)
        assert world.tree() == before, n
        assert not run(*back)["changed"], n
        if not came_that_far:
            return
    pytest.fail("it never came to an end")


# ---- the way back, kept until what was written is proven -----------------------------------------------

# What the run after one that was killed writes: the same, or something else.
OTHERS: dict[str, dict[str, Any]] = {
    "etc": {"state": "directory", "mode": "0700"},
    "etc/changed": {"content": "changed again\n"},
    "etc/more": {"content": "more\n"},
    "new/file": {"state": "absent"},
    "new": {"state": "absent"},
    "current": {"state": "link", "src": "releases/3"},
    "gone": {"content": "it comes again\n"},
}


@pytest.fixture
def journal(world: World) -> Path:
    return world.root.parent / "unproven.json"


@pytest.mark.parametrize("after", [False, True], ids=["before-a-step", "after-a-step"])
@pytest.mark.parametrize("others", [{}, OTHERS], ids=["the-same", "something-else"])
def test_the_run_after_one_that_was_killed_knows_the_way_back(
    world: World, journal: Path, run: FileSet, killed: Killed, after: bool, others: dict[str, dict[str, Any]]
) -> None:
    before = world.bring_back()
    following = [{"path": str(world.root / name), **entry} for name, entry in others.items()] or world.entries

    for n in range(1, 60):
        world.bring_back()
        journal.unlink(missing_ok=True)
        came_that_far = killed(lambda: run(*world.entries, journal=str(journal)), n, after=after, steps=STEPS)
        touched = world.tree() != before
        assert journal.exists() or not touched, f"{n}: something was touched before the way back was kept"
        result = run(*following, journal=str(journal))
        run(*result["undo"])
        assert world.tree() == before, n
        assert sorted(path.name for path in journal.parent.iterdir()) == ["kept", "root", "unproven.json"], n
        if not came_that_far:
            assert n > len(world.entries), "not every entry was a step"
            return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("second", [1, 4, 8, 12])
def test_the_way_back_outlives_two_killed_runs(
    world: World, journal: Path, run: FileSet, killed: Killed, second: int
) -> None:
    before = world.bring_back()
    following = [{"path": str(world.root / name), **entry} for name, entry in OTHERS.items()]

    for first in range(1, 20):
        world.bring_back()
        journal.unlink(missing_ok=True)
        killed(lambda: run(*world.entries, journal=str(journal)), first, after=True, steps=STEPS)
        killed(lambda: run(*following, journal=str(journal)), second, after=True, steps=STEPS)
        run(*run(*world.entries, journal=str(journal))["undo"])
        assert world.tree() == before, (first, second)


@pytest.mark.parametrize("after", [False, True], ids=["before-a-step", "after-a-step"])
def test_a_journal_that_is_removed_with_the_undo_goes_when_all_else_is_back(
    world: World, journal: Path, run: FileSet, killed: Killed, after: bool
) -> None:
    """As the role gateway takes files back: the journal first, so that it is the last to go."""
    before = world.bring_back()
    for n in range(1, 60):
        world.bring_back()
        journal.unlink(missing_ok=True)
        undo = run(*world.entries, journal=str(journal))["undo"]
        removed = {"path": str(journal), "state": "absent"}
        came_that_far = killed(lambda back=(removed, *undo): run(*back), n, after=after, steps=STEPS)
        if journal.exists():
            run(removed, *_files.read_journal(str(journal)))
        assert world.tree() == before, n
        if not came_that_far:
            return
    pytest.fail("it never came to an end")


def test_the_journal_is_there_before_the_first_change_and_for_root_alone(
    world: World, journal: Path, run: FileSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.bring_back()
    kept = []

    def note(change: _files.Change) -> None:
        kept.append((journal.stat().st_mode & 0o7777, _files.read_journal(str(journal))))
        carry_out(change)

    carry_out = _files.carry_out
    monkeypatch.setattr(_files, "carry_out", note)
    result = run(*world.entries, journal=str(journal))
    assert kept == [(0o600, result["undo"])] * len(world.entries)
    assert _files.read_journal(str(journal)) == result["undo"], "the caller removes it"
    monkeypatch.undo()
    run(*_files.read_journal(str(journal)))
    assert world.tree() == before


def test_where_there_is_a_journal_its_paths_go_back_to_what_it_says(run: FileSet, tmp_path: Path) -> None:
    one, two, journal = tmp_path / "one", tmp_path / "two", tmp_path / "unproven.json"
    for path in (one, two):
        path.write_text("now\n")
    kept = [{"path": str(one), "state": "file", "content": "before\n"}]
    journal.write_text(json.dumps(kept))
    entries = [{"path": str(path), "content": "next\n"} for path in (one, two)]
    result = run(*entries, journal=str(journal))
    assert result["changed_paths"] == [str(one), str(two)]
    assert {entry["path"]: entry["content"] for entry in result["undo"]} == {str(one): "before\n", str(two): "now\n"}
    assert _files.read_journal(str(journal)) == result["undo"]

    again = run(*entries, journal=str(journal))
    assert (again["changed"], again["undo"]) == (False, result["undo"]), "it is not proven yet"


def test_no_journal_is_written_where_nothing_changes(run: FileSet, tmp_path: Path) -> None:
    path, journal = tmp_path / "a", tmp_path / "unproven.json"
    entry = {"path": str(path), "content": "x"}
    assert run(entry, journal=str(journal), _ansible_check_mode=True)["changed"]
    assert not journal.exists(), "check mode"
    run(entry)
    assert not run(entry, journal=str(journal))["changed"]
    assert not journal.exists(), "no change"
    assert run({"path": str(path), "content": "y"})["changed"]
    assert not journal.exists(), "not asked for"
    assert "is not absolute" in run({"path": "b", "content": "y"}, entry, journal=str(journal))["msg"]
    assert not journal.exists(), "refused"


def test_check_mode_leaves_a_journal_that_is_there(run: FileSet, tmp_path: Path) -> None:
    journal = tmp_path / "unproven.json"
    kept = [{"path": str(tmp_path / "a"), "state": "absent"}]
    journal.write_text(json.dumps(kept))
    before = journal.stat()
    result = run({"path": str(tmp_path / "b"), "content": "x"}, journal=str(journal), _ansible_check_mode=True)
    assert [entry["path"] for entry in result["undo"]] == [str(tmp_path / name) for name in "ab"]
    assert (journal.stat().st_ino, journal.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("torn", ["", '[{"path": "/a"', '[{"path": "/a"}]'])
def test_a_torn_journal_is_refused_before_anything_is_touched(
    run: FileSet, tmp_path: Path, torn: str, check_mode: bool
) -> None:
    journal = tmp_path / "unproven.json"
    journal.write_text(torn)
    result = run({"path": str(tmp_path / "a"), "content": "x"}, journal=str(journal), _ansible_check_mode=check_mode)
    assert result["failed"] is True
    assert result["msg"].startswith(f"{journal}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["unproven.json"]
    assert journal.read_text() == torn


def test_a_journal_that_cannot_be_written_stops_the_run_before_anything_is_touched(
    run: FileSet, tmp_path: Path
) -> None:
    result = run({"path": str(tmp_path / "a"), "content": "x"}, journal=str(tmp_path / "none/unproven.json"))
    assert result["msg"].startswith(f"{tmp_path}/none/unproven.json: could not be written: No such file or directory. ")
    assert (result["changed"], list(tmp_path.iterdir())) == (False, [])


def test_a_failure_in_the_middle_keeps_the_journal(
    run: FileSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, journal = (tmp_path / name for name in ("a", "b", "unproven.json"))

    def refuse(change: _files.Change) -> None:
        if change.desired.path == str(b):
            raise OpenClawError(str(b), "could not be made: Read-only file system", "Run again.")
        carry_out(change)

    carry_out = _files.carry_out
    monkeypatch.setattr(_files, "carry_out", refuse)
    result = run(*({"path": str(path), "content": "x"} for path in (a, b)), journal=str(journal))
    assert (result["failed"], result["changed_paths"]) == (True, [str(a)])
    absent = [{"path": str(path), "state": "absent"} for path in (a, b)]
    assert (result["undo"], _files.read_journal(str(journal))) == (absent[:1], absent)


def test_only_temporary_files_of_runs_that_have_ended_are_swept_away(run: FileSet, tmp_path: Path) -> None:
    ended, running = "999999999-01234567", f"{os.getppid()}-01234567"
    others = [f".a.{running}", f".a.{ended}0", f".aX{ended}", f".b.{ended}", f"a.{ended}", ".a.01234567", ".a.swp"]
    for name in ("a", f".a.{ended}", *others):
        (tmp_path / name).touch(mode=0o644)
    entry = {"path": str(tmp_path / "a"), "content": ""}
    run(entry, _ansible_check_mode=True)
    assert (tmp_path / f".a.{ended}").exists()
    assert not run(entry)["changed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a", *others])
