# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions sort as OpenClaw sorts them, and ranges mean what npm takes them for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.clawops.openclaw.plugins.module_utils import _versions
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

# Oldest first, as OpenClaw orders them: pre-releases, the release, its corrections.
IN_ORDER = [
    "0.0.1",
    "2026.1.29",
    "2026.2.2",
    "2026.2.2-3",
    "2026.2.22",
    "2026.7.1-alpha",
    "2026.7.1-beta.1",
    "2026.7.1-beta.2",
    "2026.7.1-beta.10",
    "2026.7.1-rc.1",
    "2026.7.1",
    "2026.7.1-1",
    "2026.7.1-2",
    "2026.7.1-10",
    "2026.7.2-beta.1",
    "2026.7.35",
    "2026.9.6",
    "2026.10.1",
    "2027.1.1",
]

NUMBER = st.integers(0, 40)
SUFFIX = st.one_of(
    st.just(""),
    st.integers(0, 12).map("-{}".format),
    st.builds("-{}.{}".format, st.sampled_from(["alpha", "beta", "rc"]), st.integers(0, 12)),
)
VERSION = st.builds("{}.{}.{}{}".format, st.integers(2020, 2030), st.integers(1, 12), NUMBER, SUFFIX)
NODE = st.builds("{}.{}.{}".format, st.integers(20, 27), NUMBER, NUMBER)


class TestVersions:
    def test_versions_sort_as_openclaw_sorts_them(self) -> None:
        backwards = IN_ORDER[::-1]
        assert sorted(backwards, key=_versions.parse_version) == IN_ORDER

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "latest",
            "2026.9",
            "^2026.9.6",
            "v2026.9.6",
            "2026.9.6 ",
            "2026.09.6",
            "2026.9.6-",
            "../2026.9.6",
            "\u0662.0.0",
        ],
    )
    def test_what_is_not_an_exact_version_is_refused(self, text: str) -> None:
        assert not _versions.is_version(text)
        with pytest.raises(OpenClawError, match="not an exact version"):
            _versions.parse_version(text)

    @given(VERSION)
    def test_a_version_is_written_as_it_was_read(self, text: str) -> None:
        assert str(_versions.parse_version(text)) == text

    @given(VERSION, VERSION)
    def test_of_two_versions_one_is_older_unless_they_are_the_same(self, one: str, other: str) -> None:
        assert [_versions.is_older(one, other), _versions.is_older(other, one)].count(True) == (one != other)

    @given(st.lists(VERSION, max_size=12), VERSION, st.integers(0, 15))
    def test_the_nearest_are_neighbours_of_the_wanted_one(self, versions: list[str], wanted: str, n: int) -> None:
        ordered = _versions.newest_first(versions)
        near = _versions.nearest(versions, wanted, n)
        assert len(near) == min(n, len(ordered))
        if near:
            start = ordered.index(near[0])
            assert near == ordered[start : start + len(near)], "there is none between them that was left out"
            if n > 1:
                sides = [_versions.is_older(wanted, each) for each in ordered]
                assert any(sides[start : start + len(near)]) or not any(sides)

    def test_what_is_no_version_is_nearest_to_the_newest(self) -> None:
        assert _versions.nearest(IN_ORDER, "newest", 2) == ["2027.1.1", "2026.10.1"]


