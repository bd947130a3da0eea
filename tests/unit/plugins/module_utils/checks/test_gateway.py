# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found out about a host and the settings, and what of it makes a gateway impossible."""

from __future__ import annotations

import copy
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
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible.utils.vars import merge_hash
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.clawops.openclaw.plugins.module_utils import _host, _preflight, _release, _runtime
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import gateway

if TYPE_CHECKING:
    from ansible_collections.clawops.openclaw.tests.unit.plugins.conftest import Host

Check = Callable[..., _preflight.Answer]
Look = Callable[..., dict[str, Any]]

UNIT = "clawops-stand-in.service"
VERSION = "2026.9.6"
REAL_RELEASE = _runtime.Release
PARAMETERS: dict[str, Any] = {
    "version": VERSION,
    "minimum": {"version": "2026.1.29", "reasons": ["CVE-2026-25253", "another one"]},
    "known_engines": {VERSION: ">=24.16.0 <25 || >=26.1.0"},
    "port": 1,
    "unit": UNIT,
    "account": {"name": "no-such-account", "home": "/h", "shell": "/s"},
    "memory": {"minimum": 1200, "recommended": 1900},
    "disk": {"minimum": 1700, "recommended": 4000},
}


class Seen(_host.Host):
    """The real host, but for its memory, and for the process of the gateway's unit where there is one."""

    def __init__(self, module: AnsibleModule | None, known: dict[str, Any], memory_mb: int, pid: int) -> None:
        super().__init__(module, known)
        self.meminfo = f"MemTotal: {memory_mb * 1024} kB\n"
        self._units = {UNIT: {pid: 1}} if pid else {}

    def text(self, path: str) -> str:
        return self.meminfo if path == "/proc/meminfo" else super().text(path)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AnsibleModule:
    """A module that finds no program but those that a test puts there."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with patch_module_args({}):
        return AnsibleModule(argument_spec={})


@pytest.fixture
def check(tmp_path: Path, module: AnsibleModule, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Run the check on this host, with directories of its own, no npm and enough of everything."""
    monkeypatch.setattr(gateway, "_PAUSE", 0)

    def run(
        *,
        known: dict[str, Any] | None = None,
        memory_mb: int = 3900,
        disk_free_mb: int = 50_000,
        pid: int = 0,
        **changes: Any,
    ) -> _preflight.Answer:
        monkeypatch.setattr(_host, "free_mb", lambda _path: disk_free_mb)
        paths = {"releases_path": str(tmp_path / "releases"), "current_path": str(tmp_path / "current")}
        host = Seen(module, known or {}, memory_mb, pid)
        return _preflight.run({"gateway": {**PARAMETERS, **paths, **changes}}, host)

    return run


@pytest.fixture
def look(check: Check) -> Look:
    """What the check finds where nothing is wrong."""

    def run(**changes: Any) -> dict[str, Any]:
        answer = check(**changes)
        assert answer.errors == []
        return answer.found["gateway"]

    return run


def install_release(tmp_path: Path, version: str = VERSION, engines: str = "x") -> Path:
    package = tmp_path / "releases" / version / "node_modules/openclaw/package.json"
    package.parent.mkdir(parents=True)
    package.write_text(json.dumps({"version": version, "engines": {"node": engines}}))
    start = package.parent / "dist/index.js"
    start.parent.mkdir()
    start.touch()
    (tmp_path / "releases" / version / _release.MARKER).write_text(json.dumps({"version": version}))
    return package


def subjects(findings: list[str]) -> list[str]:
    return [finding.partition(":")[0] for finding in findings]


# ---- what makes it impossible ----------------------------------------------------------------------------


def test_the_account_is_kept_from_ssh_where_sshd_would_read_it(look: Look, tmp_path: Path) -> None:
    entry = {"path": str(tmp_path / "sshd_config.d/60-openclaw.conf"), "content": "DenyUsers openclaw\n"}
    assert look(ssh_files=[entry])["ssh_denied"] is True
    Path(entry["path"]).parent.mkdir()
    found = look(ssh_files=[entry])
    assert (found["ssh_denied"], found["due"]["install"]) == (False, True)
    Path(entry["path"]).write_text(entry["content"])
    Path(entry["path"]).chmod(0o644)
    assert look(ssh_files=[entry])["ssh_denied"] is True


