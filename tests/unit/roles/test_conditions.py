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
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.clawops.openclaw.plugins.module_utils import _checks

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
    files = [path for each in ("common", role) for path in sorted(root.glob(f"roles/{each}/vars/**/*.yml"))]
    for path in [*sorted(root.glob(f"roles/{role}/defaults/main.yml")), *files]:
        variables |= loader.load_from_file(str(path), trusted_as_template=True) or {}
    template = trust_as_template("{{ " + name + " }}")
    try:
        answer = [Templar(loader=loader, variables=variables | given).template(template), ""]
    except Exception as error:
        answer = [None, f"{role} {name}: {error}"]
    print(json.dumps(answer), flush=True)
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
            value, problem = json.loads(answers.readline())
            assert not problem, problem
            return value

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


def test_a_source_that_apt_has_not_read_is_read_although_nothing_of_it_changes(decide: Decide) -> None:
    def due(**source: Any) -> bool:
        return bool(decide("common", "__common_apt_source_due", __common_apt_source=source))

    assert due(changed=False, missing=["/var/lib/apt/lists/deb.nodesource.com_node%5f24.x_dists_nodistro_InRelease"])
    assert due(changed=True, missing=[])
    assert not due(changed=False, missing=[])
    assert not due(changed=False, skipped=True)


def test_before_the_lists_are_read_a_dry_run_only_predicts_an_installation(decide: Decide) -> None:
    def unknown(**given: Any) -> bool:
        told = {"ansible_check_mode": True, "__common_apt_source": {"changed": False, "missing": []}, **given}
        return bool(decide("common", "__common_apt_unknown", **told))

    assert not unknown()
    assert unknown(__common_apt_source={"changed": True})
    assert unknown(common_apt_read_archive=True)
    assert not unknown(common_apt_read_archive=True, ansible_check_mode=False)


def test_what_a_skipped_role_has_the_gateway_run_with_stays_as_it_is(decide: Decide) -> None:
    names = decide("gateway", "__gateway_files_names", tuning_gateway_files=[], docker_gateway_files=[])
    assert {"tuning_gateway_files", "docker_gateway_files"} <= {*names}
    given = {"tuning_gateway_files": [], "docker_gateway_files": [], "ansible_skip_tags": ["tuning"]}
    assert {*names} - {*decide("gateway", "__gateway_files_names", **given)} == {"tuning_gateway_files"}


def test_what_a_role_has_brought_is_what_was_not_there_before_and_what_it_noted_earlier(decide: Decide) -> None:
    given = {
        "common_apt_packages": ["docker-ce=5:27*", "docker-ce-cli", "uidmap>=1"],
        "common_apt_present": ["docker-ce"],
    }
    assert sorted(decide("common", "__common_apt_new", **given)) == ["docker-ce-cli", "uidmap"]
    found = {"found": {"common": {"brought": {"docker": ["uidmap"]}}}}
    owned = {"common_preflight": found, "common_apt_owner": "docker"}
    assert decide("common", "__common_apt_brought", **owned) == ["uidmap"]
    assert decide("common", "__common_apt_brought", **{**owned, "common_apt_owner": "mtls"}) == []


def test_a_source_that_cannot_be_read_is_told_in_apts_words(decide: Decide) -> None:
    lines = [
        "W: Some index files failed",
        "E: The repository 'http://gone stable Release' does not have a Release file.",
    ]
    assert decide("common", "__common_apt_unread", __common_apt_read={"rc": 100, "stderr_lines": lines}) == lines[1:]
    assert decide("common", "__common_apt_unread", __common_apt_read={"rc": 0, "stderr_lines": lines}) == []
    assert decide("common", "__common_apt_unread", __common_apt_read={"skipped": True}) == []


def test_a_node_that_somebody_else_installed_is_not_removed(decide: Decide) -> None:
    def removes(*brought: str) -> bool:
        found = {"found": {"common": {"brought": {"tailscale": [*brought]}}, "tailscale": {}}}
        given = {"common_preflight": found, "__tailscale_is_first": True, "__tailscale_is_last": True}
        return bool(decide("tailscale", "__tailscale_removes_node", **given))

    assert removes("tailscale")
    assert not removes()


def test_of_a_source_that_goes_the_list_and_the_folder_of_keys_stay(decide: Decide) -> None:
    source = {"name": "x", "uri": "https://x.example/", "suite": "y", "key": "https://x.example/key"}
    removed = decide("common", "__common_apt_removed", common_apt_repository=source, common_apt_pin={})
    assert [entry["state"] for entry in removed] == ["absent"] * 3
    assert [str(Path(entry["path"]).parent) for entry in removed] == [
        "/etc/apt/keyrings",
        "/etc/apt/sources.list.d",
        "/etc/apt/preferences.d",
    ]
    assert decide("common", "__common_apt_removed") == []


@pytest.mark.parametrize(
    ("instance", "names"),
    [
        ({}, ("openclaw", "openclaw-gateway.service", "main")),
        ({"gateway_instance": "main"}, ("openclaw", "openclaw-gateway.service", "main")),
        ({"gateway_instance": "blue"}, ("openclaw-blue", "openclaw-gateway-blue.service", "blue")),
    ],
    ids=["not-given", "main", "blue"],
)
def test_the_names_of_a_gateways_things_follow_from_its_instance(
    decide: Decide, instance: dict[str, str], names: tuple[str, str, str]
) -> None:
    account, unit, name = names
    expected = {
        "common_account": account,
        "common_unit": unit,
        "common_unit_path": f"/etc/systemd/system/{unit}",
        "common_dropin_directory": f"/etc/systemd/system/{unit}.d",
        "common_etc": f"/etc/openclaw/{name}",
        "common_environment_directory": f"/etc/openclaw/{name}/environment.d",
        "common_health_directory": f"/etc/openclaw/{name}/health.d",
        "common_secrets_path": f"/etc/openclaw/{name}/secrets/secrets.json",
        "common_home": f"/var/lib/openclaw/{name}",
        "common_state_path": f"/var/lib/openclaw/{name}/state",
        "common_settings_path": f"/var/lib/openclaw/{name}/openclaw.json",
        "common_cache_path": f"/var/cache/openclaw/{name}",
        "common_log_path": f"/var/log/openclaw/{name}",
        "common_gateway_url": "http://127.0.0.1:18789",
    }
    for variable, value in expected.items():
        assert decide("common", variable, **instance) == value
    assert decide("common", "common_gateway_url", gateway_port=19000) == "http://127.0.0.1:19000"


