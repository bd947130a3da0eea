# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module's own ``main()``: its arguments, its answer, and what of them is seen outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible.module_utils import basic

from ansible_collections.clawops.openclaw.plugins.module_utils import _settings
from ansible_collections.clawops.openclaw.plugins.modules import gateway_config

if TYPE_CHECKING:
    from ansible_collections.clawops.openclaw.tests.unit.conftest import RunModule
    from ansible_collections.clawops.openclaw.tests.unit.plugins.conftest import Host

    Run = Callable[..., dict[str, Any]]

SECRET, PLAIN, HEADER = "secret-of-the-vault-1", "plain-in-the-settings-2", "plain-in-a-header-3"
TELLING: dict[str, Any] = {
    "settings": {
        "gateway": {"port": 1, "auth": {"token": _settings.secret_ref("TOKEN")}},
        "models": {"providers": {"x": {"apiKey": PLAIN, "headers": {"X-Header": HEADER}}}},
        "note": f"{SECRET} {PLAIN}",
    },
    "secrets": {"TOKEN": SECRET},
}


@pytest.fixture
def run(host: Host, run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the module over the host, with what Ansible adds to the arguments of every module.

    Its warnings are added here: in one process with Ansible's controller they would go straight to the terminal.
    """
    warnings: list[str] = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _module, warning: warnings.append(warning))

    def run(**asked: Any) -> dict[str, Any]:
        given = {key: value for key, value in host.parameters(**asked).items() if value is not None}
        ansible = {"_ansible_no_log": False, "_ansible_module_name": "gateway_config", "_ansible_verbosity": 3}
        warnings.clear()
        return {**run_module(gateway_config.main, **ansible, **given), "warnings": warnings}

    return run


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the module says to the host's journal."""
    lines: list[str] = []
    monkeypatch.setattr(basic, "has_journal", False)
    monkeypatch.setattr(basic.AnsibleModule, "_log_to_syslog", lambda _module, line: lines.append(line))
    return lines


def test_it_writes_and_answers_what_it_promises(run: Run, host: Host) -> None:
    result = run(**TELLING)
    assert host.read()["note"] == f"{SECRET} {PLAIN}"
    assert host.read(host.secrets) == {"TOKEN": SECRET}
    promised = {
        name: entry
        for name, entry in yaml.safe_load(gateway_config.RETURN).items()
        if "present" in entry["returned"] or entry["returned"] == "always"
    }
    assert set(promised) <= set(result)
    types = {"list": list, "str": str, "bool": bool, "dict": dict}
    assert {name: types[entry["type"]] for name, entry in promised.items()} == {
        name: type(result[name]) for name in promised
    }
    assert "notes" not in result
    assert "gateway_settings.models.providers.x.apiKey holds a secret as plain text" in json.dumps(result["warnings"])


def test_the_second_time_nothing_changes(run: Run) -> None:
    assert run(**TELLING)["changed"] is True
    assert run(state="confirmed")["changed"] is False
    assert run(**TELLING)["changed"] is False


def test_the_documented_options_are_those_that_it_takes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, Any] = {}
    init = basic.AnsibleModule.__init__

    def noted(self: Any, argument_spec: dict[str, Any], **options: Any) -> None:
        taken.update(argument_spec)
        init(self, argument_spec, **options)

    monkeypatch.setattr(basic.AnsibleModule, "__init__", noted)
    run()
    documented = yaml.safe_load(gateway_config.DOCUMENTATION)["options"]
    compared = ("type", "default", "required", "choices", "elements")
    assert {name: {key: option.get(key) for key in compared} for name, option in documented.items()} == {
        name: {key: option.get(key) for key in compared} for name, option in taken.items()
    }


