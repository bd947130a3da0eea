# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module gateway_release through its real arguments, with small scripts in the place of npm and Node."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _install, _release
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import _registry
from ansible_collections.clawops.openclaw.plugins.modules import gateway_release

if TYPE_CHECKING:
    from ansible_collections.clawops.openclaw.tests.unit.plugins.conftest import Killed

ENGINES = ">=24.16.0 <25 || >=26.1.0"

# `npm install --prefix=X … openclaw@V` unpacks a tiny OpenClaw; `npm view` lists versions. The file `script` beside it
# is run at the end and may do whatever a test wants. Every call is noted.
NPM = r"""#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/calls"
env > "$here/environment"
if [ "$1" = view ]; then echo '["2026.9.5", "2026.9.6", "2026.9.8"]'; exit 0; fi
for word in "$@"; do
  case $word in
    --prefix=*) prefix=${word#--prefix=} ;;
    openclaw@*) version=${word#openclaw@} ;;
  esac
done
package=$prefix/node_modules/openclaw
mkdir -p "$package/dist"
echo "{\"version\": \"$version\", \"engines\": {\"node\": \"@ENGINES@\"}}" > "$package/package.json"
touch "$package/dist/index.js" "$package/openclaw.mjs"
if [ -f "$here/script" ]; then . "$here/script"; fi
"""

# `node --version`, and `node …/dist/index.js --version`, which does what is left of an installation first.
NODE = r"""#!/bin/sh
here=$(dirname "$0")
if [ "$1" = --version ]; then cat "$here/node-version"; exit 0; fi
echo "node $1" >> "$here/calls"
package=${1%/openclaw.mjs}; package=${package%/dist/index.js}
if [ -f "$here/start" ]; then . "$here/start"; fi
rm -f "$package/.openclaw-lifecycle-pending"
echo "OpenClaw $(sed -n 's/.*"version": "\([^"]*\)".*/\1/p' "$package/package.json") (abc)"
"""


