# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found out about a host, and what of it speaks against a gateway."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible.module_utils import basic

from ansible_collections.clawops.openclaw.plugins.module_utils import _host, _release
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.modules import gateway_preflight

if TYPE_CHECKING:
    from ansible_collections.clawops.openclaw.tests.unit.conftest import RunModule

    Run = Callable[..., dict[str, Any]]

UNIT = "clawops-stand-in.service"
PARAMETERS: dict[str, Any] = {
    "version": "2026.9.6",
    "minimum_safe": {"version": "2026.1.29", "reasons": ["CVE-2026-25253", "another one"]},
    "allow_unsafe_version": False,
    "known_engines": {"2026.9.6": ">=24.16.0 <25 || >=26.1.0"},
    "port": 18789,
    "unit": UNIT,
    "releases_path": "/opt/openclaw/releases",
    "memory": {"minimum": 1200, "recommended": 1900},
    "disk": {"minimum": 1700, "recommended": 4000},
    "nodejs_comes": True,
}
SEEN: dict[str, Any] = {
    "version": "2026.9.6",
    "installed": False,
    "npm": False,
    "memory_mb": 3900,
    "disk_free_mb": 50000,
}


# ---- what speaks against it ------------------------------------------------------------------------------


def judge(parameters: dict[str, Any] | None = None, **seen: Any) -> tuple[list[OpenClawError], list[OpenClawError]]:
    return gateway_preflight.judge({**PARAMETERS, **(parameters or {})}, {**SEEN, **seen})


def test_a_good_host_is_not_spoken_about() -> None:
    assert judge() == ([], [])


@pytest.mark.parametrize(
    ("given", "subject", "remedy"),
    [
        ({"instance": ""}, "gateway_instance ''", "Use lower-case"),
        ({"instance": "Bad Name"}, "gateway_instance 'Bad Name'", "Use lower-case"),
        ({"instance": "x" * 24}, f"gateway_instance '{'x' * 24}'", "23 at most"),
        ({"instance": "../x"}, "gateway_instance '../x'", "Use lower-case"),
        ({"label": "a\nb"}, r"gateway_label 'a\nb'", "Remove line ends"),
        ({"port": 0}, "gateway_port 0", "Choose one of 1 to 65535"),
        ({"port": 65536}, "gateway_port 65536", "Choose one of 1 to 65535"),
        ({"releases_keep": 0}, "gateway_releases_keep 0", "Keep 1 release or more"),
        ({"start_timeout": 0}, "gateway_start_timeout 0", "Give it seconds"),
        ({"environment": {"BAD NAME": "x"}}, "gateway_environment BAD NAME", "Use letters"),
        ({"environment": {"1A": "x"}}, "gateway_environment 1A", "Use letters"),
        ({"environment": {"A": "b\nc"}}, "gateway_environment A", "Remove line ends"),
        ({"environment": {"A": None}}, "gateway_environment A", "Put it in quotes, or remove it"),
        ({"environment": {"A": True}}, "gateway_environment A", "Put it in quotes, or remove it"),
        ({"environment": {"A": ["b"]}}, "gateway_environment A", "Put it in quotes, or remove it"),
    ],
)
def test_a_variable_that_no_gateway_can_have_is_refused(
    run: Run, given: dict[str, Any], subject: str, remedy: str
) -> None:
    result = run(**given)
    assert result["failed"] is True
    assert result["msg"].startswith(f"{subject}: ")
    assert remedy in result["msg"]
    assert "\n" not in result["msg"]


def test_variables_that_a_gateway_can_have_are_not_spoken_about(run: Run) -> None:
    result = run(
        instance="blue-2_x",
        label="Büro 50% ünït",
        port=65535,
        releases_keep=1,
        start_timeout=1,
        environment={"A_1": "ü\tx", "_B": 5, "C": 0.5, "D": ""},
    )
    assert result.get("failed", False) is False


