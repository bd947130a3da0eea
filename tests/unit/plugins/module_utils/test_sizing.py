# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a host is shared out: the table of the documentation, and laws that hold for every host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.clawops.openclaw.plugins.module_utils import _sizing

DOCUMENT = Path(__file__).parents[4] / "docs/tuning.md"
LIMITS = ("memory_max_mb", "memory_high_mb", "heap_mb", "tasks_max")
ROW = re.compile(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+|refused) \| (\d+|-) \| (\d+|-) \| (\d+|-) \|$", re.MULTILINE)

machines = st.builds(_sizing.Machine, st.integers(256, 1 << 20), st.integers(1, 256), st.integers(1, 20))


def values(machine: _sizing.Machine, **desired: int) -> dict[str, int]:
    return {name: choice.value for name, choice in _sizing.size(machine, desired).items()}


def judged(machine: _sizing.Machine, **desired: int) -> list[str]:
    return [str(error) for error in _sizing.judge(machine, _sizing.size(machine, desired), desired)]


# ---- the document ------------------------------------------------------------------------------------------


def test_the_table_of_the_document_is_what_the_function_gives() -> None:
    rows = ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert len(rows) >= 8
    for memory, cores, gateways, *shown in rows:
        machine = _sizing.Machine(int(memory), int(cores), int(gateways))
        expected = ["refused", "-", "-", "-"] if judged(machine) else [str(values(machine)[name]) for name in LIMITS]
        assert shown == expected, machine


@pytest.mark.parametrize(
    "constant",
    [
        pytest.param(f"{_sizing.START_MB} MiB to start", id="start"),
        pytest.param(f"{_sizing.BESIDE_HEAP_MB} MiB that are no heap", id="beside-the-heap"),
        pytest.param(f"{_sizing.HEAP_LEAST_MB} MiB of heap", id="least-heap"),
    ],
)
def test_the_document_names_what_was_measured(constant: str) -> None:
    assert constant in DOCUMENT.read_text(encoding="utf-8")


# ---- laws --------------------------------------------------------------------------------------------------


@given(machines)
def test_what_follows_from_a_host_is_never_refused_unless_the_host_is_too_small(machine: _sizing.Machine) -> None:
    errors = judged(machine)
    if values(machine)["memory_max_mb"] >= _sizing.START_MB:
        assert errors == []
    else:
        [error] = errors
        assert error.startswith("The host's memory: ")


@given(machines)
def test_gateways_together_leave_the_host_its_reserve(machine: _sizing.Machine) -> None:
    taken = values(machine)["memory_max_mb"] * machine.gateways
    assert taken <= machine.memory_mb - 192


@given(machines)
def test_the_kernel_slows_down_before_it_kills_and_the_heap_ends_before_both(machine: _sizing.Machine) -> None:
    limits = values(machine)
    assert limits["heap_mb"] <= limits["memory_high_mb"] <= limits["memory_max_mb"]