@pytest.fixture
def host(tmp_path: Path) -> SimpleNamespace:
    """A host with a stand-in npm and node, and nothing installed."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, text in (("npm", NPM.replace("@ENGINES@", ENGINES)), ("node", NODE)):
        (bin_ / name).write_text(text)
        (bin_ / name).chmod(0o755)
    (bin_ / "node-version").write_text("v24.21.0\n")
    return SimpleNamespace(
        bin=bin_,
        releases=tmp_path / "openclaw" / "releases",
        cache=tmp_path / "cache",
        calls=bin_ / "calls",
        script=bin_ / "script",
        start=bin_ / "start",
    )


@pytest.fixture
def run(host: SimpleNamespace, run_module: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def run(version: str = "2026.9.6", **arguments: Any) -> dict[str, Any]:
        defaults = {
            "path": str(host.releases),
            "cache": str(host.cache),
            "npm": str(host.bin / "npm"),
            "node": str(host.bin / "node"),
            "timeout": 60,
        }
        return run_module(gateway_release.main, version=version, **{**defaults, **arguments})

    return run


Run = Callable[..., dict[str, Any]]


def names(host: SimpleNamespace) -> list[str]:
    """What is in the directory of the releases, the lock apart."""
    return sorted(path.name for path in host.releases.iterdir() if path.name != ".lock")


class TestPresent:
    def test_a_release_is_predicted_then_installed_then_left_alone(self, host: SimpleNamespace, run: Run) -> None:
        predicted = run(_ansible_check_mode=True)
        assert (predicted["changed"], predicted["releases"], predicted["size_mb"]) == (True, ["2026.9.6"], None)
        assert not host.releases.exists()

        first = run()
        assert first["changed"]
        assert (first["node_engines"], first["releases"]) == (ENGINES, ["2026.9.6"])
        assert first["diff"] == {"before": {"releases": []}, "after": {"releases": ["2026.9.6"]}}
        assert names(host) == ["2026.9.6"]

        second = run()
        assert (second["changed"], second["phases"], second["node_engines"]) == (False, {}, ENGINES)
        assert not run(_ansible_check_mode=True)["changed"]

    def test_nothing_is_started_when_the_release_is_there(self, host: SimpleNamespace, run: Run) -> None:
        run()
        shutil.rmtree(host.bin)
        assert not run()["changed"]

    def test_everything_is_readable_by_all_and_writable_by_its_owner_only(
        self, host: SimpleNamespace, run: Run
    ) -> None:
        host.script.write_text(
            'touch "$package/open" "$package/closed" "$package/tool"; mkdir "$package/dir"; ln -s /etc "$package/link"\n'
            'chmod 666 "$package/open"; chmod 600 "$package/closed"; chmod 4770 "$package/tool"; chmod 700 "$package/dir"\n'
        )
        run()
        package = host.releases / "2026.9.6/node_modules/openclaw"
        modes = {name: (package / name).stat().st_mode & 0o7777 for name in ("open", "closed", "tool", "dir", ".")}
        assert modes == {"open": 0o644, "closed": 0o644, "tool": 0o755, "dir": 0o755, ".": 0o755}
        assert (host.releases / "2026.9.6").stat().st_mode & 0o7777 == 0o755

    def test_npm_sees_a_clean_environment_and_the_node_that_was_named(
        self, host: SimpleNamespace, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENCLAW_STATE_DIR", "/somewhere")
        run(registry="https://mirror.example.com/")
        seen = dict(line.split("=", 1) for line in (host.bin / "environment").read_text().splitlines())
        assert "OPENCLAW_STATE_DIR" not in seen
        assert (seen["HOME"], seen["npm_config_registry"]) == (str(host.cache), "https://mirror.example.com/")
        assert seen["PATH"].startswith(f"{host.bin}:")

    def test_what_a_killed_run_left_is_removed_first(self, host: SimpleNamespace, run: Run) -> None:
        for leftover in ("2026.9.6.partial/node_modules/half", "2026.9.5.partial/x"):
            (host.releases / leftover).mkdir(parents=True)
        assert run()["changed"]
        assert names(host) == ["2026.9.6"]
        assert not (host.releases / "2026.9.6/node_modules/half").exists()

    def test_what_an_installation_under_way_has_begun_is_left_to_it(self, host: SimpleNamespace, run: Run) -> None:
        run()
        (host.releases / "2026.9.5.partial").mkdir()
        with (host.releases / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert not run()["changed"]
            assert names(host) == ["2026.9.5.partial", "2026.9.6"]
        assert not run(_ansible_check_mode=True)["changed"]
        assert names(host) == ["2026.9.5.partial", "2026.9.6"]
        assert not run()["changed"]
        assert names(host) == ["2026.9.6"]

    @pytest.mark.parametrize("damage", ["marker", "package", "program", "all"])
    def test_a_damaged_release_is_replaced(self, host: SimpleNamespace, run: Run, damage: str) -> None:
        run()
        release = host.releases / "2026.9.6"
        if damage == "marker":
            (release / _release.MARKER).write_text("{torn")
        elif damage == "package":
            (release / "node_modules/openclaw/package.json").write_text('{"version": "2026.9.5"}')
        elif damage == "program":
            (release / "node_modules/openclaw/dist/index.js").unlink()
        else:
            shutil.rmtree(release)
            release.mkdir()
        assert run()["changed"]
        assert names(host) == ["2026.9.6"]
        assert not run()["changed"]

    def test_a_damaged_release_that_cannot_be_renamed_is_replaced(
        self, host: SimpleNamespace, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a directory of a container's image cannot."""
        run()
        release, rename = host.releases / "2026.9.6", Path.rename
        (release / "node_modules/openclaw/dist/index.js").unlink()

        def refuse(path: Path, target: Path) -> Path:
            if path == release:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", refuse)
        assert run()["changed"]
        assert names(host) == ["2026.9.6"]
        assert not run()["changed"]

    def test_the_first_start_finishes_an_installation_whose_scripts_did_not_run(
        self, host: SimpleNamespace, run: Run
    ) -> None:
        host.script.write_text('touch "$package/.openclaw-lifecycle-pending"\n')
        assert run()["changed"]
        assert not (host.releases / "2026.9.6/node_modules/openclaw/.openclaw-lifecycle-pending").exists()

    def test_the_launcher_finishes_it_where_the_program_itself_does_not(self, host: SimpleNamespace, run: Run) -> None:
        host.script.write_text('touch "$package/.openclaw-lifecycle-pending"\n')
        host.start.write_text("case $1 in *index.js) echo OpenClaw 2026.9.6; exit 0 ;; esac\n")
        assert run()["changed"]
        assert host.calls.read_text().rstrip().endswith("openclaw.mjs")

    def test_a_release_that_stays_unfinished_is_refused(self, host: SimpleNamespace, run: Run) -> None:
        host.script.write_text('touch "$package/.openclaw-lifecycle-pending"\n')
        host.start.write_text("echo OpenClaw 2026.9.6; exit 0\n")
        assert "installation scripts did not run" in run()["msg"]
        assert names(host) == [".2026.9.6.log"]


