# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The laws of the three-way merge, and a table of what it does in plain cases."""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from ansible_collections.clawops.openclaw.plugins.module_utils import _merge
from ansible_collections.clawops.openclaw.plugins.module_utils._merge import MISSING, Path, Settings

# Few names and few values, so that what was applied, what is desired and what stands in the file often meet; and each
# statement goes into one, two or all three of them, so that they often agree.
SCALARS: list[Any] = [1, True, "x", None, 0, False, 1.0, "", "ü"]
LISTS: list[Any] = [[], [None], [1, True], [{"a": None, "b": {}}]]
PATHS = [
    path for length, names in ((1, "abü"), (2, "abü"), (3, "ab")) for path in itertools.product(names, repeat=length)
]
SIDES = [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)]
STATEMENTS = list(itertools.product([*SCALARS, {}, *LISTS], PATHS, SIDES))

World = tuple[Settings, Settings, Settings]


def world(numbers: bytes) -> World:
    """What was applied, what is desired and what stands in the file, out of two bytes for each statement.

    Bytes are drawn at once, so that ten thousand worlds take seconds.
    """
    sides: World = ({}, {}, {})
    for first, second in zip(numbers[::2], numbers[1::2], strict=False):
        value, (*parents, last), places = STATEMENTS[(256 * first + second) % len(STATEMENTS)]
        for place in places:
            node = sides[place]
            for key in parents:
                if not isinstance(node.get(key), dict):
                    node[key] = {}
                node = node[key]
            node[last] = copy.deepcopy(value)
    return sides


WORLDS = st.binary(min_size=2, max_size=18).map(world)


def merged(applied: Settings, desired: Settings, live: Settings) -> Settings:
    return _merge.merge(applied=applied, desired=desired, live=live)


def exactly(value: Any) -> str:
    """A text that is equal only for values of the same types and the same keys, in whatever order."""
    return json.dumps(value, sort_keys=True)


def begins_with(path: Path, other: Path) -> bool:
    return path[: len(other)] == other


def shuffled(value: Any, seed: int) -> Any:
    if not isinstance(value, dict):
        return value
    keys = list(value)
    random.Random(seed).shuffle(keys)  # noqa: S311 - a repeatable order is wanted
    return {key: shuffled(value[key], seed + 1) for key in keys}


def is_foreign(path: Path, applied: Settings, desired: Settings, live: Settings) -> bool:
    """Whether a leaf of the file is nobody's business but its own."""
    for claimed, value in [*_merge.leaves(desired), *_merge.leaves(applied)]:
        # An object that is desired without keys says nothing about the keys in it.
        if begins_with(path, claimed) and (value != {} or path == claimed):
            return False
    needs_an_object_here = any(
        value is not None and begins_with(claimed, path) for claimed, value in _merge.leaves(desired)
    )
    # An empty object may be what is left of ours.
    emptied = _merge.lookup(live, path) == {} and any(
        begins_with(claimed, path) for claimed, _ in _merge.leaves(applied)
    )
    return not needs_an_object_here and not emptied