@given(machines, st.integers(0, 31))
def test_a_few_mebibytes_more_or_less_change_nothing(machine: _sizing.Machine, more: int) -> None:
    grain = machine._replace(memory_mb=machine.memory_mb // 32 * 32)
    assert _sizing.size(grain) == _sizing.size(grain._replace(memory_mb=grain.memory_mb + more))


@given(machines, st.integers(0, 1 << 18))
def test_more_memory_never_gives_less(machine: _sizing.Machine, more: int) -> None:
    larger = values(machine._replace(memory_mb=machine.memory_mb + more))
    assert all(larger[name] >= value for name, value in values(machine).items())


@given(machines, st.dictionaries(st.sampled_from(LIMITS), st.integers(-10, 1 << 20)))
def test_a_desired_value_is_taken_and_zero_leaves_the_choice(machine: _sizing.Machine, desired: dict[str, int]) -> None:
    limits = values(machine, **desired)
    assert {name: limits[name] for name, value in desired.items() if value} == {
        name: value for name, value in desired.items() if value
    }
    assert limits == values(machine, **{name: value for name, value in desired.items() if value})


@given(machines, st.integers(_sizing.START_MB, 1 << 20))
def test_what_follows_from_a_desired_memory_max_fits_into_it(machine: _sizing.Machine, maximum: int) -> None:
    assume(maximum <= machine.memory_mb)
    assert judged(machine, memory_max_mb=maximum) == []


# ---- what cannot work --------------------------------------------------------------------------------------

SMALL = _sizing.Machine(1967, 1)


@pytest.mark.parametrize(
    ("machine", "desired", "error"),
    [
        pytest.param(
            SMALL,
            {"memory_max_mb": 2048},
            "tuning_memory_max_mb 2048: the host has 1967 MiB. Set it to less, or to 0 to have it follow from the host.",
            id="more-than-the-host-has",
        ),
        pytest.param(
            SMALL,
            {"memory_max_mb": 899, "heap_mb": 449, "memory_high_mb": 850},
            "tuning_memory_max_mb 899: a gateway needs 900 MiB to start. Set it to 900 or more, or to 0",
            id="less-than-a-start-takes",
        ),
        pytest.param(
            SMALL,
            {"memory_high_mb": 1800},
            "tuning_memory_high_mb 1800: MemoryMax is 1708 MiB, and acts before it. Set it to less than 1708.",
            id="high-above-max",
        ),
        pytest.param(
            SMALL,
            {"memory_high_mb": 700},
            "tuning_memory_high_mb 700: a gateway needs 900 MiB to start, and would be slowed down to a standstill. Set it to 810",
            id="high-below-a-start",
        ),
        pytest.param(
            SMALL,
            {"heap_mb": 1700},
            "tuning_heap_mb 1700: with 450 MiB that are no heap it makes 2150 MiB, and MemoryMax is 1708 MiB: "
            "the kernel would kill the gateway before V8 collects. Set it to 1258 or less, or raise tuning_memory_max_mb.",
            id="heap-above-max",
        ),
        pytest.param(SMALL, {"heap_mb": 200}, "tuning_heap_mb 200: a gateway needs 384 MiB of heap", id="little-heap"),
        pytest.param(SMALL, {"heap_mb": -1}, "tuning_heap_mb -1: a gateway needs 384 MiB of heap", id="negative"),
        pytest.param(
            _sizing.Machine(3900, 2, 5),
            {},
            "The host's memory: 3872 MiB, less 484 MiB for everything else, shared by 5 gateways, leaves 677 MiB for each; "
            "a gateway needs 900 MiB to start. Give the host more memory or fewer gateways, or set tuning_memory_max_mb",
            id="too-many-gateways",
        ),
    ],
)
def test_what_cannot_work_is_told_with_the_arithmetic(
    machine: _sizing.Machine, desired: dict[str, int], error: str
) -> None:
    [told] = judged(machine, **desired)
    assert told.startswith(error)


@pytest.mark.parametrize(
    ("machine", "desired"),
    [
        pytest.param(SMALL, {"memory_max_mb": 1967}, id="all-of-the-host"),
        pytest.param(SMALL, {"memory_max_mb": 900}, id="just-enough-to-start"),
        pytest.param(SMALL, {"memory_high_mb": 1708}, id="high-at-max"),
        pytest.param(SMALL, {"memory_high_mb": 810}, id="the-least-high"),
        pytest.param(SMALL, {"heap_mb": 1258}, id="the-most-heap"),
        pytest.param(SMALL, {"heap_mb": 384}, id="the-least-heap"),
        pytest.param(_sizing.Machine(3900, 2, 5), {"memory_max_mb": 900}, id="shared-out-by-hand"),
    ],
)
def test_what_just_works_is_taken(machine: _sizing.Machine, desired: dict[str, int]) -> None:
    assert judged(machine, **desired) == []


def test_everything_is_said_at_once() -> None:
    errors = judged(SMALL, memory_max_mb=9000, memory_high_mb=9001, heap_mb=9000)
    assert [error.split(":")[0] for error in errors] == [
        "tuning_memory_max_mb 9000",
        "tuning_memory_high_mb 9001",
        "tuning_heap_mb 9000",
    ]


@pytest.mark.parametrize(("value", "told"), [(0, 1), (1, 0), (10, 0), (11, 1)])
def test_bounds_are_within(value: int, told: int) -> None:
    errors = _sizing.out_of_bounds("cpu_weight", value, 1, 10, "no")
    assert [str(error) for error in errors] == [f"tuning_cpu_weight {value}: no. Choose a value from 1 to 10."] * told


@pytest.mark.parametrize(
    ("options", "heap"),
    [
        ("--max-old-space-size=2048", 2048),
        ("--trace-warnings --max_old_space_size=512 --max-old-space-size=768", 768),
        ("--max-old-space-size 1024", 1024),
        ("--enable-source-maps", 0),
        ("", 0),
    ],
)
def test_the_heap_that_options_ask_for(options: str, heap: int) -> None:
    assert _sizing.heap_of(options) == heap
