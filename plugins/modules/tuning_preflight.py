#!/usr/bin/python
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tuning_preflight
short_description: Sizes the limits of a gateway from its host, and refuses what cannot work
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Reads memory, cores, swap, free space and kernel settings of the host, in one call, and changes nothing.
  - Answers with the limits that follow from them, why they are what they are, and what on the host is not yet as wished.
  - Fails, with every finding at once, where a wished value cannot work on this host. Starts no process.
attributes:
  check_mode:
    description: Can run in check mode and return what it would return otherwise.
    support: full
  diff_mode:
    description: Changes nothing, so has no difference to show.
    support: none
options:
  state:
    description: With V(absent), nothing is sized, and only what taking the swap away needs is judged.
    type: str
    choices: [present, absent]
    default: present
  gateways:
    description: How many gateways share the host.
    type: int
    default: 1
  memory_max_mb:
    description: The wished C(MemoryMax) in MiB; 0 has it follow from the host.
    type: int
    default: 0
  memory_high_mb:
    description: The wished C(MemoryHigh) in MiB; 0 has it follow from C(MemoryMax).
    type: int
    default: 0
  heap_mb:
    description: The wished heap of V8 in MiB; 0 has it follow from C(MemoryMax).
    type: int
    default: 0
  tasks_max:
    description: The wished number of processes and threads; 0 has it follow from the cores.
    type: int
    default: 0
  limit_nofile:
    description: The wished number of open files.
    type: int
    required: true
  cpu_weight:
    description: The wished C(CPUWeight).
    type: int
    required: true
  cpu_quota:
    description: The wished C(CPUQuota) in percent of one core; 0 for none.
    type: int
    default: 0
  oom_score_adjust:
    description: The wished C(OOMScoreAdjust).
    type: int
    required: true
  environment:
    description: Variables that the gateway gets from elsewhere, which win over those of a drop-in.
    type: dict
    default: {}
  sysctl:
    description: The wished kernel settings by name.
    type: dict
    default: {}
  swap_mb:
    description: The wished size of the swap file in MiB; 0 for none.
    type: int
    default: 0
  swap_path:
    description: Where the swap file is.
    type: path
    required: true
  paths:
    description: Paths to describe, so that a caller can tell whether they are as wished.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: preflight | Size the gateway from its host
  clawops.openclaw.tuning_preflight:
    limit_nofile: 65535
    cpu_weight: 100
    oom_score_adjust: 100
    sysctl: {net.core.somaxconn: 4096}
    swap_path: /var/openclaw_swap
  register: preflight
"""

RETURN = r"""
state:
  description: What was asked for in O(state).
  type: str
  returned: always
limits:
  description: The limits by name, in the unit of their options; empty with O(state=absent).
  type: dict
  returned: always
reasons:
  description: A sentence for each of RV(limits) and for what else was found out.
  type: list
  elements: str
  returned: always
container:
  description: Whether the host is a container, whose kernel belongs to the machine outside.
  type: bool
  returned: always
sysctl_due:
  description: Kernel settings that are not in force yet and that this host may set.
  type: dict
  returned: always
sysctl_live:
  description: What those are now.
  type: dict
  returned: always
swap:
  description: Size of the swap file in MiB, whether the kernel uses it, and whether that is not yet as wished.
  type: dict
  returned: always
found:
  description:
    - What stands at each of O(paths), as an entry of M(clawops.openclaw.file_set) that would make it so.
    - Owner C(root), group C(root) and mode C(0644), of a directory C(0755), are left out.
  type: list
  elements: dict
  returned: success
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _files, _host, _sizing
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

CONTAINER = "/run/systemd/container"
SYSCTL = "/proc/sys"
# What the disk keeps for everything else, in MiB.
DISK_RESERVE_MB = 1024
SIZED = ("memory_max_mb", "memory_high_mb", "heap_mb", "tasks_max")