@pytest.mark.parametrize("state", ["present", "absent"])
def test_an_account_and_a_unit_of_somebody_elses_are_refused_with_the_ways_on(
    check: Check, tmp_path: Path, state: str
) -> None:
    unit = tmp_path / "openclaw-gateway.service"
    unit.write_text("[Service]\nExecStart=/usr/bin/openclaw gateway\n")
    account = {"name": "nobody", "home": "/var/lib/openclaw/main/state", "shell": "/usr/sbin/nologin"}
    theirs = {"account": account, "unit_path": str(unit), "unit_mark": "/etc/openclaw/main/gateway.env"}
    home = pwd.getpwnam("nobody").pw_dir
    first, second = check(**theirs, state=state).errors
    assert first.startswith(
        f"The account nobody: is somebody's own: its home is {home}, where a gateway's is /var/lib/"
    )
    assert "Choose another gateway_instance, and this one stays as it is. Or take it over by hand" in first
    assert second.startswith(f"{unit}: is a unit that this collection has not written. Choose another gateway_instance")
    unit.write_text("[Service]\nEnvironmentFile=/etc/openclaw/main/gateway.env\n")
    assert check(**{**theirs, "account": {**account, "home": home}}, state=state).errors == []


def test_a_good_host_has_no_findings(check: Check) -> None:
    answer = check()
    assert (answer.errors, answer.warnings) == ([], [])


@pytest.mark.parametrize(
    ("changes", "subject", "remedy"),
    [
        ({"instance": ""}, "gateway_instance ''", "Use lower-case"),
        ({"instance": "Bad Name"}, "gateway_instance 'Bad Name'", "Use lower-case"),
        ({"instance": "x" * 24}, f"gateway_instance '{'x' * 24}'", "23 at most"),
        ({"instance": "npm"}, "gateway_instance 'npm'", "Choose another one"),
        ({"instance": "releases"}, "gateway_instance 'releases'", "Choose another one"),
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
    check: Check, changes: dict[str, Any], subject: str, remedy: str
) -> None:
    [error] = check(**changes).errors
    assert error.startswith(f"{subject}: ")
    assert remedy in error
    assert "\n" not in error


def test_variables_that_a_gateway_can_have_have_no_findings(check: Check) -> None:
    answer = check(
        instance="blue-2_x",
        label="Büro 50% ünït",
        port=65535,
        releases_keep=1,
        start_timeout=1,
        environment={"A_1": "ü\tx", "_B": 5, "C": 0.5, "D": ""},
    )
    assert (answer.errors, answer.warnings) == ([], [])


@pytest.mark.parametrize(
    ("nodejs_comes", "there", "refused"),
    [(False, "", True), (True, "", False), (False, "npm", False), (False, "release", False)],
)
def test_a_release_that_nothing_could_install_is_refused(
    check: Check,
    npm: Callable[[Answers], None],
    tmp_path: Path,
    nodejs_comes: bool,
    there: str,
    refused: bool,
) -> None:
    if there == "npm":
        npm({})
    if there == "release":
        install_release(tmp_path)
    assert subjects(check(nodejs_comes=nodejs_comes).errors) == (["npm"] if refused else [])


@pytest.mark.parametrize(
    ("changes", "kind", "subject", "reason", "remedy"),
    [
        pytest.param(
            {"version": "2026.1.28"},
            "error",
            "gateway_version 2026.1.28",
            "is too old: CVE-2026-25253; another one",
            "Use 2026.1.29 or newer",
            id="a-version-that-is-too-old",
        ),
        pytest.param(
            {"version": "2026.1.29-beta.1"},
            "error",
            "gateway_version 2026.1.29-beta.1",
            "is too old",
            "Use 2026.1.29 or newer.",
            id="a-preview-of-the-oldest-version",
        ),
        pytest.param(
            {"memory_mb": 1199},
            "error",
            "The host's memory",
            "1199 MiB; an idle gateway takes about 950 MiB, 1900 MiB is the least to run one well: "
            "the kernel would kill it while it starts",
            "Give the host more memory",
            id="too-little-memory",
        ),
        pytest.param(
            {"memory_mb": 1200},
            "warning",
            "The host's memory",
            "1200 MiB; ",
            "Give the host",
            id="just-enough-memory",
        ),
        pytest.param(
            {"memory_mb": 1899},
            "warning",
            "The host's memory",
            "it will be slow",
            "Give the host more memory",
            id="little-memory",
        ),
        pytest.param(
            {"disk_free_mb": 1699},
            "error",
            "The disk of {releases}",
            "1699 MiB are free; a release takes about 800 MiB, and as much again while it is installed: "
            "the installation would fail",
            "Free some space",
            id="too-little-disk",
        ),
        pytest.param(
            {"disk_free_mb": 1700},
            "warning",
            "The disk of {releases}",
            "there is little left",
            "Free some space",
            id="little-disk",
        ),
    ],
)
def test_judge(
    check: Check, tmp_path: Path, changes: dict[str, Any], kind: str, subject: str, reason: str, remedy: str
) -> None:
    answer = check(**changes)
    [finding] = answer.errors if kind == "error" else answer.warnings
    assert (answer.errors if kind == "warning" else answer.warnings) == []
    assert finding.startswith(f"{subject.format(releases=tmp_path / 'releases')}: ")
    assert finding.index(reason) < finding.rindex(remedy)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"version": "2026.1.29"}, id="the-first-safe-version"),
        pytest.param({"version": "2026.1.29-1"}, id="a-correction-of-it"),
        pytest.param({"version": "latest"}, id="a-version-that-is-not-known-yet"),
        pytest.param({"memory_mb": 1900}, id="the-recommended-memory"),
        pytest.param({"disk_free_mb": 4000}, id="the-recommended-space"),
    ],
)
def test_what_is_enough_has_no_findings(check: Check, changes: dict[str, Any]) -> None:
    answer = check(**changes)
    assert (answer.errors, answer.warnings) == ([], [])


