# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of an apt source are where apt looks for them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.filter.apt_source_files import FilterModule, list_path

make = FilterModule().filters()["apt_source_files"]
REPOSITORY: dict[str, Any] = {
    "name": "docker",
    "uri": "https://download.docker.com/linux/debian",
    "suite": "bookworm",
    "component": "stable",
    "key": "https://download.docker.com/linux/debian/gpg",
}
KEY_PATH = "/etc/apt/keyrings/docker-5189038b.asc"


def test_a_source_with_a_key_that_is_fetched() -> None:
    keyrings, key, source, read, pin = make(REPOSITORY)
    assert keyrings == {"path": "/etc/apt/keyrings", "state": "directory", "mode": "0755"}
    assert key == {"path": KEY_PATH, "state": "file"}
    assert source == {
        "path": "/etc/apt/sources.list.d/docker.sources",
        "state": "file",
        "content": "X-Repolib-Name: docker\nTypes: deb\nURIs: https://download.docker.com/linux/debian\n"
        f"Suites: bookworm\nComponents: stable\nSigned-By: {KEY_PATH}\n",
    }
    assert read == {
        "path": "/var/lib/apt/lists/download.docker.com_linux_debian_dists_bookworm_InRelease",
        "state": "file",
    }
    assert pin == {"path": "/etc/apt/preferences.d/docker", "state": "absent"}


def test_a_source_with_a_key_in_words_and_a_pin() -> None:
    armoured = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
    _, key, source, _, pin = make({**REPOSITORY, "key": armoured}, {"package": "docker-ce", "version": "5:28.*"})
    assert key["content"] == armoured
    assert key["path"] != KEY_PATH
    assert source["content"].endswith(f"Signed-By: {key['path']}\n")
    assert pin["content"] == "Package: docker-ce\nPin: version 5:28.*\nPin-Priority: 1001\n"


def test_the_component_is_main_where_none_is_named() -> None:
    source = make({name: value for name, value in REPOSITORY.items() if name != "component"})[2]
    assert "Components: main\n" in source["content"]


def test_the_distributions_own_archive_has_none() -> None:
    assert make({}, {"package": "docker.io", "version": "1"}) == []


@pytest.mark.parametrize(
    ("uri", "suite"),
    [
        pytest.param("https://deb.nodesource.com/node_24.x", "nodistro", id="NodeSource"),
        pytest.param("https://download.docker.com/linux/debian", "bookworm", id="Docker"),
        pytest.param("https://pkgs.tailscale.com/stable/ubuntu/", "noble", id="Tailscale-with-a-slash"),
        pytest.param("http://reader:pass@mirror.example.com:8081/a~b/x=y/%7Ez_1", "stable/main", id="odd-characters"),
    ],
)
def test_the_list_is_looked_for_where_apt_puts_it(tmp_path: Path, uri: str, suite: str) -> None:
    (tmp_path / "one.sources").write_text(f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n")
    only = ["-o", "Dir::Etc::SourceParts=/dev/null", "-o", f"Dir::Etc::SourceList={tmp_path}/one.sources"]
    command = ["apt-get", "update", "--print-uris", *only]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = [line.split()[1] for line in printed.splitlines() if line.split()[0].endswith("/InRelease'")]
    assert names == [Path(list_path({"uri": uri, "suite": suite})).name]
