# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found out about a host that a gateway is sized for, and what of the wishes cannot work there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible.module_utils import basic

from ansible_collections.clawops.openclaw.plugins.module_utils import _host, _sizing
from ansible_collections.clawops.openclaw.plugins.modules import tuning_preflight

if TYPE_CHECKING:
    from ansible_collections.clawops.openclaw.tests.unit.conftest import RunModule

    Run = Callable[..., dict[str, Any]]

SWAP = "/var/openclaw_swap"
PARAMETERS: dict[str, Any] = {
    "state": "present",
    "gateways": 1,
    "memory_max_mb": 0,
    "memory_high_mb": 0,
    "heap_mb": 0,
    "tasks_max": 0,
    "limit_nofile": 65535,
    "cpu_weight": 100,
    "cpu_quota": 0,
    "oom_score_adjust": 200,
    "environment": {},
    "sysctl": {},
    "swap_mb": 0,
    "swap_path": SWAP,
}
SEEN: dict[str, Any] = {
    "machine": _sizing.Machine(1967, 2),
    "memory_available_mb": 1500,
    "container": False,
    "open_files_most": 1048576,
    "sysctl": {},
    "disk_free_mb": 9000,
    "swap_size_mb": 0,
    "swap_active": False,
    "swap_used_mb": 0,
}


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ask about a small host with other wishes, and other things that are seen there: answer, errors, warnings."""

    def ask(wishes: dict[str, Any] | None = None, **seen: Any) -> tuple[dict[str, Any], list[str], list[str]]:
        monkeypatch.setattr(tuning_preflight, "observe", lambda _params: {**SEEN, **seen})
        result, errors, warnings = tuning_preflight.answer({**PARAMETERS, **(wishes or {})})
        return result, [str(error) for error in errors], [str(warning) for warning in warnings]

    return ask


# ---- what speaks against a wish ------------------------------------------------------------------------------


def test_a_good_host_is_not_spoken_about(ask: Any) -> None:
    result, errors, warnings = ask()
    assert (errors, warnings) == ([], [])
    assert result["limits"] == {"memory_max_mb": 1708, "memory_high_mb": 1537, "heap_mb": 854, "tasks_max": 1024}
    assert result["reasons"][0] == "MemoryMax 1708 MiB: 1952 MiB, less 244 MiB for everything else"


@pytest.mark.parametrize(
    ("wishes", "seen", "error"),
    [
        pytest.param(
            {"limit_nofile": 2_000_000},
            {},
            "tuning_limit_nofile 2000000: the kernel's fs.nr_open is 1048576. Choose a value from 1024 to 1048576.",
            id="more-files-than-the-kernel-allows",
        ),
        pytest.param({"limit_nofile": 100}, {}, "tuning_limit_nofile 100: ", id="few-files"),
        pytest.param({"tasks_max": 20}, {}, "tuning_tasks_max 20: a gateway with its tools needs room", id="few-tasks"),
        pytest.param({"cpu_weight": 0}, {}, "tuning_cpu_weight 0: ", id="no-weight"),
        pytest.param(
            {"cpu_quota": 300},
            {},
            "tuning_cpu_quota 300: 2 cores are 200 percent. Choose a value from 0 to 200.",
            id="more-processor-than-there-is",
        ),
        pytest.param(
            {"oom_score_adjust": 901},
            {},
            "tuning_oom_score_adjust 901: OpenClaw's tools have 1000",
            id="score-of-a-tool",
        ),
        pytest.param(
            {"heap_mb": 4096}, {}, "tuning_heap_mb 4096: with 450 MiB that are no heap", id="heap-above-the-memory"
        ),
        pytest.param(
            {"environment": {"NODE_OPTIONS": "--max-old-space-size=4096"}},
            {},
            "tuning_heap_mb 4096: with 450 MiB that are no heap",
            id="heap-of-the-environment",
        ),
        pytest.param(
            {"heap_mb": 800, "environment": {"NODE_OPTIONS": "--trace-warnings"}},
            {},
            "gateway_environment NODE_OPTIONS --trace-warnings: it wins over tuning_heap_mb 800. Remove one of the two.",
            id="heap-that-the-environment-wins-over",
        ),
        pytest.param(
            {"sysctl": {"net.core.nonsense": 1}},
            {"sysctl": {"net.core.nonsense": ""}},
            "tuning_sysctl net.core.nonsense: this kernel has no such setting. Correct the name (sysctl -a), or remove it.",
            id="unknown-setting",
        ),
        pytest.param(
            {"swap_mb": 8000},
            {},
            f"tuning_swap_mb 8000: {SWAP} would take 8000 MiB, and 9000 MiB are free, of which 1024 MiB stay free. "
            "Free some space, or ask for 7976 or less.",
            id="no-room-for-swap",
        ),
        pytest.param(
            {"swap_mb": 8000},
            {"swap_size_mb": 2000, "disk_free_mb": 7023},
            f"tuning_swap_mb 8000: {SWAP} would take 6000 MiB",
            id="no-room-for-more-swap",
        ),
        pytest.param({"swap_mb": -1}, {}, "tuning_swap_mb -1: a size is not negative", id="negative-swap"),
        pytest.param(
            {"swap_mb": 0},
            {"swap_size_mb": 2048, "swap_active": True, "swap_used_mb": 1501},
            f"The swap file {SWAP}: 1501 MiB of it are in use, and 1500 MiB of memory are free. Stop what takes the memory",
            id="swap-that-is-needed",
        ),
    ],
)
def test_what_cannot_work_is_told_with_the_remedy(
    ask: Any, wishes: dict[str, Any], seen: dict[str, Any], error: str
) -> None:
    _, [told], _ = ask(wishes, **seen)
    assert told.startswith(error)


@pytest.mark.parametrize(
    ("wishes", "seen"),
    [
        pytest.param({"limit_nofile": 1048576}, {}, id="as-many-files-as-the-kernel-allows"),
        pytest.param({"limit_nofile": 1024, "tasks_max": 256}, {}, id="as-few-as-it-needs"),
        pytest.param({"cpu_quota": 200, "cpu_weight": 10_000, "oom_score_adjust": -1000}, {}, id="at-the-bounds"),
        pytest.param({"oom_score_adjust": 900}, {}, id="a-score-below-that-of-a-tool"),
        pytest.param({"swap_mb": 7976}, {}, id="all-the-room-for-swap"),
        pytest.param({"swap_mb": 8000}, {"swap_size_mb": 2000, "disk_free_mb": 7024}, id="the-room-for-more-swap"),
        pytest.param({"environment": {"NODE_OPTIONS": "--max-old-space-size=900"}}, {}, id="a-heap-that-fits"),
        pytest.param(
            {}, {"swap_size_mb": 2048, "swap_active": True, "swap_used_mb": 1500}, id="swap-that-memory-can-take"
        ),
        pytest.param(
            {"swap_mb": 2048}, {"swap_size_mb": 2048, "swap_active": True, "swap_used_mb": 2000}, id="swap-that-stays"
        ),
    ],
)
def test_what_just_works_is_not_spoken_about(ask: Any, wishes: dict[str, Any], seen: dict[str, Any]) -> None:
    assert ask(wishes, **seen)[1:] == ([], [])


def test_everything_is_said_at_once(ask: Any) -> None:
    wishes = {"heap_mb": 9000, "limit_nofile": 1, "sysctl": {"a.b": 1}, "swap_mb": 99999}
    _, errors, _ = ask(wishes, sysctl={"a.b": ""})
    assert [error.split()[0] for error in errors] == [
        "tuning_heap_mb",
        "tuning_limit_nofile",
        "tuning_sysctl",
        "tuning_swap_mb",
    ]


def test_options_of_node_that_leave_the_heap_to_v8_are_warned_of(ask: Any) -> None:
    _, errors, [warning] = ask({"environment": {"NODE_OPTIONS": "--trace-warnings"}})
    assert errors == []
    assert warning.startswith("gateway_environment NODE_OPTIONS --trace-warnings: it wins over the options")
    assert warning.endswith("Add --max-old-space-size=<MiB> to it, or remove it.")


def test_what_is_taken_away_is_not_sized_and_not_judged(ask: Any) -> None:
    result, errors, warnings = ask(
        {"state": "absent", "heap_mb": 9000, "limit_nofile": 1, "swap_mb": 99999, "sysctl": {"a.b": 1}},
        sysctl={"a.b": ""},
        machine=_sizing.Machine(256, 1, 9),
    )
    assert (errors, warnings) == ([], [])
    assert (result["limits"], result["sysctl_due"], result["swap"]["due"]) == ({}, {}, False)


# ---- settings of the kernel --------------------------------------------------------------------------------

WISHED = {"net.core.somaxconn": 8192, "vm.swappiness": 10, "fs.file-max": "1  2\t3"}
LIVE = {"net.core.somaxconn": "4096\n", "vm.swappiness": "10\n", "fs.file-max": "1\t2\t3\n"}


def test_only_what_differs_is_due_whatever_white_space_there_is(ask: Any) -> None:
    result, _, warnings = ask({"sysctl": WISHED}, sysctl=LIVE)
    assert (result["sysctl_due"], result["sysctl_live"]) == (
        {"net.core.somaxconn": "8192"},
        {"net.core.somaxconn": "4096"},
    )
    assert warnings == []


@pytest.mark.parametrize(("writable", "due"), [(True, {"net.core.somaxconn": "8192"}), (False, {})])
def test_a_container_sets_only_what_is_its_own(
    ask: Any, monkeypatch: pytest.MonkeyPatch, writable: bool, due: dict[str, str]
) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: writable)
    result, errors, [warning] = ask({"sysctl": WISHED}, sysctl={**LIVE, "vm.swappiness": "60\n"}, container=True)
    assert errors == []
    assert result["sysctl_due"] == due
    assert "vm.swappiness (60, not 10)" in warning
    assert ("net.core.somaxconn (4096, not 8192)" in warning) is not writable
    assert warning.endswith("They are written, not applied: set them on the machine around it.")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.core.somaxconn", "/proc/sys/net/core/somaxconn"),
        ("net.ipv4.conf.eth0/100.forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
    ],
)
def test_a_setting_stands_where_the_kernel_shows_it(name: str, path: str) -> None:
    assert tuning_preflight.sysctl_path(name) == path


# ---- swap --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "size", "active", "container", "due"),
    [
        pytest.param(0, 0, False, False, False, id="none"),
        pytest.param(512, 0, False, False, True, id="to-be-made"),
        pytest.param(512, 512, True, False, False, id="made"),
        pytest.param(512, 512, False, False, True, id="not-in-use"),
        pytest.param(512, 256, True, False, True, id="another-size"),
        pytest.param(0, 512, True, False, True, id="to-be-removed"),
        pytest.param(512, 512, False, True, False, id="prepared-in-a-container"),
        pytest.param(512, 0, False, True, True, id="to-be-prepared-in-a-container"),
    ],
)
def test_swap_is_due(ask: Any, wish: int, size: int, active: bool, container: bool, due: bool) -> None:
    result, errors, warnings = ask({"swap_mb": wish}, swap_size_mb=size, swap_active=active, container=container)
    assert errors == []
    assert result["swap"] == {"size_mb": size, "active": active, "due": due}
    assert [warning.split(":")[0] for warning in warnings] == (["tuning_swap_mb"] if container else [])


# ---- the module --------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the module on this host; its warnings are added to its answer."""
    warnings: list[str] = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _module, warning: warnings.append(warning))

    def run(**changes: Any) -> dict[str, Any]:
        warnings.clear()
        given = {**PARAMETERS, "swap_path": str(tmp_path / "swap"), **changes}
        return {**run_module(tuning_preflight.main, **given), "warnings": warnings}

    return run


