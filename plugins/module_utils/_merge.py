# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""The three-way merge of settings: pure functions over JSON values.

*applied* is what the inventory asked for last time, *desired* is what it asks for now, *live* is what
stands in the file. Objects are merged key by key; every other value, lists included, is replaced whole.
In *desired*, ``None`` means "this key must not be there".
"""

from __future__ import annotations

import typing as t

Settings = dict[str, t.Any]
Path = tuple[str, ...]

MISSING: t.Any = object()


def merge(*, applied: Settings, desired: Settings, live: Settings) -> Settings:
    """Return what the file should hold; no argument is modified.

    A desired key is set, a key that *applied* set and *desired* no longer names is removed, every other
    key of *live* stays as it is.
    """
    result: Settings = {}
    for key in [*live, *(key for key in desired if key not in live)]:
        value = _merged_value(
            applied=applied.get(key, MISSING),
            desired=desired.get(key, MISSING),
            live=live.get(key, MISSING),
        )
        if value is not MISSING:
            result[key] = value
    return result


def _merged_value(*, applied: t.Any, desired: t.Any, live: t.Any) -> t.Any:
    if desired is MISSING:
        return _released(applied=applied, live=live)
    if desired is None:
        return MISSING
    if not isinstance(desired, dict):
        return desired
    merged = merge(
        applied=applied if isinstance(applied, dict) else {},
        desired=desired,
        live=live if isinstance(live, dict) else {},
    )
    if desired and not merged and not isinstance(live, dict):
        # Wishing only that keys are absent does not make the object that would hold them, nor replace what stands there.
        return _released(applied=applied, live=live)
    return merged


def _released(*, applied: t.Any, live: t.Any) -> t.Any:
    """What remains of a live value that the inventory no longer speaks about."""
    if applied is MISSING or applied is None:
        return live
    if not isinstance(applied, dict):
        return MISSING
    if not isinstance(live, dict):
        # We owned keys below it; somebody put another value in the place of the object. It is theirs.
        return live
    rest = merge(applied=applied, desired={}, live=live)
    return rest if rest else MISSING


def without_null(value: t.Any) -> t.Any:
    """A copy of a desired value with the keys that are ``None`` left out, at every depth of objects."""
    if isinstance(value, dict):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    return value


def leaves(settings: Settings, prefix: Path = ()) -> t.Iterator[tuple[Path, t.Any]]:
    """Every path that is not an object with keys, and its value; an empty object is a leaf."""
    for key, value in settings.items():
        path = (*prefix, key)
        if isinstance(value, dict) and value:
            yield from leaves(value, path)
        else:
            yield path, value


def lookup(settings: t.Any, path: Path) -> t.Any:
    """The value at *path*, or :data:`MISSING`."""
    for key in path:
        if not isinstance(settings, dict) or key not in settings:
            return MISSING
        settings = settings[key]
    return settings


def project(settings: Settings, *masks: Settings) -> Settings:
    """The part of *settings* that lies on the paths of *masks*: what the inventory speaks about."""
    result: Settings = {}
    for key, value in settings.items():
        below = [mask[key] for mask in masks if key in mask]
        if not below:
            continue
        objects = [mask for mask in below if isinstance(mask, dict) and mask]
        if isinstance(value, dict) and len(objects) == len(below):
            result[key] = project(value, *objects)
        else:
            result[key] = value
    return result


def overlay(first: Settings, second: Settings) -> Settings:
    """Both joined, object by object; *second* wins, with ``None`` too."""
    result = dict(first)
    for key, value in second.items():
        below = result.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        result[key] = overlay(t.cast(Settings, below), value) if both else value
    return result


def drift(*, applied: Settings, live: Settings) -> list[Path]:
    """Paths that we set and that somebody else has changed or removed since."""
    changed = []
    for path, value in leaves(applied):
        found = lookup(live, path)
        if value is None:
            if found is not MISSING:
                changed.append(path)
        elif value == {} and isinstance(found, dict):
            continue
        elif not same(found, value):
            changed.append(path)
    return changed


def adopt(*, desired: Settings, applied: Settings, live: Settings, paths: t.Iterable[Path]) -> Settings:
    """*desired* with the live value at those drifted *paths* whose desired value has not changed since."""
    result: Settings = _copy(desired)
    for path in paths:
        if not same(lookup(desired, path), lookup(applied, path)):
            continue
        *parents, last = path
        node = result
        for key in parents:
            node = node[key]
        found = lookup(live, path)
        node[last] = None if found is MISSING else found
    return result


def _copy(value: t.Any) -> t.Any:
    if not isinstance(value, dict):
        return value
    return {key: _copy(item) for key, item in value.items()}


def same(first: t.Any, second: t.Any) -> bool:
    """Equality as JSON sees it: ``1`` is not ``true``, ``1`` is ``1.0``, the order of keys is nothing."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def differing(before: Settings, after: Settings) -> list[Path]:
    """The leaf paths whose value is not the same in both, in the order of *before*, then *after*."""
    paths = dict.fromkeys([*(path for path, _ in leaves(before)), *(path for path, _ in leaves(after))])
    return [path for path in paths if not same(lookup(before, path), lookup(after, path))]


__all__ = (
    "MISSING",
    "Path",
    "Settings",
    "adopt",
    "differing",
    "drift",
    "leaves",
    "lookup",
    "merge",
    "overlay",
    "project",
    "same",
    "without_null",
)