def law(holds: Callable[[World], None]) -> Callable[[], None]:
    """A test that a law holds in as many worlds as the profile says.

    Ten of them make one example, because what Hypothesis does about an example takes ten times as long as what a law
    does about a world.
    """
    at_once = 10

    def test(worlds: list[World]) -> None:
        for sides in worlds:
            holds(sides)

    # Before Hypothesis sees it: where it must repeat its examples, it takes them from the name too.
    test.__name__, test.__qualname__ = holds.__name__, holds.__qualname__
    tried = tries(max_examples=tries.get_profile("laws").max_examples // at_once)
    return tried(given(st.lists(WORLDS, min_size=at_once, max_size=at_once))(test))


@law
def test_applying_twice_changes_nothing(sides: World) -> None:
    applied, desired, live = sides
    once = merged(applied, desired, live)
    assert exactly(merged(desired, desired, once)) == exactly(once)
    assert exactly(merged(applied, desired, once)) == exactly(once)


@law
def test_foreign_keys_survive(sides: World) -> None:
    applied, desired, live = sides
    result = merged(applied, desired, live)
    for path, value in _merge.leaves(live):
        if is_foreign(path, applied, desired, live):
            assert exactly(_merge.lookup(result, path)) == exactly(value), path


@law
def test_what_was_owned_and_is_no_longer_desired_goes(sides: World) -> None:
    applied, desired, live = sides
    result = merged(applied, desired, live)
    for path, value in _merge.leaves(applied):
        if value is None or _merge.lookup(desired, path) is not MISSING:
            continue
        left = _merge.lookup(result, path)
        # Of an object that was desired without keys only the object goes, not what others put into it.
        assert left is MISSING or (value == {} and left != {}), path


@law
def test_the_order_of_keys_does_not_matter(sides: World) -> None:
    applied, desired, live = sides
    seed = len(exactly(sides))  # any number that is the same for the same world
    result = merged(shuffled(applied, seed), shuffled(desired, seed + 1), shuffled(live, seed + 2))
    assert exactly(result) == exactly(merged(applied, desired, live))


@law
def test_what_stays_in_the_file_keeps_its_order(sides: World) -> None:
    applied, desired, live = sides
    result = merged(applied, desired, live)
    assert [key for key in result if key in live] == [key for key in live if key in result]


@law
def test_no_argument_is_modified(sides: World) -> None:
    applied, desired, live = sides
    before = copy.deepcopy((applied, desired, live))
    merged(applied, desired, live)
    assert json.dumps((applied, desired, live)) == json.dumps(before)


@law
def test_a_desired_null_is_an_absent_key(sides: World) -> None:
    applied, desired, live = sides
    result = merged(applied, desired, live)
    for path, value in _merge.leaves(desired):
        if value is None:
            assert _merge.lookup(result, path) is MISSING, path
    for path, value in _merge.leaves(result):
        if value is None:
            assert _merge.lookup(live, path) is None, path


@law
def test_every_desired_value_is_in_the_result(sides: World) -> None:
    applied, desired, live = sides
    result = merged(applied, desired, live)
    for path, value in _merge.leaves(desired):
        found = _merge.lookup(result, path)
        if value == {} and isinstance(value, dict):
            assert isinstance(found, dict), path
        elif value is not None:
            assert exactly(found) == exactly(value), path


@law
def test_nothing_comes_from_nowhere(sides: World) -> None:
    applied, desired, live = sides
    for path, value in _merge.leaves(merged(applied, desired, live)):
        asked, stood = _merge.lookup(desired, path), _merge.lookup(live, path)
        if value == {} and isinstance(value, dict):
            assert isinstance(asked, dict) or isinstance(stood, dict), path
        else:
            assert any(side is not MISSING and exactly(side) == exactly(value) for side in (asked, stood)), path


@law
def test_a_change_is_a_differing_key_that_the_inventory_speaks_about(sides: World) -> None:
    applied, desired, live = sides
    result = merged(applied, desired, live)
    changed = not _merge.same(live, result)
    before, after = (_merge.project(side, applied, desired) for side in (live, result))
    assert bool(_merge.differing(live, result)) == changed
    assert bool(_merge.differing(before, after)) == changed


@law
def test_there_is_drift_exactly_where_applying_again_changes_something(sides: World) -> None:
    applied, _desired, live = sides
    again = merged(applied, applied, live)
    assert bool(_merge.drift(applied=applied, live=live)) == (not _merge.same(live, again))
    assert _merge.drift(applied=applied, live=again) == []


@law
def test_drift_that_is_kept_leaves_the_file_as_it_is(sides: World) -> None:
    applied, _desired, live = sides
    # No one can desire a null in the file: null is how one desires nothing there.
    live = _merge.without_null(live)
    paths = _merge.drift(applied=applied, live=live)
    desired = _merge.adopt(desired=applied, applied=applied, live=live, paths=paths)
    assert _merge.same(merged(applied, desired, live), live)


@law
def test_a_desired_value_that_has_changed_is_not_given_up_for_drift(sides: World) -> None:
    applied, desired, live = sides
    before = copy.deepcopy((applied, desired, live))
    paths = _merge.drift(applied=applied, live=live)
    adopted = _merge.adopt(desired=desired, applied=applied, live=live, paths=paths)
    assert json.dumps((applied, desired, live)) == json.dumps(before)
    for path, value in _merge.leaves(desired):
        if not _merge.same(_merge.lookup(applied, path), value):
            assert exactly(_merge.lookup(adopted, path)) == exactly(value), path


@law
def test_the_later_of_two_desired_values_wins(sides: World) -> None:
    first, second, _live = sides
    before = copy.deepcopy((first, second))
    both = _merge.overlay(first, second)
    assert json.dumps((first, second)) == json.dumps(before)
    for path, value in _merge.leaves(second):
        found = _merge.lookup(both, path)
        assert isinstance(found, dict) if value == {} else exactly(found) == exactly(value), path
    for path, value in _merge.leaves(first):
        spoken = any(begins_with(path, other) or begins_with(other, path) for other, _ in _merge.leaves(second))
        if not spoken:
            assert exactly(_merge.lookup(both, path)) == exactly(value), path


@law
def test_equality_is_that_of_json(sides: World) -> None:
    first, second, _live = sides

    def canonical(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: canonical(item) for key, item in value.items()}
        if isinstance(value, list):
            return [canonical(item) for item in value]
        return int(value) if isinstance(value, float) else value

    assert _merge.same(first, second) == (exactly(canonical(first)) == exactly(canonical(second)))
    assert _merge.same(first, shuffled(first, 1))


@pytest.mark.parametrize(
    ("applied", "desired", "live", "result"),
    [
        pytest.param({}, {"a": 1}, {}, {"a": 1}, id="a-desired-key-is-set"),
        pytest.param({"a": 1}, {}, {"a": 1, "b": 2}, {"b": 2}, id="a-key-no-longer-desired-is-removed"),
        pytest.param({"a": 1}, {}, {"a": 9}, {}, id="even-where-somebody-changed-it"),
        pytest.param({}, {"a": 1}, {"b": {"c": None}}, {"b": {"c": None}, "a": 1}, id="a-foreign-null-stays"),
        pytest.param({"a": 1}, {"a": 1}, {"a": 2}, {"a": 1}, id="drift-is-reverted"),
        pytest.param({}, {"a": None}, {"a": {"b": 1}, "c": 2}, {"c": 2}, id="null-removes-an-object"),
        pytest.param({}, {"a": {"b": None}}, {}, {}, id="null-makes-no-object"),
        pytest.param({}, {"a": {"b": None}}, {"a": 5}, {"a": 5}, id="null-below-a-foreign-value-leaves-it"),
        pytest.param({"a": 5}, {"a": {"b": None}}, {"a": 5}, {}, id="null-below-a-value-of-ours-lets-it-go"),
        pytest.param({}, {"a": {"b": {"c": None}}}, {"a": {"b": []}}, {"a": {"b": []}}, id="null-far-below-a-list"),
        pytest.param({}, {"a": {"b": 1}}, {"a": 5}, {"a": {"b": 1}}, id="a-key-below-replaces-a-value"),
        pytest.param({}, {"a": 5}, {"a": {"b": 1}}, {"a": 5}, id="a-value-replaces-an-object"),
        pytest.param({}, {"a": [1]}, {"a": [2, 3]}, {"a": [1]}, id="a-list-is-replaced-whole"),
        pytest.param({}, {"a": [None, {"b": None}]}, {}, {"a": [None, {"b": None}]}, id="null-in-a-list-is-data"),
        pytest.param({}, {"a": True}, {"a": 1}, {"a": True}, id="true-is-not-one"),
        pytest.param({"a": {"b": 1}}, {}, {"a": {"b": 1}}, {}, id="an-object-of-ours-goes-with-its-last-key"),
        pytest.param({"a": {"b": 1}}, {}, {"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}, id="but-not-from-under-others"),
        pytest.param({"a": {"b": 1}}, {}, {"a": 5}, {"a": 5}, id="what-replaced-an-object-of-ours-is-theirs"),
        pytest.param({"a": None}, {}, {"a": 5}, {"a": 5}, id="an-absence-no-longer-desired-removes-nothing"),
        pytest.param({}, {"a": {}}, {}, {"a": {}}, id="an-empty-object-is-desired"),
        pytest.param({}, {"a": {}}, {"a": {"b": 1}}, {"a": {"b": 1}}, id="an-empty-object-takes-nothing-away"),
        pytest.param({"a": {}}, {}, {"a": {}}, {}, id="an-empty-object-of-ours-goes"),
    ],
)
def test_merge(applied: Settings, desired: Settings, live: Settings, result: Settings) -> None:
    assert exactly(merged(applied, desired, live)) == exactly(result)


@pytest.mark.parametrize(
    ("settings", "masks", "result"),
    [
        pytest.param({"a": 1, "b": 2}, [{"a": 5}], {"a": 1}, id="only-what-a-mask-names"),
        pytest.param({"a": 1, "b": 2}, [{"a": 5}, {"b": None}], {"a": 1, "b": 2}, id="what-any-mask-names"),
        pytest.param({"a": {"b": 1, "c": 2}}, [{"a": {"b": 0}}], {"a": {"b": 1}}, id="inside-an-object"),
        pytest.param({"a": {"b": 1}}, [{"a": None}], {"a": {"b": 1}}, id="the-whole-object-that-null-removes"),
        pytest.param({"a": {"b": 1}}, [{"a": {}}], {"a": {"b": 1}}, id="the-whole-object-that-is-desired-without-keys"),
        pytest.param({"a": 1}, [{"a": {"b": 0}}], {"a": 1}, id="a-value-where-an-object-is-desired"),
        pytest.param({"a": {"b": 1, "c": 2}}, [{"a": {"b": 0}}, {"a": {"c": 0}}], {"a": {"b": 1, "c": 2}}, id="joined"),
        pytest.param(
            {"a": {"b": 1, "c": 2}}, [{"a": {"b": 0}}, {"a": 7}], {"a": {"b": 1, "c": 2}}, id="the-wider-mask"
        ),
        pytest.param({"a": 1}, [], {}, id="without-a-mask-nothing"),
    ],
)
def test_project(settings: Settings, masks: list[Settings], result: Settings) -> None:
    assert exactly(_merge.project(settings, *masks)) == exactly(result)


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        pytest.param({"a": 1}, {"a": 1.0}, [], id="one-and-one-point-nought"),
        pytest.param({"a": 1}, {"a": True}, [("a",)], id="one-and-true"),
        pytest.param({"a": [0]}, {"a": [False]}, [("a",)], id="nought-and-false-in-a-list"),
        pytest.param({"a": 1}, {"a": {"b": 1}}, [("a",), ("a", "b")], id="a-value-becomes-an-object"),
        pytest.param({"b": 1, "a": {}}, {"c": 1}, [("b",), ("a",), ("c",)], id="in-the-order-of-before-then-after"),
        pytest.param({"a": None}, {}, [("a",)], id="null-is-not-absent"),
    ],
)
def test_differing(before: Settings, after: Settings, paths: list[Path]) -> None:
    assert _merge.differing(before, after) == paths


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, True, id="another-order"),
        pytest.param({"a": {"b": 1}}, {"a": {"b": 1.0}}, True, id="one-and-one-point-nought"),
        pytest.param({"a": {"b": 1}}, {"a": {"b": True}}, False, id="one-and-true-in-an-object"),
        pytest.param([{"b": 0}], [{"b": False}], False, id="nought-and-false-in-a-list-of-objects"),
        pytest.param([1, 2], [2, 1], False, id="a-list-has-an-order"),
        pytest.param([1], [1, 1], False, id="a-longer-list"),
        pytest.param({}, {"a": None}, False, id="null-is-not-absent"),
        pytest.param({}, [], False, id="an-object-and-a-list"),
        pytest.param("1", 1, False, id="a-text-and-a-number"),
    ],
)
def test_same(first: Any, second: Any, same: bool) -> None:
    assert _merge.same(first, second) is same
    assert _merge.same(second, first) is same


