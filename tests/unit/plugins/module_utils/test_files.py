# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wanted of a path, what is found there, and the way there and back."""

from __future__ import annotations

import grp
import json
import os
import pwd
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.clawops.openclaw.plugins.module_utils import _files
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

USER = pwd.getpwuid(os.geteuid()).pw_name
GROUP = grp.getgrgid(os.getegid()).gr_name
DEFAULTS = {"owner": None, "group": None, "mode": "0644"}


def desired(path: object, **options: Any) -> _files.Entry:
    empty = {"state": "file", "content": None, "src": None, "owner": None, "group": None, "mode": None}
    return _files.desired_entry({**empty, "path": str(path), **options}, DEFAULTS)


def apply(asked: list[_files.Entry]) -> list[_files.Change]:
    changes = _files.plan(asked)
    for change in changes:
        _files.carry_out(change)
    return changes


class TestWish:
    def test_a_directory_is_open_to_all_and_a_file_takes_the_default_of_the_set(self) -> None:
        assert desired("/a", state="directory").mode == 0o755
        assert desired("/a", content="").mode == 0o644

    @pytest.mark.parametrize(
        "mode",
        [
            pytest.param(420, id="what-yaml-makes-of-an-unquoted-0644"),
            pytest.param("u=rw", id="symbolic"),
            pytest.param("0o644", id="as-python-writes-it"),
            pytest.param("0689", id="not-octal"),
            pytest.param("77777", id="too-many-bits"),
            pytest.param("44", id="too-few-digits"),
        ],
    )
    def test_a_mode_that_is_no_quoted_octal_number_is_refused(self, mode: object) -> None:
        with pytest.raises(OpenClawError, match="octal number in quotes"):
            desired("/a", content="", mode=mode)

    @pytest.mark.parametrize(("mode", "bits"), [("640", 0o640), ("0640", 0o640), ("2750", 0o2750), ("02750", 0o2750)])
    def test_a_mode_may_have_a_leading_zero(self, mode: str, bits: int) -> None:
        assert desired("/a", content="", mode=mode).mode == bits

    def test_a_relative_path_is_refused(self) -> None:
        with pytest.raises(OpenClawError, match="not absolute"):
            desired("etc/passwd", content="")

    def test_a_link_without_a_target_is_refused(self) -> None:
        with pytest.raises(OpenClawError, match="points to nothing"):
            desired("/a", state="link")

    def test_an_owner_by_number_is_the_account_of_that_number(self) -> None:
        assert desired("/a", content="", owner=str(os.geteuid()), group=str(os.getegid()))[4:6] == (USER, GROUP)

    def test_a_number_without_an_account_stays_a_number(self) -> None:
        assert desired("/a", content="", owner="987654321").owner == "987654321"


