# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found out about a host that a gateway is sized for, what of the tuning cannot work there, and what is due."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _host, _preflight, _sizing
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import tuning

SWAP = "/var/openclaw_swap"
PARAMETERS: dict[str, Any] = {
    "limit_nofile": 65535,
    "cpu_weight": 100,
    "oom_score_adjust": 200,
    "swap_path": SWAP,
}
SEEN: dict[str, Any] = {
    "container": False,
    "swap": {"size_mb": 0, "active": False},
    "_swap_used_mb": 0,
    "_disk_free_mb": 9000,
    "_machine": _sizing.Machine(1967, 2),
    "_memory_available_mb": 1500,
    "_open_files_most": 1048576,
    "_sysctl": {},
    "_sysctl_writable": [],
}
USED = {"size_mb": 2048, "active": True}

Ask = Callable[..., tuple[dict[str, Any], list[str], list[str]]]


def run(**changes: Any) -> tuple[dict[str, Any], list[str], list[str]]:
    """Run the check on this host: what it found, errors, warnings."""
    answer = _preflight.run({"tuning": {**PARAMETERS, **changes}}, _host.Host())
    return answer.found.get("tuning", {}), answer.errors, answer.warnings


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask about a small host with other parameters, and other things that are seen there."""

    def ask(desired: dict[str, Any] | None = None, **seen: Any) -> tuple[dict[str, Any], list[str], list[str]]:
        monkeypatch.setattr(tuning, "observe", lambda _host, _params: {**SEEN, **seen})
        return run(**(desired or {}))

    return ask


# ---- what cannot work ----------------------------------------------------------------------------------------


def test_a_good_host_has_its_limits_and_no_finding(ask: Ask) -> None:
    found, errors, warnings = ask()
    assert (errors, warnings) == ([], [])
    assert found["limits"] == {"memory_max_mb": 1708, "memory_high_mb": 1537, "heap_mb": 854, "tasks_max": 1024}
    assert found["reasons"][0] == "MemoryMax 1708 MiB: 1952 MiB, less 244 MiB for everything else"


def test_the_role_is_told_what_it_reads_and_nothing_else(ask: Ask) -> None:
    found, _, _ = ask()
    assert set(found) == {"container", "due", "files", "limits", "reasons", "swap"}
    assert set(found["due"]) == {"phases", "host", "sysctl", "sysctl_before", "swap"}


@pytest.mark.parametrize(
    ("desired", "seen", "error"),
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
            {"_sysctl": {"net.core.nonsense": ""}},
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
            {"swap": {"size_mb": 2000, "active": False}, "_disk_free_mb": 7023},
            f"tuning_swap_mb 8000: {SWAP} would take 6000 MiB",
            id="no-room-for-more-swap",
        ),
        pytest.param({"swap_mb": -1}, {}, "tuning_swap_mb -1: a size is not negative", id="negative-swap"),
        pytest.param(
            {"swap_mb": 0},
            {"swap": USED, "_swap_used_mb": 1501},
            f"The swap file {SWAP}: 1501 MiB of it are in use, and 1500 MiB of memory are free. Stop what takes the memory",
            id="swap-that-is-needed",
        ),
        pytest.param(
            {"state": "absent", "swap_mb": 2048},
            {"swap": USED, "_swap_used_mb": 1501},
            f"The swap file {SWAP}: 1501 MiB of it are in use",
            id="swap-that-is-needed-and-is-to-be-removed",
        ),
        pytest.param(
            {"problems": ["tuning_swap_mb of the inventory hosts a and b: they differ. Give both the same."]},
            {},
            "tuning_swap_mb of the inventory hosts a and b: they differ. Give both the same.",
            id="what-the-controller-has-found",
        ),
        pytest.param({"heap_mb": "much"}, {}, "tuning: argument 'heap_mb' is of type str", id="no-number"),
        pytest.param(
            {"limit_nofile": "many"}, {}, "tuning: argument 'limit_nofile' is of type str", id="no-number-of-files"
        ),
    ],
)
def test_what_cannot_work_is_told_with_the_remedy(
    ask: Ask, desired: dict[str, Any], seen: dict[str, Any], error: str
) -> None:
    _, [told], _ = ask(desired, **seen)
    assert told.startswith(error)


@pytest.mark.parametrize(
    ("desired", "seen"),
    [
        pytest.param({"limit_nofile": 1048576}, {}, id="as-many-files-as-the-kernel-allows"),
        pytest.param({"limit_nofile": 1024, "tasks_max": 256}, {}, id="as-few-as-it-needs"),
        pytest.param({"cpu_quota": 200, "cpu_weight": 10_000, "oom_score_adjust": -1000}, {}, id="at-the-bounds"),
        pytest.param({"oom_score_adjust": 900}, {}, id="a-score-below-that-of-a-tool"),
        pytest.param({"swap_mb": 7976}, {}, id="all-the-room-for-swap"),
        pytest.param(
            {"swap_mb": 8000},
            {"swap": {"size_mb": 2000, "active": False}, "_disk_free_mb": 7024},
            id="the-room-for-more-swap",
        ),
        pytest.param({"environment": {"NODE_OPTIONS": "--max-old-space-size=900"}}, {}, id="a-heap-that-fits"),
        pytest.param({}, {"swap": USED, "_swap_used_mb": 1500}, id="swap-that-memory-can-take"),
        pytest.param({"swap_mb": 2048}, {"swap": USED, "_swap_used_mb": 2000}, id="swap-that-stays"),
        pytest.param(
            {"state": "absent", "manages_host": False},
            {"swap": USED, "_swap_used_mb": 2000},
            id="swap-of-a-gateway-that-stays-on-the-host",
        ),
        pytest.param(
            {"sysctl": {"net.ipv4.ip_local_reserved_ports": ""}},
            {"_sysctl": {"net.ipv4.ip_local_reserved_ports": "\n"}},
            id="a-setting-with-an-empty-value",
        ),
    ],
)
def test_what_just_works_is_no_finding(ask: Ask, desired: dict[str, Any], seen: dict[str, Any]) -> None:
    assert ask(desired, **seen)[1:] == ([], [])


def test_everything_is_told_at_once(ask: Ask) -> None:
    desired = {"heap_mb": 9000, "limit_nofile": 1, "sysctl": {"a.b": 1}, "swap_mb": 99999, "problems": ["first: …"]}
    _, errors, _ = ask(desired, _sysctl={"a.b": ""})
    assert [error.split()[0] for error in errors] == [
        "first:",
        "tuning_heap_mb",
        "tuning_limit_nofile",
        "tuning_sysctl",
        "tuning_swap_mb",
    ]


def test_options_of_node_that_leave_the_heap_to_v8_are_warned_of(ask: Ask) -> None:
    _, errors, [warning] = ask({"environment": {"NODE_OPTIONS": "--trace-warnings"}})
    assert errors == []
    assert warning.startswith("gateway_environment NODE_OPTIONS --trace-warnings: it wins over the options")
    assert warning.endswith("Add --max-old-space-size=<MiB> to it, or remove it.")


def test_what_is_removed_is_not_sized_and_not_judged(ask: Ask) -> None:
    found, errors, warnings = ask(
        {"state": "absent", "heap_mb": 9000, "limit_nofile": 1, "swap_mb": 99999, "sysctl": {"a.b": 1}},
        _sysctl={"a.b": ""},
        _machine=_sizing.Machine(256, 1, 9),
    )
    assert (errors, warnings) == ([], [])
    assert (found["limits"], found["reasons"], found["due"]["sysctl"], found["due"]["phases"]) == ({}, [], [], [])


# ---- settings of the kernel --------------------------------------------------------------------------------

DESIRED = {"net.core.somaxconn": 8192, "vm.swappiness": 10, "fs.file-max": "1  2\t3"}
LIVE = {"net.core.somaxconn": "4096\n", "vm.swappiness": "10\n", "fs.file-max": "1\t2\t3\n"}


def test_only_what_differs_is_due_whatever_white_space_there_is(ask: Ask) -> None:
    found, _, warnings = ask({"sysctl": DESIRED}, _sysctl=LIVE)
    assert found["due"]["sysctl"] == ["net.core.somaxconn=8192"]
    assert found["due"]["sysctl_before"] == ["net.core.somaxconn=4096"]
    assert found["due"]["phases"] == ["kernel"]
    assert warnings == []


def test_settings_are_due_in_their_order_and_so_is_what_they_were(ask: Ask) -> None:
    found, _, _ = ask({"sysctl": {"b.b": 2, "a.a": "1 2"}}, _sysctl={"b.b": "0\n", "a.a": "3\t4\n"})
    assert found["due"]["sysctl"] == ["a.a=1 2", "b.b=2"]
    assert found["due"]["sysctl_before"] == ["a.a=3 4", "b.b=0"]


@pytest.mark.parametrize(("writable", "due"), [(True, ["net.core.somaxconn=8192"]), (False, [])])
def test_a_container_sets_only_what_is_its_own(ask: Ask, writable: bool, due: list[str]) -> None:
    found, errors, [warning] = ask(
        {"sysctl": DESIRED},
        _sysctl={**LIVE, "vm.swappiness": "60\n"},
        _sysctl_writable=[*DESIRED] if writable else [],
        container=True,
    )
    assert errors == []
    assert found["due"]["sysctl"] == due
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
def test_a_setting_is_read_where_the_kernel_shows_it(name: str, path: str) -> None:
    assert tuning.sysctl_path(name) == path


# ---- swap --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("desired", "size", "active", "container", "due"),
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
def test_swap_is_due(ask: Ask, desired: int, size: int, active: bool, container: bool, due: bool) -> None:
    swap = {"size_mb": size, "active": active}
    found, errors, warnings = ask({"swap_mb": desired}, swap=swap, container=container)
    assert errors == []
    assert found["swap"] == swap
    assert found["due"]["phases"] == (["swap"] if due else [])
    use = desired > 0 and not container
    assert found["due"]["swap"] == {"size_mb": desired, "resize": size != desired, "use": use}
    assert [warning.split(":")[0] for warning in warnings] == (["tuning_swap_mb"] if container else [])


def test_swap_is_removed_with_the_tuning(ask: Ask) -> None:
    found, _, _ = ask({"state": "absent", "swap_mb": 2048}, swap=USED)
    assert found["due"]["phases"] == ["swap"]
    assert found["due"]["swap"] == {"size_mb": 0, "resize": True, "use": False}


# ---- gateways on the same host -----------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["present", "absent"])
def test_kernel_and_swap_are_left_to_the_gateway_that_manages_the_host(ask: Ask, state: str) -> None:
    desired = {"state": state, "sysctl": DESIRED, "swap_mb": 64}
    seen = {"_sysctl": {**LIVE, "vm.swappiness": "60\n"}, "swap": USED, "container": True}
    managed, _, warnings = ask(desired, **seen)
    assert managed["due"]["host"] is True
    assert "swap" in managed["due"]["phases"]
    assert len(warnings) == (2 if state == "present" else 0)
    left, errors, warnings = ask({**desired, "manages_host": False}, **seen)
    assert (left["due"]["host"], left["due"]["phases"], errors, warnings) == (False, [], [], [])
    assert left["limits"] == managed["limits"]


def test_gateways_share_the_memory(ask: Ask) -> None:
    found, _, _ = ask(_machine=_sizing.Machine(7910, 4, 2))
    assert found["reasons"][0] == "MemoryMax 3458 MiB: 7904 MiB, less 988 MiB for everything else, shared by 2 gateways"


# ---- this very host ----------------------------------------------------------------------------------------


def test_it_looks_at_this_very_host(tmp_path: Path) -> None:
    (tmp_path / "swap").write_bytes(b"\0" * (3 << 20))
    live = Path("/proc/sys/net/core/somaxconn").read_text().strip()
    found, errors, _ = run(
        swap_path=str(tmp_path / "swap"), sysctl={"net.core.somaxconn": live}, swap_mb=3, gateways=1, limit_nofile=1024
    )
    assert errors == []
    assert found["limits"]["memory_max_mb"] < _host.memory_mb(Path("/proc/meminfo").read_text())
    assert found["due"]["sysctl"] == []
    assert found["swap"] == {"size_mb": 3, "active": False}
    assert found["container"] is Path(tuning.CONTAINER).exists()


def test_every_gateway_counts_on_this_very_host(tmp_path: Path) -> None:
    one, two = (
        run(swap_path=str(tmp_path / "swap"), limit_nofile=1024, gateways=count)[0]["limits"]["memory_max_mb"]
        for count in (1, 2)
    )
    assert two == one // 2


def test_it_describes_the_paths_that_it_is_given(tmp_path: Path) -> None:
    found, _, _ = run(swap_path=str(tmp_path / "swap"), paths=[str(tmp_path / "swap"), str(tmp_path)])
    assert found["files"] == [
        {"path": str(tmp_path / "swap"), "state": "absent"},
        {"path": str(tmp_path), "state": "directory", "mode": "0700"},
    ]


def test_what_this_kernel_refuses_is_told_together(tmp_path: Path) -> None:
    _, errors, _ = run(swap_path=str(tmp_path / "swap"), sysctl={"kernel.nonsense": 1}, cpu_weight=0)
    assert [line.split(":")[0] for line in errors] == ["tuning_cpu_weight 0", "tuning_sysctl kernel.nonsense"]


def test_it_starts_no_process_and_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_process(*_arguments: Any, **_keywords: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    monkeypatch.setattr(os, "system", no_process)
    found, _, _ = run(swap_path=str(tmp_path / "swap"), swap_mb=1)
    assert found["due"]["phases"] == ["swap"]
    assert list(tmp_path.iterdir()) == []