FACTS = {
    "distribution": "Debian",
    "distribution_major_version": "13",
    "distribution_version": "13.1",
    "service_mgr": "systemd",
}


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        (FACTS, "Debian 13"),
        ({**FACTS, "distribution": "Ubuntu", "distribution_version": "24.04"}, "Ubuntu 24.04"),
    ],
    ids=["Debian", "Ubuntu"],
)
def test_a_distribution_is_named_as_the_supported_ones_are(decide: Decide, facts: dict[str, str], name: str) -> None:
    checks = decide("common", "common_checks", ansible_facts=facts, inventory_hostname="vps1")
    assert checks["distribution"] == name
    assert name in checks["supported"]


def test_the_checks_of_the_roles_in_use_are_run_and_those_of_unmanaged_ones_are_not(decide: Decide) -> None:
    given = {"common_checks": {"a": 1}, "docker_checks": {}, "mtls_checks": {"b": 2}, "tuning_checks": {"c": 3}}
    checks = decide("common", "__common_checks", **given, common_preflight_roles=["mtls", "docker"])
    assert checks == {"common": {"a": 1}, "mtls": {"b": 2}}


def test_the_specifications_of_all_roles_are_found(decide: Decide) -> None:
    given = {"common_preflight_roles": ["gateway", "nodejs"], "role_path": str(ROOT / "roles/common")}
    first, second = decide("common", "__common_specifications", **given)
    assert "gateway_version" in first
    assert "nodejs_major" in second


# ---- Node.js -------------------------------------------------------------------------------------------


def test_apt_is_asked_for_a_node_that_suffices(decide: Decide) -> None:
    given = {"common_preflight": {"found": {"nodejs": {"minimum": "24.16.0"}}}}
    assert decide("nodejs", "__nodejs_packages", **given) == ["nodejs>=24.16.0"]
    assert decide("nodejs", "__nodejs_pin", nodejs_major=26) == {"package": "nodejs", "version": "26.*"}


# ---- the gateway ---------------------------------------------------------------------------------------

IDLE = dict.fromkeys(("release", "install", "configure", "restart", "service"), False)


@pytest.fixture
def gateway(decide: Decide) -> Decide:
    """The value of a variable of the role gateway on a host where nothing is due, but for what a test says."""

    def gateway(name: str, seen: dict[str, Any] | None = None, **given: Any) -> Any:
        seen = dict(seen or {})
        found: dict[str, Any] = {
            "version": "2026.9.6",
            "current": "2026.9.6",
            "running": True,
            "missing": [],
            "unproven": False,
            "files": [],
            "settings": {"due": False, "of_roles": {}},
            **seen,
            "due": {**IDLE, **seen.get("due", {})},
        }
        told = {
            "common_preflight": {"found": {"gateway": found, **given.pop("others", {})}},
            "__gateway_files": [],
            "__gateway_run_files": {"changed": False},
            "inventory_hostname": "vps1",
            "ansible_check_mode": False,
            **given,
        }
        return decide("gateway", name, **told)

    return gateway


NEEDED = {"gateway_settings": {"agents": {"sandbox": {"mode": "all"}}}}
FILE = {"path": "/etc/openclaw/main/environment.d/docker.env", "content": "x\n"}


@pytest.mark.parametrize(
    ("seen", "given", "phases"),
    [
        pytest.param({}, {}, ["check"], id="nothing"),
        pytest.param({"due": {"install": True}}, {}, ["install", "run"], id="a-release"),
        pytest.param({"due": {"configure": True}}, {}, ["configure", "run"], id="a-setting"),
        pytest.param({"due": {"restart": True}}, {}, ["run"], id="it-runs-with-older-files"),
        pytest.param({"due": {"service": True}}, {}, ["run"], id="it-does-not-run"),
        pytest.param({"due": dict.fromkeys(IDLE, True)}, {}, ["install", "configure", "run"], id="everything"),
        pytest.param({"unproven": True}, {}, ["run"], id="files-that-are-not-proven"),
        pytest.param({}, {"__gateway_files": [FILE]}, ["run"], id="a-file"),
        pytest.param({}, {"docker_gateway_files": [FILE]}, ["run"], id="a-file-of-another-role"),
        pytest.param({}, {"docker_gateway_files": [{**FILE, "state": "absent"}]}, ["check"], id="a-file-that-is-away"),
        pytest.param({}, {"nodejs_gateway_restart": True}, ["run"], id="another-role-has-changed-what-it-runs-on"),
        pytest.param({}, {"nodejs_gateway_restart": False, "x_gateway_restart": False}, ["check"], id="none-has"),
        pytest.param({}, {"others": {"docker": NEEDED}}, ["configure", "run"], id="a-role-needs-a-setting-since"),
        pytest.param(
            {"settings": {"due": False, "of_roles": NEEDED["gateway_settings"]}},
            {"others": {"docker": NEEDED, "tuning": {}}},
            ["check"],
            id="a-setting-that-was-judged-along",
        ),
        pytest.param(
            {"settings": {"due": False, "of_roles": NEEDED["gateway_settings"]}},
            {"others": {"docker": {"gateway_settings": {}}}},
            ["configure", "run"],
            id="a-role-needs-a-setting-no-more",
        ),
        pytest.param({"due": {"install": True}}, {"gateway_state": "absent"}, ["remove"], id="it-is-to-go"),
    ],
)
def test_only_the_phases_that_are_due_are_entered(
    gateway: Decide, seen: dict[str, Any], given: dict[str, Any], phases: list[str]
) -> None:
    assert gateway("__gateway_phases", seen, **given) == phases


@pytest.mark.parametrize(
    ("found", "due"),
    [
        pytest.param([{"path": "/a", "state": "file", "content": "x\n"}], False, id="all"),
        pytest.param([{"path": "/a", "state": "file", "content": "y\n"}], True, id="text"),
        pytest.param([{"path": "/a", "state": "file", "content": "x\n", "mode": "0600"}], True, id="mode"),
        pytest.param([{"path": "/a", "state": "absent"}], True, id="missing"),
        pytest.param([], True, id="not-looked-at"),
    ],
)
def test_files_that_are_in_sync_are_not_looked_at_again(
    gateway: Decide, found: list[dict[str, str]], due: bool
) -> None:
    # Of the folders everything is known, so what is not described is not there.
    there = {**FILE, "state": "file"}
    entries = [{"path": "/a", "content": "x\n"}]
    of_roles = {
        "docker_gateway_files": [FILE],
        "tuning_gateway_files": [{"path": FILE["path"] + "2", "state": "absent"}],
    }
    assert gateway("__gateway_files_due", {"files": [*found, there]}, __gateway_files=entries, **of_roles) is due
    assert gateway("__gateway_files_due", {"files": found}, __gateway_files=entries, **of_roles) is True
    seen = {"files": [*found, there], "unproven": True}
    assert gateway("__gateway_files_due", seen, __gateway_files=entries, **of_roles) is True


