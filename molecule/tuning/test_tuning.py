# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role tuning: the limits are those of the process that runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

UNIT = "openclaw-gateway.service"


@pytest.fixture
def process(host: Any) -> str:
    """The folder in /proc of the gateway, which answers."""
    answer = host.check_output("curl -s -m 10 http://127.0.0.1:18789/startupz")
    assert json.loads(answer)["status"] == "started"
    return f"/proc/{host.check_output(f'systemctl show -p MainPID --value {UNIT}')}"


def test_the_process_has_its_limits(host: Any, process: str) -> None:
    limits = [line.split()[:5] for line in host.file(f"{process}/limits").content_string.splitlines()]
    assert ["Max", "open", "files", "16384", "16384"] in limits
    assert ["Max", "processes", "1024", "1024", "processes"] in limits
    assert host.file(f"{process}/oom_score_adj").content_string.strip() == "200"


def test_the_process_has_its_environment(host: Any, process: str) -> None:
    environment = set(host.check_output(f"tr '\\0' '\\n' < {process}/environ").splitlines())
    assert environment >= {"NODE_OPTIONS=--max-old-space-size=700", "NODE_ENV=production"}


def test_the_unit_has_its_limits(host: Any) -> None:
    shown = host.check_output(f"systemctl show -p MemoryMax -p MemoryHigh -p TasksMax -p OOMPolicy {UNIT}").splitlines()
    assert set(shown) >= {f"MemoryMax={1400 << 20}", f"MemoryHigh={1260 << 20}", "OOMPolicy=continue"}


def test_the_kernel_has_its_setting(host: Any) -> None:
    assert host.sysctl("net.core.somaxconn") == 8192


def test_the_swap_file_is_one(host: Any) -> None:
    assert 'TYPE="swap"' in host.check_output("blkid --probe /var/openclaw_swap")
