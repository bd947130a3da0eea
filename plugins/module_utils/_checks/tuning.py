# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""The limits of a gateway, as they follow from its host, and what of the tuning cannot work there."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _files, _host, _sizing
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import Finding, OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host

OPTIONS: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    # What the controller has found: ready sentences.
    "problems": {"type": "list", "elements": "str", "default": []},
    # How many gateways share the host.
    "gateways": {"type": "int", "default": 1},
    # Whether kernel settings and swap, which belong to the host, are set or removed for this one of its gateways.
    "manages_host": {"type": "bool", "default": True},
    # MemoryMax and MemoryHigh, and the heap of V8, in MiB; 0: it follows from the host.
    "memory_max_mb": {"type": "int", "default": 0},
    "memory_high_mb": {"type": "int", "default": 0},
    "heap_mb": {"type": "int", "default": 0},
    # Processes and threads; 0: it follows from the cores.
    "tasks_max": {"type": "int", "default": 0},
    # Open files.
    "limit_nofile": {"type": "int", "required": True},
    "cpu_weight": {"type": "int", "required": True},
    # Percent of one core; 0: no limit.
    "cpu_quota": {"type": "int", "default": 0},
    "oom_score_adjust": {"type": "int", "required": True},
    # Variables that the gateway gets from elsewhere, which win over those of a drop-in.
    "environment": {"type": "dict", "default": {}},
    # Kernel settings by name.
    "sysctl": {"type": "dict", "default": {}},
    # MiB; 0: no swap file.
    "swap_mb": {"type": "int", "default": 0},
    "swap_path": {"type": "path", "required": True},
    # Paths to describe, so that the role can tell whether its files are in sync: their content follows from the limits.
    "paths": {"type": "list", "elements": "path", "default": []},
}

CONTAINER = "/run/systemd/container"
SYSCTL = "/proc/sys"
# What the disk keeps for everything else, in MiB.
DISK_RESERVE_MB = 1024
SIZED = ("memory_max_mb", "memory_high_mb", "heap_mb", "tasks_max")

Params = t.Mapping[str, t.Any]
Seen = t.Mapping[str, t.Any]


def look(host: Host, params: Params) -> dict[str, t.Any]:
    """What this host is and has, and the limits that follow from it."""
    seen = observe(host, params)
    choices = _sizing.size(seen["_machine"], desired_limits(params)) if params["state"] == "present" else {}
    return {
        **seen,
        "_choices": choices,
        "limits": {name: choice.value for name, choice in choices.items()},
        "reasons": sentences(choices),
        "files": [_files.describe(path) for path in params["paths"]],
    }


def observe(host: Host, params: Params) -> dict[str, t.Any]:
    """What this host is and has."""
    path = params["swap_path"]
    active = _host.swaps(host.text("/proc/swaps")).get(path)
    return {
        "container": os.path.exists(CONTAINER),
        "swap": {"size_mb": os.stat(path).st_size >> 20 if os.path.isfile(path) else 0, "active": active is not None},
        "_swap_used_mb": active or 0,
        "_disk_free_mb": _host.free_mb(path),
        "_machine": _sizing.Machine(host.memory_mb, len(os.sched_getaffinity(0)), params["gateways"]),
        "_memory_available_mb": _host.memory_mb(host.text("/proc/meminfo"), "MemAvailable"),
        "_open_files_most": int(host.text(f"{SYSCTL}/fs/nr_open") or 2**20),
        "_sysctl": {name: host.text(sysctl_path(name)) for name in params["sysctl"]},
        "_sysctl_writable": [name for name in params["sysctl"] if os.access(sysctl_path(name), os.W_OK)],
    }


def sysctl_path(name: str) -> str:
    """Where the kernel shows a setting. As sysctl has it, a slash in the name is a dot in the path."""
    return os.path.join(SYSCTL, name.replace("/", "\0").replace(".", "/").replace("\0", "."))


def sentences(choices: t.Mapping[str, _sizing.Choice]) -> list[str]:
    """The limits with their reasons."""
    names = {
        "memory_max_mb": "MemoryMax {} MiB",
        "memory_high_mb": "MemoryHigh {} MiB",
        "heap_mb": "heap {} MiB",
        "tasks_max": "TasksMax {}",
    }
    return [f"{names[name].format(choice.value)}: {choice.reason}" for name, choice in choices.items()]


def judge(params: Params, seen: Seen) -> tuple[list[OpenClawError], list[OpenClawError]]:
    """What cannot work on this host, and what the operator should know."""
    errors: list[OpenClawError] = [*map(Finding, params["problems"])]
    warnings: list[OpenClawError] = []
    if params["state"] == "present":
        conflicts, overruled = judge_environment(params)
        errors += judge_limits(params, seen) + conflicts + judge_sysctl(seen)
        warnings += overruled + warn_of_container(params, seen)
    return errors + judge_swap(params, seen), warnings


def judge_limits(params: Params, seen: Seen) -> list[OpenClawError]:
    """What of the limits cannot work here."""
    machine, choices = seen["_machine"], seen["_choices"]
    errors = _sizing.judge(machine, choices, desired_limits(params))
    files, cores = seen["_open_files_most"], machine.cores
    bounds = (
        ("tasks_max", choices["tasks_max"].value, _sizing.TASKS_LEAST, 2**22, "a gateway with its tools needs room"),
        ("limit_nofile", params["limit_nofile"], _sizing.NOFILE_LEAST, files, f"the kernel's fs.nr_open is {files}"),
        ("cpu_weight", params["cpu_weight"], 1, 10_000, "systemd takes no such weight"),
        ("cpu_quota", params["cpu_quota"], 0, 100 * cores, f"{cores} cores are {100 * cores} percent"),
        ("oom_score_adjust", params["oom_score_adjust"], -1000, 900, "OpenClaw's tools have 1000, and go before it"),
    )
    return errors + [error for bound in bounds for error in _sizing.out_of_bounds(*bound)]


