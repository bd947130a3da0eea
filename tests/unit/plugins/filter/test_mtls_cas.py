# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CAs whose keys the controller has: which one signs, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.filter.mtls_cas import mtls_cas
from ansible_collections.clawops.openclaw.tests.unit.plugins.module_utils.test_pki import DAY, NOW, Made

OLD = Made("Old", is_ca=True, begins=NOW - 9 * DAY)
NEW = Made("New", is_ca=True)


def put(folder: Path, name: str, made: Made, passphrase: bytes | None = None) -> None:
    (folder / f"{name}.pem").write_text(made.pem)
    (folder / f"{name}.key").write_text(made.key_pem(passphrase))


def found(given: dict[str, Any]) -> list[tuple[str, bool]]:
    result = mtls_cas(given)
    assert result["problems"] == []
    assert "PRIVATE KEY" not in str(result)
    return [(each["name"], each["has_key"]) for each in result["cas"]]


def problem(given: dict[str, Any]) -> str:
    (told,) = mtls_cas(given)["problems"]
    assert "PRIVATE KEY" not in told
    return str(told)


def test_in_a_folder_the_one_that_began_last_signs(tmp_path: Path) -> None:
    put(tmp_path, "ca-9", OLD, b"right")
    put(tmp_path, "ca-1", NEW, b"right")
    (tmp_path / "ca-1.cross").write_text("crossed")
    given = {"path": str(tmp_path), "passphrase": "right"}
    assert found(given) == [("ca-1", True), ("ca-9", True)]
    assert [each["cross"] for each in mtls_cas(given)["cas"]] == ["crossed", ""]


@pytest.mark.parametrize("folder", ["", "of-the-future"])
def test_in_a_folder_without_any_there_is_none(tmp_path: Path, folder: str) -> None:
    assert found({"path": str(tmp_path / folder)}) == []


def test_a_folder_without_the_key_is_told_of_by_what_signs(tmp_path: Path) -> None:
    put(tmp_path, "ca-1", NEW)
    (tmp_path / "ca-1.key").unlink()
    assert found({"path": str(tmp_path)}) == [("ca-1", False)]


def test_the_inventorys_own_signs_and_previous_ones_do_not_however_young() -> None:
    given = {"certificate": OLD.pem, "key": OLD.key_pem(), "previous": [NEW.pem]}
    assert found(given) == [("mtls_ca_certificate", True), ("mtls_ca_previous[0]", False)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({"path": ""}, "mtls_ca_path: it is empty, and mtls_ca_source is controller", id="no-folder"),
        pytest.param({"certificate": NEW.pem, "key": ""}, "mtls_ca_key: it is empty", id="no-key"),
        pytest.param({"certificate": "", "key": "x"}, "mtls_ca_certificate: it is empty", id="no-certificate"),
        pytest.param(
            {"certificate": NEW.pem, "key": OLD.key_pem()}, "mtls_ca_key: it does not belong", id="of-another"
        ),
        pytest.param(
            {"certificate": NEW.pem, "key": NEW.key_pem(b"right"), "passphrase": "wrong"},
            "does not open it",
            id="passphrase",
        ),
        pytest.param(
            {"certificate": NEW.pem, "key": NEW.key_pem(), "previous": ["x"]},
            "mtls_ca_previous[0]: there is no",
            id="previous",
        ),
    ],
)
def test_what_cannot_be_used_is_told_of(given: dict[str, Any], words: str) -> None:
    assert words in problem(given)
