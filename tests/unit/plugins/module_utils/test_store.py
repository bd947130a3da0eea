# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of a gateway's account, on a real file system and with a real other account."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

if TYPE_CHECKING:
    from ansible_collections.clawops.openclaw.tests.unit.plugins.conftest import Killed, Within

OLD, NEW = b'{"old": 1}\n', b'{"new": 2}\n'


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def theirs(open_directory: Path, another_account: _store.Account) -> Path:
    """A directory that belongs to another account, as a gateway's own does."""
    directory = open_directory / "theirs"
    directory.mkdir(mode=0o700)
    os.chown(directory, another_account.uid, another_account.gid)
    return directory


# ---- read ----------------------------------------------------------------------------------------------


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    assert _store.read(str(path), None) == OLD


def test_no_file_is_not_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert _store.read(str(tmp_path / "none"), None) is None
    assert _store.read(str(tmp_path / "no-directory/none"), None) is None
    assert _store.read(str(tmp_path / "empty"), None) == b""


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"of somebody else")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OpenClawError, match=r"link: cannot be read: it is a symbolic link\. Put a plain file"):
        _store.read(str(tmp_path / "link"), None)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def make_directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [make_pipe, make_socket, make_directory])
def test_what_is_no_plain_file_is_refused_without_waiting_for_it(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "odd"
    make(path)
    with pytest.raises(OpenClawError) as error:
        _store.read(str(path), None)
    assert error.value.subject == str(path)
    assert error.value.remedy.startswith("Put a plain file in its place")


def test_reading_and_writing_leave_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    make_pipe(tmp_path / "pipe")
    make_directory(tmp_path / "directory")
    before = os.listdir("/proc/self/fd")
    for name in names(tmp_path):
        try:
            _store.read(str(tmp_path / name), None)
        except (OpenClawError, OSError):
            continue
    _store.write(str(tmp_path / "file"), NEW, None)
    assert os.listdir("/proc/self/fd") == before


def test_root_reads_nothing_that_the_account_may_not(theirs: Path, another_account: _store.Account) -> None:
    path = theirs / "file"
    path.write_bytes(OLD)
    path.chmod(0o600)
    assert _store.read(str(path), None) == OLD
    with pytest.raises(OpenClawError, match="file: cannot be read: Permission denied"):
        _store.read(str(path), another_account)


def test_a_hard_link_to_a_file_of_root_does_not_open_it(theirs: Path, another_account: _store.Account) -> None:
    secret = theirs.parent / "secret"
    secret.write_bytes(b"of root")
    secret.chmod(0o600)
    os.link(secret, theirs / "file")
    with pytest.raises(OpenClawError, match="Permission denied"):
        _store.read(str(theirs / "file"), another_account)


# ---- write ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [0o600, 0o400, 0o644])
def test_a_file_has_its_mode_whatever_the_mask_says(tmp_path: Path, wanted: int) -> None:
    path = tmp_path / "file"
    for mask in (0o000, 0o077, 0o777):
        before = os.umask(mask)
        try:
            _store.write(str(path), NEW, None, wanted)
        finally:
            os.umask(before)
        assert (path.read_bytes(), mode(path)) == (NEW, wanted)
    assert names(tmp_path) == ["file"]


def test_a_file_is_closed_to_others_by_default(tmp_path: Path) -> None:
    _store.write(str(tmp_path / "file"), NEW, None)
    assert mode(tmp_path / "file") == 0o600


def test_a_file_is_replaced_and_not_written_into(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with path.open("rb") as reader:
        _store.write(str(path), NEW, None)
        assert reader.read() == OLD
    assert path.read_bytes() == NEW


def test_a_symbolic_link_is_replaced_and_what_it_points_at_is_left(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(OLD)
    (tmp_path / "link").symlink_to(tmp_path / "other")
    _store.write(str(tmp_path / "link"), NEW, None)
    assert not (tmp_path / "link").is_symlink()
    assert ((tmp_path / "other").read_bytes(), (tmp_path / "link").read_bytes()) == (OLD, NEW)


def test_a_file_is_written_as_the_account(theirs: Path, another_account: _store.Account) -> None:
    _store.write(str(theirs / "file"), NEW, another_account, 0o400)
    found = (theirs / "file").stat()
    assert (found.st_uid, found.st_gid, mode(theirs / "file")) == (another_account.uid, another_account.gid, 0o400)
    _store.write(str(theirs / "file"), OLD, another_account, 0o400)
    assert (theirs / "file").read_bytes() == OLD


def test_root_writes_nowhere_where_the_account_may_not(open_directory: Path, another_account: _store.Account) -> None:
    with pytest.raises(PermissionError):
        _store.write(str(open_directory / "file"), NEW, another_account)
    assert names(open_directory) == []
    assert (os.geteuid(), os.getegid()) == (0, 0)


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)

    def full(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if call == "write":
        monkeypatch.setattr(os, "fchmod", full)
    else:
        monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        _store.write(str(path), NEW, None)
    monkeypatch.undo()
    assert (path.read_bytes(), names(tmp_path)) == (OLD, ["file"])


def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []

    def noted(name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            kind = "directory" if name == "fsync" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode) else "file"
            if name == "fsync" and kind == "file":
                assert os.fstat(arguments[0]).st_size == len(NEW)
            events.append(f"{name} {kind}")
            return function(*arguments)

        return call

    for name in ("fsync", "rename"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    _store.write(str(tmp_path / "file"), NEW, None)
    assert events == ["fsync file", "rename file", "fsync directory"]


@pytest.mark.parametrize(("after", "whole"), [(False, OLD), (True, NEW)], ids=["before-the-rename", "after-it"])
def test_a_writer_that_is_killed_leaves_one_of_two_whole_files(
    tmp_path: Path, killed: Killed, after: bool, whole: bytes
) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    assert killed(lambda: _store.write(str(path), NEW, None), 1, after=after)
    assert path.read_bytes() == whole


# ---- what is left over -----------------------------------------------------------------------------------


def test_what_killed_writers_left_is_swept_away_and_nothing_else(tmp_path: Path, killed: Killed) -> None:
    path = tmp_path / "openclaw.json"
    others = [
        "openclaw.json",
        "openclaw.json.previous",
        "openclaw.json.last-good",
        ".openclaw.jsonx",
        ".other",
        "x.json",
    ]
    for name in others:
        (tmp_path / name).write_bytes(OLD)
    for name in ("openclaw.json", "openclaw.json.applied"):
        assert killed(lambda name=name: _store.write(str(tmp_path / name), NEW, None), 1, after=False)
    assert len(names(tmp_path)) == len(others) + 2
    _store.sweep(str(path), None)
    assert names(tmp_path) == sorted(others)


@pytest.mark.parametrize("after", [False, True], ids=["while-it-was-written", "afterwards"])
def test_a_candidate_of_a_killed_run_is_swept_away(tmp_path: Path, killed: Killed, after: bool) -> None:
    path = tmp_path / "openclaw.json"

    def stage() -> None:
        with _store.staged(str(path), NEW, None):
            os.kill(os.getpid(), signal.SIGKILL)

    assert killed(stage, 1, after=after)
    assert len(names(tmp_path)) == 1
    _store.sweep(str(path), None)
    assert names(tmp_path) == []


def test_a_candidate_stands_beside_the_file_and_only_for_the_block(tmp_path: Path) -> None:
    path = tmp_path / "openclaw.json"
    with contextlib.suppress(RuntimeError), _store.staged(str(path), NEW, None) as candidate:
        assert Path(candidate).parent == tmp_path
        assert (Path(candidate).read_bytes(), mode(Path(candidate))) == (NEW, 0o600)
        raise RuntimeError
    assert names(tmp_path) == []


def test_the_candidate_of_an_account_is_its_own(theirs: Path, another_account: _store.Account) -> None:
    with _store.staged(str(theirs / "file"), NEW, another_account) as candidate:
        assert Path(candidate).stat().st_uid == another_account.uid


def test_sweeping_and_removing_use_the_accounts_rights(open_directory: Path, another_account: _store.Account) -> None:
    for name in ("file", ".file.left"):
        (open_directory / name).write_bytes(OLD)
    with pytest.raises(PermissionError):
        _store.remove(str(open_directory / "file"), another_account)
    with pytest.raises(PermissionError):
        _store.sweep(str(open_directory / "file"), another_account)
    assert names(open_directory) == [".file.left", "file"]


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for _ in range(2):
        _store.remove(str(tmp_path / "file"), None)
    assert names(tmp_path) == []


@pytest.mark.parametrize("kept_there", [True, False], ids=["a-file", "a-directory"])
def test_what_is_set_aside_is_kept_and_a_file_stays_until_it_is_replaced(tmp_path: Path, kept_there: bool) -> None:
    path, kept = tmp_path / "file", tmp_path / "kept"
    if kept_there:
        path.write_bytes(OLD)
    else:
        path.mkdir()
    _store.set_aside(str(path), str(kept), None)
    assert path.exists() is kept_there
    _store.write(str(path), NEW, None)
    assert path.read_bytes() == NEW
    assert kept.read_bytes() == OLD if kept_there else kept.is_dir()


def test_of_a_link_the_link_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(OLD)
    (tmp_path / "link").symlink_to("target")
    _store.set_aside(str(tmp_path / "link"), str(tmp_path / "kept"), None)
    assert os.readlink(tmp_path / "kept") == "target"


def test_setting_aside_uses_the_accounts_rights(open_directory: Path, another_account: _store.Account) -> None:
    (open_directory / "file").write_bytes(OLD)
    with pytest.raises(PermissionError):
        _store.set_aside(str(open_directory / "file"), str(open_directory / "kept"), another_account)
    assert names(open_directory) == ["file"]


# ---- accounts --------------------------------------------------------------------------------------------


@pytest.fixture
def groups(another_account: _store.Account) -> Iterator[list[int]]:
    """More groups than root's own, as a login has them."""
    before = os.getgroups()
    os.setgroups([0, 4])
    yield [0, 4]
    os.setgroups(before)


def test_the_accounts_rights_are_had_inside_the_block_alone(another_account: _store.Account, groups: list[int]) -> None:
    with contextlib.suppress(RuntimeError), _store.rights_of(another_account):
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (another_account.uid, another_account.gid, [])
        raise RuntimeError
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, groups)


@pytest.mark.parametrize("account", [None, _store.Account("root", 0, 0)], ids=["none", "root"])
def test_without_another_account_the_rights_stay(account: _store.Account | None, groups: list[int]) -> None:
    before = os.geteuid(), os.getegid(), os.getgroups()
    with _store.rights_of(account):
        assert (os.geteuid(), os.getegid(), os.getgroups()) == before


def test_an_account_is_found_by_its_name(another_account: _store.Account) -> None:
    assert _store.find_account(another_account.name) == another_account


@pytest.mark.parametrize("name", [None, ""], ids=repr)
def test_without_a_name_there_is_no_account(name: str | None) -> None:
    assert _store.find_account(name) is None


def test_what_lies_in_the_place_of_a_missing_account_is_not_opened_with_roots_rights(tmp_path: Path) -> None:
    nobody = _store.find_account("no-such-account")
    secret = tmp_path / "secrets.json"
    secret.write_text("{}")
    secret.chmod(0o600)
    for folder in [tmp_path, *tmp_path.parents[:-2]]:
        folder.chmod(0o755)
    with pytest.raises(OpenClawError, match=r"Permission denied\. There is no account no-such-account: move"):
        _store.read(str(secret), nobody)
    assert _store.read(str(tmp_path / "none"), nobody) is None


def test_only_root_can_work_as_another_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert _store.find_account("nobody") is None


@pytest.mark.parametrize(
    ("owner", "found_mode", "wrong"),
    [
        pytest.param("right", 0o600, False, id="as-it-should-be"),
        pytest.param("right", 0o640, True, id="too-wide"),
        pytest.param("right", 0o400, True, id="too-narrow"),
        pytest.param("wrong", 0o600, True, id="another-owner"),
    ],
)
def test_owner_and_mode_are_looked_at(
    open_directory: Path, another_account: _store.Account, owner: str, found_mode: int, wrong: bool
) -> None:
    path = open_directory / "file"
    path.touch()
    path.chmod(found_mode)
    if owner == "right":
        os.chown(path, another_account.uid, another_account.gid)
    assert _store.wrong_attributes(str(path), another_account, 0o600) is wrong


def test_the_attributes_of_a_file_that_is_not_there_are_not_wrong(tmp_path: Path) -> None:
    assert _store.wrong_attributes(str(tmp_path / "none"), None, 0o600) is False


def test_json_is_written_for_people() -> None:
    assert _store.dump({"ü": [1, None]}) == '{\n  "ü": [\n    1,\n    null\n  ]\n}\n'.encode()
    assert json.loads(_store.dump({"a": "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")})) == {
        "a": "😀"
    }


def test_two_runs_do_not_work_on_the_same_settings_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "openclaw.json")
    with _store.alone(path, timeout=0):
        with (
            pytest.raises(OpenClawError, match="another run has been changing it for 0 s") as refused,
            _store.alone(path, timeout=0),
        ):
            pass
        assert "Wait until it has ended" in str(refused.value)
    with _store.alone(path, timeout=0):
        pass


# ---- what a hostile account does --------------------------------------------------------------------------


def test_the_account_cannot_hold_the_lock_of_its_own_settings(theirs: Path, within: Within) -> None:
    """Measured before: a run waited for as long as the account held its own directory, and failed."""

    def run() -> str:
        with _store.alone(str(theirs / "openclaw.json"), timeout=0):
            return "done"

    handles = [os.open(theirs, os.O_RDONLY)]
    (theirs / "openclaw.json").touch()
    handles.append(os.open(theirs / "openclaw.json", os.O_RDONLY))
    try:
        for handle in handles:
            fcntl.flock(handle, fcntl.LOCK_EX)
        assert within(5, run) == "done"
    finally:
        for handle in handles:
            os.close(handle)


@pytest.mark.parametrize("what", ["of another account", "writable for all", "a link"])
def test_a_place_for_locks_that_others_can_write_is_refused(
    open_directory: Path, another_account: _store.Account, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    locks = open_directory / "locks"
    if what == "a link":
        locks.symlink_to(open_directory)
    else:
        locks.mkdir()
        if what == "of another account":
            os.chown(locks, another_account.uid, another_account.gid)
        else:
            locks.chmod(0o777)
    monkeypatch.setattr(_store, "LOCKS", str(locks))
    with pytest.raises(OpenClawError) as refused, _store.alone("/openclaw.json", timeout=0):
        pass
    assert refused.value.subject == str(locks)


def test_gateways_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with (
        _store.alone(str(tmp_path / "a/openclaw.json"), timeout=0),
        _store.alone(str(tmp_path / "b/openclaw.json"), timeout=0),
    ):
        pass


def test_a_directory_that_became_a_link_is_not_passed(theirs: Path) -> None:
    """Not even with root's rights: the account decides what stands in its own directories."""
    secrets = theirs.parent / "secrets"
    secrets.mkdir()
    (secrets / "file").write_bytes(b"of another tenant")
    (theirs / "state").symlink_to(secrets)
    with pytest.raises(_store.Unreadable, match="a symbolic link or a file stands where its directory should be"):
        _store.read(str(theirs / "state/file"), None)


def test_a_link_of_roots_on_the_way_is_passed(theirs: Path, another_account: _store.Account) -> None:
    """An operator may have moved /var/lib/openclaw to another disk."""
    (theirs / "file").write_bytes(OLD)
    (theirs / "file").chmod(0o644)
    (theirs.parent / "moved").symlink_to(theirs)
    assert _store.read(str(theirs.parent / "moved/file"), another_account) == OLD


def test_a_hole_is_refused_before_it_takes_memory(tmp_path: Path, within: Within) -> None:
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1_500_000_000)

    def run() -> str:
        try:
            _store.read(str(tmp_path / "hole"), None)
        except OpenClawError as error:
            return str(error)
        return "read"

    assert "it has more than 1024 KiB" in within(5, run, memory_mb=50)


def test_a_file_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert _store.read(str(tmp_path / "file"), None, 5) == b"12345"
    with pytest.raises(OpenClawError, match="it has more than"):
        _store.read(str(tmp_path / "file"), None, 4)


def test_a_lease_on_a_file_keeps_nobody_waiting(tmp_path: Path, within: Within) -> None:
    (tmp_path / "file").write_bytes(OLD)
    handle = os.open(tmp_path / "file", os.O_RDWR)
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # which tells the holder that somebody waits
    try:
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        with pytest.raises(AssertionError, match=r"OpenClawError: .*cannot be read"):
            within(5, lambda: _store.read(str(tmp_path / "file"), None))
    finally:
        signal.signal(signal.SIGIO, before)
        os.close(handle)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"[1]", id="a-list"),
        pytest.param(b"{", id="torn"),
        pytest.param(b'{"a": ' * 100_000 + b"1" + b"}" * 100_000, id="100000-levels"),
        pytest.param(b'{"a": ' * 150 + b"1" + b"}" * 150, id="150-levels"),
        pytest.param(b'{"a": ' + b"9" * 400 + b"}", id="a-number-of-400-digits"),
        pytest.param(b"\xff", id="no-text"),
    ],
)
def test_what_is_no_object_is_refused_with_the_remedy_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(OpenClawError) as error:
        _store.read_object(str(tmp_path / "file"), None, 1 << 22, "Remove it.")
    assert str(error.value) == f"{tmp_path / 'file'}: is no JSON object. Remove it."


def test_an_object_is_read_and_no_file_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b'{"a": 1}')
    assert _store.read_object(str(tmp_path / "file"), None, 100, "") == {"a": 1}
    assert _store.read_object(str(tmp_path / "none"), None, 100, "") == {}


def test_half_a_letter_stays_the_escape_as_which_it_came() -> None:
    text = b'{\n  "\\ud800": "\\udfff"\n}\n'
    assert _store.dump(json.loads(text)) == text


def test_the_process_that_asks_a_database_has_nothing_but_the_accounts_rights(
    theirs: Path, another_account: _store.Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(_path: str, _query: str) -> list[str]:
        return [f"{os.getresuid()} {os.getresgid()} {os.getgroups()} {len(os.listdir('/proc/self/fd'))}"]

    monkeypatch.setattr(_store, "_ask_database", told)
    uid, gid = another_account.uid, another_account.gid
    # Three of its own, the pipe, and the one with which it counts.
    assert _store.first_row("x", "y", another_account) == [f"{(uid, uid, uid)} {(gid, gid, gid)} [] 5"]
