# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The oldest Node.js of a major version that a release takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.clawops.openclaw.plugins.filter import engines_minimum as module
from ansible_collections.clawops.openclaw.plugins.filter.engines_minimum import engines_minimum
from ansible_collections.clawops.openclaw.plugins.module_utils._release import satisfies


def test_the_filter_is_found_by_its_name() -> None:
    assert module.FilterModule().filters() == {"engines_minimum": engines_minimum}


@pytest.mark.parametrize(
    ("engines", "major", "oldest"),
    [
        pytest.param(">=24.16.0 <25 || >=26.1.0", 24, "24.16.0", id="the-pinned-release-on-24"),
        pytest.param(">=24.16.0 <25 || >=26.1.0", 26, "26.1.0", id="the-pinned-release-on-26"),
        pytest.param(">=24.16.0 <25 || >=26.1.0", 27, "27.0.0", id="the-pinned-release-on-a-later-major"),
        pytest.param(">=24.16.0 <25 || >=26.1.0", 25, "", id="a-major-between"),
        pytest.param(">=24.16.0 <25 || >=26.1.0", 22, "", id="a-major-below"),
        pytest.param(">=22.12.0", 22, "22.12.0", id="one-bound"),
        pytest.param("^22.12.0", 22, "22.12.0", id="a-caret"),
        pytest.param("^22.12.0", 23, "", id="a-caret-ends-with-its-major"),
        pytest.param("~24.5.0", 24, "24.5.0", id="a-tilde"),
        pytest.param(">=24", 24, "24.0.0", id="a-bound-without-minor"),
        pytest.param("24.x", 24, "24.0.0", id="an-x"),
        pytest.param(">=24.16 <25", 24, "24.16.0", id="a-bound-without-patch"),
        pytest.param("24.16.x", 24, "24.16.0", id="an-x-for-the-patch"),
        pytest.param(">22.3.0", 22, "22.3.1", id="a-bound-that-is-not-in-it"),
        pytest.param(">22.3", 22, "22.4.0", id="a-bound-without-patch-that-is-not-in-it"),
        pytest.param(">=24.9.0 || >=24.10.0", 24, "24.9.0", id="nine-is-less-than-ten"),
        pytest.param("", 24, "24.0.0", id="no-range"),
    ],
)
def test_engines_minimum(engines: str, major: int, oldest: str) -> None:
    assert engines_minimum(engines, major) == oldest


VERSIONS = st.builds("{}.{}.{}".format, st.integers(22, 25), st.integers(0, 3), st.integers(0, 2))
PARTIAL = st.builds("{}.{}".format, st.integers(22, 25), st.integers(0, 3)) | st.integers(22, 25).map(str)
TERMS = st.builds("{}{}".format, st.sampled_from([">=", ">", "^", "~", "<", "<=", ""]), VERSIONS | PARTIAL)
RANGES = st.lists(st.lists(TERMS, min_size=1, max_size=2).map(" ".join), min_size=1, max_size=2).map(" || ".join)


@given(RANGES, st.integers(22, 25))
def test_no_older_version_of_the_major_lies_in_the_range(engines: str, major: int) -> None:
    inside = [
        version
        for minor in range(5)
        for version in [f"{major}.{minor}.{patch}" for patch in range(4)]
        if satisfies(version, engines)
    ]
    assert engines_minimum(engines, major) == (inside[0] if inside else "")