class TestLook:
    def test_each_kind_is_told_apart_without_following_links(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("text")
        (tmp_path / "link").symlink_to("file")
        os.mkfifo(tmp_path / "pipe")
        kinds = {
            name: _files.look(str(tmp_path / name)).state for name in ("file", "link", "pipe", ".", "no", "file/x")
        }
        expected = {"file": "file", "link": "link", "pipe": "other", ".": "directory", "no": "absent"}
        assert kinds == {**expected, "file/x": "absent"}

    def test_a_huge_file_is_not_read_into_memory(self, tmp_path: Path) -> None:
        path = tmp_path / "huge"
        with path.open("wb") as file:
            file.truncate(1 << 32)
        assert _files.look(str(path)).content is None


class TestPlan:
    def test_nothing_is_due_when_all_is_in_sync(self, tmp_path: Path) -> None:
        asked = [
            desired(tmp_path / "d", state="directory"),
            desired(tmp_path / "d/f", content="text", owner=str(os.geteuid()), mode="0600"),
            desired(tmp_path / "l", state="link", src="d"),
            desired(tmp_path / "gone", state="absent"),
        ]
        assert len(apply(asked)) == 3
        assert _files.plan(asked) == []

    def test_what_is_absent_goes_last_and_in_reverse_order(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "d/f").touch()
        asked = [
            desired(tmp_path / "d", state="absent"),
            desired(tmp_path / "d/f", state="absent"),
            desired(tmp_path / "new", content=""),
        ]
        assert [Path(change.desired.path).name for change in apply(asked)] == ["new", "f", "d"]
        assert [path.name for path in tmp_path.iterdir()] == ["new"]

    def test_a_directory_with_more_in_it_than_the_list_names_is_not_removed(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "d/unnamed").touch()
        with pytest.raises(OpenClawError, match="not empty"):
            _files.plan([desired(tmp_path / "d", state="absent")])

    @pytest.mark.parametrize(
        ("there", "wanted"),
        [
            pytest.param("directory", {"content": ""}, id="file-over-directory"),
            pytest.param("directory", {"state": "link", "src": "x"}, id="link-over-directory"),
            pytest.param("file", {"state": "directory"}, id="directory-over-file"),
            pytest.param("link", {"state": "directory"}, id="directory-over-link"),
            pytest.param("pipe", {"content": ""}, id="file-over-pipe"),
        ],
    )
    def test_one_thing_in_the_place_of_another_is_refused(
        self, tmp_path: Path, there: str, wanted: dict[str, str]
    ) -> None:
        path, elsewhere = tmp_path / "x", tmp_path / "elsewhere"
        elsewhere.mkdir()
        make: dict[str, Callable[[], object]] = {
            "directory": path.mkdir,
            "file": path.touch,
            "link": lambda: path.symlink_to(elsewhere),
            "pipe": lambda: os.mkfifo(path),
        }
        make[there]()
        with pytest.raises(OpenClawError, match="should be there"):
            _files.plan([desired(path, **wanted)])

    def test_a_path_that_stands_twice_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(OpenClawError, match="twice"):
            _files.plan([desired(tmp_path / "a", content="1"), desired(f"{tmp_path}//a", content="2")])

    @pytest.mark.parametrize(
        "names",
        [
            pytest.param(["no/file"], id="parent-missing"),
            pytest.param(["no/file", "no/"], id="parent-comes-later"),
        ],
    )
    def test_a_file_without_a_directory_is_refused_but_not_in_check_mode(
        self, tmp_path: Path, names: list[str]
    ) -> None:
        asked = [
            desired(tmp_path / name, state="directory") if name.endswith("/") else desired(tmp_path / name, content="")
            for name in names
        ]
        with pytest.raises(OpenClawError, match="is not a directory"):
            _files.plan(asked)
        assert len(_files.plan(asked, strict=False)) == len(names)

    def test_an_unknown_owner_is_refused_but_not_in_check_mode(self, tmp_path: Path) -> None:
        asked = [desired(tmp_path / "a", content="", owner="no-such-account")]
        with pytest.raises(OpenClawError, match="no-such-account, which does not exist"):
            _files.plan(asked)
        assert len(_files.plan(asked, strict=False)) == 1


class TestCarryOut:
    def test_a_file_is_never_written_through_a_link(self, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (tmp_path / "a").symlink_to(victim)
        apply([desired(tmp_path / "a", content="new")])
        assert victim.read_text() == "precious"
        assert not (tmp_path / "a").is_symlink()

    def test_a_hard_link_to_another_file_leaves_that_file_alone(self, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        victim.chmod(0o644)
        (tmp_path / "a").hardlink_to(victim)
        apply([desired(tmp_path / "a", content="new", mode="0600")])
        assert (victim.read_text(), victim.stat().st_mode & 0o7777) == ("precious", 0o644)

    def test_a_file_has_its_mode_before_it_has_its_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[int] = []
        rename = os.rename

        def watched(source: str, target: str) -> None:
            seen.append(Path(source).stat().st_mode & 0o7777)
            rename(source, target)

        monkeypatch.setattr(os, "rename", watched)
        apply([desired(tmp_path / "a", content="x", mode="0400")])
        assert seen == [0o400]

    def test_a_failure_leaves_the_old_file_and_no_temporary_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "a"
        path.write_text("old")

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OpenClawError, match="No space left"):
            apply([desired(path, content="new")])
        assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a", "old")]

    def test_a_directory_that_became_a_link_is_not_followed(self, tmp_path: Path) -> None:
        path, victim = tmp_path / "d", tmp_path / "victim"
        path.mkdir(mode=0o700)
        victim.mkdir(mode=0o700)
        (change,) = _files.plan([desired(path, state="directory", mode="0777")])
        path.rmdir()
        path.symlink_to(victim)
        with pytest.raises(OpenClawError, match="could not be made"):
            _files.carry_out(change)
        assert victim.stat().st_mode & 0o7777 == 0o700

    def test_a_link_is_replaced_without_a_moment_in_which_it_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "current").symlink_to("old")
        removed: list[object] = []
        monkeypatch.setattr(os, "unlink", lambda path, **_: removed.append(path))
        apply([desired(tmp_path / "current", state="link", src="new")])
        assert (os.readlink(tmp_path / "current"), removed) == ("new", [])


class TestMissing:
    def test_a_file_whose_content_nobody_gave_is_told_and_not_made(self, tmp_path: Path) -> None:
        asked = [desired(tmp_path / "key")]
        assert apply(asked) == []
        assert _files.missing(asked) == [str(tmp_path / "key")]
        (tmp_path / "key").write_text("fetched")
        assert _files.missing(asked) == []


class TestAsWished:
    """Against files of whoever runs the tests, so owner and group are given, as a role may."""

    OWN: ClassVar[dict[str, str]] = {"owner": USER, "group": GROUP}

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "docker.sources"
        file.write_text("Types: deb\n")
        file.chmod(0o644)
        return file

    def test_a_file_with_its_content_and_one_that_only_has_to_be_there(self, file: Path) -> None:
        assert _files.in_sync([{"path": str(file), "content": "Types: deb\n", **self.OWN}])
        assert _files.in_sync([{"path": str(file), **self.OWN}])

    def test_without_entries_all_is_in_sync(self) -> None:
        assert _files.in_sync([])

    @pytest.mark.parametrize(
        "entry",
        [
            pytest.param({"content": "Types: deb-src\n"}, id="other-content"),
            pytest.param({"mode": "0600"}, id="other-mode"),
            pytest.param({"state": "absent"}, id="should-be-away"),
            pytest.param({"state": "directory"}, id="cannot-be-made-of-it"),
            pytest.param({"path": "/nowhere/at/all"}, id="nobody-gave-the-content"),
            pytest.param({"path": "relative"}, id="not-absolute"),
        ],
    )
    def test_what_is_another_thing_is_not_in_sync(self, file: Path, entry: dict[str, Any]) -> None:
        assert not _files.in_sync([{"path": str(file), **self.OWN, **entry}])

    def test_whatever_is_not_roots_is_not_in_sync_unless_another_owner_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.touch(mode=0o644)
        os.chown(file, 1, 1)
        entry = {"path": str(file), "mode": "0644"}
        assert [_files.in_sync([{**entry, **more}]) for more in ({}, {"owner": "1", "group": "1"})] == [False, True]


class TestDescribe:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "50-tuning.conf"
        file.write_text("[Service]\n")
        os.chown(file, 0, 0)
        file.chmod(0o644)
        return file

    def test_roots_file_is_the_entry_that_makes_it(self, file: Path) -> None:
        assert _files.describe(str(file)) == {"path": str(file), "state": "file", "content": "[Service]\n"}

    def test_what_an_entry_would_not_make_by_itself_is_told(self, file: Path) -> None:
        os.chown(file, 1, 1)
        file.chmod(0o600)
        found = _files.describe(str(file))
        assert {name: found[name] for name in ("owner", "group", "mode")} == {
            "owner": pwd.getpwuid(1)[0],
            "group": grp.getgrgid(1)[0],
            "mode": "0600",
        }

    def test_a_directory_a_link_and_what_is_not_there(self, tmp_path: Path) -> None:
        directory, link, nothing = (str(tmp_path / name) for name in ("directory", "link", "nothing"))
        os.mkdir(directory, 0o755)
        os.symlink("directory", link)
        assert [_files.describe(path) for path in (directory, link, nothing)] == [
            {"path": directory, "state": "directory"},
            {"path": link, "state": "link", "src": "directory"},
            {"path": nothing, "state": "absent"},
        ]

    def test_what_is_no_text_is_no_entry(self, file: Path) -> None:
        file.write_bytes(b"\xff")
        assert _files.describe(str(file))["state"] == "other"


class TestJournal:
    """What a run leaves behind that is to be proven, so that one after it can go back."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        return str(tmp_path / "unproven.json")

    def test_what_was_written_is_read_and_closed_to_others(self, path: str) -> None:
        entries = [{"path": "/a", "state": "file", "content": "ü\n", "mode": "0644"}, {"path": "/b", "state": "absent"}]
        _files.write_journal(path, [])
        _files.write_journal(path, entries)
        assert _files.read_journal(path) == entries
        assert os.stat(path).st_mode & 0o7777 == 0o600
        assert os.listdir(os.path.dirname(path)) == ["unproven.json"]

    def test_without_a_journal_there_is_nothing_to_undo(self, path: str) -> None:
        assert _files.read_journal(path) == []

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"", id="empty"),
            pytest.param(b'[{"path": "/a", "sta', id="torn"),
            pytest.param(b"{}[]", id="two-things"),
            pytest.param(b'{"path": "/a", "state": "absent"}', id="no-list"),
            pytest.param(b'"/a"', id="a-text"),
            pytest.param(b"null", id="nothing"),
            pytest.param(b"7", id="a-number"),
            pytest.param(b'["/a"]', id="a-list-of-texts"),
            pytest.param(b'[{"path": "/a"}]', id="without-a-state"),
            pytest.param(b'[{"state": "absent"}]', id="without-a-path"),
            pytest.param(b'[{"path": null, "state": "absent"}]', id="with-another-path"),
            pytest.param(b'[{"path": "/a", "state": 1}]', id="with-another-state"),
            pytest.param(b"[\xff]", id="no-text"),
        ],
    )
    def test_one_that_cannot_be_understood_is_refused_and_left(self, path: str, content: bytes) -> None:
        Path(path).write_bytes(content)
        with pytest.raises(OpenClawError) as refused:
            _files.read_journal(path)
        assert refused.value.subject == path
        assert "remove it" in refused.value.remedy
        assert Path(path).read_bytes() == content

    @pytest.mark.parametrize(
        "put",
        [
            pytest.param(lambda path: os.mkdir(path), id="a-directory"),
            pytest.param(lambda path: os.symlink("/etc/passwd", path), id="a-link"),
            pytest.param(lambda path: os.mkfifo(path), id="a-pipe"),
        ],
    )
    def test_what_is_no_plain_file_is_not_followed(self, path: str, put: Callable[[str], None]) -> None:
        put(path)
        with pytest.raises(OpenClawError) as refused:
            _files.read_journal(path)
        assert refused.value.subject == path

    def test_one_that_cannot_be_written_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(
            OpenClawError, match=r"none/unproven\.json: could not be written: No such file or directory\. "
        ):
            _files.write_journal(str(tmp_path / "none/unproven.json"), [])

    def test_of_two_ways_back_the_earlier_one_is_gone(self) -> None:
        earlier = [{"path": "/a", "state": "file", "content": "first"}, {"path": "/b", "state": "absent"}]
        later = [{"path": "/b", "state": "file", "content": "x"}, {"path": "/c", "state": "absent"}, {"path": "/a"}]
        assert _files.joined(earlier, later) == [*earlier, {"path": "/c", "state": "absent"}]
        assert _files.joined([], later) == later
        assert _files.joined(earlier, []) == earlier

    def test_a_directory_comes_before_what_is_in_it_whichever_run_removed_them(self) -> None:
        inner, outer = {"path": "/a/b/c", "state": "file"}, {"path": "/a/b", "state": "directory"}
        assert _files.joined([inner], [outer]) == _files.joined([outer], [inner]) == [outer, inner]


# A small world: names below each other, so that directories come to hold things.
NAMES = ["a", "b", "a/c", "a/d", "a/c/e"]
THING = st.sampled_from(["absent", "directory", "file", "link"])
CONTENT = st.text(max_size=4)


@st.composite
def things(draw: st.DrawFn) -> dict[str, _files.Entry]:
    """A consistent set of things, each in a directory that is there too."""
    world: dict[str, _files.Entry] = {}
    for name in NAMES:
        parent = name.rpartition("/")[0]
        state = draw(THING) if not parent or world[parent].state == "directory" else "absent"
        options: dict[str, Any] = {"state": state}
        if state == "file":
            options |= {"content": draw(CONTENT), "mode": draw(st.sampled_from(["0600", "0644"]))}
        if state == "link":
            options["src"] = draw(st.sampled_from(["x", "y"]))
        world[name] = desired(f"/{name}", **options)
    return world


def seen(root: str) -> dict[str, _files.Entry]:
    return {name: _files.look(f"{root}/{name}")._replace(path=name) for name in NAMES}


def placed(root: str, world: dict[str, _files.Entry]) -> list[_files.Entry]:
    return [entry._replace(path=f"{root}/{name}") for name, entry in world.items()]


@given(before=things(), after=things())
def test_undo_brings_back_what_was_there(before: dict[str, _files.Entry], after: dict[str, _files.Entry]) -> None:
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        apply(placed(root, before))
        was = seen(root)
        try:
            changes = apply(placed(root, after))
        except OpenClawError:
            # One kind of thing in the place of another: refused, and nothing was touched.
            assert seen(root) == was
            return
        assert _files.plan(placed(root, after)) == []
        apply([desired(**entry) for entry in _files.undo(changes)])
        assert seen(root) == was


@given(before=things(), first=things(), done=st.integers(0, len(NAMES)), second=things())
def test_undo_after_an_interrupted_run_brings_back_what_was_there_before_that(
    before: dict[str, _files.Entry], first: dict[str, _files.Entry], done: int, second: dict[str, _files.Entry]
) -> None:
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        apply(placed(root, before))
        was = seen(root)
        try:
            _files.plan(placed(root, second))
            changes = _files.plan(placed(root, first))
            journal = json.loads(json.dumps(_files.undo(changes)))
            for change in changes[:done]:
                _files.carry_out(change)
            back = _files.joined(journal, _files.undo(apply(placed(root, second))))
        except OpenClawError:
            return  # one kind of thing in the place of another: no run could make it of what was there
        apply([desired(**entry) for entry in back])
        assert seen(root) == was