# As npm's own 'semver' 7.8.5 answers with includePrerelease, which is how npm checks engines.
SATISFIES = [
    (">=24.16.0 <25 || >=26.1.0", "24.15.9", False),
    (">=24.16.0 <25 || >=26.1.0", "24.16.0", True),
    (">=24.16.0 <25 || >=26.1.0", "v24.21.0", True),
    (">=24.16.0 <25 || >=26.1.0", "25.0.0", False),
    (">=24.16.0 <25 || >=26.1.0", "25.0.0-rc.1", False),
    (">=24.16.0 <25 || >=26.1.0", "26.0.9", False),
    (">=24.16.0 <25 || >=26.1.0", "26.1.0", True),
    (">=24.16.0 <25 || >=26.1.0", "26.1.0-nightly20260401", False),
    (">=24.16.0 <25 || >=26.1.0", "26.2.0-nightly20260501", True),
    (">=22.22.3 <23 || >=24.15.0 <25 || >=25.9.0", "23.1.0", False),
    (">=22.22.3 <23 || >=24.15.0 <25 || >=25.9.0", "22.22.3", True),
    (">=22.22.3 <23 || >=24.15.0 <25 || >=25.9.0", "30.0.0", True),
    (">=22.12.0", "22.11.9", False),
    (">=22.12.0", "22.12.0", True),
    (">=26.1.0-rc.1", "26.1.0-rc.0", False),
    (">=26.1.0-rc.1", "26.1.0-rc.2", True),
    (">= 22", "22.0.0", True),
    (">= 22", "22.0.0-rc.1", True),
    (">=22", "21.99.99", False),
    (">22", "22.9.9", False),
    (">22", "23.0.0", True),
    (">22.1", "22.1.9", False),
    (">22.1", "22.2.0", True),
    (">22.1.1", "22.1.1", False),
    (">22.1.1", "22.1.2", True),
    ("<=22", "22.9.9", True),
    ("<=22", "23.0.0", False),
    ("<=22.1.1", "22.1.1", True),
    ("<=22.1.1", "22.1.2", False),
    ("<22", "21.99.99", True),
    ("<22", "22.0.0-rc.1", False),
    ("^24.1.0", "24.0.9", False),
    ("^24.1.0", "24.1.0", True),
    ("^24.1.0", "24.99.0", True),
    ("^24.1.0", "25.0.0", False),
    ("^24.1.0", "25.0.0-rc.1", False),
    ("^0.2.3", "0.2.9", True),
    ("^0.2.3", "0.3.0", False),
    ("^0.0.3", "0.0.3", True),
    ("^0.0.3", "0.0.4", False),
    ("^0.0", "0.0.9", True),
    ("^0.0", "0.1.0", False),
    ("^0", "0.9.9", True),
    ("~24.1.2", "24.1.9", True),
    ("~24.1.2", "24.2.0", False),
    ("~24.1", "24.1.0", True),
    ("~24", "24.9.9", True),
    ("~>24.1", "24.2.0", False),
    ("24.x", "24.0.0", True),
    ("24.x", "25.0.0", False),
    ("24.16.x", "24.17.0", False),
    ("24.*", "24.16.0", True),
    ("24", "24.16.0", True),
    ("=24.16.0", "24.16.0", True),
    ("v24.16.0", "24.16.1", False),
    ("18 || 20 || >=22", "20.5.0", True),
    ("18 || 20 || >=22", "21.0.0", False),
    (">=16 || 14 >=14.17", "14.16.9", False),
    (">=16 || 14 >=14.17", "14.17.0", True),
    ("22.1.0 - 24.3.0", "24.3.0", True),
    ("22.1.0 - 24.3.0", "24.3.1", False),
    ("22.1 - 24.3", "24.3.9", True),
    ("22 - 24", "25.0.0", False),
    ("*", "1.0.0", True),
    ("", "1.0.0", True),
    ("x", "1.0.0-rc.1", True),
    (">=24 || ", "1.0.0", True),
    (">=24.0.0+build.7", "24.0.0", True),
    (">*", "24.0.0", False),
    ("latest", "24.0.0", False),
    (">=24 || latest", "24.0.0", False),
    ("24.x.1", "24.0.1", False),
    (">=24.0.0.0", "24.0.0", False),
    (">=24", "24", False),
    (">=24", "lts", False),
    (">=24", "", False),
]


class TestSatisfies:
    @pytest.mark.parametrize(("engines", "version", "expected"), SATISFIES)
    def test_a_range_means_what_npm_takes_it_for(self, engines: str, version: str, expected: bool) -> None:
        assert _versions.satisfies(version, engines) is expected

    def test_a_package_without_a_range_takes_every_version(self) -> None:
        assert _versions.satisfies("1.0.0", None)

    @given(NODE, NODE)
    def test_at_least_and_below_share_out_all_versions(self, version: str, bound: str) -> None:
        assert _versions.satisfies(version, f">={bound}") != _versions.satisfies(version, f"<{bound}")
        assert _versions.satisfies(version, f"<={bound}") != _versions.satisfies(version, f">{bound}")

    @given(NODE, NODE, NODE)
    def test_a_space_is_and_and_two_bars_are_or(self, version: str, one: str, other: str) -> None:
        first, second = _versions.satisfies(version, f">={one}"), _versions.satisfies(version, f"^{other}")
        assert _versions.satisfies(version, f">={one} ^{other}") == (first and second)
        assert _versions.satisfies(version, f">={one} || ^{other}") == (first or second)

    @given(NODE)
    def test_a_version_satisfies_itself_in_every_notation(self, version: str) -> None:
        major, minor, _patch = version.split(".")
        for engines in (version, f"={version}", f"^{version}", f"~{version}", f"{major}.{minor}", f"{major}.x", major):
            assert _versions.satisfies(version, engines), engines

    @given(st.text(alphabet="0123456789.x*<>=~^v |-+ab", max_size=20), st.text(max_size=10))
    def test_no_text_makes_it_stumble(self, engines: str, version: str) -> None:
        assert _versions.satisfies(version, engines) in (True, False)


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
def test_the_oldest_version_of_a_major_in_a_range(engines: str, major: int, oldest: str) -> None:
    assert _versions.engines_minimum(engines, major) == oldest


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
        if _versions.satisfies(version, engines)
    ]
    assert _versions.engines_minimum(engines, major) == (inside[0] if inside else "")