def test_check_mode_writes_nothing(run: Run, host: Host) -> None:
    result = run(**TELLING, _ansible_check_mode=True, _ansible_diff=True)
    assert result["changed"] is True
    assert host.tree() == {}


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({}, id="written"),
        pytest.param({"_ansible_check_mode": True, "_ansible_diff": True}, id="predicted"),
        pytest.param({"owned": {"note": "other"}}, id="refused-by-us"),
        pytest.param(
            {"release-finds": {"path": "note", "message": f"{SECRET} {PLAIN} is odd"}}, id="refused-by-the-release"
        ),
        pytest.param({"release-warns": f"{SECRET} {PLAIN} is odd"}, id="warned-of"),
        pytest.param({"secrets": {"TOKEN": SECRET, "bad-name": SECRET}}, id="a-bad-name"),
        pytest.param({"drift": "neither"}, id="a-bad-argument"),
        pytest.param(
            {"secrets": [SECRET], "settings": {"models": TELLING["settings"]["models"]}}, id="secrets-of-a-wrong-type"
        ),
        pytest.param({"settings": [SECRET]}, id="settings-of-a-wrong-type"),
        pytest.param({"settings": {**TELLING["settings"], "x": _settings.secret_ref("NONE")}}, id="an-unknown-secret"),
    ],
)
def test_no_secret_is_in_the_answer_or_in_the_journal(
    run: Run, host: Host, journal: list[str], asked: dict[str, Any]
) -> None:
    asked = {**TELLING, **asked}
    if "release-finds" in asked:
        host.release.issues.append(asked.pop("release-finds"))
    if "release-warns" in asked:
        host.release.warnings.append(asked.pop("release-warns"))
    answer = json.dumps(run(**asked))
    for secret in (SECRET, PLAIN, HEADER):
        assert secret not in answer
        assert not [line for line in journal if secret in line]


def test_a_secret_too_short_to_look_for_is_masked_by_ansible(run: Run) -> None:
    assert "qz7" not in json.dumps(run(settings={"note": "is qz7 here"}, secrets={"TOKEN": "qz7"}))


def test_a_made_secret_is_not_in_the_answer(run: Run, host: Host) -> None:
    answer = json.dumps(run(generate=["MADE"]))
    assert host.read(host.secrets)["MADE"] not in answer


def test_the_journal_says_that_it_ran(run: Run, host: Host, journal: list[str]) -> None:
    run(**TELLING)
    assert any(str(host.settings) in line for line in journal)


def test_the_arguments_are_shown_with_their_secrets_masked(run: Run, host: Host) -> None:
    shown = run(**TELLING, environment_variables={"OPENCLAW_STATE_DIR": "/s", "API_TOKEN": "hunter2"})
    arguments = shown["invocation"]["module_args"]
    assert arguments["secrets"] == {"TOKEN": "********"}
    assert arguments["settings"]["models"]["providers"]["x"]["apiKey"] == "********"
    assert arguments["settings"]["gateway"] == TELLING["settings"]["gateway"]
    assert arguments["environment_variables"] == {"OPENCLAW_STATE_DIR": "/s", "API_TOKEN": "********"}
    assert (arguments["path"], arguments["secrets_path"]) == (str(host.settings), str(host.secrets))


def test_an_error_is_subject_reason_and_remedy(run: Run, host: Host) -> None:
    result = run(settings={"meta": {"x": 1}})
    assert result["failed"] is True
    assert result["msg"] == "gateway_settings.meta: OpenClaw keeps this key for itself. Remove it from the inventory."
    assert host.tree() == {}


@pytest.mark.parametrize("missing", ["path", "secrets_path", "journal_path"])
def test_paths_are_required(run_module: RunModule, host: Host, missing: str) -> None:
    given = {key: value for key, value in host.parameters().items() if value is not None and key != missing}
    result = run_module(gateway_config.main, **given)
    assert result["failed"] is True
    assert missing in result["msg"]


def test_the_state_present_needs_a_release_and_the_other_states_do_not(run: Run) -> None:
    result = run(release=None)
    assert result["failed"] is True
    assert "release" in result["msg"]
    assert run(release=None, state="confirmed")["changed"] is False
    assert run(release=None, state="rolled_back")["changed"] is False
