# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases on the disk, npm's words, and how npm is run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _release
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError


class TestOnTheDisk:
    @pytest.mark.parametrize(
        ("output", "version"),
        [
            pytest.param("OpenClaw 2026.9.6 (eb377ac)\n", "2026.9.6", id="openclaw"),
            pytest.param("2026.1.29\n", "2026.1.29", id="bare"),
            pytest.param("v24.21.0", "24.21.0", id="node"),
            pytest.param("(node:1) Warning: x\nOpenClaw 2026.7.1-beta.2 (a)", "2026.7.1-beta.2", id="after-a-warning"),
            pytest.param("Segmentation fault", None, id="nothing"),
        ],
    )
    def test_the_printed_version_is_found(self, output: str, version: str | None) -> None:
        assert _release.printed_version(output) == version

    @pytest.mark.parametrize("text", [None, "", "{", "[1]", "null", '{"a":'])
    def test_a_torn_file_says_as_little_as_a_missing_one(self, text: str | None) -> None:
        assert _release.read_object(text) == {}

    @pytest.mark.parametrize(
        ("marker", "package", "finished"),
        [
            pytest.param({"version": "2026.9.6"}, {"version": "2026.9.6"}, True, id="both-agree"),
            pytest.param({}, {"version": "2026.9.6"}, False, id="no-marker"),
            pytest.param({"version": "2026.9.6"}, {}, False, id="no-package"),
            pytest.param({"version": "2026.9.5"}, {"version": "2026.9.6"}, False, id="marker-of-another"),
            pytest.param({"version": "2026.9.6"}, {"version": "2026.9.5"}, False, id="package-of-another"),
        ],
    )
    def test_a_release_is_finished_when_marker_and_package_say_so(
        self, marker: dict[str, str], package: dict[str, str], finished: bool
    ) -> None:
        assert _release.is_finished("2026.9.6", marker, package) is finished

    @pytest.mark.parametrize(
        ("keep", "linked", "pruned"),
        [
            pytest.param(None, [], [], id="no-limit"),
            pytest.param(2, [], ["2026.9.4", "2026.9.3"], id="two-newest-stay"),
            pytest.param(2, ["2026.9.3"], ["2026.9.4"], id="a-linked-one-stays-too"),
            pytest.param(9, [], [], id="fewer-than-the-limit"),
            pytest.param(1, [], ["2026.9.5", "2026.9.4", "2026.9.3"], id="the-newest-only"),
        ],
    )
    def test_pruning_takes_the_oldest_that_nothing_points_to(
        self, keep: int | None, linked: list[str], pruned: list[str]
    ) -> None:
        installed = ["2026.9.3", "2026.9.5", "2026.9.4", "2026.9.6"]
        assert _release.to_prune(installed, wanted="2026.9.6", keep=keep, linked=linked) == pruned

    def test_the_wanted_release_stays_however_old_it_is(self) -> None:
        assert _release.to_prune(["2026.9.6", "2026.9.5"], wanted="2026.1.29", keep=1, linked=[]) == ["2026.9.5"]


class TestCleanEnvironment:
    @staticmethod
    def clean(registry: str | None = None, **environ: str) -> dict[str, str]:
        return _release.clean_environment(environ, home="/cache", path="/bin", registry=registry)

    def test_the_way_to_the_registry_stays_and_the_rest_goes(self) -> None:
        kept = {
            "NODE_EXTRA_CA_CERTS": "/ca.pem",
            "SSL_CERT_FILE": "/ca.pem",
            "https_proxy": "http://p",
            "NO_PROXY": "x",
            "npm_config_cafile": "/ca.pem",
            "NPM_CONFIG_STRICT_SSL": "true",
        }
        clean = self.clean(**kept, OPENCLAW_STATE_DIR="/x", NODE_OPTIONS="--inspect", SECRET="s", HOME="/root")
        assert kept.items() <= clean.items()
        assert not {"OPENCLAW_STATE_DIR", "NODE_OPTIONS", "SECRET"} & clean.keys()
        assert (clean["HOME"], clean["PATH"], clean["npm_config_cache"]) == ("/cache", "/bin", "/cache")

    def test_the_named_registry_wins_over_the_one_of_the_environment(self) -> None:
        clean = self.clean("https://mirror.example.com/", NPM_CONFIG_REGISTRY="https://other.example.com/")
        registries = [value for name, value in clean.items() if name.lower() == "npm_config_registry"]
        assert registries == ["https://mirror.example.com/"]

    def test_npm_gives_up_on_a_dead_registry_soon_unless_told_otherwise(self) -> None:
        assert self.clean()["npm_config_fetch_retry_mintimeout"] == "1000"
        assert self.clean(npm_config_fetch_retry_mintimeout="5")["npm_config_fetch_retry_mintimeout"] == "5"


