# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ending what an account runs, with real processes, and removing what it leaves, in real directories."""

from __future__ import annotations

import ctypes
import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _account, _host
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

# No account of this machine has these numbers.
UID, SUB = 54321, 700000
OWNER = _account.Owner("clawops-nobody", UID, ((SUB, 65536),))
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a program under another account")


def status(uids: str, state: str = "S (sleeping)") -> str:
    return f"Name:\tnode\nState:\t{state}\nUid:\t{uids}\nGid:\t1\t1\t1\t1\n"


@pytest.mark.parametrize(
    ("text", "is_its"),
    [
        pytest.param(status(f"{UID}\t{UID}\t{UID}\t{UID}"), True, id="its"),
        pytest.param(status(f"0\t0\t{UID}\t0"), True, id="one-of-four"),
        pytest.param(status(f"{SUB + 65535}\t{SUB}\t{SUB}\t{SUB}"), True, id="of-its-range"),
        pytest.param(status(f"{SUB + 65536}\t0\t0\t0"), False, id="beyond-its-range"),
        pytest.param(status("0\t0\t0\t0"), False, id="roots"),
        pytest.param(status(f"{UID}\t{UID}\t{UID}\t{UID}", "Z (zombie)"), False, id="ended-already"),
        pytest.param(f"Name:\tUid: {UID}\n", False, id="named-like-it"),
        pytest.param("", False, id="gone"),
    ],
)
def test_a_process_is_the_accounts_by_any_of_its_user_ids(text: str, is_its: bool) -> None:
    assert _account.is_of(text, OWNER) is is_its


def test_the_ranges_of_an_account_are_found_by_name_and_by_number() -> None:
    text = f"other:100000:65536\nclaw:200000:65536\n{UID}:300000:10\nclaw:0:65536\nbroken\n"
    assert _account.ranges(text, "claw", UID) == ((200000, 65536), (300000, 10))


def test_root_is_refused() -> None:
    with pytest.raises(OpenClawError, match="has the rights of root"):
        _account.find("root", "")


def test_an_account_that_is_not_there_is_none() -> None:
    assert _account.find("clawops-nobody", "") is None


def run_as(uid: int, program: str) -> subprocess.Popen[bytes]:
    # Not that of the virtual environment, which may be where only root can go.
    return subprocess.Popen(["/usr/bin/python3", "-c", program], user=uid, group=uid, extra_groups=[])


def eventually(seconds: float = 5) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)


@needs_root
@pytest.mark.parametrize(
    "program",
    [
        pytest.param("import time; time.sleep(60)", id="waits"),
        pytest.param(
            "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]; time.sleep(60)", id="ignores"
        ),
        pytest.param("import os, time; os.fork(); os.setsid() if os.fork() == 0 else 0; time.sleep(60)", id="forks"),
        # Whichever is ended, another has begun.
        pytest.param(
            "import os, time\nend = time.time() + 30\nwhile time.time() < end:\n time.sleep(0.005)\n if os.fork(): os._exit(0)",
            id="flees",
        ),
        pytest.param("import os, time; os.kill(os.getpid(), 19); time.sleep(60)", id="is-stopped"),
    ],
)
def test_every_process_is_ended_whatever_it_does(program: str) -> None:
    started = run_as(UID, program)
    for _ in eventually():
        if _account.processes(OWNER):
            break
    _account.end_processes(OWNER)
    assert _account.processes(OWNER) == []
    started.wait()
    time.sleep(0.1)
    assert _account.processes(OWNER) == []


@needs_root
def test_what_runs_in_a_namespace_of_the_account_is_ended_too_and_no_other_accounts() -> None:
    inside, other = run_as(SUB + 1000, "import time; time.sleep(60)"), run_as(UID + 1, "import time; time.sleep(60)")
    try:
        for _ in eventually():
            if _account.processes(OWNER):
                break
        assert _account.end_processes(OWNER) == 1
        assert inside.wait() == -9
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@needs_root
def test_what_cannot_be_ended_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_account, "_ENDS_WITHIN", 0.1)
    for step in ("_end", "_end_all"):
        monkeypatch.setattr(_account, step, lambda *_: None)
    process = run_as(UID, "import time; time.sleep(60)")
    try:
        for _ in eventually():
            if _account.processes(OWNER):
                break
        with pytest.raises(OpenClawError, match=f"1 of its processes go on, as {process.pid}"):
            _account.end_processes(OWNER)
    finally:
        process.kill()
        process.wait()