class TestFailures:
    """Whatever goes wrong: subject, reason, remedy, and no half release."""

    @pytest.mark.parametrize(
        ("script", "start", "message"),
        [
            pytest.param(
                "echo 'npm error code ECONNREFUSED'; exit 1", "", "registry cannot be reached", id="unreachable"
            ),
            pytest.param("echo 'npm error code ENOSPC'; exit 228", "", "disk is full", id="disk-full"),
            pytest.param("echo 'npm error it broke'; exit 7", "", "status 7: it broke", id="broken"),
            pytest.param("kill -9 $$", "", "ended by signal 9", id="killed"),
            pytest.param("", "echo OpenClaw 2026.9.5; exit 0", "does not start: OpenClaw 2026.9.5", id="other-version"),
            pytest.param("", "echo OpenClaw 2026.9.6; exit 3", "does not start: OpenClaw 2026.9.6", id="crash-at-end"),
            pytest.param(
                "", "echo Cannot find module >&2; exit 1", "does not start: Cannot find module", id="no-start"
            ),
            pytest.param("kill -TERM $PPID; sleep 60", "", "interrupted by SIGTERM", id="interrupted"),
        ],
    )
    def test_nothing_half_done_stays(
        self, host: SimpleNamespace, run: Run, script: str, start: str, message: str
    ) -> None:
        host.script.write_text(script)
        host.start.write_text(start)
        result = run()
        assert result["failed"]
        assert message in result["msg"]
        assert names(host) == [".2026.9.6.log"]
        host.script.unlink()
        host.start.unlink()
        assert run()["changed"]
        assert names(host) == ["2026.9.6"]

    def test_a_version_that_nobody_published_leaves_nothing_and_names_its_neighbours(
        self, host: SimpleNamespace, run: Run
    ) -> None:
        host.script.write_text('echo "npm error code ETARGET"; echo "npm error for openclaw@$version."; exit 1\n')
        result = run("2026.9.7")
        assert (
            "does not have this version. Choose one that it has, such as 2026.9.8, 2026.9.6, 2026.9.5." in result["msg"]
        )
        assert names(host) == []

    def test_a_node_that_the_release_does_not_take_is_told_before_it_starts(
        self, host: SimpleNamespace, run: Run
    ) -> None:
        (host.bin / "node-version").write_text("v22.1.0\n")
        assert f"it needs Node {ENGINES}, and this host has v22.1.0" in run()["msg"]
        assert "node" not in host.calls.read_text().split()

    def test_npm_is_ended_when_the_disk_is_full(
        self, host: SimpleNamespace, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        host.script.write_text("sleep 60\n")
        monkeypatch.setattr(_install, "is_full", lambda _path: True)
        result = run(timeout=20)
        assert "the disk is full" in result["msg"]
        assert names(host) == [".2026.9.6.log"]

    def test_a_disk_that_fills_up_at_the_end_is_told_too(
        self, host: SimpleNamespace, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_path: Path) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(_install, "sync_to_disk", full)
        assert "the disk is full" in run()["msg"]
        assert names(host) == [".2026.9.6.log"]

    def test_time_runs_out(self, host: SimpleNamespace, run: Run) -> None:
        host.script.write_text("echo npm error still here; sleep 60\n")
        assert "not done in time: still here" in run(timeout=1)["msg"]
        assert names(host) == [".2026.9.6.log"]

    def test_another_installation_is_named_when_it_does_not_end(self, host: SimpleNamespace, run: Run) -> None:
        host.releases.mkdir(parents=True)
        with (host.releases / ".lock").open("w") as lock:
            lock.write(str(os.getpid()))
            lock.flush()
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert f"another installation holds it: process {os.getpid()}." in run(timeout=0)["msg"]
        assert run()["changed"]

    def test_a_holder_that_has_ended_is_told_apart(self, host: SimpleNamespace, run: Run) -> None:
        host.releases.mkdir(parents=True)
        with (host.releases / ".lock").open("w") as lock:
            lock.write("999999999")
            lock.flush()
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert "process 999999999, which has ended; a child of it still runs" in run(timeout=0)["msg"]

    @pytest.mark.parametrize(
        ("ending", "installations"),
        [
            pytest.param("exit 0", 1, id="it-succeeds"),
            pytest.param("exit 1", 2, id="it-fails"),
            pytest.param("kill -TERM $PPID; sleep 5", 2, id="it-is-interrupted"),
            pytest.param("kill -KILL $PPID; sleep 0.5", 2, id="it-is-killed"),
        ],
    )
    def test_another_installation_is_waited_for_and_done_again_only_where_it_did_not_succeed(
        self, host: SimpleNamespace, run: Run, ending: str, installations: int
    ) -> None:
        host.script.write_text(f'touch {host.bin}/begun; sleep 1; rm "$here/script"; {ending}\n')
        if (other := os.fork()) == 0:
            with contextlib.suppress(BaseException):
                run()
            os._exit(0)
        while not (host.bin / "begun").exists():
            time.sleep(0.05)
        ended = run()
        os.waitpid(other, 0)
        assert ended.get("failed", False) is False
        assert ended["releases"] == [NEW]
        assert host.calls.read_text().count("install --prefix") == installations

    @pytest.mark.parametrize("version", ["latest", "2026.9", "^2026.9.6", "../../etc"])
    def test_only_an_exact_version_is_taken(self, host: SimpleNamespace, run: Run, version: str) -> None:
        assert "not an exact version" in run(version)["msg"]
        assert not host.releases.exists()

    def test_a_directory_that_others_may_write_to_is_refused(self, host: SimpleNamespace, run: Run) -> None:
        host.releases.mkdir(parents=True)
        host.releases.chmod(0o777)
        assert "others than root may write there" in run()["msg"]
        assert not host.calls.exists()

    def test_a_registry_with_a_password_is_refused(self, run: Run) -> None:
        assert "it holds a credential" in run(registry="https://me:word@npm.example.com/")["msg"]

    @pytest.mark.parametrize("program", ["npm", "node"])
    def test_a_missing_program_is_named_but_not_in_check_mode(self, run: Run, program: str) -> None:
        missing = {program: "/nowhere/program"}
        assert "/nowhere/program: there is no such program" in run(**missing)["msg"]
        assert run(**missing, _ansible_check_mode=True)["changed"]

    def test_keeping_no_release_is_refused(self, run: Run) -> None:
        assert "the option keep: it is 0" in run(keep=0)["msg"]


class TestPruning:
    @pytest.fixture
    def three(self, host: SimpleNamespace, run: Run) -> None:
        for version in ("2026.9.3", "2026.9.4", "2026.9.5"):
            run(version)

    @pytest.mark.usefixtures("three")
    def test_the_oldest_go_and_the_linked_one_stays(self, host: SimpleNamespace, run: Run) -> None:
        current = host.releases.parent / "main" / "current"
        current.parent.mkdir()
        current.symlink_to("../releases/2026.9.3")
        predicted = run(keep=2, _ansible_check_mode=True)
        result = run(keep=2)
        assert predicted["pruned"] == result["pruned"] == ["2026.9.4"]
        assert predicted["releases"] == result["releases"] == ["2026.9.6", "2026.9.5", "2026.9.3"]
        assert names(host) == ["2026.9.3", "2026.9.5", "2026.9.6"]
        assert not run(keep=2)["changed"]

    @pytest.mark.usefixtures("three")
    def test_nothing_goes_without_a_limit(self, run: Run) -> None:
        assert run()["pruned"] == []

    @pytest.mark.usefixtures("three")
    def test_pruning_alone_starts_no_process(self, host: SimpleNamespace, run: Run) -> None:
        host.calls.unlink()
        assert run("2026.9.5", keep=1)["pruned"] == ["2026.9.4", "2026.9.3"]
        assert not host.calls.exists()


class TestAbsent:
    def test_a_release_is_predicted_then_removed_then_left_alone(self, host: SimpleNamespace, run: Run) -> None:
        run()
        assert run(state="absent", _ansible_check_mode=True)["changed"]
        assert names(host) == ["2026.9.6"]
        result = run(state="absent")
        assert (result["changed"], result["releases"], result["pruned"]) == (True, [], [])
        assert names(host) == []
        assert not run(state="absent")["changed"]

    def test_a_half_release_is_removed_too(self, host: SimpleNamespace, run: Run) -> None:
        (host.releases / "2026.9.6.partial/x").mkdir(parents=True)
        (host.releases / ".2026.9.6.log").touch()
        assert run(state="absent")["changed"]
        assert names(host) == []

    def test_a_release_in_use_is_not_removed(self, host: SimpleNamespace, run: Run) -> None:
        run()
        current = host.releases.parent / "main" / "current"
        current.parent.mkdir()
        current.symlink_to(host.releases / "2026.9.6")
        for arguments in ({}, {"_ansible_check_mode": True}):
            assert f"{current} points to it" in run(state="absent", **arguments)["msg"]
        assert names(host) == ["2026.9.6"]

    def test_nothing_is_needed_where_nothing_is(self, host: SimpleNamespace, run: Run) -> None:
        shutil.rmtree(host.bin)
        assert not run(state="absent")["changed"]


def test_the_marker_says_what_was_installed(host: SimpleNamespace, run: Run) -> None:
    size_mb = run()["size_mb"]
    marker = json.loads((host.releases / "2026.9.6" / _release.MARKER).read_text())
    assert {*marker.pop("phases")} == {"npm", "verify", "settle"}
    assert marker == {"version": "2026.9.6", "node_engines": ENGINES, "node": "v24.21.0", "size_mb": size_mb}


# ---- killed in between ---------------------------------------------------------------------------------

OLD, NEW = "2026.9.5", "2026.9.6"
PACKAGE = "node_modules/openclaw"
# All that no_process() unpacks, and the marker.
WHOLE = {
    _release.MARKER,
    "node_modules",
    "node_modules/json5",
    PACKAGE,
    *(f"{PACKAGE}/{name}" for name in ("package.json", "dist", "dist/index.js")),
}


def no_process(command: list[str], **_options: Any) -> tuple[int, str]:
    """Stands in for npm and Node without a process: to be killed at every step takes a hundred installations."""
    if command[1] == "install":
        prefix = next(word.removeprefix("--prefix=") for word in command if word.startswith("--prefix="))
        package = Path(prefix, PACKAGE)
        os.makedirs(package / "dist")
        (package.parent / "json5").mkdir()
        version = command[-1].removeprefix("openclaw@")
        (package / "package.json").write_text(json.dumps({"version": version, "engines": {"node": ENGINES}}))
        (package / "dist/index.js").touch()
        return 0, ""
    if command[1] == "--version":
        return 0, "v24.21.0\n"
    return 0, f"OpenClaw {json.loads((Path(command[1]).parents[1] / 'package.json').read_text())['version']}"


def tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.name != ".lock"}