@pytest.mark.parametrize(
    ("applied", "live", "paths"),
    [
        pytest.param({"a": 1}, {"a": 1, "b": 2}, [], id="a-foreign-key-is-no-drift"),
        pytest.param({"a": 1}, {"a": 2}, [("a",)], id="changed"),
        pytest.param({"a": {"b": 1}}, {}, [("a", "b")], id="removed"),
        pytest.param({"a": None}, {"a": 1}, [("a",)], id="came-back"),
        pytest.param({"a": {}}, {"a": {"b": 1}}, [], id="an-empty-object-was-filled"),
        pytest.param({"a": {}}, {"a": 1}, [("a",)], id="an-empty-object-was-replaced"),
    ],
)
def test_drift(applied: Settings, live: Settings, paths: list[Path]) -> None:
    assert _merge.drift(applied=applied, live=live) == paths


@pytest.mark.parametrize(
    ("desired", "applied", "live", "adopted"),
    [
        pytest.param({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}, id="a-changed-value"),
        pytest.param({"a": {"b": 1}}, {"a": {"b": 1}}, {}, {"a": {"b": None}}, id="a-removed-key"),
        pytest.param({"a": None}, {"a": None}, {"a": 5}, {"a": 5}, id="a-key-that-came-back"),
        pytest.param({"a": 3}, {"a": 1}, {"a": 2}, {"a": 3}, id="not-against-a-new-desired"),
        pytest.param({}, {"a": 1}, {"a": 2}, {}, id="not-what-is-no-longer-desired"),
    ],
)
def test_adopt(desired: Settings, applied: Settings, live: Settings, adopted: Settings) -> None:
    paths = _merge.drift(applied=applied, live=live)
    assert _merge.adopt(desired=desired, applied=applied, live=live, paths=paths) == adopted


def test_nulls_are_left_out_of_objects_and_kept_in_lists() -> None:
    desired = {"a": None, "b": {"c": None, "d": 1}, "e": [None, {"f": None}], "g": {}}
    assert _merge.without_null(desired) == {"b": {"d": 1}, "e": [None, {"f": None}], "g": {}}
