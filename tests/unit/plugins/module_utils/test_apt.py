# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sources, packages and locks that are the operator's."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.filter.apt_source_files import apt_source_files
from ansible_collections.clawops.openclaw.plugins.module_utils import _apt, _host
from ansible_collections.clawops.openclaw.plugins.modules import apt_lock_info

URI, SUITE = "https://download.docker.com/linux/debian", "bookworm"
REPOSITORY = {"name": "openclaw-docker", "uri": URI, "suite": SUITE, "component": "stable", "key": f"{URI}/gpg"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param(
            f"deb [arch=amd64 signed-by=/usr/share/keyrings/docker.asc] {URI} {SUITE} stable\n", True, id="line"
        ),
        pytest.param(f"Types: deb\nURIs: {URI}/\nSuites: trixie {SUITE}\nComponents: stable\n", True, id="paragraph"),
        pytest.param(
            f"Types: deb\nURIs: {URI}\nSuites:\n {SUITE}\nComponents: stable\n", True, id="paragraph-over-lines"
        ),
        pytest.param(f"# deb {URI} {SUITE} stable\n", False, id="comment"),
        pytest.param(f"deb-src {URI} {SUITE} stable\n", False, id="sources-only"),
        pytest.param(f"Enabled: no\nTypes: deb\nURIs: {URI}\nSuites: {SUITE}\n", False, id="turned-off"),
        pytest.param(f"deb {URI} trixie stable\n", False, id="another-suite"),
        pytest.param(f"deb {URI}-mirror {SUITE} stable\n", False, id="another-repository"),
        pytest.param(
            f"Types: deb\nURIs: {URI}\nSuites: trixie\n\nTypes: deb\nURIs: http://x\nSuites: {SUITE}\n",
            False,
            id="of-two-paragraphs",
        ),
        pytest.param("", False, id="empty"),
    ],
)
def test_a_file_that_has_the_same_repository_is_found_in_both_formats(text: str, named: bool) -> None:
    assert _apt.names(text, URI, SUITE) is named


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, list[dict[str, Any]], list[str]]:
    """A folder of sources, the entries that make ours there, and where to look for others."""
    entries = [
        {**entry, "path": f"{tmp_path}/{Path(entry['path']).name}"}
        for entry in apt_source_files(REPOSITORY)
        if entry["path"].endswith(".sources")
    ]
    for entry in entries:
        entry |= {"owner": None, "group": None, "mode": None, "src": None}
    return tmp_path, entries, [f"{tmp_path}/*.list", f"{tmp_path}/*.sources"]


def test_the_operators_own_source_is_used(sources: Any) -> None:
    folder, entries, places = sources
    assert (_apt.others_source(entries, places), _apt.source_ready(entries, places)) == ("", False)
    (folder / "docker.list").write_text(f"deb [signed-by=/usr/share/keyrings/docker.asc] {URI} {SUITE} stable\n")
    assert _apt.others_source(entries, places) == f"{folder}/docker.list"
    assert _apt.source_ready(entries, places)
    # A source of ours that is there stays in sync with what is desired.
    Path(entries[0]["path"]).write_text("Types: deb\n")
    assert (_apt.others_source(entries, places), _apt.source_ready(entries, places)) == ("", False)


def test_what_roles_have_installed_is_read_by_role(tmp_path: Path) -> None:
    (tmp_path / "docker").write_text("containerd.io\ndocker-ce\n")
    (tmp_path / "nodejs").write_text("nodejs\n")
    assert _apt.brought(str(tmp_path)) == {"docker": ["containerd.io", "docker-ce"], "nodejs": ["nodejs"]}
    assert _apt.brought(f"{tmp_path}/none") == {}


STATUS = """\
Package: nodejs
Status: hold ok installed
Version: 22.1.0-1nodesource1

Package: docker-ce
Status: install ok installed
Version: 5:27.0.1

Package: gone
Status: hold ok config-files
Version: 1
"""


def test_a_package_that_is_held_is_told_with_the_ways_on(monkeypatch: pytest.MonkeyPatch) -> None:
    host = _host.Host()
    monkeypatch.setattr(_host, "read_text", lambda path: STATUS if path == "/var/lib/dpkg/status" else "")
    assert host.held == {"nodejs"}
    [error] = _apt.held_errors(host, ["docker-ce", "nodejs", "gone"])
    assert str(error) == (
        "The package nodejs: 'apt-mark hold' keeps it in version 22.1.0-1nodesource1, and another one is needed."
        " Let it go with 'apt-mark unhold nodejs', or ask for the version that is there."
    )


def test_who_has_a_lock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_module: Any) -> None:
    lock, free = tmp_path / "lock", tmp_path / "free"
    lock.touch()
    free.touch()
    monkeypatch.setattr(_apt, "LOCKS", (str(tmp_path / "none"), str(free), str(lock)))
    program = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('had', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        result = run_module(apt_lock_info.main)
        other.communicate()
    assert result["held"] is True
    assert f"(process {other.pid}) has {lock}. Wait until it has ended" in result["msg"]
    result = run_module(apt_lock_info.main)
    assert (result["held"], result["msg"]) == (False, "")


def test_a_look_at_a_lock_takes_none(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    assert _apt.holder(str(lock)) == (0, "")
    with lock.open("w") as handle:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert os.path.exists(lock)