def test_the_check_describes_every_file_that_the_role_writes(gateway: Decide, decide: Decide) -> None:
    search = {"ansible_search_path": [str(ROOT / "roles/gateway")]}
    found = {"gateway": {"version": "2026.9.6"}}
    files = decide("gateway", "__gateway_files", **search, common_preflight={"found": found}, inventory_hostname="vps1")
    assert [entry["path"] for entry in files] == gateway("__gateway_paths")
    assert [entry["path"] for entry in files] == [
        "/opt/openclaw/main/current",
        "/etc/openclaw/main/gateway.env",
        "/etc/systemd/system/openclaw-gateway.service",
        "/usr/local/bin/openclaw",
    ]
    assert files[0]["src"] == "/opt/openclaw/releases/2026.9.6"
    assert all("{{" not in entry.get("content", "") for entry in files)
    folders = {str(Path(entry["path"])) for entry in gateway("__gateway_directories")}
    assert {*gateway("__gateway_folders")} <= folders, "the role makes the folders of others"


def test_what_roles_have_the_gateway_run_with_is_taken_from_all_of_them(gateway: Decide) -> None:
    absent = {"path": "/b", "state": "absent"}
    given = {"docker_gateway_files": [{"path": "/a"}], "mtls_gateway_files": [], "tuning_gateway_files": [absent]}
    private = {"__x_gateway_files": [{"path": "/c"}], "gateway_files": [{"path": "/d"}]}
    entries = gateway("__gateway_files_of_roles", **given, **private)
    assert sorted(entries, key=lambda entry: entry["path"]) == [{"path": "/a", "state": "file"}, absent]
    only = gateway("__gateway_files_of_roles", **given, gateway_files_of_roles=[{"path": "/e"}])
    assert only == [{"path": "/e", "state": "file"}]


@pytest.mark.parametrize(
    ("states", "directories"),
    [([], 0), (["absent"], 0), (["absent", "file"], 4), (["file"], 4), ([""], 4)],
)
def test_a_role_alone_makes_the_folders_only_for_a_file(gateway: Decide, states: list[str], directories: int) -> None:
    given = [{"path": f"/{number}", **({"state": state} if state else {})} for number, state in enumerate(states)]
    entries = gateway("__gateway_files_alone", gateway_files_of_roles=given)
    assert [entry["state"] for entry in entries] == ["directory"] * directories + [state or "file" for state in states]


@pytest.mark.parametrize(
    ("active", "wanted", "restart"), [(0, True, True), (3, True, False), (4, True, False), (0, False, False)]
)
def test_only_a_gateway_that_runs_is_restarted_for_the_files_of_a_role(
    gateway: Decide, active: int, wanted: bool, restart: bool
) -> None:
    given = {"__gateway_active": {"rc": active}, "gateway_files_restart": wanted}
    assert gateway("__gateway_restart_alone", **given) is restart


def test_settings_of_roles_are_joined_as_the_check_has_joined_them(gateway: Decide) -> None:
    parts: dict[str, dict[str, Any]] = {
        "docker": {"gateway_settings": {"agents": {"list": [1, 2], "sandbox": {"mode": "all"}}}},
        "nodejs": {},
        "tailscale": {"gateway_settings": {"agents": {"list": [3, 1]}, "gateway": {"trustedProxies": ["::1"]}}},
        "mtls": {"gateway_settings": {"gateway": {"trustedProxies": ["127.0.0.1", "::1"]}}},
    }
    joined: dict[str, Any] = {}
    for part in parts.values():
        joined = _checks.gateway.union(joined, part.get("gateway_settings", {}))
    assert gateway("__gateway_settings_of_roles", others=parts) == joined
    inventory = {"agents": {"list": [0, 3], "sandbox": {"scope": "agent"}}, "logging": {"level": "info"}}
    given = {"gateway_settings": inventory, "gateway_settings_host": {"logging": {"level": "debug"}}}
    merged = {**inventory, "logging": {"level": "debug"}}
    assert gateway("__gateway_settings_of_inventory", **given, others=parts) == merged
    assert gateway("__gateway_settings", **given, others=parts) == _checks.gateway.union(merged, joined)


@pytest.mark.parametrize(
    ("missing", "is_killed"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param(["/var/cache/openclaw/main", "/var/log/openclaw/main"], False, id="cache-and-log"),
        pytest.param(["/var/lib/openclaw/main"], True, id="state"),
        pytest.param(["/var/lib/openclaw/main/state", "/var/log/openclaw/main"], True, id="state-and-log"),
    ],
)
def test_only_a_gateway_that_misses_its_state_is_killed(gateway: Decide, missing: list[str], is_killed: bool) -> None:
    assert gateway("__gateway_state_missing", {"missing": missing}) is is_killed


NEW_UNIT = [{"path": "/etc/systemd/system/openclaw-gateway.service", "state": "absent"}]
CHANGED_DROP_IN = [
    {"path": "/etc/systemd/system/openclaw-gateway.service.d/50-tuning.conf", "state": "file", "content": "x"}
]


@pytest.mark.parametrize(
    ("seen", "undo", "goes_back"),
    [
        pytest.param({"running": True, "unproven": False}, CHANGED_DROP_IN, True, id="it-runs"),
        pytest.param({"running": False, "unproven": False}, NEW_UNIT, False, id="it-was-never-there"),
        pytest.param({"running": False, "unproven": False}, [], False, id="it-was-stopped"),
        pytest.param({"running": False, "unproven": True}, CHANGED_DROP_IN, True, id="a-killed-run-has-changed-it"),
        pytest.param({"running": False, "unproven": True}, NEW_UNIT, False, id="a-killed-run-has-brought-it"),
    ],
)
def test_only_what_ran_before_is_put_back(
    gateway: Decide, seen: dict[str, bool], undo: list[dict[str, str]], goes_back: bool
) -> None:
    assert gateway("__gateway_goes_back", seen, __gateway_run_files={"undo": undo}) is goes_back


@pytest.mark.parametrize(
    ("seen", "given", "restart"),
    [
        pytest.param({}, {}, False, id="nothing"),
        pytest.param({}, {"__gateway_run_files": {"changed": True}}, True, id="a-file"),
        pytest.param({}, {"__gateway_run_files": {"changed": False, "skipped": True}}, False, id="no-file"),
        pytest.param({"due": {"restart": True}}, {}, True, id="older-than-its-files"),
        pytest.param({}, {"nodejs_gateway_restart": True}, True, id="another-node"),
        pytest.param({"due": {"service": True}}, {}, False, id="it-does-not-run"),
    ],
)
def test_a_gateway_is_restarted_for_what_it_would_not_notice(
    gateway: Decide, seen: dict[str, Any], given: dict[str, Any], restart: bool
) -> None:
    assert gateway("__gateway_restart", seen, **given) is restart