def test_it_answers_what_it_promises(run: Run) -> None:
    result = run()
    promised = yaml.safe_load(tuning_preflight.RETURN)
    types = {"list": list, "str": str, "bool": bool, "int": int, "dict": dict}
    assert {name: types[entry["type"]] for name, entry in promised.items()} == {
        name: type(result[name]) for name in promised
    }


def test_it_looks_at_this_very_host(run: Run, tmp_path: Path) -> None:
    (tmp_path / "swap").write_bytes(b"\0" * (3 << 20))
    live = Path("/proc/sys/net/core/somaxconn").read_text().strip()
    result = run(sysctl={"net.core.somaxconn": live}, swap_mb=3)
    assert result["limits"]["memory_max_mb"] < _host.memory_mb(Path("/proc/meminfo").read_text())
    assert result["sysctl_due"] == {}
    assert result["swap"]["size_mb"] == 3
    assert result["container"] is Path(tuning_preflight.CONTAINER).exists()


def test_it_describes_the_paths_that_it_is_given(run: Run, tmp_path: Path) -> None:
    assert run(paths=[str(tmp_path / "swap"), str(tmp_path)])["found"] == [
        {"path": str(tmp_path / "swap"), "state": "absent"},
        {"path": str(tmp_path), "state": "directory", "mode": "0700"},
    ]


