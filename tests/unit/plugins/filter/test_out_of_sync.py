# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of a role's files have to be written, as far as the preflight could tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.filter import out_of_sync as module
from ansible_collections.clawops.openclaw.plugins.module_utils import _files

FILE = {"path": "/a", "state": "file", "content": "x\n"}


def test_the_filter_is_found_by_its_name() -> None:
    assert module.FilterModule().filters() == {"out_of_sync": module.out_of_sync}


@pytest.mark.parametrize(
    ("entry", "found", "is_due"),
    [
        pytest.param({"path": "/a", "content": "x\n"}, FILE, False, id="as-found"),
        pytest.param({**FILE, "owner": "root", "group": "root", "mode": "0644"}, FILE, False, id="with-all-words"),
        pytest.param({**FILE, "content": "y\n"}, FILE, True, id="another-text"),
        pytest.param({"path": "/a"}, FILE, False, id="it-only-has-to-be-there"),
        pytest.param(FILE, {**FILE, "mode": "0600"}, True, id="another-mode"),
        pytest.param({**FILE, "mode": "0600"}, {**FILE, "mode": "0600"}, False, id="its-own-mode"),
        pytest.param(FILE, {**FILE, "owner": "openclaw"}, True, id="another-owner"),
        pytest.param(FILE, {"path": "/a", "state": "absent"}, True, id="missing"),
        pytest.param({"path": "/a", "state": "absent"}, {"path": "/a", "state": "absent"}, False, id="gone"),
        pytest.param({"path": "/a", "state": "absent"}, FILE, True, id="still-there"),
        pytest.param(FILE, {"path": "/b", "state": "file", "content": "x\n"}, True, id="not-looked-at"),
        pytest.param(
            {"path": "/a", "state": "link", "src": "b"}, {"path": "/a", "state": "link", "src": "b"}, False, id="a-link"
        ),
        pytest.param(
            {"path": "/a", "state": "link", "src": "b"},
            {"path": "/a", "state": "link", "src": "c"},
            True,
            id="elsewhere",
        ),
        pytest.param(
            {"path": "/a", "state": "directory"}, {"path": "/a", "state": "directory"}, False, id="a-directory"
        ),
        pytest.param({"path": "/a", "state": "directory"}, {"path": "/a", "state": "other"}, True, id="something-else"),
    ],
)
def test_an_entry_is_due_where_anything_that_it_asks_for_is_otherwise(
    entry: dict[str, Any], found: dict[str, Any], is_due: bool
) -> None:
    assert module.out_of_sync([entry], [found]) == ([entry] if is_due else [])


def test_what_was_written_and_described_is_in_sync(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x\n")
    (tmp_path / "link").symlink_to("file")
    owner = (tmp_path / "file").owner()
    ours = {"owner": owner, "group": (tmp_path / "file").group()}
    (tmp_path / "file").chmod(0o640)
    tmp_path.chmod(0o700)
    entries: list[dict[str, Any]] = [
        {"path": str(tmp_path), "state": "directory", "mode": "0700", **ours},
        {"path": str(tmp_path / "file"), "content": "x\n", "mode": "0640", **ours},
        {"path": str(tmp_path / "link"), "state": "link", "src": "file", **ours},
        {"path": str(tmp_path / "nothing"), "state": "absent"},
    ]
    assert module.out_of_sync(entries, [_files.describe(entry["path"]) for entry in entries]) == []