def test_what_is_installed_already_needs_no_space(check: Check, tmp_path: Path) -> None:
    install_release(tmp_path)
    answer = check(disk_free_mb=1)
    assert (answer.errors, answer.warnings) == ([], [])


def test_a_gateway_that_is_to_go_has_no_findings(check: Check, host: Host, listener: int) -> None:
    answer = check(
        state="absent",
        problems=["x: y. Z."],
        version="2026.1.1",
        memory_mb=1,
        disk_free_mb=1,
        port=listener,
        config=config(host, settings={"meta": {}}),
    )
    assert (answer.errors, answer.warnings, host.release.seen) == ([], [], [])


# ---- the port --------------------------------------------------------------------------------------------


@pytest.fixture(params=["127.0.0.1", "::1", "::"])
def listener(request: pytest.FixtureRequest, listen: Callable[[str], int]) -> int:
    """The port on which this process listens."""
    return listen(request.param)


def test_a_port_on_which_something_else_listens_is_taken(check: Check, listener: int) -> None:
    name = Path("/proc/self/comm").read_text().strip()
    assert check(port=listener).errors == [
        f"gateway_port {listener}: {name} (process {os.getpid()}) listens on it. "
        "Choose another gateway_port, or stop that process."
    ]


def test_a_port_on_which_the_gateway_itself_listens_is_not_taken(
    check: Check, listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_text = _host.read_text

    def in_the_unit(path: str) -> str:
        return f"0::/system.slice/{UNIT}\n" if path == f"/proc/{os.getpid()}/cgroup" else read_text(path)

    monkeypatch.setattr(_host, "read_text", in_the_unit)
    assert check(port=listener).errors == []
    assert len(check(port=listener, unit="another.service").errors) == 1


def test_a_listener_whose_owner_cannot_be_seen_takes_the_port_too(
    check: Check, listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_host, "owner_of", lambda _inode: (0, ""))
    [error] = check(port=listener).errors
    assert error.startswith(f"gateway_port {listener}: another process listens on it. ")


def test_a_gateway_that_ends_while_it_is_looked_at_takes_no_port(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        asked = []

        def gone(inode: str) -> tuple[int, str]:
            asked.append(inode)
            server.close()
            return 0, ""

        monkeypatch.setattr(_host, "owner_of", gone)
        assert check(port=port).errors == []
        assert asked


def test_a_free_port_is_not_taken(check: Check, listener: int) -> None:
    assert check(port=1).errors == []


def test_a_listener_on_another_address_leaves_loopback_free(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    table = "heading\n 0: {}:4965 00000000:0000 0A 0:0 0:0 0 0 0 900 1\n"
    for address, taken in (("0501A8C0", 0), ("0100007F", 1)):
        text = table.format(address)
        monkeypatch.setattr(
            _host, "read_text", lambda path, text=text: text if path == "/proc/net/tcp" else "", raising=True
        )
        assert len(check(port=18789).errors) == taken


# ---- what has changed since the gateway was started ------------------------------------------------------


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        yield process
        process.kill()


def test_what_is_newer_than_the_process_is_stale(look: Look, tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    old, new, link = tmp_path / "old", tmp_path / "new", tmp_path / "link"
    for path in (old, new):
        path.touch()
    link.symlink_to(old)
    now = time.time()
    os.utime(old, (now - 60, now - 60))
    os.utime(new, (now + 60, now + 60))
    os.utime(link, (now + 60, now + 60), follow_symlinks=False)
    paths = [str(path) for path in (old, new, link, tmp_path / "none")]
    found = look(pid=process.pid, watched_paths=paths)
    assert (found["running"], found["stale"], found["due"]["restart"]) == (True, [str(new), str(link)], True)


def test_another_release_under_the_process_is_stale(
    look: Look, tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    current = tmp_path / "current"
    current.symlink_to("releases/2026.9.5")
    for moment, stale in ((-60, []), (60, [str(current)])):
        os.utime(current, (time.time() + moment,) * 2, follow_symlinks=False)
        found = look(pid=process.pid)
        assert (found["current"], found["stale"], found["due"]["restart"]) == ("2026.9.5", stale, bool(stale))


def test_a_program_that_was_replaced_is_stale(look: Look, tmp_path: Path) -> None:
    program = tmp_path / "sleep"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        program.unlink()
        assert look(pid=process.pid)["stale"] == [f"{program} (deleted)"]
        process.kill()


def test_a_process_that_ended_meanwhile_has_nothing_stale(
    look: Look, process: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    process.kill()
    process.wait()
    assert look(pid=process.pid, watched_paths=[str(tmp_path)])["stale"] == []


def test_a_gateway_whose_working_directory_was_removed_misses_it(look: Look, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with subprocess.Popen(["/bin/sleep", "60"], cwd=home) as process:
        given = {"pid": process.pid, "writable_paths": [str(home), str(tmp_path)]}
        found = look(**given)
        assert (found["missing"], found["due"]["restart"]) == ([], False)
        home.rmdir()
        home.mkdir()
        found = look(**given)
        assert (found["missing"], found["due"]["restart"]) == ([str(home)], True)
        process.kill()


@pytest.mark.parametrize(
    "put",
    [
        pytest.param(lambda path: path.write_text("[]"), id="a-file"),
        pytest.param(lambda path: path.symlink_to("nowhere"), id="a-link-to-nowhere"),
    ],
)
def test_what_an_earlier_run_did_not_prove_is_proven_by_a_restart(
    look: Look, tmp_path: Path, put: Callable[[Path], None]
) -> None:
    journal = tmp_path / "unproven.json"
    found = look(journal_path=str(journal))
    assert (found["unproven"], found["due"]["restart"]) == (False, False)
    put(journal)
    found = look(journal_path=str(journal))
    assert (found["unproven"], found["due"]["restart"]) == (True, True)


@pytest.mark.parametrize(
    ("change", "in_sync"),
    [({}, True), ({"shell": "/bin/zsh"}, False), ({"name": "no-such-account"}, False)],
    ids=["as-it-is", "another-shell", "no-account"],
)
def test_the_account_is_looked_at(look: Look, change: dict[str, str], in_sync: bool) -> None:
    root = pwd.getpwuid(0)
    assert look(account={"name": "root", "home": root.pw_dir, "shell": root.pw_shell, **change})["account"] is in_sync


# ---- what is there ---------------------------------------------------------------------------------------

Answers = dict[str, tuple[int, str, str]]


@pytest.fixture
def npm(tmp_path: Path, module: AnsibleModule) -> Callable[[Answers], None]:
    """Put a stand-in for npm on the host, which knows one answer for each way to call it."""

    def install(answers: Answers) -> None:
        cases = [
            f"  {shlex.quote(words)}) echo {shlex.quote(out)}; echo {shlex.quote(err)} >&2; exit {status};;\n"
            for words, (status, out, err) in answers.items()
        ]
        script = tmp_path / "bin/npm"
        registry = shlex.quote(str(tmp_path / "registry"))
        # It runs no compiled code that another account may have put into /tmp.
        cache = 'test "$NODE_DISABLE_COMPILE_CACHE" = 1 || exit 98\n'
        script.write_text(
            f'#!/bin/sh\n{cache}echo "${{npm_config_registry-of npm}}" > {registry}\ncase "$*" in\n{"".join(cases)}esac\nexit 99\n'
        )
        script.chmod(0o755)

    return install


def test_a_bare_host_is_described(look: Look) -> None:
    found = look()
    assert (found["version"], found["engines"]) == (VERSION, ">=24.16.0 <25 || >=26.1.0")
    assert [found[key] for key in ("installed", "running", "enabled", "account", "npm", "unproven")] == [False] * 6
    assert (found["current"], found["stale"], found["missing"], found["files"]) == ("", [], [], [])
    assert (found["memory_mb"], found["disk_free_mb"]) == (3900, 50_000)
    assert found["due"] == {"release": True, "install": True, "configure": True, "restart": False, "service": True}


def test_memory_and_space_are_those_of_this_host(module: AnsibleModule, tmp_path: Path) -> None:
    paths = {"releases_path": str(tmp_path / "releases"), "current_path": str(tmp_path / "current")}
    little = {"minimum": 1, "recommended": 1}
    params = {**PARAMETERS, **paths, "memory": little, "disk": little}
    answer = _preflight.run({"gateway": params}, _host.Host(module))
    assert answer.errors == []
    assert answer.found["gateway"]["memory_mb"] > 100
    assert answer.found["gateway"]["disk_free_mb"] > 0


def test_a_host_with_a_gateway_is_described(look: Look, tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    install_release(tmp_path, engines=">=24.17")
    (tmp_path / "current").symlink_to(tmp_path / "releases/2026.9.5")
    os.utime(tmp_path / "current", (0, 0), follow_symlinks=False)
    found = look(pid=process.pid)
    assert (found["installed"], found["engines"], found["current"]) == (True, ">=24.17", "2026.9.5")
    assert (found["running"], found["due"]["release"], found["due"]["service"]) == (True, False, True)


FINE: dict[str, Any] = {
    "installed": True,
    "account": True,
    "directories": True,
    "deny_files": [],
    "ssh_denied": True,
    "running": True,
    "enabled": True,
    "stale": [],
    "missing": [],
    "unproven": False,
    "settings": {"due": False},
}


@pytest.mark.parametrize(
    ("seen", "due"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"installed": False}, ["release", "install"], id="no-release"),
        pytest.param({"account": False}, ["install"], id="no-account"),
        pytest.param({"directories": False}, ["install"], id="a-directory"),
        pytest.param({"ssh_denied": False}, ["install"], id="the-account-may-log-in"),
        pytest.param({"deny_files": ["/etc/cron.deny"]}, ["install"], id="the-account-may-have-jobs"),
        pytest.param({"settings": {"due": True}}, ["configure"], id="a-setting"),
        pytest.param({"stale": ["/x"]}, ["restart"], id="older-than-its-files"),
        pytest.param({"missing": ["/x"]}, ["restart"], id="a-directory-was-removed-under-it"),
        pytest.param({"unproven": True}, ["restart"], id="not-proven"),
        pytest.param({"running": False}, ["service"], id="stopped"),
        pytest.param({"enabled": False}, ["service"], id="not-started-at-boot"),
    ],
)
def test_what_is_due(seen: dict[str, Any], due: list[str]) -> None:
    assert [name for name, value in gateway.due({}, {**FINE, **seen}).items() if value] == due


def test_it_describes_the_paths_that_it_is_given(look: Look, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert look(paths=[str(tmp_path / "gone"), str(tmp_path)])["files"] == [
        {"path": str(tmp_path / "gone"), "state": "absent"},
        {"path": str(tmp_path), "state": "directory"},
    ]


def test_it_describes_whatever_is_in_the_folders_of_roles(look: Look, tmp_path: Path) -> None:
    dropins = tmp_path / "unit.d"
    assert look(folders=[str(dropins)])["files"] == []
    dropins.mkdir()
    (dropins / "50-tuning.conf").write_text("[Service]\n")
    (dropins / "60-other.conf").symlink_to("50-tuning.conf")
    (dropins / "50-tuning.conf").chmod(0o644)
    found = look(folders=[str(dropins), str(tmp_path / "none")])["files"]
    assert sorted(found, key=lambda entry: entry["path"]) == [
        {"path": str(dropins / "50-tuning.conf"), "state": "file", "content": "[Service]\n"},
        {"path": str(dropins / "60-other.conf"), "state": "link", "src": "50-tuning.conf"},
    ]


def test_directories_are_made_where_one_is_missing_or_has_another_mode(look: Look, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir(mode=0o700)
    entry = {"path": str(there), "state": "directory", "mode": "0700"}
    for directories, in_sync in (
        ([], True),
        ([entry], True),
        ([{**entry, "mode": "0750"}], False),
        ([entry, {"path": str(tmp_path / "none"), "state": "directory"}], False),
    ):
        found = look(directories=directories)
        assert found["directories"] is in_sync
        assert found["due"]["install"] is True, "there is no account"


@pytest.mark.parametrize("torn", ["", '{"vers', '{"version": "2026.9.5"}', "[]"])
def test_a_release_whose_package_is_torn_is_not_installed(look: Look, tmp_path: Path, torn: str) -> None:
    package = install_release(tmp_path)
    assert look()["installed"] is True
    package.write_text(torn)
    found = look()
    assert (found["installed"], found["engines"]) == (False, ">=24.16.0 <25 || >=26.1.0")


@pytest.mark.parametrize("torn", ["", '{"vers', '{"version": "2026.9.5"}'])
def test_a_release_that_is_not_marked_as_finished_is_not_installed(look: Look, tmp_path: Path, torn: str) -> None:
    install_release(tmp_path)
    (tmp_path / "releases" / VERSION / _release.MARKER).write_text(torn)
    assert look()["installed"] is False


def test_a_release_without_its_program_is_not_installed(look: Look, tmp_path: Path) -> None:
    install_release(tmp_path)
    (tmp_path / "releases" / VERSION / "node_modules/openclaw/dist/index.js").unlink()
    assert look()["installed"] is False


# ---- which release is meant ------------------------------------------------------------------------------


def test_without_npm_the_newest_release_is_not_known_yet(look: Look) -> None:
    found = look(version="latest")
    assert (found["version"], found["engines"], found["installed"]) == ("latest", "", False)


def test_without_npm_an_unknown_release_demands_nothing_yet(look: Look) -> None:
    assert look(version="2026.9.5")["engines"] == ""


def test_the_newest_release_is_resolved_once(look: Look, npm: Callable[[Answers], None], tmp_path: Path) -> None:
    install_release(tmp_path, "2026.9.7")
    manifest = json.dumps({"version": "2026.9.7", "engines": {"node": ">=26"}})
    npm({"view --json openclaw@latest version engines": (0, manifest, "a notice")})
    found = look(version="latest", registry="https://registry.example/")
    assert (found["version"], found["engines"], found["installed"]) == ("2026.9.7", ">=26", True)
    assert (tmp_path / "registry").read_text().strip() == "https://registry.example/"


def test_without_a_registry_npm_asks_its_own(look: Look, npm: Callable[[Answers], None], tmp_path: Path) -> None:
    npm({"view --json openclaw@2026.2.1 version engines": (0, '"2026.2.1"', "")})
    look(version="2026.2.1")
    assert (tmp_path / "registry").read_text().strip() == "of npm"


def test_a_release_without_engines_is_answered_as_a_text(look: Look, npm: Callable[[Answers], None]) -> None:
    npm({"view --json openclaw@2026.2.1 version engines": (0, '"2026.2.1"', "")})
    found = look(version="2026.2.1")
    assert (found["version"], found["engines"]) == ("2026.2.1", "")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((1, '{"error": {"code": "E404"}}', "npm error code E404"), id="e404"),
        pytest.param((1, "", "npm error code ETARGET"), id="etarget"),
        pytest.param((0, "", ""), id="an-empty-answer"),
    ],
)
def test_a_release_that_does_not_exist_is_told_with_the_nearest(
    check: Check, npm: Callable[[Answers], None], answer: tuple[int, str, str]
) -> None:
    npm(
        {
            "view --json openclaw@2026.9.99 version engines": answer,
            "view --json openclaw versions": (0, '["2026.9.5", "2026.9.6", "2026.10.1"]', ""),
        }
    )
    assert check(version="2026.9.99").errors == [
        "gateway_version 2026.9.99: the npm registry has no such release of openclaw. "
        "Nearest: 2026.10.1, 2026.9.6, 2026.9.5."
    ]


def test_a_registry_that_does_not_answer_is_told_in_npms_words(check: Check, npm: Callable[[Answers], None]) -> None:
    words = "npm error code ENOTFOUND\nnpm error request to https://registry.example failed"
    npm({"view --json openclaw@2026.9.5 version engines": (1, "", words)})
    [error] = check(version="2026.9.5").errors
    assert error.startswith("The npm registry: does not answer: npm error request to https://registry.example failed. ")
    assert "gateway_npm_registry" in error


def test_what_is_no_version_is_refused(check: Check) -> None:
    [error] = check(version="2026.9").errors
    assert "version '2026.9': it is not an exact version of OpenClaw." in error


def test_a_release_that_is_too_old_is_refused_without_asking_the_registry(
    check: Check, npm: Callable[[Answers], None]
) -> None:
    npm({})
    [error] = check(version="2026.1.28").errors
    assert "gateway_version 2026.1.28: is too old: CVE-2026-25253; another one. Use 2026.1.29 or newer" in error


# ---- the settings ----------------------------------------------------------------------------------------


def config(host: Host, **asked: Any) -> dict[str, Any]:
    """The arguments of gateway_config as the role gives them to the check."""
    later = ("state", "release", "confirm", "hold", "timeout")
    return {key: value for key, value in host.parameters(**asked).items() if key not in later}


def validated(host: Host) -> list[Any]:
    return [json.loads(candidate) for candidate in host.release.seen]


def test_the_release_judges_only_settings_that_would_change_or_that_it_has_not_judged(look: Look, host: Host) -> None:
    install_release(host.root)
    install_release(host.root, "2026.9.7")
    assert look(config=config(host, settings={"a": 1}))["settings"]["due"] is True
    assert [settings["a"] for settings in validated(host)] == [1], "nothing has been applied yet"

    host.deploy(settings={"a": 1})
    for desired, judged in (
        ({"settings": {"a": 1}}, []),
        ({"settings": {"a": 2}}, [2]),
        ({"settings": {"a": 1}, "secrets": {"NEW": "s" * 9}}, [1]),
    ):
        host.release.seen.clear()
        found = look(config=config(host, **desired))
        assert [settings["a"] for settings in validated(host)] == judged
        assert (found["settings"]["due"], found["due"]["configure"]) == (bool(judged), bool(judged))

    host.release.seen.clear()
    assert look(version="2026.9.7", config=config(host, settings={"a": 1}))["due"]["configure"] is True
    assert len(host.release.seen) == 1, "it is another release"


def test_settings_that_nobody_gave_are_due(look: Look) -> None:
    found = look()
    assert (found["settings"], found["due"]["configure"]) == ({"due": True, "of_roles": {}}, True)


def test_a_look_at_the_settings_changes_nothing(check: Check, host: Host) -> None:
    install_release(host.root)
    host.deploy(settings={"a": 1}, secrets={"TOKEN": "s" * 20})
    given = config(host, settings={"a": 2}, secrets={"TOKEN": "t" * 20})
    before, unchanged = host.tree(), copy.deepcopy(given)
    for issues in ([], [{"path": "a", "message": "Invalid input"}]):
        host.release.issues[:] = issues
        assert len(check(config=given, known={"docker": {"gateway_settings": {"b": 1}}}).errors) == len(issues)
        assert (host.tree(), given) == (before, unchanged)


def test_what_the_release_refuses_is_an_error_and_what_it_warns_of_a_warning(check: Check, host: Host) -> None:
    host.release.issues += [{"path": "b", "message": "One"}, {"path": "c", "message": "Two"}]
    answer = check(config=config(host, settings={"b": 2}))
    assert subjects(answer.errors) == ["gateway_settings.b", "gateway_settings.c"]
    assert "due" not in answer.found["gateway"]

    host.release.issues.clear()
    host.release.warnings.append("plugin not found")
    answer = check(config=config(host, settings={"b": 2}))
    assert (answer.errors, answer.warnings) == ([], [f"OpenClaw {VERSION}: plugin not found"])


def test_everything_is_told_at_once(
    check: Check, host: Host, listen: Callable[[str], int], npm: Callable[[Answers], None]
) -> None:
    npm(
        {
            "view --json openclaw@2026.9.99 version engines": (1, "", "npm error code E404"),
            "view --json openclaw versions": (0, '["2026.9.6"]', ""),
        }
    )
    port = listen("127.0.0.1")
    given = {
        "problems": ["gateway_port of vps1: it is that of vps2. Choose another."],
        "label": "a\nb",
        "environment": {"A": True},
        "memory_mb": 1000,
        "disk_free_mb": 2000,
        "port": port,
        "config": config(host, settings={"meta": {}, "gateway": {"cache": "x"}}),
    }
    settings = ["gateway_settings.gateway.cache", "gateway_settings.meta"]
    expected = [
        "gateway_port of vps1",
        r"gateway_label 'a\nb'",
        "gateway_environment A",
        "{version}",
        "The host's memory",
        f"gateway_port {port}",
        *settings,
    ]
    for version in ("2026.1.1", "2026.9.99"):
        answer = check(version=version, **given)
        assert subjects(answer.errors) == [each.format(version=f"gateway_version {version}") for each in expected]
        assert subjects(answer.warnings) == [f"The disk of {host.root / 'releases'}"]


def test_without_the_release_whatever_can_be_judged_is(check: Check, host: Host) -> None:
    host.release.installed = False
    reference = {"source": "file", "provider": "clawops", "id": "/NONE"}
    asked = {"a": {"b": "${NO_SUCH_VARIABLE}", "c": reference}, "gateway": {"port": 1}}
    owned = {**host.parameters()["owned"], "gateway": {"port": 2}}
    retired = {"gateway": {"cache": "x"}, "wizard": {}}
    for settings, expected in (
        (asked, ["gateway_settings.gateway.port", "gateway_settings.a.c", "gateway_settings.a.b"]),
        (retired, ["gateway_settings.gateway.cache", "gateway_settings.wizard"]),
    ):
        assert subjects(check(config=config(host, settings=settings, owned=owned)).errors) == expected
    assert host.release.seen == []


def test_settings_that_other_roles_need_are_judged_along(check: Check, host: Host) -> None:
    install_release(host.root)
    known = {
        "docker": {"installed": True, "gateway_settings": {"agents": {"sandbox": {"mode": "all"}, "list": [1, 2]}}},
        "tuning": {},
        "tailscale": {"gateway_settings": {"agents": {"list": [3, 1]}}},
    }
    given = config(host, settings={"agents": {"sandbox": {"mode": "off", "scope": "agent"}, "list": [0, 3]}})
    answer = check(known=known, config=given)
    needed = {"agents": {"sandbox": {"mode": "all"}, "list": [2, 3, 1]}}
    assert answer.errors == []
    assert answer.found["gateway"]["settings"] == {"due": True, "of_roles": needed}
    [judged] = validated(host)
    assert judged["agents"] == {"sandbox": {"mode": "all", "scope": "agent"}, "list": [0, 2, 3, 1]}

    host.release.issues.append({"path": "agents.sandbox", "message": "Invalid input"})
    assert subjects(check(known=known, config=given).errors) == ["gateway_settings.agents.sandbox"]


def test_settings_that_other_roles_need_are_due_until_they_are_applied(look: Look, host: Host) -> None:
    install_release(host.root)
    host.deploy(settings={"a": 1})
    given = config(host, settings={"a": 1})
    assert look(config=given)["due"]["configure"] is False
    known = {"docker": {"gateway_settings": {"b": [1]}}}
    assert look(config=given, known=known)["due"]["configure"] is True
    host.deploy(settings={"a": 1, "b": [1]})
    assert look(config=given, known=known)["due"]["configure"] is False
    assert look(config=given)["due"]["configure"] is True, "no role needs it any more"


def test_json5_that_no_release_can_read_yet_is_no_error(check: Check, host: Host) -> None:
    host.write("{\n  // by hand\n  a: 1,\n}\n")
    host.release.installed = False
    answer = check(config=config(host))
    assert (answer.errors, answer.warnings) == ([], [])
    assert answer.found["gateway"]["due"]["configure"] is True


def test_json5_is_read_by_the_release_that_runs_where_the_desired_one_is_not_installed(
    look: Look, check: Check, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    (host.root / "releases/2026.9.5").mkdir(parents=True)
    (host.root / "current").symlink_to("releases/2026.9.5")
    read: list[str] = []

    class Release(host.release):  # type: ignore[name-defined]
        @property
        def installed(self) -> bool:
            return os.path.isdir(self.path)

        def parse_json5(self, content: bytes) -> Any:
            read.append(self.version)
            return super().parse_json5(content)

    monkeypatch.setattr(_runtime, "Release", Release)
    host.write('{"a": 1} // by hand\n')
    assert look(config=config(host))["due"]["configure"] is True
    assert (read, host.release.seen) == (["2026.9.5"], [])

    host.write("{torn")
    [error] = check(config=config(host)).errors
    assert error.startswith(f"{host.settings}: cannot be read: ")
    assert "gateway_settings_recover=discard" in error


SECRET = "swordfish-97531"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"settings": {"channels": {"x": {"token": SECRET}}}}, id="in-the-settings"),
        pytest.param({"secrets": {"TOKEN": SECRET}}, id="in-the-secrets"),
        pytest.param({"secrets": {"bad name": SECRET}}, id="under-a-name-that-is-refused"),
        pytest.param({"secrets": SECRET}, id="in-place-of-the-secrets"),
        pytest.param({"secrets": [SECRET]}, id="in-a-list-of-secrets"),
        pytest.param({"settings": {"gateway": {"cache": {"token": SECRET}}}}, id="under-a-retired-key"),
    ],
)
@pytest.mark.parametrize("refused", [True, False], ids=["refused", "warned-of"])
def test_no_secret_is_part_of_a_finding_or_of_what_is_found(
    check: Check, host: Host, given: dict[str, Any], refused: bool
) -> None:
    words = f"Invalid input: received {SECRET}"
    host.release.warnings.append(words)
    if refused:
        host.release.issues.append({"path": "channels.x", "message": words, "allowedValues": [SECRET]})
    answer = check(config=config(host, **given))
    assert answer.errors or answer.warnings
    assert SECRET not in json.dumps(answer)


def test_a_short_secret_is_not_shown_either(check: Check, host: Host) -> None:
    host.release.issues.append({"path": "a", "message": "received 'pw1'"})
    [error] = check(config=config(host, settings={"a": 1}, secrets={"TOKEN": "pw1"})).errors
    assert "pw1" not in error


def test_it_starts_no_process_where_nothing_is_due(
    look: Look, host: Host, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    install_release(host.root)
    desired = {"settings": {"a": 1}, "secrets": {"TOKEN": "s" * 20}}
    host.deploy(**desired)

    def no_process(*_arguments: Any, **_keywords: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(_runtime, "Release", REAL_RELEASE)
    for name in ("run", "Popen"):
        monkeypatch.setattr(subprocess, name, no_process)
    for name in ("fork", "posix_spawn", "system"):
        monkeypatch.setattr(os, name, no_process)
    assert look(pid=process.pid, config=config(host, **desired))["due"]["configure"] is False


# ---- settings of several roles ---------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "c"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(0, 2), st.sampled_from(["", "x"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
SETTINGS = st.dictionaries(KEYS, VALUES, max_size=3)


@given(st.lists(SETTINGS, min_size=2, max_size=4))
def test_settings_are_joined_as_the_role_joins_them(parts: list[dict[str, Any]]) -> None:
    first, *others = parts
    ours, theirs, before = first, first, json.dumps(parts)
    for each in others:
        ours = gateway.union(ours, each)
        theirs = merge_hash(theirs, each, recursive=True, list_merge="append_rp")
    # With its types: to Python, true is 1.
    assert json.dumps(ours, sort_keys=True) == json.dumps(theirs, sort_keys=True)
    assert json.dumps(parts) == before, "what a role needs was changed"