@pytest.mark.parametrize(
    ("given", "seen", "refused"),
    [
        ({"nodejs_comes": False}, {}, True),
        ({"nodejs_comes": True}, {}, False),
        ({"nodejs_comes": False}, {"npm": True}, False),
        ({"nodejs_comes": False}, {"installed": True}, False),
    ],
)
def test_a_release_that_nothing_could_install_is_refused(
    given: dict[str, Any], seen: dict[str, Any], refused: bool
) -> None:
    assert [error.subject for error in judge(given, **seen)[0]] == (["npm"] if refused else [])


@pytest.mark.parametrize(
    ("parameters", "seen", "kind", "subject", "reason", "remedy"),
    [
        pytest.param(
            {},
            {"version": "2026.1.28"},
            "error",
            "gateway_version 2026.1.28",
            "is not safe: CVE-2026-25253; another one",
            "Use 2026.1.29 or newer",
            id="an-unsafe-version",
        ),
        pytest.param(
            {},
            {"version": "2026.1.29-beta.1"},
            "error",
            "gateway_version 2026.1.29-beta.1",
            "is not safe",
            "gateway_allow_unsafe_version: true",
            id="a-preview-of-the-first-safe-version",
        ),
        pytest.param(
            {"allow_unsafe_version": True},
            {"version": "2026.1.28"},
            "warning",
            "gateway_version 2026.1.28",
            "is not safe",
            "Use 2026.1.29 or newer",
            id="an-unsafe-version-that-the-operator-insists-on",
        ),
        pytest.param(
            {},
            {"memory_mb": 1199},
            "error",
            "The host's memory",
            "1199 MiB; an idle gateway takes about 950 MiB, 1900 MiB is the least to run one well: "
            "the kernel would kill it while it starts",
            "Give the host more memory",
            id="too-little-memory",
        ),
        pytest.param(
            {},
            {"memory_mb": 1200},
            "warning",
            "The host's memory",
            "1200 MiB; ",
            "Give the host",
            id="just-enough-memory",
        ),
        pytest.param(
            {},
            {"memory_mb": 1899},
            "warning",
            "The host's memory",
            "it will be slow",
            "Give the host more memory",
            id="little-memory",
        ),
        pytest.param(
            {},
            {"disk_free_mb": 1699},
            "error",
            "The disk of /opt/openclaw/releases",
            "1699 MiB are free; a release takes about 800 MiB, and as much again while it is installed: "
            "the installation would fail",
            "Free some space",
            id="too-little-disk",
        ),
        pytest.param(
            {},
            {"disk_free_mb": 1700},
            "warning",
            "The disk of /opt/openclaw/releases",
            "there is little left",
            "Free some space",
            id="little-disk",
        ),
    ],
)
def test_judge(
    parameters: dict[str, Any], seen: dict[str, Any], kind: str, subject: str, reason: str, remedy: str
) -> None:
    errors, warnings = judge(parameters, **seen)
    [finding] = errors if kind == "error" else warnings
    assert (errors if kind == "warning" else warnings) == []
    assert finding.subject == subject
    assert reason in finding.reason
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param({"version": "2026.1.29"}, id="the-first-safe-version"),
        pytest.param({"version": "2026.1.29-1"}, id="a-correction-of-it"),
        pytest.param({"version": "latest"}, id="a-version-that-is-not-known-yet"),
        pytest.param({"memory_mb": 1900}, id="the-recommended-memory"),
        pytest.param({"disk_free_mb": 4000}, id="the-recommended-space"),
        pytest.param({"disk_free_mb": 1, "installed": True}, id="no-space-for-what-is-installed-already"),
    ],
)
def test_what_is_enough_is_not_spoken_about(seen: dict[str, Any]) -> None:
    assert judge(**seen) == ([], [])


def test_everything_is_said_at_once() -> None:
    errors, warnings = judge(version="2026.1.1", memory_mb=1000, disk_free_mb=2000)
    assert [error.subject for error in errors] == ["gateway_version 2026.1.1", "The host's memory"]
    assert [warning.subject for warning in warnings] == ["The disk of /opt/openclaw/releases"]


# ---- the port ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["127.0.0.1", "::1", "::"])
def listener(request: pytest.FixtureRequest, listen: Callable[[str], int]) -> int:
    """The port on which this process listens."""
    return listen(request.param)


