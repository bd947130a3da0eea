# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which descriptions of what belongs to the verdict are taken, and which are refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _health_directory

GOOD = json.dumps({"kind": "mtls", "port": 443})


def put(text: str, mode: int = 0o644) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(text)
        path.chmod(mode)

    return change


def link(path: Path) -> None:
    target = path.with_suffix(".target")
    target.write_text(GOOD)
    path.symlink_to(target)


def foreign(path: Path) -> None:
    path.write_text(GOOD)
    os.chown(path, 1234, 1234)


def test_what_is_described_is_found_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "mtls.json").write_text(GOOD)
    (tmp_path / ".mtls.json.12-0a").write_text("{")
    (tmp_path / "README").write_text("{")
    found, problems = _health_directory.read(str(tmp_path))
    assert problems == []
    assert found == {"mtls": _health_directory.Described(f"{tmp_path}/mtls.json", {"kind": "mtls", "port": 443})}


def test_without_the_folder_nothing_is_described(tmp_path: Path) -> None:
    assert _health_directory.read(str(tmp_path / "none")) == ({}, [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(put("{"), "it is not valid JSON", id="no-json"),
        pytest.param(put("[]"), "it is not a JSON object", id="no-object"),
        pytest.param(put("{}"), "its kind is not one that", id="no-kind"),
        pytest.param(put('{"kind": "weather"}'), "its kind is not one that", id="a-kind-of-the-future"),
        pytest.param(put('{"kind": ["mtls"]}'), "its kind is not one that", id="a-kind-that-is-no-text"),
        pytest.param(put(GOOD + " " * (64 << 10)), "it has more than 65536 bytes", id="too-large"),
        pytest.param(put(GOOD, 0o666), "others than root can write it", id="writable-by-others"),
        pytest.param(foreign, "others than root can write it", id="of-another-account"),
        pytest.param(link, "it cannot be read: ", id="a-link"),
        pytest.param(lambda path: path.mkdir(), "it cannot be read: Is a directory", id="a-directory"),
        pytest.param(lambda path: os.mkfifo(path), "it is not a plain file", id="a-pipe"),
    ],
)
def test_a_file_that_cannot_be_trusted_or_used_is_told_of(
    tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    change(tmp_path / "a.json")
    (tmp_path / "mtls.json").write_text(GOOD)
    found, [problem] = _health_directory.read(str(tmp_path))
    assert problem.startswith(f"{tmp_path}/a.json: {words}")
    assert list(found) == ["mtls"]


def test_two_things_of_one_kind_are_told_of(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(GOOD)
    found, [problem] = _health_directory.read(str(tmp_path))
    assert found["mtls"].path == f"{tmp_path}/a.json"
    assert problem.startswith(f"{tmp_path}/b.json: {tmp_path}/a.json is of the same kind, mtls.")


@pytest.mark.parametrize("mode", [0o775, 0o777])
def test_a_folder_that_others_can_write_is_not_trusted(tmp_path: Path, mode: int) -> None:
    (tmp_path / "mtls.json").write_text(GOOD)
    tmp_path.chmod(mode)
    found, [problem] = _health_directory.read(str(tmp_path))
    assert (found, problem.split(": ")[1][:30]) == ({}, "others than root can write it.")


def test_a_file_in_place_of_the_folder_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found, [problem] = _health_directory.read(str(tmp_path / "file"))
    assert (found, "it cannot be read: Not a directory" in problem) == ({}, True)