MOUNTS = """\
22 1 0:21 / / rw - ext4 /dev/sda1 rw
30 22 0:30 / /var/lib/openclaw/main/workspace/a\\040b rw - fuse.sshfs x rw
31 30 0:31 / /var/lib/openclaw/main/workspace/a\\040b/deeper rw - tmpfs x rw
32 22 0:32 / /var/lib/openclaw/main2 rw - tmpfs x rw
33 22 0:33 / /var/lib/openclaw/main rw - tmpfs x rw
"""


def test_mounts_below_a_path_are_found_the_latest_first_and_its_neighbours_are_not() -> None:
    assert _account.mounts_below(["/var/lib/openclaw/main", "/etc/openclaw/main"], MOUNTS) == [
        "/var/lib/openclaw/main",
        "/var/lib/openclaw/main/workspace/a b/deeper",
        "/var/lib/openclaw/main/workspace/a b",
    ]


FUSE = f"""\
40 22 0:53 / /var/lib/openclaw/main/workspace/mnt rw,nosuid,nodev - fuse.sshfs x rw,user_id={UID},group_id={UID}
41 22 0:54 / /tmp/its\\040own rw - fuse x rw,user_id={SUB + 5},group_id=1,default_permissions
42 22 0:55 / /tmp/roots rw - fuse x rw,user_id=0,group_id=0
43 22 0:56 / /tmp/anothers rw - fuse x rw,user_id={UID}1,group_id=1
44 22 0:57 / /tmp/no-fuse rw - tmpfs x rw,user_id={UID}
"""


def test_file_systems_that_the_account_serves_are_found_wherever_they_are() -> None:
    assert _account.own_mounts(OWNER, FUSE) == [
        ("/tmp/its own", "54"),
        ("/var/lib/openclaw/main/workspace/mnt", "53"),
    ]


@pytest.fixture
def unanswered(tmp_path: Path) -> Iterator[Path]:
    """A file system that the account serves, and that answers to nothing."""
    point = tmp_path / "its own"
    point.mkdir()
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    handle = os.open("/dev/fuse", os.O_RDWR) if os.path.exists("/dev/fuse") else -1
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={handle},rootmode=40000,user_id={UID},group_id={UID}"
    if handle < 0 or libc.mount(b"its", bytes(point), b"fuse", 0, options.encode()):
        pytest.skip("this machine mounts no file systems of accounts")
    yield point
    libc.umount2(bytes(point), 2)
    os.close(handle)


@needs_root
def test_a_file_system_of_the_account_that_answers_to_nothing_keeps_nobody_waiting(unanswered: Path) -> None:
    waiting = run_as(UID, f"import os\nwhile True: os.listdir({str(unanswered)!r})")
    for _ in eventually():
        if _account.processes(OWNER):
            break
    assert _account.is_there(str(unanswered))
    _account.release(_account.own_mounts(OWNER, _host.read_text("/proc/self/mountinfo")))
    assert _account.own_mounts(OWNER, _host.read_text("/proc/self/mountinfo")) == []
    _account.end_processes(OWNER)
    assert waiting.wait(10) != 0
    _account.remove_trees([str(unanswered)])
    assert not unanswered.exists()


@needs_root
def test_shared_memory_of_the_account_goes_and_no_other_accounts() -> None:
    for uid in (UID, UID + 1):
        subprocess.run(["/usr/bin/ipcmk", "--shmem", "100"], user=uid, group=uid, check=True, capture_output=True)
    removed = _account.remove_ipc(OWNER)
    assert len(removed) == 1
    assert removed[0].startswith("shm ")
    assert len(_account.remove_ipc(_account.Owner("other", UID + 1))) == 1
    assert _account.remove_ipc(OWNER) == []


@needs_root
def test_a_mount_is_taken_away_although_it_is_used(tmp_path: Path) -> None:
    point = tmp_path / "a b"
    point.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "claw", str(point)], capture_output=True, check=False).returncode:
        pytest.skip("this machine mounts nothing")
    with subprocess.Popen(["sleep", "60"], cwd=point) as user:
        try:
            found = _account.mounts_below([str(tmp_path)], _host.read_text("/proc/self/mountinfo"))
            assert found == [str(point)]
            _account.unmount(found)
            assert _account.mounts_below([str(tmp_path)], _host.read_text("/proc/self/mountinfo")) == []
        finally:
            user.kill()


