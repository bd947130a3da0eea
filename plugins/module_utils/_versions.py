# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Versions of OpenClaw and of Node.js, and the ranges that packages name: pure functions."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

# One identifier of a suffix, ordered as Semantic Versioning orders them: numbers first, and by value.
Identifier = tuple[int, int, str]
_NUMBER = r"0|[1-9]\d*"
_IDENTIFIER = rf"(?:{_NUMBER}|\d*[A-Za-z-][0-9A-Za-z-]*)"
_SUFFIX = rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})*"
_VERSION = re.compile(rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_SUFFIX}))?", re.ASCII)

_PRERELEASE, _RELEASE, _CORRECTION = range(3)


class Version(t.NamedTuple):
    """A version of OpenClaw that sorts as OpenClaw itself sorts its versions.

    ``2026.7.1-beta.2`` comes before ``2026.7.1``, but ``2026.7.1-2`` is a correction and comes after it,
    unlike in Semantic Versioning.
    """

    year: int
    month: int
    patch: int
    stage: int = _RELEASE
    suffix: tuple[Identifier, ...] = ()

    def __str__(self) -> str:
        base = f"{self.year}.{self.month}.{self.patch}"
        tail = ".".join(text if is_text else str(number) for is_text, number, text in self.suffix)
        return f"{base}-{tail}" if tail else base


def _identifiers(suffix: str | None) -> tuple[Identifier, ...]:
    if not suffix:
        return ()
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in suffix.split("."))


def parse_version(text: str) -> Version:
    """Read an exact version such as ``2026.9.6``, ``2026.7.1-2`` or ``2026.9.1-beta.1``."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise OpenClawError(
            f"version '{text}'",
            "it is not an exact version of OpenClaw",
            "Write all of it, as in '2026.9.6'; 'npm view openclaw versions' lists what there is.",
        )
    suffix = _identifiers(match[4])
    is_correction = len(suffix) == 1 and not suffix[0][0]
    stage = (_CORRECTION if is_correction else _PRERELEASE) if suffix else _RELEASE
    return Version(int(match[1]), int(match[2]), int(match[3]), stage, suffix)


def is_version(text: str) -> bool:
    """Whether the text is an exact version."""
    return _VERSION.fullmatch(text) is not None


def is_older(version: str, other: str) -> bool:
    """Whether OpenClaw regards the first version as older than the second."""
    return parse_version(version) < parse_version(other)


def newest_first(versions: t.Iterable[str]) -> list[str]:
    """The versions among the texts, newest first and each once; other texts are left out."""
    return sorted({text for text in versions if is_version(text)}, key=parse_version, reverse=True)


def nearest(versions: t.Iterable[str], wanted: str, n: int = 5) -> list[str]:
    """At most ``n`` of the versions, those closest to the wanted one in order of release, newest first."""
    ordered = newest_first(versions)
    if not is_version(wanted):
        return ordered[: max(n, 0)]
    target = parse_version(wanted)
    newer = [text for text in ordered if parse_version(text) > target]
    others = ordered[len(newer) :]
    of_newer = max(n // 2, n - len(others))
    closest_newer = newer[max(len(newer) - of_newer, 0) :] if of_newer > 0 else []
    return closest_newer + others[: max(n - len(closest_newer), 0)]


# ---- npm's ranges of Node versions -------------------------------------------------------------------

# A point on the line of versions: a pre-release lies below its release, and (0, ()) below all of them.
Point = tuple[int, int, int, tuple[int, tuple[Identifier, ...]]]
_IS_RELEASE: tuple[int, tuple[Identifier, ...]] = (1, ())
_LOWEST: tuple[int, tuple[Identifier, ...]] = (0, ())

_BUILD = re.compile(r"\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*", re.ASCII)
_X = rf"(?:{_NUMBER}|[xX*])"
_PARTIAL = rf"v?({_X})(?:\.({_X})(?:\.({_X})(?:-({_SUFFIX}))?)?)?"
_NODE_VERSION = re.compile(
    rf"\s*[v=]?\s*({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_SUFFIX}))?(?:{_BUILD.pattern})?\s*", re.ASCII
)
_TERM = re.compile(rf"(~>|[~^]|[<>]=?|=)?\s*{_PARTIAL}(?=\s|$)\s*", re.ASCII)
_HYPHEN = re.compile(rf"\s*{_PARTIAL}\s+-\s+{_PARTIAL}\s*", re.ASCII)


class Span(t.NamedTuple):
    """The versions from ``start`` up to, but without, ``end``; None has no bound."""

    start: Point | None
    end: Point | None

    def __contains__(self, point: object) -> bool:
        if not isinstance(point, tuple):
            return False
        return (self.start is None or point >= self.start) and (self.end is None or point < self.end)


_EVERYTHING = Span(None, None)
_NOTHING = Span(None, (0, 0, 0, _LOWEST))


def _after(point: Point) -> Point:
    """The next point that a comparison with 'greater than' admits."""
    major, minor, patch, (rank, suffix) = point
    # No identifier sorts below (-1, 0, ''), so nothing lies between a point and this one.
    return (major, minor, patch, (rank, (*suffix, (-1, 0, ""))))


def _read_partial(fields: t.Sequence[str | None]) -> tuple[list[int], tuple[Identifier, ...]]:
    """The numbers of a partial version up to its first 'x', and its suffix."""
    numbers: list[int] = []
    for field in fields[:3]:
        if field is None or field in "xX*":
            return numbers, ()
        numbers.append(int(field))
    return numbers, _identifiers(fields[3])


def _first(numbers: t.Sequence[int], suffix: tuple[Identifier, ...] = ()) -> Point:
    """Where a partial version begins: 24.1 begins below 24.1.0's first pre-release, 24.1.0 at itself."""
    if len(numbers) == 3:
        return (numbers[0], numbers[1], numbers[2], (0, suffix) if suffix else _IS_RELEASE)
    return _below([*numbers, 0, 0][:3])