def observe(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What this host is, and what of the wishes it has already."""
    meminfo = _host.read_text("/proc/meminfo")
    path = params["swap_path"]
    active = _host.swaps(_host.read_text("/proc/swaps")).get(path)
    return {
        "machine": _sizing.Machine(_host.memory_mb(meminfo), len(os.sched_getaffinity(0)), params["gateways"]),
        "memory_available_mb": _host.memory_mb(meminfo, "MemAvailable"),
        "container": os.path.exists(CONTAINER),
        "open_files_most": int(_host.read_text(f"{SYSCTL}/fs/nr_open") or 2**20),
        "sysctl": {name: _host.read_text(sysctl_path(name)) for name in params["sysctl"]},
        "disk_free_mb": _host.free_mb(path),
        "swap_size_mb": os.stat(path).st_size >> 20 if os.path.isfile(path) else 0,
        "swap_active": active is not None,
        "swap_used_mb": active or 0,
    }


def sysctl_path(name: str) -> str:
    """Where the kernel shows a setting. A name with a slash is none of ours, so it leads nowhere."""
    return os.path.join(SYSCTL, name.replace("/", "\0").replace(".", "/").replace("\0", "."))


def wished_limits(params: t.Mapping[str, t.Any]) -> dict[str, int]:
    """The limits that the inventory sets, be it by an option of Node.js."""
    wishes = {name: params[name] for name in SIZED}
    heap = _sizing.heap_of(str(params["environment"].get("NODE_OPTIONS", "")))
    return {**wishes, "heap_mb": heap or wishes["heap_mb"]}


def judge_limits(
    params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any], choices: t.Mapping[str, _sizing.Choice]
) -> list[OpenClawError]:
    """What of the limits cannot work here."""
    machine = seen["machine"]
    errors = _sizing.judge(machine, choices, wished_limits(params))
    files, cores = seen["open_files_most"], machine.cores
    bounds = (
        ("tasks_max", choices["tasks_max"].value, _sizing.TASKS_LEAST, 2**22, "a gateway with its tools needs room"),
        ("limit_nofile", params["limit_nofile"], _sizing.NOFILE_LEAST, files, f"the kernel's fs.nr_open is {files}"),
        ("cpu_weight", params["cpu_weight"], 1, 10_000, "systemd takes no such weight"),
        ("cpu_quota", params["cpu_quota"], 0, 100 * cores, f"{cores} cores are {100 * cores} percent"),
        ("oom_score_adjust", params["oom_score_adjust"], -1000, 900, "OpenClaw's tools have 1000, and go before it"),
    )
    return errors + [error for bound in bounds for error in _sizing.out_of_bounds(*bound)]


def judge_environment(params: t.Mapping[str, t.Any]) -> tuple[list[OpenClawError], list[OpenClawError]]:
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


def judge_sysctl(params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]) -> list[OpenClawError]:
    """Kernel settings that this kernel has not."""
    return [
        OpenClawError(
            f"tuning_sysctl {name}", "this kernel has no such setting", "Correct the name (sysctl -a), or remove it."
        )
        for name, live in seen["sysctl"].items()
        if live == ""
    ]


def judge_swap(params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]) -> list[OpenClawError]:
    """What speaks against making, enlarging or taking away the swap file."""
    path, wish, size = params["swap_path"], wished_swap(params), seen["swap_size_mb"]
    if wish < 0:
        return _sizing.out_of_bounds("swap_mb", wish, 0, seen["disk_free_mb"], "a size is not negative")
    more, free = wish - size, seen["disk_free_mb"] - DISK_RESERVE_MB
    if more > 0 and more > free:
        reason = f"{path} would take {more} MiB, and {seen['disk_free_mb']} MiB are free, of which {DISK_RESERVE_MB} MiB stay free"
        return [
            OpenClawError(
                f"tuning_swap_mb {wish}", reason, f"Free some space, or ask for {max(size + free, 0)} or less."
            )
        ]
    if wish != size and seen["swap_used_mb"] > seen["memory_available_mb"]:
        reason = (
            f"{seen['swap_used_mb']} MiB of it are in use, and {seen['memory_available_mb']} MiB of memory are free"
        )
        return [OpenClawError(f"The swap file {path}", reason, "Stop what takes the memory, then run again.")]
    return []


def wished_swap(params: t.Mapping[str, t.Any]) -> int:
    return int(params["swap_mb"]) if params["state"] == "present" else 0


def sysctl_due(
    params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]
) -> tuple[dict[str, str], list[OpenClawError]]:
    """What is to be set now, and what only the machine around this container could set."""
    due: dict[str, str] = {}
    foreign = []
    for name, live in seen["sysctl"].items():
        wish = " ".join(str(params["sysctl"][name]).split())
        if wish == " ".join(live.split()):
            continue
        # Of a container's kernel, only the network is its own.
        if seen["container"] and not (name.startswith("net.") and os.access(sysctl_path(name), os.W_OK)):
            foreign.append(f"{name} ({' '.join(live.split())}, not {wish})")
        else:
            due[name] = wish
    if not foreign:
        return due, []
    remedy = "They are written, not applied: set them on the machine around it."
    return due, [OpenClawError("This container", f"its kernel is not its own: {', '.join(foreign)}", remedy)]


def sentences(choices: t.Mapping[str, _sizing.Choice]) -> list[str]:
    names = {
        "memory_max_mb": "MemoryMax {} MiB",
        "memory_high_mb": "MemoryHigh {} MiB",
        "heap_mb": "heap {} MiB",
        "tasks_max": "TasksMax {}",
    }
    return [f"{names[name].format(choice.value)}: {choice.reason}" for name, choice in choices.items()]


def answer(params: t.Mapping[str, t.Any]) -> tuple[dict[str, t.Any], list[OpenClawError], list[OpenClawError]]:
    """What the role goes on with, what cannot work, and what the operator should know."""
    seen = observe(params)
    result: dict[str, t.Any] = {"state": params["state"], "limits": {}, "reasons": [], "sysctl_due": {}}
    errors, warnings = judge_swap(params, seen), []
    if params["state"] == "present":
        choices = _sizing.size(seen["machine"], wished_limits(params))
        result.update(limits={name: choice.value for name, choice in choices.items()}, reasons=sentences(choices))
        result["sysctl_due"], foreign = sysctl_due(params, seen)
        contradictions, overruled = judge_environment(params)
        errors = judge_limits(params, seen, choices) + contradictions + judge_sysctl(params, seen) + errors
        warnings = overruled + foreign
    if wished_swap(params) and seen["container"]:
        remedy = "File and unit are prepared, not used: set up swap on the machine around it."
        warnings.append(OpenClawError("tuning_swap_mb", "a container cannot swap by itself", remedy))
    wished_active = wished_swap(params) > 0 and not seen["container"]
    result["swap"] = {
        "size_mb": seen["swap_size_mb"],
        "active": seen["swap_active"],
        "due": seen["swap_size_mb"] != wished_swap(params) or seen["swap_active"] != wished_active,
    }
    result["sysctl_live"] = {name: " ".join(seen["sysctl"][name].split()) for name in result["sysctl_due"]}
    return {**result, "container": seen["container"]}, errors, warnings


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "gateways": {"type": "int", "default": 1},
            **{name: {"type": "int", "default": 0} for name in (*SIZED, "cpu_quota", "swap_mb")},
            **{name: {"type": "int", "required": True} for name in ("limit_nofile", "cpu_weight", "oom_score_adjust")},
            "environment": {"type": "dict", "default": {}},
            "sysctl": {"type": "dict", "default": {}},
            "swap_path": {"type": "path", "required": True},
            "paths": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    result, errors, warnings = answer(module.params)
    result["found"] = [_files.describe(path) for path in module.params["paths"]]
    for warning in warnings:
        module.warn(str(warning))
    if errors:
        del result["found"]  # whole files, which would bury the message
        module.fail_json(msg="\n".join(map(str, errors)), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