def test_every_error_is_told_and_what_was_seen_too(run: Run) -> None:
    result = run(sysctl={"kernel.nonsense": 1}, cpu_weight=0)
    assert result["failed"] is True
    assert [line.split(":")[0] for line in result["msg"].splitlines()] == [
        "tuning_cpu_weight 0",
        "tuning_sysctl kernel.nonsense",
    ]
    assert result["limits"]["tasks_max"] >= 1024


def test_warnings_are_told(run: Run) -> None:
    assert len(run(environment={"NODE_OPTIONS": "--x"}, sysctl={})["warnings"]) == 1


def test_it_starts_no_process_and_changes_nothing(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_process(*_arguments: Any, **_keywords: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    for mode in (False, True):
        assert run(_ansible_check_mode=mode, swap_mb=1)["changed"] is False
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["heap_mb", "cpu_quota", "limit_nofile"])
def test_what_is_no_number_is_refused(run: Run, name: str) -> None:
    result = run(**{name: "much"})
    assert result["failed"] is True
    assert name in result["msg"]


def test_the_documented_options_are_those_that_it_takes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, Any] = {}
    init = basic.AnsibleModule.__init__

    def noted(self: Any, argument_spec: dict[str, Any], **options: Any) -> None:
        taken.update(argument_spec)
        init(self, argument_spec, **options)

    def plain(options: dict[str, Any]) -> dict[str, Any]:
        compared = ("type", "default", "required", "choices", "elements")
        return {name: {key: option.get(key) for key in compared} for name, option in options.items()}

    monkeypatch.setattr(basic.AnsibleModule, "__init__", noted)
    run()
    assert plain(yaml.safe_load(tuning_preflight.DOCUMENTATION)["options"]) == plain(taken)


def test_the_example_is_one_that_the_module_takes(run_module: RunModule) -> None:
    [task] = yaml.safe_load(tuning_preflight.EXAMPLES)
    assert "limits" in run_module(tuning_preflight.main, **task["clawops.openclaw.tuning_preflight"])