def _below(numbers: t.Sequence[int]) -> Point:
    return (numbers[0], numbers[1], numbers[2], _LOWEST)


def _next(numbers: t.Sequence[int]) -> Point:
    """Where the versions end that begin with these numbers."""
    return _below([*numbers[:-1], numbers[-1] + 1, 0, 0][:3])


def _compatible(operator: str, numbers: t.Sequence[int]) -> Point:
    """Where the versions end that '~' or '^' admits."""
    if operator != "^":
        return _next(numbers[:2])
    leading_zeros = next((index for index, number in enumerate(numbers) if number), len(numbers) - 1)
    return _next(numbers[: leading_zeros + 1])


def _span_of_term(operator: str, fields: t.Sequence[str | None]) -> Span | None:
    numbers, suffix = _read_partial(fields)
    # '1.x.3' is no range, but npm reads '^1.x.3' as '^1'.
    if operator not in ("^", "~", "~>") and any(field and field not in "xX*" for field in fields[len(numbers) : 3]):
        return None
    if not numbers:
        return _NOTHING if operator in ("<", ">") else _EVERYTHING
    start = _first(numbers, suffix)
    if operator in ("^", "~", "~>"):
        return Span(start, _compatible(operator, numbers))
    past = _after(start) if len(numbers) == 3 else _next(numbers)
    spans = {
        "<": Span(None, start),
        "<=": Span(None, past),
        ">": Span(past, None),
        ">=": Span(start, None),
    }
    return spans.get(operator, Span(start, past))


def _span_of_hyphen(fields: t.Sequence[str | None]) -> Span:
    low, high = _read_partial(fields[:4]), _read_partial(fields[4:])
    start = end = None
    if low[0]:
        start = _first(*low) if low[1] else _below([*low[0], 0, 0][:3])
    if high[0]:
        end = _after(_first(*high)) if high[1] else _next(high[0])
    return Span(start, end)


def _spans(alternative: str) -> list[Span] | None:
    """One alternative of a range as spans that must all hold; None when it is not one."""
    hyphen = _HYPHEN.fullmatch(alternative)
    if hyphen is not None:
        return [_span_of_hyphen(hyphen.groups())]
    spans: list[Span] = []
    rest = alternative.strip()
    while rest:
        match = _TERM.match(rest)
        span = _span_of_term(match[1] or "", match.groups()[1:]) if match else None
        if match is None or span is None:
            return None
        spans.append(span)
        rest = rest[match.end() :]
    return spans


def satisfies(node_version: str, engines: str | None) -> bool:
    """Whether a Node version lies in the range that a package's ``engines.node`` names.

    As npm does when it checks engines: a package without a range takes every version, pre-releases count,
    and what is not a version or not a range is never satisfied.
    """
    match = _NODE_VERSION.fullmatch(node_version)
    if match is None:
        return False
    point: Point = (
        int(match[1]),
        int(match[2]),
        int(match[3]),
        (0, _identifiers(match[4])) if match[4] else _IS_RELEASE,
    )
    alternatives = [_spans(alternative) for alternative in _BUILD.sub("", engines or "").split("||")]
    if None in alternatives:
        return False
    return any(all(point in span for span in spans) for spans in alternatives if spans is not None)


def engines_minimum(engines: str, major: int) -> str:
    """The oldest version of *major* that satisfies *engines*."""
    # The oldest is the beginning of the major, a version that the range names, or the one after it.
    candidates = {(major, 0, 0)}
    for numbers in re.findall(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", engines):
        first, minor, patch = (int(number or 0) for number in numbers)
        candidates |= {(first, minor, patch), (first, minor, patch + 1), (first, minor + 1, 0)}
    versions = (".".join(map(str, candidate)) for candidate in sorted(candidates) if candidate[0] == major)
    return next((version for version in versions if satisfies(version, engines)), "")


__all__ = (
    "Version",
    "engines_minimum",
    "is_older",
    "is_version",
    "nearest",
    "newest_first",
    "parse_version",
    "satisfies",
)
