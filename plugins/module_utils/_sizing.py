# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""How much of its host a gateway may take: the arithmetic alone. docs/tuning.md shows its results as a table."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

# What was measured (docs/openclaw.md, "Memory") and some room, in MiB: what a gateway needs to start, what of it is no
# heap of V8's, and the heap that it does not come up without.
START_MB = 900
BESIDE_HEAP_MB = 450
HEAP_LEAST_MB = 384
# A gateway at rest has 75 descriptors and 40 tasks.
NOFILE_LEAST = 1024
TASKS_LEAST = 256

_RESERVE_LEAST_MB, _RESERVE_MOST_MB = 192, 1024
_HEAP_MOST_MB = 8192
_GRAIN_MB = 32
_TASKS_MOST = 8192


class Machine(t.NamedTuple):
    """What there is to be shared out, and among how many."""

    memory_mb: int
    cores: int
    gateways: int = 1


class Choice(t.NamedTuple):
    """A value, and why it is this one."""

    value: int
    reason: str


def size(machine: Machine, desired: t.Mapping[str, int] | None = None) -> dict[str, Choice]:
    """The limits of one gateway. A desired value is taken, 0 leaves the choice, and the rest follows from both."""
    # Another kernel shows a few MiB more or less, which is no reason to restart a gateway.
    memory = machine.memory_mb // _GRAIN_MB * _GRAIN_MB
    reserve = _between(_RESERVE_LEAST_MB, memory // 8, _RESERVE_MOST_MB)
    share = (memory - reserve) // machine.gateways
    among = f", shared by {machine.gateways} gateways" if machine.gateways > 1 else ""
    maximum = _choose(desired, "memory_max_mb", share, f"{memory} MiB, less {reserve} MiB for everything else{among}")
    high = _choose(
        desired, "memory_high_mb", maximum.value * 9 // 10, "nine tenths of MemoryMax: slowed down before it is killed"
    )
    heap = _choose(
        desired,
        "heap_mb",
        min(maximum.value // 2, _HEAP_MOST_MB),
        f"half of MemoryMax, at most {_HEAP_MOST_MB} MiB; the rest is for what is no heap, and for tools",
    )
    tasks = _choose(
        desired,
        "tasks_max",
        _between(1024, 512 * machine.cores // machine.gateways, _TASKS_MOST),
        f"512 for each of {machine.cores} cores{among}, at least 1024, at most {_TASKS_MOST}",
    )
    return {"memory_max_mb": maximum, "memory_high_mb": high, "heap_mb": heap, "tasks_max": tasks}


def _choose(desired: t.Mapping[str, int] | None, name: str, value: int, reason: str) -> Choice:
    given = (desired or {}).get(name, 0)
    return Choice(given, "as the inventory says") if given else Choice(value, reason)


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))


def judge(machine: Machine, choices: t.Mapping[str, Choice], desired: t.Mapping[str, int]) -> list[OpenClawError]:
    """What of these limits cannot work, with the arithmetic."""
    maximum, high, heap = (choices[name].value for name in ("memory_max_mb", "memory_high_mb", "heap_mb"))
    errors = []

    def refuse(name: str, reason: str, remedy: str) -> None:
        errors.append(OpenClawError(f"tuning_{name} {choices[name].value}", reason, remedy))

    if maximum < START_MB and not desired.get("memory_max_mb"):
        # Everything else follows from this one, and would only be told again in other words.
        reason = (
            f"{choices['memory_max_mb'].reason}, leaves {maximum} MiB for each; a gateway needs {START_MB} MiB to start"
        )
        remedy = "Give the host more memory or fewer gateways, or set tuning_memory_max_mb to share it out otherwise."
        return [OpenClawError("The host's memory", reason, remedy)]
    if maximum > machine.memory_mb:
        refuse(
            "memory_max_mb",
            f"the host has {machine.memory_mb} MiB",
            "Set it to less, or to 0 to have it follow from the host.",
        )
    elif maximum < START_MB:
        refuse(
            "memory_max_mb",
            f"a gateway needs {START_MB} MiB to start",
            f"Set it to {START_MB} or more, or to 0 to have it follow from the host.",
        )
    if high > maximum:
        refuse("memory_high_mb", f"MemoryMax is {maximum} MiB, and acts before it", f"Set it to less than {maximum}.")
    elif high < START_MB * 9 // 10:
        refuse(
            "memory_high_mb",
            f"a gateway needs {START_MB} MiB to start, and would be slowed down to a standstill",
            f"Set it to {START_MB * 9 // 10} or more.",
        )
    if heap + BESIDE_HEAP_MB > maximum:
        refuse(
            "heap_mb",
            f"with {BESIDE_HEAP_MB} MiB that are no heap it makes {heap + BESIDE_HEAP_MB} MiB, and MemoryMax is {maximum} MiB:"
            " the kernel would kill the gateway before V8 collects",
            f"Set it to {max(maximum - BESIDE_HEAP_MB, 0)} or less, or raise tuning_memory_max_mb.",
        )
    elif heap < HEAP_LEAST_MB:
        refuse("heap_mb", f"a gateway needs {HEAP_LEAST_MB} MiB of heap", f"Set it to {HEAP_LEAST_MB} or more.")
    return errors


def out_of_bounds(name: str, value: int, least: int, most: int, reason: str) -> list[OpenClawError]:
    """An error where a value is not within its bounds, both of which still work."""
    if least <= value <= most:
        return []
    return [OpenClawError(f"tuning_{name} {value}", reason, f"Choose a value from {least} to {most}.")]


def heap_of(node_options: str) -> int:
    """The heap, in MiB, that the options of Node.js ask for; 0 where they do not. The last one counts."""
    found = re.findall(r"--max[-_]old[-_]space[-_]size[= ](\d+)", node_options)
    return int(found[-1]) if found else 0


__all__ = (
    "BESIDE_HEAP_MB",
    "HEAP_LEAST_MB",
    "NOFILE_LEAST",
    "START_MB",
    "TASKS_LEAST",
    "Choice",
    "Machine",
    "heap_of",
    "judge",
    "out_of_bounds",
    "size",
)
