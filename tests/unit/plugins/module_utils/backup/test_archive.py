# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unpacking what the account has written: whatever it is, nothing leaves the folder, and nothing takes the disk."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import tracemalloc
import typing as t
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils._backup import archive, host_files
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._store import Account

ROOT = "2026-12-01-openclaw-backup"
STATE = "/var/lib/openclaw/main/state"
MANIFEST = {"paths": {"stateDir": STATE}, "runtimeVersion": "2026.9.6"}


class Entry(t.NamedTuple):
    name: str
    content: bytes = b""
    type: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o600


def made(tmp_path: Path, *entries: Entry, manifest: t.Any = MANIFEST) -> int:
    """A descriptor of an archive."""
    path = tmp_path / "made.tar.gz"
    rows = [
        *entries,
        *([Entry(f"{ROOT}/manifest.json", json.dumps(manifest).encode())] if manifest is not None else []),
    ]
    with tarfile.open(path, "w:gz") as tar:
        for entry in rows:
            info = tarfile.TarInfo(entry.name)
            info.type, info.linkname, info.mode = entry.type, entry.link, entry.mode
            info.size = len(entry.content) if entry.type == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(entry.content))
    return os.open(path, os.O_RDONLY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


def below(path: str) -> str:
    return f"{ROOT}/payload/posix{path}"


def test_files_directories_and_links_come_out_as_they_went_in(tmp_path, folder):
    handle = made(
        tmp_path,
        Entry(below(f"{STATE}/empty"), type=tarfile.DIRTYPE),
        Entry(below(f"{STATE}/run.sh"), b"#!/bin/sh\n", mode=0o755),
        Entry(below(f"{STATE}/link"), type=tarfile.SYMTYPE, link="/etc/passwd"),
    )
    found = archive.unpack(handle, str(folder), max_mb=1)
    state = folder / archive.PAYLOAD / STATE.lstrip("/")
    assert (state / "empty").is_dir()
    assert (state / "run.sh").stat().st_mode & 0o777 == 0o700
    assert os.readlink(state / "link") == "/etc/passwd"
    assert found.digests[f"payload/posix{STATE}/run.sh"] == hashlib.sha256(b"#!/bin/sh\n").hexdigest()
    assert (found.manifest["runtimeVersion"], found.left_out) == ("2026.9.6", 0)


@pytest.mark.parametrize("name", ["/etc/cron.d/x", f"{ROOT}/../../x", f"{ROOT}/{'a/' * 3000}x"])
def test_an_entry_that_names_a_place_outside_is_refused(tmp_path, folder, name):
    with pytest.raises(OpenClawError, match="names a place outside"):
        archive.unpack(made(tmp_path, Entry(name, b"x")), str(folder), max_mb=1)


def test_nothing_is_written_through_a_link(tmp_path, folder):
    outside = tmp_path / "outside"
    outside.mkdir()
    handle = made(
        tmp_path,
        Entry(below("/a"), type=tarfile.SYMTYPE, link=str(outside)),
        Entry(below("/a/stolen"), b"x"),
    )
    archive.unpack(handle, str(folder), max_mb=1)
    assert list(outside.iterdir()) == []
    assert (folder / archive.PAYLOAD / "a/stolen").read_bytes() == b"x"


def test_a_device_a_pipe_and_a_hard_link_are_left_out_and_counted(tmp_path, folder):
    kinds = (tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE)
    entries = [Entry(below(f"/{number}"), type=kind, link="/etc/shadow") for number, kind in enumerate(kinds)]
    found = archive.unpack(made(tmp_path, *entries), str(folder), max_mb=1)
    assert (found.left_out, sorted(found.digests)) == (3, ["manifest.json"])


def test_an_archive_that_is_larger_than_allowed_is_refused(tmp_path, folder):
    handle = made(tmp_path, Entry(below("/bomb"), b"\0" * (2 << 20)))
    with pytest.raises(OpenClawError, match=r"more than 1 MiB.*Raise backup_max_mb"):
        archive.unpack(handle, str(folder), max_mb=1)


def test_the_disk_keeps_room_for_the_gateway(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archive, "_FREE_MB", 1 << 40)
    with pytest.raises(OpenClawError, match="are free"):
        archive.unpack(made(tmp_path, Entry(below("/a"), b"x")), str(folder), max_mb=1)


def test_patterns_leave_out_names_of_workspaces_and_nothing_of_the_state(tmp_path, folder):
    names = ["/w/node_modules/a", "/w/keep/b", f"{STATE}/node_modules/c"]
    handle = made(tmp_path, *(Entry(below(name), b"x") for name in names))
    found = archive.unpack(handle, str(folder), max_mb=1, excludes=["node_modules"], state=STATE)
    assert sorted(found.digests) == ["manifest.json", f"payload/posix{STATE}/node_modules/c", "payload/posix/w/keep/b"]


def test_patterns_leave_nothing_out_for_where_a_workspace_lies(tmp_path, folder):
    """As 'lib' of /var/lib, which would take the settings and every workspace with it."""
    home = "/var/lib/openclaw/main"
    names = [f"{home}/openclaw.json", f"{home}/workspace/a.json", f"{home}/workspace/lib/b", f"{home}/workspace/src/c"]
    handle = made(tmp_path, *(Entry(below(name), b"x") for name in names))
    found = archive.unpack(handle, str(folder), max_mb=1, excludes=["lib", "*.json"], state=STATE, home=home)
    kept = [f"payload/posix{home}/openclaw.json", f"payload/posix{home}/workspace/src/c"]
    assert sorted(found.digests) == ["manifest.json", *kept]


def bomb(tmp_path: Path, kind: bytes, size: int) -> int:
    """An archive with an entry whose description is as long as asked for."""
    path = tmp_path / "bomb.tar.gz"
    info = tarfile.TarInfo(f"{ROOT}/x")
    info.type, info.size = kind, size
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(size >> 20):
            file.write(b"a" * (1 << 20))
    return os.open(path, os.O_RDONLY)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_the_description_of_an_entry_does_not_take_the_memory(tmp_path, folder, kind):
    handle = bomb(tmp_path, kind, 64 << 20)
    tracemalloc.start()
    with pytest.raises(OpenClawError, match="the description of an entry is too long"):
        archive.unpack(handle, str(folder), max_mb=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def test_entries_are_not_all_kept_in_memory(tmp_path, folder, monkeypatch):
    seen = []
    opened = tarfile.open

    def spied(*words, **options):
        seen.append(opened(*words, **options))
        return seen[-1]

    handle = made(tmp_path, *(Entry(below(f"/{number}"), b"x") for number in range(50)))
    monkeypatch.setattr("tarfile.open", spied)
    archive.unpack(handle, str(folder), max_mb=1)
    assert len(vars(seen[0])["members"]) < 3


def test_directories_count_as_what_they_take_on_the_disk(tmp_path, folder):
    """A million of them are some kilobytes of an archive."""
    deep = [Entry(below(f"/{number}/{'a/' * 100}"), type=tarfile.DIRTYPE) for number in range(10)]
    with pytest.raises(OpenClawError, match="more than 1 MiB"):
        archive.unpack(made(tmp_path, *deep), str(folder), max_mb=1)


def test_the_names_of_an_archive_do_not_take_the_memory(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archive, "_MOST_NAMES", 1000)
    links = [Entry(below(f"/{number}"), type=tarfile.SYMTYPE, link="x" * 200) for number in range(10)]
    with pytest.raises(OpenClawError, match="more than"):
        archive.unpack(made(tmp_path, *links), str(folder), max_mb=1)


def test_an_archive_that_was_cut_or_changed_after_its_last_entry_is_damaged(tmp_path, folder):
    handle = made(tmp_path, Entry(below("/a"), b"x"))
    os.close(handle)
    path = tmp_path / "made.tar.gz"
    content = path.read_bytes()
    path.write_bytes(content[:-8] + bytes(4) + content[-4:])
    with pytest.raises(OpenClawError, match="cannot be unpacked"):
        archive.unpack(os.open(path, os.O_RDONLY), str(folder), max_mb=1)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b" + b"\0" * 20], ids=["empty", "no-archive", "torn"])
def test_a_damaged_archive_is_told_of(tmp_path, folder, content):
    path = tmp_path / "torn.tar.gz"
    path.write_bytes(content)
    with pytest.raises(OpenClawError, match="cannot be unpacked"):
        archive.unpack(os.open(path, os.O_RDONLY), str(folder), max_mb=1)


@pytest.mark.parametrize("manifest", [None, [], {"paths": 1}])
def test_an_archive_of_something_else_is_told_of(tmp_path, folder, manifest):
    with pytest.raises(OpenClawError, match="none of OpenClaw's"):
        archive.unpack(made(tmp_path, Entry(below("/a"), b"x"), manifest=manifest), str(folder), max_mb=1)


# ---- the host's own files ------------------------------------------------------------------------------------


def test_files_of_the_host_are_copied_by_their_paths_with_owner_and_mode(tmp_path, folder):
    etc = tmp_path / "etc"
    (etc / "secrets").mkdir(parents=True)
    (etc / "secrets/secrets.json").write_text("{}")
    (etc / "secrets/secrets.json").chmod(0o400)
    (etc / "backup").mkdir()
    (etc / "backup/password").write_text("not in a backup")
    (etc / "current").symlink_to("elsewhere")
    digests = host_files.copy([str(etc), str(tmp_path / "none")], str(folder), None, without=[str(etc / "backup")])
    there = folder / str(etc).lstrip("/")
    assert sorted(digests) == [f"{str(etc).lstrip('/')}/secrets/secrets.json"]
    assert (there / "secrets/secrets.json").stat().st_mode & 0o777 == 0o400
    assert os.readlink(there / "current") == "elsewhere"
    assert not (there / "backup").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an account")
def test_of_a_directory_of_the_accounts_only_its_own_plain_files_are_taken(open_directory, folder):
    tmp_path = open_directory
    nobody = Account("nobody", 65534, 65534)
    root_only = tmp_path / "shadow"
    root_only.write_text("secret")
    root_only.chmod(0o600)
    secrets = tmp_path / "etc/secrets"
    secrets.mkdir(parents=True)
    (secrets / "mine").write_text("mine")
    (secrets / "link").symlink_to(root_only)
    (secrets / "folder").symlink_to("/etc")
    os.mkfifo(secrets / "pipe")
    os.link(root_only, secrets / "hard")
    for path in (secrets, secrets / "mine", secrets / "pipe"):
        os.chown(path, 65534, 65534)
    with pytest.raises(OpenClawError, match="hard: cannot be read"):
        host_files.copy([str(tmp_path / "etc")], str(folder), nobody)
    (secrets / "hard").unlink()
    copied = tmp_path / "copied"
    copied.mkdir()
    digests = host_files.copy([str(tmp_path / "etc")], str(copied), nobody)
    assert [Path(path).name for path in digests] == ["mine"]


def test_holes_in_files_of_the_accounts_do_not_take_the_disk(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(host_files, "_MOST_OF_ACCOUNT", 100_000)
    monkeypatch.setattr("os.geteuid", lambda: 4242)
    for number in range(3):
        with open(tmp_path / f"etc-{number}", "wb") as file:
            file.truncate(50_000)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for number in range(3):
        (tmp_path / f"etc-{number}").rename(secrets / str(number))
    with pytest.raises(OpenClawError, match="Move what does not belong there"):
        host_files.copy([str(secrets)], str(folder), None)