@pytest.mark.parametrize(
    ("given", "predicted"),
    [
        pytest.param({}, False, id="a-real-run"),
        pytest.param({"ansible_check_mode": True}, False, id="nothing-to-predict"),
        pytest.param({"ansible_check_mode": True, "__gateway_run_files": {"changed": True}}, True, id="files"),
        pytest.param({"ansible_check_mode": True, "__gateway_config": {"changed": True}}, True, id="settings"),
    ],
)
def test_a_dry_run_does_not_start_what_it_only_predicts(
    gateway: Decide, given: dict[str, Any], predicted: bool
) -> None:
    seen = {"due": {"configure": "__gateway_config" in given}}
    assert gateway("__gateway_predicted", seen, **given) is predicted


def test_a_change_is_confirmed_only_where_one_was_applied(gateway: Decide) -> None:
    for pending in (True, False):
        given = {"__gateway_config": {"pending": pending}}
        assert gateway("__gateway_pending", {"due": {"configure": True}}, **given) is pending
    # Where nothing was due, the task that tells did not run.
    assert gateway("__gateway_pending") is False


def test_what_its_own_role_is_about_to_repair_is_left_out_of_the_proof(gateway: Decide) -> None:
    assert gateway("__gateway_health_due") is False
    assert gateway("__gateway_health_due", mtls_health_due=False) is False
    assert gateway("__gateway_health_due", mtls_health_due=True, backup_health_due=False) is True


