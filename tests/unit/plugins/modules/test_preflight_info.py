# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module preflight_info through its real arguments."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args

from ansible_collections.clawops.openclaw.plugins.module_utils import _checks
from ansible_collections.clawops.openclaw.plugins.modules import preflight_info

if TYPE_CHECKING:
    from ansible_collections.clawops.openclaw.tests.unit.conftest import RunModule

Run = Callable[..., dict[str, Any]]

SECRET = "swordfish-97531"
COMMON = {"host": "vps1", "distribution": "Debian 13", "service_manager": "systemd", "supported": ["Debian 13"]}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the module writes to the host's log."""
    lines: list[str] = []
    monkeypatch.setattr(basic.AnsibleModule, "log", lambda _module, message, **_more: lines.append(str(message)))
    return lines


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the module warns of; Ansible tells it once a process."""
    texts: list[str] = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _module, warning: texts.append(warning))
    return texts


@pytest.fixture
def run(run_module: RunModule, log: list[str], warnings: list[str]) -> Run:
    def run(checks: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        return run_module(preflight_info.main, checks=checks, **arguments)

    return run


@pytest.fixture
def gateway(tmp_path: Path) -> dict[str, Any]:
    """The parameters of a check with secrets in them."""
    config = {
        "path": str(tmp_path / "openclaw.json"),
        "secrets_path": str(tmp_path / "secrets.json"),
        "journal_path": str(tmp_path / "applied.json"),
        "secrets": {"TOKEN": SECRET},
        "settings": {"channels": {"x": {"token": SECRET}}},
    }
    return {
        "version": "2026.9.6",
        "minimum": {"version": "2026.1.29", "reasons": ["x"]},
        "known_engines": {"2026.9.6": "x"},
        "port": 1,
        "unit": "clawops-stand-in.service",
        "account": {"name": "no-such-account", "home": "/h", "shell": "/s"},
        "releases_path": str(tmp_path / "releases"),
        "current_path": str(tmp_path / "current"),
        "memory": {"minimum": 1, "recommended": 1},
        "disk": {"minimum": 1, "recommended": 1},
        "config": config,
    }


def test_what_roles_find_is_the_result(run: Run) -> None:
    known: dict[str, Any] = {"mtls": {"due": {"phases": []}}}
    result = run({"common": COMMON, "nodejs": {"major": 24}}, known=known)
    assert (result["changed"], list(result["found"])) == (False, ["mtls", "common", "nodejs"])
    assert result["found"]["nodejs"]["due"]["phases"]
    assert result["found"]["mtls"] == known["mtls"]
    assert set(yaml.safe_load(preflight_info.RETURN)) <= set(result)


def test_all_findings_are_one_failure(run: Run, warnings: list[str], gateway: dict[str, Any]) -> None:
    huge = {"minimum": 10**9, "recommended": 10**9}
    checks = {
        "nodejs": {"major": 22, "engines": ">=24"},
        "common": {**COMMON, "distribution": "Debian 1"},
        "gateway": {**gateway, "memory": huge, "disk": {"minimum": 1, "recommended": 10**9}},
        "mtsl": {},
    }
    result = run(checks)
    assert result["failed"] is True
    subjects = [line.partition(":")[0] for line in result["msg"].splitlines()]
    assert subjects == ["mtsl", "vps1", "The host's memory", "nodejs_major 22"]
    assert "found" not in result, "whole files would bury the message"
    disk, plain = warnings
    assert disk.startswith(f"The disk of {gateway['releases_path']}: ")
    assert plain.startswith("gateway_settings.channels.x.token holds a secret as plain text")


@pytest.mark.parametrize("more", [{}, {"port": "none"}, {"environment": {"A": None}}], ids=["good", "type", "refused"])
def test_neither_answer_nor_log_show_the_parameters(
    run: Run, log: list[str], warnings: list[str], gateway: dict[str, Any], more: dict[str, Any]
) -> None:
    result = run({"common": COMMON, "gateway": {**gateway, **more}}, known={"docker": {"x": SECRET + "-known"}})
    assert result.get("failed", False) is bool(more)
    assert result["invocation"] == {"module_args": {}}
    assert SECRET not in json.dumps(warnings)
    assert SECRET not in json.dumps({**result, "found": {**result.get("found", {}), "docker": {}}})
    assert log == ["Invoked for the roles common, gateway; their parameters are not logged"]


def test_a_call_that_ansible_itself_refuses_shows_nothing_either(run_module: RunModule, log: list[str]) -> None:
    for arguments in ({"known": {"x": SECRET}}, {"checks": {"x": SECRET}, "unheard": SECRET}):
        result = run_module(preflight_info.main, **arguments)
        assert result["failed"] is True
        assert result["invocation"] == {"module_args": {}}
        assert SECRET not in json.dumps([result, log])


def test_check_mode_answers_the_same(run: Run, gateway: dict[str, Any], tmp_path: Path) -> None:
    checks = {"common": COMMON, "nodejs": {"major": 24}, "gateway": gateway}
    answers = [run(checks, _ansible_check_mode=mode) for mode in (False, True)]
    for answer in answers:
        # The space that is free may change meanwhile.
        assert answer["found"]["gateway"].pop("disk_free_mb") > 0
    assert answers[0] == answers[1]
    assert answers[0]["changed"] is False
    assert list(tmp_path.iterdir()) == []


def test_it_starts_no_process_for_a_known_release(
    run: Run, gateway: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_process(*_arguments: Any, **_keywords: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    for name in ("fork", "posix_spawn", "system"):
        monkeypatch.setattr(os, name, no_process)
    checks = {"common": COMMON, "nodejs": {"major": 24}, "gateway": gateway}
    for mode in (False, True):
        assert run(checks, _ansible_check_mode=mode)["changed"] is False


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
    run({"common": COMMON})
    assert plain(yaml.safe_load(preflight_info.DOCUMENTATION)["options"]) == plain(taken)


def test_the_example_runs(run: Run) -> None:
    [task] = yaml.safe_load(preflight_info.EXAMPLES)
    [(check, params)] = task["clawops.openclaw.preflight_info"]["checks"].items()
    result = run({check: {**params, "host": "vps1"}})
    assert result["found"] == {check: {"brought": {}, "due": {}}}
    assert set(params) == {name for name, option in _checks.ROLES[check].OPTIONS.items() if option.get("required")}


def test_the_usual_log_would_have_shown_them(gateway: dict[str, Any], log: list[str]) -> None:
    """What keeps the parameters secret is a method that is private to Ansible, so it must be one that Ansible calls."""
    with patch_module_args({"checks": {"gateway": gateway}}):
        basic.AnsibleModule(argument_spec={"checks": {"type": "dict"}})
    assert SECRET in log[0]