class TestExplainFailure:
    @pytest.mark.parametrize(
        ("output", "status", "reason", "remedy"),
        [
            pytest.param("npm error code ENOSPC", 228, "the disk is full", "keep", id="disk-full"),
            pytest.param("npm error code ECONNREFUSED", 1, "cannot be reached", "https_proxy", id="refused"),
            pytest.param("npm error code ENOTFOUND", 1, "cannot be reached", "DNS", id="no-name"),
            pytest.param("npm ERR! code ETIMEDOUT", 1, "cannot be reached", "mirror", id="older-npm"),
            pytest.param(
                "npm error code SELF_SIGNED_CERT_IN_CHAIN", 1, "not trusted", "NODE_EXTRA_CA_CERTS", id="certificate"
            ),
            pytest.param("npm error code E401", 1, "refuses this host", "/cache/.npmrc", id="credential"),
            pytest.param("npm error code EACCES", 243, "may not write", "writable", id="not-writable"),
            pytest.param("", -9, "signal 9", "memory", id="killed"),
            pytest.param("npm error something else", 1, "status 1: something else", "/cache/_logs", id="unknown"),
            pytest.param(
                "error: this OpenClaw release requires Node >=24.16.0 <25 || >=26.1.0.\n"
                "detected Node 20.20.2 (exec: /usr/bin/node).",
                1,
                "needs Node >=24.16.0 <25 || >=26.1.0, and this host has 20.20.2",
                "role nodejs",
                id="node",
            ),
        ],
    )
    def test_the_reason_and_the_remedy_fit(self, output: str, status: int, reason: str, remedy: str) -> None:
        error = _release.explain_failure("2026.9.6", output, status=status, path="/releases", cache="/cache")
        assert "2026.9.6" in error.subject
        assert reason in error.reason
        assert remedy in error.remedy

    @pytest.mark.parametrize(
        ("output", "missing"),
        [
            ("npm error code ETARGET\nnpm error notarget No matching version found for openclaw@2026.9.7.", True),
            ("npm error code E404\nnpm error 404 Not Found - GET https://npm.example.com/openclaw", True),
            ("npm error code ETARGET\nnpm error notarget No matching version found for ws@9.9.9.", False),
            ("npm error code ECONNREFUSED openclaw@2026.9.6", False),
        ],
    )
    def test_a_missing_version_is_told_from_a_missing_dependency(self, output: str, missing: bool) -> None:
        assert _release.is_missing(output) is missing

    def test_a_missing_version_names_those_near_it(self) -> None:
        assert (
            "2026.10.1, 2026.9.6, 2026.7.35"
            in _release.missing_version("2026.9.7", ["2026.7.35", "2026.9.6", "2026.10.1"]).remedy
        )

    def test_the_last_words_are_without_noise(self) -> None:
        output = (
            "npm error code 1\nnpm error\nnpm error it broke\nnpm error A complete log of this run can be found in: x"
        )
        assert _release.last_words(output) == "code 1 · it broke"


class TestRunBounded:
    @staticmethod
    def run(script: str, seconds: float = 20) -> tuple[int, str]:
        with Path(os.devnull).open() as nothing:
            return _release.run_bounded(
                ["/bin/sh", "-c", script],
                environment={"PATH": "/usr/bin:/bin"},
                cwd="/",
                deadline=time.monotonic() + seconds,
                keep_open=nothing.fileno(),
            )

    def test_status_and_both_outputs_come_back(self) -> None:
        assert self.run("echo out; echo err >&2; exit 3") == (3, "out\nerr\n")

    def test_a_signal_is_a_negative_status(self) -> None:
        assert self.run("kill -9 $$")[0] == -9

    def test_it_sees_nothing_of_the_callers_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET", "hidden")
        assert "hidden" not in self.run("env")[1]

    def test_what_it_makes_is_readable_by_all_whatever_the_callers_umask(self, tmp_path: Path) -> None:
        before = os.umask(0o077)
        try:
            self.run(f"touch {tmp_path}/made")
        finally:
            os.umask(before)
        assert (tmp_path / "made").stat().st_mode & 0o777 == 0o644

    def test_a_child_that_keeps_the_output_open_does_not_keep_us(self) -> None:
        began = time.monotonic()
        assert self.run("sleep 30 & echo done") == (0, "done\n")
        assert time.monotonic() - began < 10

    def test_at_the_deadline_the_command_and_its_children_end(self, tmp_path: Path) -> None:
        with pytest.raises(OpenClawError, match="not done in time: almost there"):
            self.run(f"echo almost there; sleep 60 & echo $! > {tmp_path}/child; wait", seconds=1)
        assert_ended(int((tmp_path / "child").read_text()))

    def test_it_dies_with_us_even_when_we_are_killed(self, tmp_path: Path) -> None:
        script = (
            "import sys, time\n"
            f"from {_release.__name__} import run_bounded\n"
            "run_bounded(['/bin/sh', '-c', f'echo $$ > {sys.argv[1]}.new; mv {sys.argv[1]}.new {sys.argv[1]}; "
            "exec sleep 60'], environment={}, cwd='/', deadline=time.monotonic() + 60, keep_open=1)\n"
        )
        note = tmp_path / "child"
        path = os.pathsep.join(sys.path)
        parent = subprocess.Popen([sys.executable, "-c", script, str(note)], env={"PYTHONPATH": path})
        try:
            wait_for(note.exists)
        finally:
            parent.send_signal(signal.SIGKILL)
            parent.wait()
        assert_ended(int(note.read_text()))


def wait_for(condition: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not (callable(condition) and condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def assert_ended(pid: int) -> None:
    def ended() -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        return state == "Z"

    wait_for(ended)