def desired_limits(params: Params) -> dict[str, int]:
    """The limits that the inventory sets, be it by an option of Node.js."""
    desired = {name: params[name] for name in SIZED}
    heap = _sizing.heap_of(str(params["environment"].get("NODE_OPTIONS", "")))
    return {**desired, "heap_mb": heap or desired["heap_mb"]}


def judge_environment(params: Params) -> tuple[list[OpenClawError], list[OpenClawError]]:
    """What gateway_environment takes out of this role's hands: errors and warnings."""
    options = params["environment"].get("NODE_OPTIONS")
    if options is None:
        return [], []
    subject = f"gateway_environment NODE_OPTIONS {options}"
    if params["heap_mb"]:
        reason = f"it wins over tuning_heap_mb {params['heap_mb']}"
        return [OpenClawError(subject, reason, "Remove one of the two.")], []
    if _sizing.heap_of(str(options)):
        return [], []
    reason = "it wins over the options that the role tuning sets, and leaves the heap to V8"
    return [], [OpenClawError(subject, reason, "Add --max-old-space-size=<MiB> to it, or remove it.")]


def judge_sysctl(seen: Seen) -> list[OpenClawError]:
    """Settings that this kernel does not have."""
    return [
        OpenClawError(
            f"tuning_sysctl {name}", "this kernel has no such setting", "Correct the name (sysctl -a), or remove it."
        )
        for name, live in seen["_sysctl"].items()
        if live == ""
    ]


def warn_of_container(params: Params, seen: Seen) -> list[OpenClawError]:
    """What only the machine around this container could set."""
    if not seen["container"] or not params["manages_host"]:
        return []
    warnings = []
    _, foreign = unset_sysctl(params, seen)
    if foreign:
        settings = ", ".join(f"{name} ({plain(seen['_sysctl'][name])}, not {value})" for name, value in foreign.items())
        remedy = "They are written, not applied: set them on the machine around it."
        warnings.append(OpenClawError("This container", f"its kernel is not its own: {settings}", remedy))
    if desired_swap(params):
        remedy = "File and unit are prepared, not used: set up swap on the machine around it."
        warnings.append(OpenClawError("tuning_swap_mb", "a container cannot swap by itself", remedy))
    return warnings


def unset_sysctl(params: Params, seen: Seen) -> tuple[dict[str, str], dict[str, str]]:
    """The settings that are not in force yet: those that this host may set, and those that it may not."""
    desired = {name: plain(value) for name, value in params["sysctl"].items()}
    unset = {name: value for name, value in desired.items() if value != plain(seen["_sysctl"][name])}
    # Of a container's kernel, only the network is its own.
    own = {
        name: value
        for name, value in unset.items()
        if not seen["container"] or (name.startswith("net.") and name in seen["_sysctl_writable"])
    }
    return own, {name: value for name, value in unset.items() if name not in own}


def plain(value: t.Any) -> str:
    """A value of a kernel setting, with one blank where the kernel or the inventory has other white space."""
    return " ".join(str(value).split())


def judge_swap(params: Params, seen: Seen) -> list[OpenClawError]:
    """What prevents the swap file from being made, enlarged or removed."""
    if not params["manages_host"]:
        return []
    path, desired, size = params["swap_path"], desired_swap(params), seen["swap"]["size_mb"]
    if desired < 0:
        return _sizing.out_of_bounds("swap_mb", desired, 0, seen["_disk_free_mb"], "a size is not negative")
    more, free = desired - size, seen["_disk_free_mb"] - DISK_RESERVE_MB
    if more > 0 and more > free:
        reason = (
            f"{path} would take {more} MiB, and {seen['_disk_free_mb']} MiB are free,"
            f" of which {DISK_RESERVE_MB} MiB stay free"
        )
        remedy = f"Free some space, or ask for {max(size + free, 0)} or less."
        return [OpenClawError(f"tuning_swap_mb {desired}", reason, remedy)]
    if desired != size and seen["_swap_used_mb"] > seen["_memory_available_mb"]:
        reason = (
            f"{seen['_swap_used_mb']} MiB of it are in use, and {seen['_memory_available_mb']} MiB of memory are free"
        )
        return [OpenClawError(f"The swap file {path}", reason, "Stop what takes the memory, then run again.")]
    return []


def desired_swap(params: Params) -> int:
    """The size of the swap file in MiB."""
    return int(params["swap_mb"]) if params["state"] == "present" else 0


def due(params: Params, seen: Seen) -> dict[str, t.Any]:
    """The phases of the host; whether files are to be written, the role finds out with their content."""
    settings = unset_sysctl(params, seen)[0] if params["state"] == "present" else {}
    desired, swap = desired_swap(params), seen["swap"]
    resize = swap["size_mb"] != desired
    # A container cannot swap by itself.
    in_use = desired > 0 and not seen["container"]
    phases = (("kernel", bool(settings)), ("swap", resize or swap["active"] != in_use))
    return {
        "phases": [phase for phase, is_due in phases if is_due and params["manages_host"]],
        "host": params["manages_host"],
        # As sysctl takes them: what to set, and what it was.
        "sysctl": [f"{name}={value}" for name, value in sorted(settings.items())],
        "sysctl_before": [f"{name}={plain(seen['_sysctl'][name])}" for name in sorted(settings)],
        "swap": {"size_mb": desired, "resize": resize, "use": in_use},
    }


__all__ = ("OPTIONS", "due", "judge", "look")
