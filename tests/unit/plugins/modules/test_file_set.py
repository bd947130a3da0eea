# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module file_set through its real arguments."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.modules import file_set

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
