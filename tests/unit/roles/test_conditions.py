# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles decide by their derived variables, as Ansible itself templates these."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
# In a process of its own, because Ansible's loader takes the import of collections over.
TEMPLATER = """
import json, pathlib, sys
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
root = pathlib.Path(sys.argv[1])
init_plugin_loader([str(root / ".ansible/collections")])
loader = DataLoader()
for line in sys.stdin:
    role, name, given = json.loads(line)
    variables = {}
    for path in sorted(root.glob(f"roles/{role}/vars/**/*.yml")):
        variables |= loader.load_from_file(str(path), trusted_as_template=True)
    template = trust_as_template("{{ " + name + " }}")
    print(json.dumps(Templar(loader=loader, variables=variables | given).template(template)), flush=True)
"""
Decide = Callable[..., Any]


@pytest.fixture(scope="module")
def decide() -> Iterator[Decide]:
    """The value of a role's derived variable, where other variables are given ones."""
    with subprocess.Popen(
        [sys.executable, "-c", TEMPLATER, str(ROOT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as templater:
        assert templater.stdin
        assert templater.stdout
        asked, answers = templater.stdin, templater.stdout

        def decide(role: str, name: str, **given: Any) -> Any:
            print(json.dumps([role, name, given]), file=asked, flush=True)
            return json.loads(answers.readline())

        yield decide
        asked.close()


STARTING = 'level=info msg="skip loading plugin" error="skip plugin: tracing endpoint not configured"'


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        pytest.param(
            ["failed to start daemon: driver not supported: floppy", STARTING],
            "failed to start daemon: driver not supported: floppy",
            id="it-tries-again-already",
        ),
        pytest.param(["error: rootlesskit: no ids", STARTING], "error: rootlesskit: no ids", id="another-complaint"),
        pytest.param([STARTING], "the task's own words", id="nothing-that-is-a-complaint"),
    ],
)
def test_the_reason_of_an_engine_that_does_not_start_is_no_line_of_its_next_start(
    decide: Decide, words: list[str], reason: str
) -> None:
    given = {"__docker_words": {"stdout_lines": words}, "ansible_failed_result": {"msg": "the task's own words"}}
    assert decide("docker", "__docker_reason", **given) == reason


@pytest.mark.parametrize(
    ("uri", "suite"),
    [
        pytest.param("https://deb.nodesource.com/node_24.x", "nodistro", id="NodeSource"),
        pytest.param("https://download.docker.com/linux/debian", "bookworm", id="Docker"),
        pytest.param("https://pkgs.tailscale.com/stable/ubuntu/", "noble", id="Tailscale-with-a-slash"),
        pytest.param("http://reader:pass@mirror.example.com:8081/a~b/x=y/%7Ez_1", "stable/main", id="odd-characters"),
    ],
)
def test_the_list_of_a_source_is_looked_for_where_apt_puts_it(
    decide: Decide, tmp_path: Path, uri: str, suite: str
) -> None:
    (tmp_path / "one.sources").write_text(f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n")
    only = ["-o", "Dir::Etc::SourceParts=/dev/null", "-o", f"Dir::Etc::SourceList={tmp_path}/one.sources"]
    command = ["apt-get", "update", "--print-uris", *only]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = [line.split()[1] for line in printed.splitlines() if line.split()[0].endswith("/InRelease'")]
    path = decide("common", "__common_apt_list_path", common_apt_repository={"uri": uri, "suite": suite})
    assert names == [Path(path).name]


def test_a_source_that_apt_has_not_read_is_read_although_nothing_of_it_changes(decide: Decide) -> None:
    def due(**source: Any) -> bool:
        return bool(decide("common", "__common_apt_source_due", __common_apt_source=source))

    assert due(changed=False, missing=["/var/lib/apt/lists/deb.nodesource.com_node%5f24.x_dists_nodistro_InRelease"])
    assert due(changed=True, missing=[])
    assert not due(changed=False, missing=[])
    assert not due(changed=False, skipped=True)


@pytest.mark.parametrize(
    ("installed", "is_fine"),
    [
        pytest.param("24.16.0-1nodesource1", True, id="the-oldest-that-does"),
        pytest.param("24.18.0-1nodesource1", True, id="a-newer-one"),
        pytest.param("24.15.9-1nodesource1", False, id="one-that-is-too-old"),
        pytest.param("26.1.0-1nodesource1", False, id="another-major-that-would-do-too"),
        pytest.param("", False, id="none"),
    ],
)
def test_only_a_node_that_is_as_wished_spares_a_look_with_apt(decide: Decide, installed: str, is_fine: bool) -> None:
    engines = ">=24.16.0 <25 || >=26.1.0"
    given = {"nodejs_engines": engines, "nodejs_major": 24, "nodejs_installed": installed}
    given |= {"nodejs_state": "present", "nodejs_source_ready": True}
    assert decide("nodejs", "__nodejs_install_due", **given) is not is_fine
    assert decide("nodejs", "__nodejs_install_due", **{**given, "nodejs_source_ready": False}) is True
    assert decide("nodejs", "__nodejs_install_due", **{**given, "nodejs_state": "absent"}) is True


FINE = {"startupz": "passed", "door": "not_run", "certificate": "not_run", "expiry": "not_run"}


@pytest.mark.parametrize(
    ("verdict", "is_the_doors"),
    [
        pytest.param({}, False, id="something-else-failed"),
        pytest.param({"checks": {**FINE, "startupz": "failed"}}, False, id="the-gateway-does-not-answer"),
        pytest.param(
            {"checks": {**FINE, "startupz": "failed", "expiry": "failed"}},
            False,
            id="the-gateway-does-not-answer-and-a-certificate-expires",
        ),
        pytest.param(
            {"checks": {**FINE, "authenticated_call": "failed", "door": "failed"}},
            False,
            id="the-gateway-has-another-token-and-so-it-has-through-its-door",
        ),
        pytest.param({"checks": {**FINE, "door": "failed"}}, True, id="the-door-does-not-open"),
        pytest.param(
            {"checks": {**FINE, "door": "passed", "expiry": "failed", "event_loop": "failed"}},
            True,
            id="a-gateway-that-answers-slowly-and-a-certificate-that-expires",
        ),
    ],
)
def test_a_gateway_is_not_put_back_for_what_is_wrong_with_its_door(
    decide: Decide, verdict: dict[str, Any], is_the_doors: bool
) -> None:
    assert decide("gateway", "__gateway_door_failed", ansible_failed_result=verdict) is is_the_doors


@pytest.mark.parametrize(
    ("lost", "is_killed"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param(["/var/cache/openclaw/main", "/var/log/openclaw/main"], False, id="cache-and-log"),
        pytest.param(["/var/lib/openclaw/main"], True, id="state"),
        pytest.param(["/var/lib/openclaw/main/state", "/var/log/openclaw/main"], True, id="state-and-log"),
    ],
)
def test_only_a_gateway_that_has_lost_its_state_is_killed(decide: Decide, lost: list[str], is_killed: bool) -> None:
    given = {"gateway_instance": "main", "__gateway_preflight": {"lost": lost}}
    assert decide("gateway", "__gateway_state_lost", **given) is is_killed


SEEN: dict[str, Any] = {"files": True, "cut": False, "remove": [], "nginx": {"running": True, "stale": False}}
AS_WISHED: dict[str, Any] = {
    "__mtls_preflight_due": False,
    "__mtls_issue_due": False,
    "__mtls_install_due": False,
    "mtls_state": "present",
    "__mtls_preflight": SEEN,
}


@pytest.mark.parametrize(
    ("change", "stands"),
    [
        pytest.param({}, True, id="nothing-is-to-be-done"),
        pytest.param({"mtls_state": "absent"}, False, id="it-is-to-go"),
        pytest.param({"__mtls_preflight_due": True}, False, id="nobody-has-looked"),
        pytest.param({"__mtls_issue_due": True}, False, id="a-certificate-is-to-be-issued"),
        pytest.param({"__mtls_preflight": {**SEEN, "files": False}}, False, id="a-file-is-another-one"),
        pytest.param({"__mtls_preflight": {**SEEN, "cut": True}}, False, id="somebody-is-to-be-cut-off"),
        pytest.param({"__mtls_preflight": {**SEEN, "remove": ["/x"]}}, False, id="something-is-of-no-use"),
        pytest.param(
            {"__mtls_preflight": {**SEEN, "nginx": {"running": False, "stale": False}}}, False, id="nginx-does-not-run"
        ),
        pytest.param(
            {"__mtls_preflight": {**SEEN, "nginx": {"running": True, "stale": True}}},
            False,
            id="nginx-runs-with-older-files",
        ),
    ],
)
def test_only_a_door_with_which_nothing_is_to_be_done_is_proved_along_with_the_gateway(
    decide: Decide, change: dict[str, Any], stands: bool
) -> None:
    assert decide("mtls", "__mtls_stands", **{**AS_WISHED, **change}) is stands


@pytest.mark.parametrize(
    ("found", "due"),
    [
        pytest.param(
            [{"path": "/a", "state": "file", "content": "x\n"}, {"path": "/b", "state": "absent"}], False, id="all"
        ),
        pytest.param(
            [{"path": "/a", "state": "file", "content": "y\n"}, {"path": "/b", "state": "absent"}], True, id="text"
        ),
        pytest.param(
            [{"path": "/a", "state": "file", "content": "x\n", "mode": "0600"}, {"path": "/b", "state": "absent"}],
            True,
            id="mode",
        ),
        pytest.param([{"path": "/a", "state": "file", "content": "x\n"}], True, id="not-looked-at"),
    ],
)
def test_files_that_are_as_wished_are_not_looked_at_again(
    decide: Decide, found: list[dict[str, str]], due: bool
) -> None:
    wished = [{"path": "/a", "state": "file", "content": "x\n"}, {"path": "/b", "state": "absent"}]
    given = {"tuning_state": "present", "__tuning_entries": wished, "__tuning_preflight": {"found": found}}
    assert decide("tuning", "__tuning_configure_due", **given) is due
    assert decide("tuning", "__tuning_configure_due", **{**given, "tuning_state": "absent"}) is True
    assert decide("tuning", "__tuning_configure_due", **given, __tuning_files={"undo": []}) is True
    given = {"__gateway_directories": wished, "__gateway_files": wished, "__gateway_preflight": {"found": found}}
    assert decide("gateway", "__gateway_directories_due", **given) is due
    assert decide("gateway", "__gateway_files_due", **given) is due
    assert decide("gateway", "__gateway_files_due", **given, __gateway_run_files={"undo": []}) is True


STEPS: dict[str, dict[str, Any]] = {
    "__docker_due": {"__docker_install_due": True, "__docker_configure_due": True, "__docker_image_due": True},
    "__tuning_due": {
        "__tuning_configure_due": True,
        "__tuning_sysctl_due": ["vm.swappiness=10"],
        "__tuning_preflight": {"swap": {"due": True}},
    },
    "__mtls_manage_due": {
        "__mtls_install_due": True,
        "__mtls_issue_due": True,
        "__mtls_configure_due": True,
        "__mtls_bundles_due": True,
        "__mtls_check_due": True,
    },
    "__tailscale_due": {
        "__tailscale_install_due": True,
        "__tailscale_join_due": True,
        "__tailscale_configure_due": True,
    },
}
IDLE: dict[str, Any] = {"__tuning_sysctl_due": [], "__tuning_preflight": {"swap": {"due": False}}}


@pytest.mark.parametrize("due", STEPS)
def test_a_role_is_passed_over_only_where_none_of_its_steps_is_due(decide: Decide, due: str) -> None:
    role = due.split("_")[2]
    idle = {f"{role}_state": "present"} | {step: IDLE.get(step, False) for step in STEPS[due]}
    assert decide(role, due, **idle) is False
    for step, value in STEPS[due].items():
        assert decide(role, due, **{**idle, step: value}) is True, step
    if role != "tuning":  # whose step it is, where it is to go, to write its files anew
        assert decide(role, due, **{**idle, f"{role}_state": "absent"}) is True


@pytest.mark.parametrize(
    ("given", "due"),
    [
        pytest.param({"__mtls_proved": True}, False, id="proved-along-with-the-gateway"),
        pytest.param({}, True, id="not-proved"),
        pytest.param({"ansible_check_mode": True}, True, id="not-proved-and-as-wished-in-a-dry-run"),
        pytest.param({"ansible_check_mode": True, "__mtls_due": True}, False, id="not-there-yet-in-a-dry-run"),
    ],
)
def test_a_door_is_looked_through_unless_that_is_done_or_it_is_only_predicted(
    decide: Decide, given: dict[str, Any], due: bool
) -> None:
    told = {"ansible_check_mode": False, "__mtls_due": False, "__mtls_proved": False, **given}
    assert decide("mtls", "__mtls_check_due", **told) is due


@pytest.mark.parametrize(("changed", "new"), [(["OPENCLAW_GATEWAY_TOKEN"], True), (["OTHER"], False), ([], False)])
def test_the_summary_tells_that_the_token_is_another_one(decide: Decide, changed: list[str], new: bool) -> None:
    given = {
        "inventory_hostname": "vps1",
        "gateway_instance": "main",
        "gateway_port": 18789,
        "gateway_label": "",
        "gateway_settings": {},
        "gateway_settings_environment": {},
        "gateway_settings_host": {},
        "__gateway_config": {"changed_secrets": changed},
        "__gateway_health": {"version": "2026.9.6", "verdict": "healthy", "reasons": []},
    }
    (token,) = (line for line in decide("gateway", "__gateway_summary", **given) if line.startswith("Token: "))
    assert token.endswith("; new with this run") is new
    assert token.startswith("Token: OPENCLAW_GATEWAY_TOKEN in /etc/openclaw/main/secrets/secrets.json on the host, ")


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("tskey-auth-k1-abc", ""),
        (" tskey-auth-k1-abc\n", ""),
        ("", ""),
        (None, ""),
        (12345, ""),
        ("\n tskey-api-k1-abc", "tailscale_auth_key: it is a token for the API"),
        (" tskey-client-k1-abc", "tailscale_auth_key: it is the secret of an OAuth client"),
        ("tskey-auth-k1-abc\ttskey-auth-k2-def", "tailscale_auth_key: there is white space in it"),
    ],
)
def test_what_is_no_auth_key_is_told_apart_without_being_shown(decide: Decide, key: Any, problem: str) -> None:
    given = {
        "tailscale_auth_key": key,
        "tailscale_oauth_secret": "",
        "tailscale_tags": [],
        "tailscale_login_server": "",
        "tailscale_join_timeout": 20,
    }
    said = decide("tailscale", "__tailscale_key_problem", **given).strip()
    assert said.startswith(problem)
    assert bool(said) is bool(problem)
    assert "k1" not in said