def test_a_mount_that_stays_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OpenClawError, match="is mounted, and stays"):
        _account.unmount([str(tmp_path)])


def test_a_tree_deeper_than_any_path_is_removed(tmp_path: Path) -> None:
    deep = tmp_path / "data"
    deep.mkdir()
    handle = os.open(deep, os.O_PATH)
    for _ in range(3000):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_PATH, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    _account.remove_trees([str(deep), str(tmp_path / "not-there")])
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/link").symlink_to(kept)
    (tmp_path / "top").symlink_to(kept)
    _account.remove_trees([str(tmp_path / "data"), str(tmp_path / "top")])
    assert list(tmp_path.iterdir()) == [kept]
    assert (kept / "file").exists()


def test_what_could_not_be_removed_is_an_error() -> None:
    with pytest.raises(OpenClawError, match="could not be removed"):
        _account.remove_trees(["/proc/self/status"])


@needs_root
def test_jobs_mail_and_files_of_the_account_are_found_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, crontabs = tmp_path / "tmp", tmp_path / "crontabs"
    for folder in (shared, crontabs):
        folder.mkdir()
    monkeypatch.setattr(_account, "_SHARED", (str(shared), str(tmp_path / "none")))
    monkeypatch.setattr(_account, "_NAMED", (f"{crontabs}/{{}}",))
    for name, uid in (("its", UID), ("mapped", SUB), ("roots", 0)):
        (shared / name).touch()
        os.chown(shared / name, uid, uid)
    # Of another's file, it has only a link.
    (shared / "link").symlink_to(shared / "roots")
    os.chown(shared / "link", UID, UID, follow_symlinks=False)
    (crontabs / OWNER.name).touch()
    (crontabs / "root").touch()
    # Where anybody may write further down.
    (shared / "roots-folder/deeper").mkdir(parents=True)
    (shared / "roots-folder/deeper/setuid").touch()
    os.chown(shared / "roots-folder/deeper/setuid", UID, UID)
    names = {Path(path).name for path in _account.remains(OWNER)}
    assert names == {OWNER.name, "its", "mapped", "link", "setuid"}
    assert {Path(path).name for path in _account.remove_remains(OWNER)} == names
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {"tmp", "crontabs", "crontabs/root", "tmp/roots", "tmp/roots-folder", "tmp/roots-folder/deeper"}


@needs_root
def test_a_path_that_is_cut_off_at_the_end_of_a_long_list_is_not_taken_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_account, "_SHARED", (str(tmp_path),))
    monkeypatch.setattr(_account, "_NAMED", ())
    for name in ("one", "two"):
        (tmp_path / name).touch()
        os.chown(tmp_path / name, UID, UID)
    # The second path ends where that of its directory does.
    whole = len(f"{tmp_path}/one") + 1
    monkeypatch.setattr(_account, "_SEARCH_BYTES", whole + len(str(tmp_path)))
    assert {Path(path).parent for path in _account.remove_remains(OWNER)} == {tmp_path}
    assert list(tmp_path.iterdir()) == []


@needs_root
def test_what_could_not_be_looked_for_in_time_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_account, "_SHARED", (str(tmp_path),))
    monkeypatch.setattr(_account, "_SEARCH_SECONDS", 0)
    with pytest.raises(OpenClawError, match="could not all be looked for within 0 s"):
        _account.remains(OWNER)


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        pytest.param({}, ["cron.deny"], id="none-of-them"),
        pytest.param({"cron.deny": "claw\n"}, [], id="denied-already"),
        pytest.param({"cron.deny": "claw2\n"}, ["cron.deny"], id="another-of-a-similar-name"),
        pytest.param({"cron.allow": ""}, [], id="only-those-who-are-allowed"),
        pytest.param({"cron.deny": "claw\n", "at.deny": ""}, ["at.deny"], id="everybody-may-use-at"),
        pytest.param({"cron.deny": "claw\n", "at.deny": "a\nclaw\n"}, [], id="both"),
    ],
)
def test_the_files_that_keep_an_account_out_of_cron_and_at_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], missing: list[str]
) -> None:
    for name in ("cron", "at"):
        monkeypatch.setattr(_account, f"_{name.upper()}", (f"{tmp_path}/{name}.deny", f"{tmp_path}/{name}.allow"))
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert _account.deny_files("claw") == [f"{tmp_path}/{name}" for name in missing]


def test_the_test_account_is_nobodys() -> None:
    assert UID not in {entry.pw_uid for entry in pwd.getpwall()}