def test_files_are_put_back_before_the_note_of_how_goes() -> None:
    """What is absent is removed from the last entry to the first, so the journal is the first of them."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "roles/gateway/tasks").glob("*.yml")]
    undoing = [line.strip() for text in texts for line in text.splitlines() if "['undo']" in line]
    assert len(undoing) == 2
    for line in undoing:
        assert line == '''entries: "{{ __gateway_journal_removed + __gateway_run_files['undo'] | default([]) }}"'''


DROPIN = "/etc/systemd/system/openclaw-gateway.service.d"


def absent(*paths: str) -> list[dict[str, Any]]:
    return [{"path": path, "state": "absent"} for path in paths]


@pytest.fixture
def tuning(decide: Decide) -> Decide:
    """The value of a variable of the role tuning, with what its check has found."""

    def tuning(name: str, files: list[dict[str, Any]] | None = None, **given: Any) -> Any:
        due = {"phases": [], "host": True, "swap": {"size_mb": 64}, **given.pop("due", {})}
        limits = {"memory_max_mb": 1400, "memory_high_mb": 1260, "heap_mb": 700, "tasks_max": 1024}
        found = {"limits": limits, "reasons": ["heap 700 MiB: half of MemoryMax"], "files": files or [], "due": due}
        if given.get("tuning_state") == "absent":
            found |= {"limits": {}, "reasons": []}
            due["swap"] = {"size_mb": 0}
        told = {"common_gateway_follows": False, "common_preflight": {"found": {"tuning": found}}, **given}
        return decide("tuning", name, **told)

    return tuning


def test_the_gateway_runs_with_the_figures_that_the_check_has_found(tuning: Decide) -> None:
    [dropin] = tuning("tuning_gateway_files", gateway_environment={"NODE_ENV": "test"})
    assert (dropin["path"], dropin["state"]) == (f"{DROPIN}/50-tuning.conf", "file")
    lines = dropin["content"].splitlines()
    assert "# heap 700 MiB: half of MemoryMax" in lines
    assert {"MemoryMax=1400M", "MemoryHigh=1260M", "TasksMax=1024", "LimitNPROC=1024", "LimitNOFILE=65535"} <= {*lines}
    # What the gateway's own variables have is left out.
    assert [line for line in lines if line.startswith("Environment")] == [
        'Environment="NODE_COMPILE_CACHE=/var/cache/openclaw/main/compile"',
        'Environment="NODE_OPTIONS=--max-old-space-size=700"',
    ]


def test_a_gateway_without_tuning_runs_without_the_drop_in(tuning: Decide) -> None:
    assert tuning("tuning_gateway_files", tuning_state="absent") == absent(f"{DROPIN}/50-tuning.conf")
    assert tuning("tuning_summary", tuning_state="absent") == []
    # Where the host was not looked at for this role, its files stay as they are.
    assert tuning("tuning_gateway_files", common_preflight={"found": {}}) == []
    assert tuning("tuning_summary", common_preflight={"found": {}}) == []


@pytest.mark.parametrize("instance", ["main", "blue"])
def test_the_files_of_the_host_are_written_by_the_gateway_that_manages_it(tuning: Decide, instance: str) -> None:
    ending = "" if instance == "main" else f"-{instance}"
    sessions = f"/etc/security/limits.d/60-openclaw{ending}.conf"
    of_host = ["/etc/sysctl.d/60-openclaw.conf", "/etc/systemd/system/var-openclaw_swap.swap"]
    entries = tuning("__tuning_entries", gateway_instance=instance)
    assert [entry["path"] for entry in entries] == [sessions, *of_host]
    assert f"openclaw{ending} - nproc 1024\n" in entries[0]["content"]
    assert "vm.swappiness = 10\n" in entries[1]["content"]
    assert "What=/var/openclaw_swap\n" in entries[2]["content"]
    entries = tuning("__tuning_entries", gateway_instance=instance, due={"host": False})
    assert [entry["path"] for entry in entries] == [sessions]
    wants = "/etc/systemd/system/swap.target.wants/var-openclaw_swap.swap"
    entries = tuning("__tuning_entries", gateway_instance=instance, tuning_state="absent")
    assert entries == absent(sessions, *of_host, wants)
    entries = tuning("__tuning_entries", gateway_instance=instance, due={"swap": {"size_mb": 0}})
    assert entries[2:] == absent(of_host[1], wants)


def test_the_phases_of_the_tuning_are_those_that_have_something_to_do(tuning: Decide) -> None:
    kernel = {"phases": ["kernel", "swap"]}
    assert tuning("__tuning_phases", due=kernel) == ["configure", "kernel", "swap", "hand_over"]
    assert tuning("__tuning_phases", due=kernel, common_gateway_follows=True) == ["configure", "kernel", "swap"]
    written = [*tuning("__tuning_entries"), *tuning("tuning_gateway_files")]
    assert tuning("__tuning_phases", written) == []
    assert tuning("__tuning_phases", written[1:]) == ["configure"]
    assert tuning("__tuning_phases", written[:-1]) == ["hand_over"]
    assert tuning("__tuning_phases", written, due=kernel) == ["kernel", "swap"]
    swap = {"phases": ["swap"]}
    assert tuning("__tuning_phases", written, due=swap, tuning_state="absent") == ["swap", "remove", "hand_over"]
    removed = absent(*tuning("__tuning_paths"))
    assert tuning("__tuning_phases", removed, tuning_state="absent") == []


@pytest.mark.parametrize(
    ("hosts", "present", "absent"),
    [
        pytest.param(["one"], True, True, id="alone"),
        pytest.param(["one", "two"], True, False, id="the-first-of-two-while-the-second-stays"),
        pytest.param(["two", "one"], False, False, id="the-second-of-two"),
    ],
)
def test_one_gateway_of_a_host_manages_its_kernel_and_swap(
    decide: Decide, hosts: list[str], present: bool, absent: bool
) -> None:
    given = {"__tuning_gateways": hosts, "ansible_play_hosts": hosts, "inventory_hostname": "one"}
    assert decide("tuning", "__tuning_manages_host", **given) is present
    only = {**given, "ansible_play_hosts": ["one"]}
    assert decide("tuning", "__tuning_manages_host", **only) is True
    assert decide("tuning", "__tuning_manages_host", **only, tuning_state="absent") is absent
    # Both go in one run.
    assert decide("tuning", "__tuning_manages_host", **given, tuning_state="absent") is present


@pytest.fixture
def docker(decide: Decide) -> Decide:
    """The value of a variable of the role docker, with what its check has found."""

    def docker(name: str, found: dict[str, Any] | None = None, **given: Any) -> Any:
        found = {"engine": True, "files": [], "due": {"phases": []}, **(found or {})}
        told = {"common_gateway_follows": False, "common_preflight": {"found": {"docker": found}}, **given}
        return decide("docker", name, **told)

    return docker


ENVIRONMENT, GROUP = "/etc/openclaw/main/environment.d/docker.env", f"{DROPIN}/60-docker.conf"


def test_the_gateway_is_told_where_its_engine_listens(docker: Decide) -> None:
    environment, dropin = docker("docker_gateway_files")
    assert (environment["path"], environment["state"]) == (ENVIRONMENT, "file")
    assert 'DOCKER_HOST="unix:///var/lib/openclaw/main/docker/docker.sock"\n' in environment["content"]
    assert [dropin] == absent(GROUP)
    environment, dropin = docker("docker_gateway_files", docker_grant_gateway_root_on_host=True)
    assert [environment] == absent(ENVIRONMENT)
    assert (dropin["path"], dropin["state"]) == (GROUP, "file")
    assert "SupplementaryGroups=docker\n" in dropin["content"]


@pytest.mark.parametrize(
    ("found", "given", "paths"),
    [
        pytest.param({"engine": False}, {}, [], id="no-engine-yet"),
        pytest.param({"engine": False}, {"__docker_files_set": {}}, [ENVIRONMENT, GROUP], id="an-engine-of-this-run"),
        pytest.param({}, {"docker_state": "unmanaged"}, [], id="unmanaged"),
        pytest.param({"engine": False}, {"docker_state": "absent"}, [ENVIRONMENT, GROUP], id="to-be-removed"),
        pytest.param({}, {"common_preflight": {"found": {}}}, [], id="not-looked-at"),
    ],
)
def test_the_gateway_is_given_only_an_engine_that_is_there(
    docker: Decide, found: dict[str, Any], given: dict[str, Any], paths: list[str]
) -> None:
    assert [entry["path"] for entry in docker("docker_gateway_files", found, **given)] == paths


def test_a_gateway_without_an_engine_is_told_of_none(docker: Decide) -> None:
    for root in (False, True):
        given = {"docker_state": "absent", "docker_grant_gateway_root_on_host": root}
        assert docker("docker_gateway_files", {"engine": False}, **given) == absent(ENVIRONMENT, GROUP)


def test_the_phases_of_the_engine_end_with_the_gateway(docker: Decide) -> None:
    fresh = {"engine": False, "due": {"phases": ["install", "configure", "image"]}}
    assert docker("__docker_phases", fresh) == ["install", "configure", "image", "hand_over"]
    assert docker("__docker_phases", fresh, common_gateway_follows=True) == ["install", "configure", "image"]
    assert docker("__docker_phases", {"files": docker("docker_gateway_files")}) == []
    assert docker("__docker_phases", docker_state="unmanaged", common_preflight={"found": {}}) == []
    removed = {"files": absent(ENVIRONMENT, GROUP), "due": {"phases": ["remove"]}}
    assert docker("__docker_phases", removed, docker_state="absent") == ["remove"]
    there = {"files": docker("docker_gateway_files"), "due": {"phases": ["remove"]}}
    assert docker("__docker_phases", there, docker_state="absent") == ["remove", "hand_over"]


@pytest.mark.parametrize(
    ("given", "restart"),
    [
        pytest.param({}, False, id="nothing-has-changed"),
        pytest.param({"files": True}, True, id="a-file"),
        pytest.param({"due": {"restart": True}}, True, id="it-does-not-answer"),
        pytest.param({"packages": True}, False, id="packages-of-another-role"),
        pytest.param({"packages": True, "due": {"phases": ["install", "configure"]}}, True, id="its-packages"),
        pytest.param({"due": {"phases": ["install", "configure"]}}, False, id="only-the-source-of-its-packages"),
    ],
)
def test_the_engine_is_restarted_for_what_concerns_it(docker: Decide, given: dict[str, Any], restart: bool) -> None:
    due = {"phases": ["configure"], "restart": False, **given.get("due", {})}
    told = {
        "__docker_files_set": {"changed": given.get("files", False)},
        "common_apt_result": {"changed": given.get("packages", False)},
    }
    assert docker("__docker_restart", {"due": due}, **told) is restart


@pytest.mark.parametrize(
    ("given", "packages"),
    [
        pytest.param({"docker_version": "5:28.*"}, ["docker-ce=5:28.*", "docker-ce-cli"], id="the-engine-in-a-version"),
        pytest.param({}, ["docker-ce", "docker-ce-cli"], id="the-newest"),
        pytest.param({"docker_source": "distribution"}, ["docker.io", "rootlesskit"], id="of-the-distribution"),
    ],
)
def test_the_engines_own_package_comes_first(docker: Decide, given: dict[str, Any], packages: list[str]) -> None:
    facts = {"distribution": "Debian", "distribution_major_version": "12"}
    assert docker("__docker_packages", **given, ansible_facts=facts)[:2] == packages


def test_a_host_without_an_engine_of_ours_is_not_looked_at(docker: Decide) -> None:
    assert docker("docker_checks", docker_state="unmanaged") == {}


def test_what_the_checks_are_given_is_what_they_take(decide: Decide) -> None:
    facts = {"distribution": "Debian", "distribution_major_version": "12"}
    hostvars: dict[str, Any] = {"one": {}, "two": {"ansible_host": "one", "tuning_swap_mb": 64}}
    given = {"hostvars": hostvars, "groups": {"gateways": [*hostvars]}, "inventory_hostname": "one"}
    given |= {"ansible_play_hosts": [*hostvars], "ansible_facts": facts}
    for role in ("docker", "tuning"):
        options = _checks.ROLES[role].OPTIONS
        params = decide(role, f"{role}_checks", **given)
        assert params.keys() <= options.keys()
        unset = {"state", "problems", "manages_host"}
        assert options.keys() - params.keys() <= unset, role
        assert ArgumentSpecValidator(options).validate(params).error_messages == []
    assert params["gateways"] == 2
    assert [problem.split()[0] for problem in params["problems"]] == ["tuning_swap_mb"]


MTLS: dict[str, Any] = {"inventory_hostname": "vps1", "ansible_check_mode": False, "mtls_state": "present"}


@pytest.fixture
def mtls(decide: Decide) -> Decide:
    """The value of a variable of the role mtls, where its check has found these phases to be due."""

    def mtls(name: str, phases: list[str] | None = None, **given: Any) -> Any:
        due = {"phases": phases or [], "health": bool(phases), "certificates": []}
        return decide("mtls", name, **{**MTLS, "common_preflight": {"found": {"mtls": {"due": due}}}, **given})

    return mtls


LOOKED_AT = {
    "verdict": "healthy",
    "reasons": [],
    "figures": {"certificate_days_left": 300},
    "checks": {"mtls": "passed"},
}
NOT_LOOKED_AT = {**LOOKED_AT, "checks": {"mtls": "not_run"}}


@pytest.mark.parametrize(
    ("phases", "given", "expected"),
    [
        pytest.param([], {"gateway_verdict": LOOKED_AT}, [], id="proved-along-with-the-gateway"),
        pytest.param([], {"gateway_verdict": NOT_LOOKED_AT}, ["check"], id="the-gateway-was-proved-alone"),
        pytest.param([], {}, ["check"], id="the-gateway-was-not-proved"),
        pytest.param(
            ["configure"], {"gateway_verdict": LOOKED_AT}, ["configure", "check"], id="proved-before-a-change"
        ),
        pytest.param([], {"ansible_check_mode": True}, ["check"], id="a-dry-run-where-nothing-is-due"),
        pytest.param(["issue", "configure"], {"ansible_check_mode": True}, ["issue", "configure"], id="a-dry-run"),
        pytest.param(["remove"], {"mtls_state": "absent"}, ["remove"], id="to-go"),
    ],
)
def test_an_mtls_proxy_is_proved_unless_that_is_done_or_it_is_only_predicted(
    mtls: Decide, phases: list[str], given: dict[str, Any], expected: list[str]
) -> None:
    assert mtls("__mtls_phases", phases, **given) == expected
    assert mtls("mtls_health_due", phases, **given) is bool(phases)


def test_bundles_that_the_controller_does_not_have_as_it_should_are_fetched(mtls: Decide, tmp_path: Path) -> None:
    def due(**given: Any) -> bool:
        return "configure" in mtls(
            "__mtls_phases", mtls_bundles_path=str(tmp_path), **{"mtls_clients": ["alice"], **given}
        )

    assert due()
    assert not due(ansible_check_mode=True)
    (tmp_path / "vps1").mkdir()
    for name in ("ca.pem", "alice.p12", "alice.pem", "alice.key"):
        assert due(), name
        (tmp_path / "vps1" / name).touch()
    assert not due()
    assert due(mtls_clients=[], mtls_revoked=["alice"])
    assert not due(mtls_clients=[], mtls_revoked=["bob"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({"gateway_verdict": LOOKED_AT}, "healthy, 300 days left", id="along-with-the-gateway"),
        pytest.param({"gateway_verdict": NOT_LOOKED_AT}, "not looked at in this run", id="not-at-all"),
        pytest.param({}, "not looked at in this run", id="without-the-gateway"),
        pytest.param(
            {"gateway_verdict": NOT_LOOKED_AT, "__mtls_verdict": {**LOOKED_AT, "reasons": ["slow"]}},
            "healthy, slow",
            id="by-itself",
        ),
    ],
)
def test_the_summary_says_how_the_mtls_proxy_is(mtls: Decide, given: dict[str, Any], words: str) -> None:
    [line] = mtls("mtls_summary", **given)
    assert line.startswith(
        "mTLS proxy: https://vps1/ for clients with a certificate, /etc/openclaw/main/mtls/clients on"
    )
    assert f"; {words}" in line


def test_without_mutual_tls_nothing_of_it_is_given(decide: Decide) -> None:
    given = {**MTLS, "mtls_state": "unmanaged", "common_preflight": {"found": {}}}
    names = ("mtls_checks", "mtls_gateway_settings", "mtls_health_due", "mtls_summary", "__mtls_phases")
    assert [decide("mtls", name, **given) for name in names] == [{}, {}, False, [], []]


TAILSCALE: dict[str, Any] = {
    "inventory_hostname": "vps1",
    "ansible_facts": {"distribution": "Debian", "distribution_release": "trixie"},
    "ansible_play_hosts_all": ["vps1"],
    "hostvars": {"vps1": {}},
    "groups": {"gateways": ["vps1"]},
    "common_gateway_follows": False,
    "tailscale_state": "present",
}
SERVES_ITSELF = {"gateway_settings": {"gateway": {"tailscale": {"mode": "serve"}}}}


@pytest.fixture
def tailscale(decide: Decide) -> Decide:
    """The value of a variable of the role tailscale, where its check has found a node that is well, but for these changes."""

    def tailscale(name: str, found: dict[str, Any] | None = None, **given: Any) -> Any:
        node: dict[str, Any] = {
            "installed": "1.102.5",
            "name": "vps1.tailnet.lab",
            "files": absent(f"{DROPIN}/60-tailscale.conf"),
        }
        node |= {"due": {"phases": []}, **(found or {})}
        return decide("tailscale", name, **{**TAILSCALE, "common_preflight": {"found": {"tailscale": node}}, **given})

    return tailscale


@pytest.mark.parametrize(
    ("found", "given", "state"),
    [
        pytest.param({}, {}, "absent", id="tailscaled-serves-it"),
        pytest.param({}, SERVES_ITSELF, "file", id="it-serves-itself"),
        pytest.param({"installed": ""}, SERVES_ITSELF, "absent", id="there-is-no-tailscaled-yet"),
        pytest.param({}, {**SERVES_ITSELF, "tailscale_state": "absent"}, "absent", id="tailscaled-is-to-go"),
    ],
)
def test_only_a_gateway_that_serves_itself_waits_for_a_tailscaled_that_is_there(
    tailscale: Decide, found: dict[str, Any], given: dict[str, Any], state: str
) -> None:
    [dropin] = tailscale("tailscale_gateway_files", found, **given)
    assert (dropin["path"], dropin["state"]) == (f"{DROPIN}/60-tailscale.conf", state)


def test_without_a_tailnet_nothing_of_it_is_given(decide: Decide) -> None:
    given = {**TAILSCALE, "tailscale_state": "unmanaged", "common_preflight": {"found": {}}}
    names = ("checks", "gateway_settings", "gateway_files", "summary")
    assert [decide("tailscale", f"tailscale_{name}", **given) for name in names] == [{}, {}, [], []]
    assert decide("tailscale", "__tailscale_phases", **given) == []


@pytest.mark.parametrize(
    ("found", "given", "phases"),
    [
        pytest.param({}, {}, [], id="nothing"),
        pytest.param({"due": {"phases": ["join", "configure"]}}, {}, ["join", "configure"], id="those-of-the-check"),
        pytest.param({}, SERVES_ITSELF, ["hand_over"], id="a-drop-in"),
        pytest.param({"installed": ""}, SERVES_ITSELF, ["hand_over"], id="a-drop-in-once-tailscaled-is-there"),
        pytest.param({}, {**SERVES_ITSELF, "common_gateway_follows": True}, [], id="the-gateway-follows"),
        pytest.param(
            {"files": [{"path": f"{DROPIN}/60-tailscale.conf", "state": "file", "content": "x"}]},
            {},
            ["hand_over"],
            id="a-drop-in-that-is-to-go",
        ),
    ],
)
def test_the_gateway_is_handed_a_drop_in_only_where_it_does_not_follow(
    tailscale: Decide, found: dict[str, Any], given: dict[str, Any], phases: list[str]
) -> None:
    assert tailscale("__tailscale_phases", found, **given) == phases


@pytest.mark.parametrize(
    ("found", "given", "lines"),
    [
        pytest.param({}, {}, ["http://vps1.tailnet.lab:18789/"], id="tailscaled-serves-it"),
        pytest.param({}, SERVES_ITSELF, ["https://vps1.tailnet.lab/"], id="it-serves-itself"),
        pytest.param({}, {"tailscale_serve": False}, [], id="not-served"),
        pytest.param({"name": ""}, {}, [], id="no-name-yet"),
        pytest.param({}, {"tailscale_state": "absent"}, [], id="to-go"),
    ],
)
def test_the_summary_says_where_the_gateway_is_in_the_tailnet(
    tailscale: Decide, found: dict[str, Any], given: dict[str, Any], lines: list[str]
) -> None:
    expected = [f"Control UI from the tailnet: {line}" for line in lines]
    assert tailscale("tailscale_summary", found, **given) == expected


REJOINS: dict[str, Any] = {
    "__tailscale_before": {"known": True, "due": {"join": "rejoin", "join_flags": ["--login-server=https://control"]}},
    "tailscale_auth_key": "hskey-auth-k1",
}


@pytest.mark.parametrize(
    ("up", "found", "reason", "remedy"),
    [
        pytest.param(
            {"rc": 1, "stderr": "x\nbackend error: invalid key hskey-auth-k1\n"},
            {},
            "invalid key ********",
            "Give a valid key in tailscale_auth_key",
            id="a-key-that-is-refused",
        ),
        pytest.param(
            {"rc": 124, "stderr": ""},
            {"health": ["odd", "control is away"]},
            "no answer within 20 s (control is away)",
            "Check tailscale_login_server",
            id="a-server-that-does-not-answer",
        ),
        pytest.param(
            {"rc": 0, "stderr": ""},
            {"tags": []},
            "the key gives no tags, not tag:a",
            "Give a valid key",
            id="other-tags",
        ),
        pytest.param(
            {"rc": 0, "stderr": ""}, {"problem": "it was removed"}, "it was removed", "Give a valid key", id="removed"
        ),
    ],
)
def test_a_join_that_failed_is_explained_without_the_key(
    tailscale: Decide, up: dict[str, Any], found: dict[str, Any], reason: str, remedy: str
) -> None:
    node = {"health": [], "problem": "", "tags": ["tag:b"], "due": {"join": "rejoin"}, **found}
    given = {**REJOINS, "__tailscale_up": up, "tailscale_tags": ["tag:a"]}
    assert tailscale("__tailscale_join_failed", node, **given) is True
    assert tailscale("__tailscale_reason", node, **given) == reason
    assert tailscale("__tailscale_remedy", node, **given).startswith(remedy)
    assert tailscale("__tailscale_aftermath", node, **given) == "The node goes on as before."
    assert tailscale("__tailscale_aftermath", node, **given, __tailscale_is_new=True).startswith(
        "Tailscale is off the host"
    )


@pytest.mark.parametrize(
    ("join", "more"),
    [
        ("up", []),
        ("join", ["--auth-key=file:/run/openclaw-tailscale-key"]),
        ("rejoin", ["--auth-key=file:/run/openclaw-tailscale-key", "--force-reauth"]),
    ],
)
def test_a_key_is_shown_to_tailscaled_in_a_file(tailscale: Decide, join: str, more: list[str]) -> None:
    before = {"due": {"join": join, "join_flags": ["--ssh=false"]}}
    command = tailscale("__tailscale_up_command", __tailscale_before=before, tailscale_join_timeout="20")
    assert command == ["timeout", "25", "tailscale", "up", "--timeout=20s", "--ssh=false", *more]


def test_the_checks_of_mtls_and_tailscale_are_given_what_they_take(mtls: Decide, tailscale: Decide) -> None:
    hostvars: dict[str, Any] = {"vps1": {}, "vps1-blue": {"ansible_host": "vps1", "tailscale_state": "present"}}
    shared = {"hostvars": hostvars, "groups": {"gateways": [*hostvars]}, "tailscale_auth_key": "tskey-api-k1"}
    given = {"mtls": mtls("mtls_checks"), "tailscale": tailscale("tailscale_checks", **shared)}
    for role, params in given.items():
        options = _checks.ROLES[role].OPTIONS
        assert params.keys() == options.keys(), role
        assert ArgumentSpecValidator(options).validate(params).error_messages == []
    assert "k1" not in str(given)
    assert [text.split(" ")[0] for text in given["tailscale"]["problems"]] == ["tailscale_auth_key:", "tailscale_state"]
    settings = given["mtls"]["gateway_settings"]["gateway"]
    assert settings == {"trustedProxies": ["127.0.0.1"], "controlUi": {"allowedOrigins": ["https://vps1"]}}


VERDICT = {"gateway_verdict": {"version": "2026.9.6", "verdict": "healthy", "reasons": []}}


@pytest.mark.parametrize(
    ("seen", "config", "new"),
    [
        ({"due": {"configure": True}}, {"changed_secrets": ["OPENCLAW_GATEWAY_TOKEN"]}, True),
        ({"due": {"configure": True}}, {"changed_secrets": ["OTHER"]}, False),
        ({"due": {"configure": True}}, {"changed_secrets": []}, False),
        ({}, {"skipped": True}, False),
    ],
)
def test_the_summary_tells_that_the_token_is_new(
    gateway: Decide, seen: dict[str, Any], config: dict[str, Any], new: bool
) -> None:
    summary = gateway("gateway_summary", seen, **VERDICT, __gateway_config=config)
    (token,) = (line for line in summary if line.startswith("Token: "))
    assert token.endswith("; new with this run") is new
    assert token.startswith("Token: OPENCLAW_GATEWAY_TOKEN in /etc/openclaw/main/secrets/secrets.json on the host, ")


def test_the_summary_has_the_lines_of_every_role_and_no_empty_one(gateway: Decide) -> None:
    given = {"mtls_summary": ["mTLS: here"], "tailscale_summary": ["", "Tailnet: there"], "__x_summary": ["private"]}
    first, proof, control, token, *others, following = gateway("gateway_summary", **VERDICT, **given)
    assert first == "vps1: OpenClaw 2026.9.6 answers, healthy"
    assert proof.startswith("every probe passed")
    assert control.endswith("ssh -N -L 18789:127.0.0.1:18789 vps1")
    assert token.startswith("Token: ")
    assert following.startswith("Next: name a model")
    assert sorted(others) == ["Tailnet: there", "mTLS: here"]
    reasons = {"gateway_verdict": {**VERDICT["gateway_verdict"], "verdict": "degraded", "reasons": ["a", "b"]}}
    first, proof, *_ = gateway("gateway_summary", **reasons, gateway_label="Blue")
    assert (first, proof) == ("vps1: OpenClaw 2026.9.6 answers, degraded (Blue)", "a; b")


def test_what_the_checks_of_gateway_node_and_host_are_given_is_what_they_take(decide: Decide) -> None:
    hostvars: dict[str, Any] = {"one": {"gateway_port": 1}, "two": {"ansible_host": "one", "gateway_port": 1}}
    given: dict[str, Any] = {"hostvars": hostvars, "groups": {"gateways": [*hostvars]}, "inventory_hostname": "one"}
    given |= {"ansible_facts": FACTS, "ansible_play_hosts_all": [*hostvars], "gateway_secrets": {"A": "b"}}
    given |= {"gateway_token": "t", "gateway_environment": {"A": 1}, "gateway_nodejs_comes": True}
    for role in ("common", "nodejs", "gateway"):
        options = _checks.ROLES[role].OPTIONS
        params = decide(role, f"{role}_checks", **given)
        assert params.keys() == options.keys()
        assert ArgumentSpecValidator(options).validate(params).error_messages == []
    assert params["problems"], "they have one port"
    config = params["config"]
    assert config["secrets"] == {"A": "b", "OPENCLAW_GATEWAY_TOKEN": "t"}
    assert config["environment_variables"]["A"] == 1


def test_the_settings_are_judged_with_the_arguments_with_which_they_are_applied(decide: Decide) -> None:
    [task] = yaml.safe_load((ROOT / "roles/gateway/tasks/configure.yml").read_text(encoding="utf-8"))
    [applied] = [value for key, value in task.items() if key.endswith("gateway_config")]
    checks = yaml.safe_load((ROOT / "roles/gateway/vars/main/preflight.yml").read_text(encoding="utf-8"))
    judged = checks["gateway_checks"]["config"]
    later = {"release", "confirm", "hold", "timeout"}
    assert applied.keys() - judged.keys() == later
    assert {key: judged[key] for key in applied.keys() - later - {"settings"}} == {
        key: applied[key] for key in applied.keys() - later - {"settings"}
    }
    assert (judged["settings"], applied["settings"]) == (
        "{{ __gateway_settings_of_inventory }}",
        "{{ __gateway_settings }}",
    )


@pytest.mark.parametrize(
    ("failed", "words"),
    [
        (
            {"stdout": '{"error": "the disk: it is full."}', "stderr": "", "msg": "non-zero return code"},
            "the disk: it is full.",
        ),
        ({"stdout": "", "stderr": "no such unit", "msg": "non-zero return code"}, "no such unit"),
        ({"msg": "the gateway does not answer"}, "the gateway does not answer"),
        ({}, "It failed."),
    ],
    ids=["the-programs-own", "a-commands", "a-modules", "nothing"],
)
def test_why_a_restore_has_failed_is_told_in_the_words_of_what_failed(
    decide: Decide, failed: dict[str, Any], words: str
) -> None:
    assert decide("backup", "__backup_restore_failure", ansible_failed_result=failed) == words


@pytest.mark.parametrize("asked", ["", "false", False, "true", True])
@pytest.mark.parametrize("bare", [False, True])
def test_secrets_of_a_snapshot_come_when_they_are_asked_for_or_there_are_none(
    decide: Decide, asked: Any, bare: bool
) -> None:
    given = {"backup_restore_secrets": asked, "__backup_is_bare": bare}
    comes = bare if asked == "" else asked in ("true", True)
    assert decide("backup", "__backup_restore_secrets", **given) is comes


@pytest.mark.parametrize(("bare", "words"), [(False, ["--hold"]), (True, ["--hold", "--bare"])])
def test_a_bare_host_is_not_backed_up_until_its_data_has_come(decide: Decide, bare: bool, words: list[str]) -> None:
    assert decide("backup", "__backup_hold", __backup_is_bare=bare) == words


def test_a_plugin_of_which_only_little_is_known_does_not_hide_that_the_data_has_come(decide: Decide) -> None:
    about = json.dumps({"plugins": [{"name": "x"}, {"id": "y"}]})
    assert "again: ?, y (" in decide("backup", "__backup_restore_plugins", __backup_restore_fetched={"stdout": about})


def test_the_snapshot_that_comes_is_the_one_that_was_told_of(decide: Decide) -> None:
    words = decide("backup", "__backup_restore_words", backup_restore_snapshot="latest")
    assert words == ["--snapshot", "latest", "--host", "", "--repository", ""]
    chosen = {"stdout": json.dumps({"snapshot": "aaaa1111", "repository": "offsite"})}
    words = decide("backup", "__backup_restore_words", __backup_restore_choice=chosen)
    assert words == ["--snapshot", "aaaa1111", "--host", "", "--repository", "offsite"]