def test_a_port_on_which_something_else_listens_is_taken(listener: int) -> None:
    [error] = gateway_preflight.port_taken({"port": listener, "unit": UNIT})
    name = Path("/proc/self/comm").read_text().strip()
    assert error.subject == f"gateway_port {listener}"
    assert error.reason == f"{name} (process {os.getpid()}) listens on it"
    assert "Choose another gateway_port" in error.remedy


def test_a_port_on_which_the_gateway_itself_listens_is_not_taken(
    listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_text = _host.read_text

    def in_the_unit(path: str) -> str:
        return f"0::/system.slice/{UNIT}\n" if path == f"/proc/{os.getpid()}/cgroup" else read_text(path)

    monkeypatch.setattr(_host, "read_text", in_the_unit)
    assert gateway_preflight.port_taken({"port": listener, "unit": UNIT}) == []
    assert len(gateway_preflight.port_taken({"port": listener, "unit": "another.service"})) == 1


def test_a_listener_whose_owner_cannot_be_seen_takes_the_port_too(
    listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_host, "owner_of", lambda _inode: (0, ""))
    [error] = gateway_preflight.port_taken({"port": listener, "unit": UNIT})
    assert error.reason == "another process listens on it"


def test_a_gateway_that_ends_while_it_is_looked_at_takes_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gateway:
        port = gateway.getsockname()[1]

        def gone(_inode: str) -> tuple[int, str]:
            gateway.close()
            return 0, ""

        monkeypatch.setattr(_host, "owner_of", gone)
        assert gateway_preflight.port_taken({"port": port, "unit": UNIT}) == []


def test_a_free_port_is_not_taken(listener: int) -> None:
    assert gateway_preflight.port_taken({"port": 1, "unit": UNIT}) == []


def test_a_listener_on_another_address_leaves_loopback_free(monkeypatch: pytest.MonkeyPatch) -> None:
    table = "heading\n 0: 0501A8C0:4965 00000000:0000 0A 0:0 0:0 0 0 0 900 1\n"
    monkeypatch.setattr(_host, "read_text", lambda path: table if path == "/proc/net/tcp" else "")
    assert gateway_preflight.port_taken({"port": 18789, "unit": UNIT}) == []


# ---- what has changed since the gateway began --------------------------------------------------------------


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        yield process
        process.kill()


def test_what_is_newer_than_the_process_is_stale(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    old, new, link = tmp_path / "old", tmp_path / "new", tmp_path / "link"
    for path in (old, new):
        path.touch()
    link.symlink_to(old)
    now = time.time()
    os.utime(old, (now - 60, now - 60))
    os.utime(new, (now + 60, now + 60))
    os.utime(link, (now + 60, now + 60), follow_symlinks=False)
    paths = [str(path) for path in (old, new, link, tmp_path / "none")]
    assert gateway_preflight.stale(process.pid, paths) == [str(new), str(link)]


def test_a_program_that_was_replaced_is_stale(tmp_path: Path) -> None:
    program = tmp_path / "sleep"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        program.unlink()
        assert gateway_preflight.stale(process.pid, []) == [f"{program} (deleted)"]
        process.kill()


def test_a_process_that_ended_meanwhile_has_nothing_stale(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    process.kill()
    process.wait()
    assert gateway_preflight.stale(process.pid, [str(tmp_path)]) == []


@pytest.mark.parametrize(
    ("change", "wished"),
    [({}, True), ({"home": "/elsewhere"}, False), ({"shell": "/bin/zsh"}, False), ({"name": "no-such-account"}, False)],
    ids=["as-it-is", "another-home", "another-shell", "no-account"],
)
def test_the_account_is_looked_at(change: dict[str, str], wished: bool) -> None:
    root = pwd.getpwuid(0)
    account = {"name": "root", "home": root.pw_dir, "shell": root.pw_shell, **change}
    assert gateway_preflight.account_is_as_wished(account) is wished


# ---- the module --------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the module on this host, with directories of its own and no npm; its warnings are added to its answer."""
    warnings: list[str] = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _module, warning: warnings.append(warning))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def run(**changes: Any) -> dict[str, Any]:
        warnings.clear()
        given = {
            **PARAMETERS,
            "port": 1,
            "releases_path": str(tmp_path / "releases"),
            "current_path": str(tmp_path / "current"),
            "account": {"name": "no-such-account", "home": "/h", "shell": "/s"},
            "memory": {"minimum": 1, "recommended": 1},
            "disk": {"minimum": 1, "recommended": 1},
            **changes,
        }
        return {**run_module(gateway_preflight.main, **given), "warnings": warnings}

    return run


Answers = dict[str, tuple[int, str, str]]


@pytest.fixture
def npm(tmp_path: Path) -> Callable[[Answers], None]:
    """Put a stand-in for npm on the host, which knows one answer for each way to call it."""

    def install(answers: Answers) -> None:
        cases = [
            f"  {shlex.quote(words)}) echo {shlex.quote(out)}; echo {shlex.quote(err)} >&2; exit {status};;\n"
            for words, (status, out, err) in answers.items()
        ]
        script = tmp_path / "bin/npm"
        registry = shlex.quote(str(tmp_path / "registry"))
        script.write_text(
            f'#!/bin/sh\necho "${{npm_config_registry-of npm}}" > {registry}\ncase "$*" in\n{"".join(cases)}esac\nexit 99\n'
        )
        script.chmod(0o755)

    return install


def install_release(tmp_path: Path, version: str, engines: str) -> None:
    package = tmp_path / "releases" / version / "node_modules/openclaw/package.json"
    package.parent.mkdir(parents=True)
    package.write_text(json.dumps({"version": version, "engines": {"node": engines}}))
    start = package.parent / "dist/index.js"
    start.parent.mkdir()
    start.touch()
    (tmp_path / "releases" / version / _release.MARKER).write_text(json.dumps({"version": version}))


def test_it_answers_what_it_promises(run: Run) -> None:
    result = run()
    promised = yaml.safe_load(gateway_preflight.RETURN)
    assert set(promised) <= set(result)
    types = {"list": list, "str": str, "bool": bool, "int": int, "dict": dict}
    assert {name: types[entry["type"]] for name, entry in promised.items()} == {
        name: type(result[name]) for name in promised
    }
    assert (result["changed"], result["warnings"]) == (False, [])


def test_a_bare_host_is_described(run: Run) -> None:
    result = run()
    assert result["asked"] == {"version": "2026.9.6", "unit": UNIT, "port": 1}
    assert (result["version"], result["engines"]) == ("2026.9.6", ">=24.16.0 <25 || >=26.1.0")
    assert [result[key] for key in ("installed", "running", "enabled", "account")] == [False] * 4
    assert (result["current"], result["stale"]) == ("", [])
    assert result["memory_mb"] > 100
    assert result["disk_free_mb"] > 0


def test_whether_the_source_of_node_is_as_wished_is_told(run: Run) -> None:
    assert [run(source_files=files)["source"] for files in ([], [{"path": "/nowhere"}])] == [True, False]


def test_it_describes_the_paths_that_it_is_given(run: Run, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert run(paths=[str(tmp_path / "gone"), str(tmp_path)])["found"] == [
        {"path": str(tmp_path / "gone"), "state": "absent"},
        {"path": str(tmp_path), "state": "directory"},
    ]


def test_a_host_with_a_gateway_is_described(
    run: Run, tmp_path: Path, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    install_release(tmp_path, "2026.9.6", ">=24.17")
    (tmp_path / "current").symlink_to(tmp_path / "releases/2026.9.5")
    os.utime(tmp_path / "current", (0, 0), follow_symlinks=False)
    monkeypatch.setattr(_host, "main_process", lambda unit: process.pid if unit == UNIT else 0)
    watched = tmp_path / "watched"
    watched.touch()
    os.utime(watched, (time.time() + 60, time.time() + 60))
    result = run(watched_paths=[str(watched)])
    assert (result["installed"], result["engines"], result["current"]) == (True, ">=24.17", "2026.9.5")
    assert (result["running"], result["stale"]) == (True, [str(watched)])


@pytest.mark.parametrize("torn", ["", '{"vers', '{"version": "2026.9.5"}', "[]"])
def test_a_release_whose_package_is_torn_is_not_installed(run: Run, tmp_path: Path, torn: str) -> None:
    install_release(tmp_path, "2026.9.6", "x")
    assert run()["installed"] is True
    (tmp_path / "releases/2026.9.6/node_modules/openclaw/package.json").write_text(torn)
    assert (run()["installed"], run()["engines"]) == (False, ">=24.16.0 <25 || >=26.1.0")


@pytest.mark.parametrize("torn", ["", '{"vers', '{"version": "2026.9.5"}'])
def test_a_release_that_is_not_marked_as_finished_is_not_installed(run: Run, tmp_path: Path, torn: str) -> None:
    install_release(tmp_path, "2026.9.6", "x")
    (tmp_path / "releases/2026.9.6" / _release.MARKER).write_text(torn)
    assert run()["installed"] is False


def test_a_release_without_its_program_is_not_installed(run: Run, tmp_path: Path) -> None:
    install_release(tmp_path, "2026.9.6", "x")
    (tmp_path / "releases/2026.9.6/node_modules/openclaw/dist/index.js").unlink()
    assert run()["installed"] is False


def test_a_gateway_whose_working_directory_was_removed_has_lost_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with subprocess.Popen(["/bin/sleep", "60"], cwd=home) as process:
        monkeypatch.setattr(_host, "main_process", lambda unit: process.pid)
        assert run(writable_paths=[str(home), str(tmp_path)])["lost"] == []
        home.rmdir()
        home.mkdir()
        assert run(writable_paths=[str(home), str(tmp_path)])["lost"] == [str(home)]
        process.kill()


def test_without_npm_the_newest_release_is_not_known_yet(run: Run) -> None:
    result = run(version="latest")
    assert (result["version"], result["engines"], result["installed"]) == ("latest", "", False)


def test_without_npm_an_unknown_release_demands_nothing_yet(run: Run) -> None:
    assert run(version="2026.9.5")["engines"] == ""


def test_the_newest_release_is_resolved_once(run: Run, npm: Callable[[Answers], None], tmp_path: Path) -> None:
    install_release(tmp_path, "2026.9.7", "x")
    manifest = json.dumps({"version": "2026.9.7", "engines": {"node": ">=26"}})
    npm({"view --json openclaw@latest version engines": (0, manifest, "a notice")})
    result = run(version="latest", registry="https://registry.example/")
    assert (result["version"], result["engines"], result["installed"]) == ("2026.9.7", ">=26", True)
    assert result["asked"]["version"] == "latest"
    assert (tmp_path / "registry").read_text().strip() == "https://registry.example/"


def test_without_a_registry_npm_asks_its_own(run: Run, npm: Callable[[Answers], None], tmp_path: Path) -> None:
    npm({"view --json openclaw@2026.2.1 version engines": (0, '"2026.2.1"', "")})
    run(version="2026.2.1")
    assert (tmp_path / "registry").read_text().strip() == "of npm"


def test_a_release_without_engines_is_answered_as_a_text(run: Run, npm: Callable[[Answers], None]) -> None:
    npm({"view --json openclaw@2026.2.1 version engines": (0, '"2026.2.1"', "")})
    assert (run(version="2026.2.1")["version"], run(version="2026.2.1")["engines"]) == ("2026.2.1", "")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((1, '{"error": {"code": "E404"}}', "npm error code E404"), id="e404"),
        pytest.param((1, "", "npm error code ETARGET"), id="etarget"),
        pytest.param((0, "", ""), id="an-empty-answer"),
    ],
)
def test_a_release_that_does_not_exist_is_told_with_the_nearest(
    run: Run, npm: Callable[[Answers], None], answer: tuple[int, str, str]
) -> None:
    npm(
        {
            "view --json openclaw@2026.9.99 version engines": answer,
            "view --json openclaw versions": (0, '["2026.9.5", "2026.9.6", "2026.10.1"]', ""),
        }
    )
    result = run(version="2026.9.99")
    assert result["failed"] is True
    assert result["msg"] == (
        "gateway_version 2026.9.99: the npm registry has no such release of openclaw. "
        "Nearest: 2026.10.1, 2026.9.6, 2026.9.5."
    )


def test_a_registry_that_does_not_answer_is_told_in_npms_words(run: Run, npm: Callable[[Answers], None]) -> None:
    words = "npm error code ENOTFOUND\nnpm error request to https://registry.example failed"
    npm({"view --json openclaw@2026.9.5 version engines": (1, "", words)})
    result = run(version="2026.9.5")
    assert result["failed"] is True
    assert result["msg"].startswith(
        "The npm registry: does not answer: npm error request to https://registry.example failed. "
    )
    assert "gateway_npm_registry" in result["msg"]


def test_what_is_no_version_is_refused(run: Run) -> None:
    result = run(version="2026.9")
    assert result["failed"] is True
    assert "version '2026.9': it is not an exact version of OpenClaw." in result["msg"]


def test_an_unsafe_release_is_refused_without_asking_the_registry(run: Run, npm: Callable[[Answers], None]) -> None:
    npm({})
    result = run(version="2026.1.28")
    assert result["failed"] is True
    assert (
        "gateway_version 2026.1.28: is not safe: CVE-2026-25253; another one. Use 2026.1.29 or newer" in result["msg"]
    )


def test_an_unsafe_release_that_the_operator_insists_on_is_warned_of(run: Run, npm: Callable[[Answers], None]) -> None:
    npm({"view --json openclaw@2026.1.28 version engines": (0, '"2026.1.28"', "")})
    result = run(version="2026.1.28", allow_unsafe_version=True)
    assert result.get("failed", False) is False
    assert any("gateway_version 2026.1.28: is not safe" in warning for warning in result["warnings"])


def test_every_error_is_told_and_what_was_seen_too(run: Run, listener: int) -> None:
    huge = {"minimum": 10**9, "recommended": 10**9}
    result = run(memory=huge, disk=huge, port=listener)
    assert result["failed"] is True
    assert [line.split(":")[0].split("/")[0] for line in result["msg"].splitlines()] == [
        "The host's memory",
        "The disk of ",
        f"gateway_port {listener}",
    ]
    assert result["memory_mb"] > 100
    assert "found" not in result, "whole files would bury the message"


def test_little_is_warned_of(run: Run) -> None:
    result = run(memory={"minimum": 1, "recommended": 10**9}, disk={"minimum": 1, "recommended": 10**9})
    assert result.get("failed", False) is False
    assert len(result["warnings"]) == 2


def test_it_starts_no_process_for_a_known_release(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_process(*_arguments: Any, **_keywords: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    for mode in (False, True):
        assert run(_ansible_check_mode=mode)["changed"] is False


def test_the_documented_options_are_those_that_it_takes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, Any] = {}
    init = basic.AnsibleModule.__init__

    def noted(self: Any, argument_spec: dict[str, Any], **options: Any) -> None:
        taken.update(argument_spec)
        init(self, argument_spec, **options)

    def plain(options: dict[str, Any], inner: str) -> dict[str, Any]:
        compared = ("type", "default", "required", "choices", "elements")
        return {
            name: ({key: option.get(key) for key in compared}, plain(option.get(inner) or {}, inner))
            for name, option in options.items()
        }

    monkeypatch.setattr(basic.AnsibleModule, "__init__", noted)
    run()
    documented = yaml.safe_load(gateway_preflight.DOCUMENTATION)["options"]
    assert plain(documented, "suboptions") == plain(taken, "options")


def test_the_example_is_one_that_the_module_takes(run: Run) -> None:
    [task] = yaml.safe_load(gateway_preflight.EXAMPLES)
    example = task["clawops.openclaw.gateway_preflight"]
    local = {key: example[key] for key in ("version", "minimum_safe", "memory", "unit", "port") if key in example}
    required = {
        name
        for name, option in yaml.safe_load(gateway_preflight.DOCUMENTATION)["options"].items()
        if option.get("required")
    }
    assert required <= set(example)
    assert "version" in run(
        **{**local, "port": 1, "memory": {"minimum": 1, "recommended": 1}}, known_engines={local["version"]: "x"}
    )
