# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Node.js is needed, and whether it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _host, _preflight

ENGINES = ">=24.16.0 <25 || >=26.1.0"
SUITABLE = "24.18.0-1nodesource1"


class Seen(_host.Host):
    """A host with this package."""

    def __init__(self, installed: str, gateway: dict[str, Any] | None = None) -> None:
        super().__init__(found={"gateway": gateway} if gateway else {})
        self.status = f"Package: nodejs\nStatus: install ok installed\nVersion: {installed}\n\n" if installed else ""

    def text(self, path: str) -> str:
        assert path == "/var/lib/dpkg/status"
        return self.status


def check(*, installed: str = SUITABLE, gateway: dict[str, Any] | None = None, **changes: Any) -> _preflight.Answer:
    params = {"major": 24, "engines": ENGINES, **changes}
    return _preflight.run({"nodejs": params}, Seen(installed, gateway))


def look(**changes: Any) -> dict[str, Any]:
    answer = check(**changes)
    assert (answer.errors, answer.warnings) == ([], [])
    return answer.found["nodejs"]


@pytest.mark.parametrize(
    ("installed", "suitable"),
    [
        pytest.param("24.16.0-1nodesource1", True, id="the-oldest-that-does"),
        pytest.param("24.18.0-1nodesource1", True, id="a-newer-one"),
        pytest.param("24.100.0", True, id="a-number-that-is-no-text"),
        pytest.param("24.16.0~rc1-1", True, id="a-preview-by-its-numbers"),
        pytest.param("24.15.9-1nodesource1", False, id="one-that-is-too-old"),
        pytest.param("24.2.0-24.16.0", False, id="the-number-of-its-packaging"),
        pytest.param("26.1.0-1nodesource1", False, id="another-major-that-would-do-too"),
        pytest.param("18.20.4+dfsg-1~deb12u1", False, id="the-distributions-own"),
        pytest.param("", False, id="none"),
    ],
)
def test_only_a_suitable_node_with_its_source_spares_a_look_with_apt(
    tmp_path: Path, installed: str, suitable: bool
) -> None:
    phases: list[str] = [] if suitable else ["install"]
    found = look(installed=installed)
    assert (found["installed"], found["minimum"], found["source"]) == (installed, "24.16.0", True)
    assert found["due"] == {"fits": suitable, "phases": phases}
    missing = look(installed=installed, source_files=[{"path": str(tmp_path / "none"), "content": "x"}])
    assert (missing["source"], missing["due"]) == (False, {"fits": suitable, "phases": ["install"]})


def test_what_is_to_go_is_removed_whatever_is_there() -> None:
    for installed in (SUITABLE, ""):
        assert look(state="absent", installed=installed)["due"] == {"phases": ["install"]}
    assert check(state="absent", major=22).errors == []


def test_without_a_range_any_version_of_the_major_does() -> None:
    for installed, phases in (("24.0.0-1", []), ("22.0.0-1", ["install"])):
        assert look(engines="", installed=installed)["due"]["phases"] == phases


def test_a_major_that_satisfies_no_range_is_refused() -> None:
    answer = check(major=22)
    assert answer.errors == [
        f"nodejs_major 22: What runs on it needs Node.js {ENGINES}. "
        "Set nodejs_major to a version of that range, or choose another gateway_version."
    ]
    assert "due" not in answer.found["nodejs"]


def test_the_range_is_that_of_the_gateways_release_where_none_is_given() -> None:
    gateway = {"version": "2026.9.6", "engines": ENGINES}
    assert look(engines="", gateway=gateway)["minimum"] == "24.16.0"
    [error] = check(engines="", gateway=gateway, major=25).errors
    assert error.startswith(f"nodejs_major 25: OpenClaw 2026.9.6 needs Node.js {ENGINES}. ")


def test_a_given_range_is_stronger_than_that_of_the_gateways_release() -> None:
    gateway = {"version": "2026.9.6", "engines": ENGINES}
    assert look(engines=">=22.3", major=22, gateway=gateway)["minimum"] == "22.3.0"
    [error] = check(engines=">=25", gateway=gateway).errors
    assert error.startswith("nodejs_major 24: What runs on it needs Node.js >=25. ")


def test_a_release_that_is_not_known_yet_demands_nothing() -> None:
    assert look(engines="", gateway={"version": "latest", "engines": ""}, installed="24.0.0")["due"]["phases"] == []


def test_the_role_reads_no_words_of_its_check() -> None:
    assert set(look()) == {"installed", "source", "others_source", "present", "minimum", "due"}