def is_trusted(releases: Path, version: str) -> bool:
    """Whether the module, or the preflight that decides whether it runs at all, takes a release for a whole one."""
    package = _registry.installed_package(str(releases), version)
    return bool(package) or _install.read_marker(releases, version) is not None


def tear_the_marker(releases: Path) -> None:
    (releases / NEW / _release.MARKER).write_text("{torn")


def leave_a_log(releases: Path) -> None:
    (releases / f".{NEW}.log").touch()


@pytest.mark.parametrize("after", [False, True], ids=["before-a-step", "after-a-step"])
@pytest.mark.parametrize(
    ("image", "installed", "prepare", "arguments", "left"),
    [
        pytest.param(False, [], None, {}, [NEW], id="first-installation"),
        pytest.param(False, [OLD, NEW], tear_the_marker, {}, [OLD, NEW], id="replacement"),
        pytest.param(True, [OLD, NEW], tear_the_marker, {}, [OLD, NEW], id="replacement-in-an-image"),
        pytest.param(False, [OLD, NEW], None, {"keep": 1}, [NEW], id="pruning"),
        pytest.param(True, [OLD, NEW], None, {"keep": 1}, [NEW], id="pruning-in-an-image"),
        pytest.param(False, [OLD, NEW], leave_a_log, {"state": "absent"}, [OLD], id="removal"),
        pytest.param(True, [OLD, NEW], leave_a_log, {"state": "absent"}, [OLD], id="removal-in-an-image"),
    ],
)
def test_a_run_that_is_killed_leaves_no_half_release_and_is_finished_by_the_next(
    memory: Path,
    host: SimpleNamespace,
    run: Run,
    killed: Killed,
    monkeypatch: pytest.MonkeyPatch,
    image: bool,
    installed: list[str],
    prepare: Callable[[Path], None] | None,
    arguments: dict[str, Any],
    left: list[str],
    after: bool,
) -> None:
    root, kept = memory / "host", memory / "kept"
    releases = host.releases = root / "openclaw/releases"
    host.cache = root / "cache"
    rename, scandir = Path.rename, os.scandir
    # Whatever makes a change visible; what stands after an unlink or mkdir stands before the next step too.
    steps = ["rename", "rmdir"] if after else ["rename", "rmdir", "unlink"]
    if not (installed or after):  # the first installation stands for the directories that every one makes
        steps.append("mkdir")

    def worst_order(path: Any) -> Any:
        """What tells that a release is whole comes last, as on some file systems it may."""
        found = sorted(scandir(path), key=lambda entry: (entry.name == _release.MARKER, entry.name))
        return contextlib.nullcontext(found)

    def refuse(path: Path, target: Path) -> Path:
        """As for a directory that came with a container's image."""
        if image and path.parent == releases and path.name in installed:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    def bring_back() -> None:
        shutil.rmtree(root)
        shutil.copytree(kept, root)

    monkeypatch.setattr(_release, "run_bounded", no_process)
    monkeypatch.setattr(Path, "rename", refuse)
    monkeypatch.setattr(os, "scandir", worst_order)
    root.mkdir()
    for version in installed:
        run(version)
    if prepare:
        prepare(releases)
    shutil.copytree(root, kept)
    expected = {path for version in left for path in (version, *(f"{version}/{name}" for name in WHOLE))}

    for n in range(1, 60):
        bring_back()
        came_that_far = killed(lambda: run(**arguments), n, after=after, steps=steps)
        for version in (OLD, NEW):
            assert not is_trusted(releases, version) or tree(releases / version) == WHOLE, (n, version)
        run(**arguments)
        assert tree(releases) == expected, n
        assert all(is_trusted(releases, version) for version in left), n
        assert not run(**arguments)["changed"], n
        if not came_that_far:
            assert n > (1 if after else 5), "it did nothing"
            return
    pytest.fail("it never came to an end")
