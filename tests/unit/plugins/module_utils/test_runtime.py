# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the writer of settings sees of release and gateway.

The gateway is a stand-in: a server for /startupz, a log file, its database and a ``systemctl`` of our own. What it does
and when is what was measured of the real one; the clock stands still except for what is slept.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _bounded, _host, _runtime, _store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._runtime import Rejected

if TYPE_CHECKING:
    from ansible_collections.clawops.openclaw.tests.unit.plugins.conftest import Within

UNIT = "clawops-stand-in.service"
OLD, NEW = b'{"a": 1}\n', b'{"a": 2}\n'
EVALUATING = "config change detected; evaluating reload (a)"
APPLIED = "config hot reload applied (a)"
RESTARTS = "config change requires gateway restart (a) — preparing"
DISABLED = "config reload disabled (gateway.reload.mode=off)"
SUPERSEDED = "config reload superseded: GatewayConfigReloadSupersededError: config reload superseded by a newer runtime config source"


class Clock:
    """Stands in for the module ``time``: sleeping takes no time, and makes happen what is due until then."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.due: list[tuple[float, Callable[[], object]]] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment in [moment for moment in self.due if moment[0] <= self.now]:
            self.due.remove(moment)
            moment[1]()

    def at(self, seconds: float, *happens: Callable[[], object]) -> None:
        self.due += [(1000 + seconds, each) for each in happens]


class StandIn:
    """A gateway that does what a test tells it to."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.clock = clock
        self.state, self.log_file, self.settings = root / "state", root / "gateway.log", root / "openclaw.json"
        self.calls, self.shown = root / "systemctl.calls", root / "systemctl.show"
        (self.state / "state").mkdir(parents=True)
        self.settings.write_bytes(OLD)
        self.database = self.state / "state/openclaw.sqlite"
        with sqlite3.connect(self.database) as database:
            database.execute(
                "create table diagnostic_events (scope text, event_key text, sequence integer, value_json text)"
            )
            database.execute("insert into diagnostic_events values ('other', 'latest', 1, '{\"rawHash\":\"other\"}')")
        database.close()
        self.server: http.server.ThreadingHTTPServer | None = None
        self.status, self.body = 200, b""
        self.accept(OLD)
        self.serve()

    def serve(self, port: int = 0, *, uptime: float = 3600, status: int = 200, word: str = "started") -> None:
        """Listen, or answer another way from now on."""
        self.answer(uptime=uptime, status=status, word=word)
        if self.server is None:
            stand_in = self

            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    status, body = stand_in.reply(self.path)
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

                def log_message(self, *_arguments: Any) -> None:
                    """Say nothing."""

            self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
            threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            self.port = self.server.server_port

    def answer(self, *, uptime: float = 3600, status: int = 200, word: str = "started") -> None:
        self.begun, self.status, self.word = self.clock.now - uptime, status, word

    def reply(self, path: str) -> tuple[int, bytes]:
        if self.body:
            return self.status, self.body
        if path != "/startupz":
            return 404, b"{}"
        uptime = round((self.clock.now - self.begun) * 1000)
        return self.status, json.dumps({"status": self.word, "uptimeMs": uptime}).encode()

    def close(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def accept(self, content: bytes) -> None:
        """Note in the database which settings are in use."""
        value = json.dumps({"configPath": "x", "rawHash": hashlib.sha256(content).hexdigest()})
        with sqlite3.connect(self.database) as database:
            database.execute("delete from diagnostic_events where scope = 'config-snapshot'")
            database.execute("insert into diagnostic_events values ('config-snapshot', 'latest', 7, ?)", (value,))
        database.close()

    def log(self, message: str, level: str = "INFO") -> None:
        line = {"0": "{}", "1": message, "_meta": {"logLevelName": level}, "message": message}
        with self.log_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")

    def unit(self, active: str = "active", sub: str = "running", status: int = 0, restarts: int = 0) -> None:
        """What ``systemctl show`` says from now on."""
        self.shown.write_text(f"ActiveState={active}\nSubState={sub}\nExecMainStatus={status}\nNRestarts={restarts}\n")

    def systemctl_calls(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    def gateway(self, account: _store.Account | None = None) -> _runtime.Gateway:
        return _runtime.Gateway(
            unit=UNIT,
            port=self.port,
            settings_path=str(self.settings),
            state_path=str(self.state),
            log_path=str(self.log_file),
            account=account,
        )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_runtime, "time", clock)
    return clock


@pytest.fixture
def stand_in(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    stand_in = StandIn(tmp_path, clock)
    stand_in.unit()
    script = tmp_path / "bin/systemctl"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "$*" >> {stand_in.calls}\n[ "$1" = show ] && cat {stand_in.shown}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    monkeypatch.setattr(_host, "main_process", lambda _unit: 0)
    yield stand_in
    stand_in.close()


# ---- taking a change -------------------------------------------------------------------------------------


def take(stand_in: StandIn, *, restart: bool = False, port: int = 0, timeout: float = 60) -> str:
    gateway = stand_in.gateway()
    stand_in.settings.write_bytes(NEW)
    return gateway.take(NEW, port=port or stand_in.port, restart=restart, timeout=timeout)


def test_a_hot_change_is_taken_when_the_gateway_has_accepted_it(stand_in: StandIn, clock: Clock) -> None:
    clock.at(0.6, lambda: stand_in.log(EVALUATING))
    clock.at(0.8, lambda: stand_in.accept(NEW), lambda: stand_in.log(APPLIED))
    assert take(stand_in) == "hot"
    assert 0.8 <= clock.now - 1000 < 1.2
    assert stand_in.systemctl_calls() == []


def test_a_change_of_which_the_log_says_nothing_is_taken_too(stand_in: StandIn, clock: Clock) -> None:
    clock.at(0.8, lambda: stand_in.accept(NEW))
    assert take(stand_in) == "hot"
    assert clock.now - 1000 >= 0.8


def test_settings_that_mean_the_same_are_not_waited_for(stand_in: StandIn, clock: Clock) -> None:
    clock.at(0.8, lambda: stand_in.log(SUPERSEDED))
    assert take(stand_in) == "hot"
    assert clock.now - 1000 < 1.2


def restarting(stand_in: StandIn, clock: Clock, back_at: float = 14, port: int = 0) -> None:
    """What was measured of a gateway that restarts itself."""
    port = port or stand_in.port
    clock.at(0.6, lambda: stand_in.log(EVALUATING), lambda: stand_in.log(RESTARTS, "WARN"))
    clock.at(0.7, lambda: stand_in.accept(NEW))
    clock.at(1.2, lambda: stand_in.answer(status=503, word="draining"))
    clock.at(1.8, stand_in.close, lambda: stand_in.unit("activating", "auto-restart"))
    clock.at(3.0, lambda: stand_in.serve(port, uptime=0, status=503, word="starting"), stand_in.unit)
    clock.at(back_at, lambda: stand_in.answer(uptime=back_at - 3))


@pytest.mark.parametrize("foreseen", [True, False], ids=["foreseen", "as-the-log-says"])
def test_a_restart_is_waited_for_until_the_new_process_has_started(
    stand_in: StandIn, clock: Clock, foreseen: bool
) -> None:
    restarting(stand_in, clock)
    assert take(stand_in, restart=foreseen) == "restart"
    assert 14 <= clock.now - 1000 < 15


def test_after_a_change_of_the_port_the_gateway_is_looked_for_on_the_new_one(stand_in: StandIn, clock: Clock) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as free:
        port = free.server_port
    restarting(stand_in, clock, port=port)
    assert take(stand_in, restart=True, port=port) == "restart"
    assert stand_in.port == port


def test_a_restart_that_was_foreseen_and_is_none_is_not_waited_for(stand_in: StandIn, clock: Clock) -> None:
    clock.at(0.8, lambda: stand_in.accept(NEW), lambda: stand_in.log(APPLIED))
    assert take(stand_in, restart=True) == "hot"
    assert clock.now - 1000 < 2


def test_a_restart_that_does_not_begin_is_none(stand_in: StandIn, clock: Clock) -> None:
    clock.at(0.8, lambda: stand_in.accept(NEW))
    assert take(stand_in, restart=True) == "hot"
    assert 20 < clock.now - 1000 < 25


@pytest.mark.parametrize(
    "words",
    [
        'config reload skipped (invalid config): cron: Unrecognized key: "retry"',
        'config reload failed: SecretRefResolutionError: JSON pointer segment "X" does not exist.',
    ],
)
def test_a_refusal_is_told_in_the_gateways_own_words(stand_in: StandIn, clock: Clock, words: str) -> None:
    clock.at(0.6, lambda: stand_in.log(words, "WARN"))
    with pytest.raises(Rejected) as error:
        take(stand_in)
    assert str(error.value) == words
    assert clock.now - 1000 < 1


def test_a_refusal_after_the_change_was_accepted_is_one_too(stand_in: StandIn, clock: Clock) -> None:
    clock.at(0.6, lambda: stand_in.log(RESTARTS), lambda: stand_in.accept(NEW))
    clock.at(1.0, lambda: stand_in.log("config reload failed: no", "ERROR"))
    with pytest.raises(Rejected, match=r"^config reload failed: no$"):
        take(stand_in)


def test_a_refusal_of_an_earlier_change_is_none_of_this_one(stand_in: StandIn, clock: Clock) -> None:
    stand_in.log("config reload skipped (invalid config): earlier", "WARN")
    stand_in.log(RESTARTS, "WARN")
    clock.at(0.6, lambda: stand_in.log('quoting "config reload skipped" is no refusal'))
    clock.at(0.8, lambda: stand_in.accept(NEW))
    assert take(stand_in) == "hot"


def test_a_log_that_was_rotated_is_read_from_its_beginning(stand_in: StandIn, clock: Clock) -> None:
    for _ in range(20):
        stand_in.log("an old line")

    def rotate() -> None:
        stand_in.log_file.unlink()
        stand_in.log("config reload failed: new", "ERROR")

    clock.at(0.6, rotate)
    with pytest.raises(Rejected, match="config reload failed: new"):
        take(stand_in)


def test_lines_that_are_no_json_and_letters_that_are_none_do_not_disturb(stand_in: StandIn, clock: Clock) -> None:
    stand_in.log_file.write_bytes("ü".encode()[:1])

    def garbage() -> None:
        with stand_in.log_file.open("ab") as file:
            file.write(b'\xbc\xff\xfe {"torn\n[1]\n"text"\n{"message": null}\n{"message": 5}\n')

    clock.at(0.5, garbage)
    clock.at(0.8, lambda: stand_in.accept(NEW))
    assert take(stand_in) == "hot"


def made_to_start(stand_in: StandIn, clock: Clock, at: float) -> None:
    """What a gateway does that systemd restarts."""
    clock.at(at + 0.5, stand_in.close)
    clock.at(at + 1, lambda: stand_in.serve(stand_in.port, uptime=0, status=503, word="starting"))
    clock.at(at + 10, lambda: stand_in.answer(uptime=9))


RESTARTED = f"--no-block restart {UNIT}"


def test_a_gateway_that_does_not_read_its_file_is_restarted_and_that_is_told(stand_in: StandIn, clock: Clock) -> None:
    made_to_start(stand_in, clock, 30)
    gateway = stand_in.gateway()
    assert gateway.take(NEW, port=stand_in.port, restart=False, timeout=60) == "restart"
    assert 40 <= clock.now - 1000 < 41
    assert stand_in.systemctl_calls()[0] == RESTARTED
    assert gateway.notes == ["The gateway did not read its changed settings within 30 s: restarted."]


def test_a_gateway_that_has_to_be_restarted_is_and_is_not_asked_first(stand_in: StandIn, clock: Clock) -> None:
    made_to_start(stand_in, clock, 0)
    gateway = stand_in.gateway()
    assert gateway.take(NEW, port=stand_in.port, restart=False, timeout=60, anew=True) == "restart"
    assert 10 <= clock.now - 1000 < 12
    assert stand_in.systemctl_calls()[0] == RESTARTED
    assert gateway.notes == []


def test_a_gateway_that_reads_its_file_and_must_not_act_on_it_is_restarted(stand_in: StandIn, clock: Clock) -> None:
    clock.at(0.6, lambda: stand_in.log(EVALUATING), lambda: stand_in.accept(NEW))
    # The log may be written later than the database.
    clock.at(0.9, lambda: stand_in.log(DISABLED))
    made_to_start(stand_in, clock, 0.9)
    gateway = stand_in.gateway()
    assert gateway.take(NEW, port=stand_in.port, restart=True, timeout=60) == "restart"
    assert 10 <= clock.now - 1000 < 12
    assert stand_in.systemctl_calls().count(RESTARTED) == 1
    assert gateway.notes == []


def test_settings_that_a_restarted_gateway_does_not_start_with_are_rejected(stand_in: StandIn, clock: Clock) -> None:
    clock.at(31, stand_in.close, lambda: stand_in.log("gateway tls: cert/key missing", "ERROR"))
    clock.at(32, lambda: stand_in.unit("activating", "auto-restart", 1, restarts=1))
    clock.at(36, lambda: stand_in.unit("activating", "auto-restart", 1, restarts=2))
    with pytest.raises(Rejected, match=r"^it exited with status 1\. gateway tls: cert/key missing$"):
        take(stand_in)
    assert 36 <= clock.now - 1000 < 37


def test_a_gateway_that_neither_reads_its_file_nor_restarts_is_rejected(stand_in: StandIn, clock: Clock) -> None:
    clock.at(5, lambda: stand_in.log("watching files is not possible", "WARN"), lambda: stand_in.log("chatter"))
    with pytest.raises(Rejected) as error:
        take(stand_in)
    assert str(error.value) == "it did not come back with them within 60 s. watching files is not possible"


@pytest.mark.parametrize("content", [None, b"", b"no database at all"], ids=["none", "empty", "garbage"])
def test_without_the_gateways_database_nothing_is_taken_for_accepted(
    stand_in: StandIn, clock: Clock, content: bytes | None
) -> None:
    stand_in.database.unlink()
    if content is not None:
        stand_in.database.write_bytes(content)
    made_to_start(stand_in, clock, 30)
    assert take(stand_in) == "restart"
    assert stand_in.systemctl_calls()[0] == RESTARTED
    assert content is not None or not stand_in.database.exists()


def test_a_gateway_that_gave_up_is_rejected_with_status_and_last_words(stand_in: StandIn, clock: Clock) -> None:
    restarting(stand_in, clock)
    clock.at(
        4,
        stand_in.close,
        lambda: stand_in.log("OpenClaw migration inputs changed during startup", "ERROR"),
        lambda: stand_in.unit("failed", "failed", 78),
    )
    with pytest.raises(Rejected) as error:
        take(stand_in)
    assert str(error.value).startswith("it exited with status 78. ")
    assert str(error.value).endswith("OpenClaw migration inputs changed during startup")
    assert clock.now - 1000 < 6


def test_one_failed_start_is_forgiven_and_the_second_is_not(stand_in: StandIn, clock: Clock) -> None:
    restarting(stand_in, clock, back_at=100)
    clock.at(4, stand_in.close, lambda: stand_in.unit("activating", "auto-restart", 78, restarts=1))
    clock.at(9, lambda: stand_in.unit("activating", "start", 78, restarts=2))
    clock.at(13, lambda: stand_in.unit("activating", "auto-restart", 78, restarts=2))
    with pytest.raises(Rejected, match="it exited with status 78"):
        take(stand_in)
    assert 13 <= clock.now - 1000 < 14


def test_a_gateway_that_recovers_after_a_failed_start_has_taken_the_change(stand_in: StandIn, clock: Clock) -> None:
    restarting(stand_in, clock, back_at=20)
    clock.at(4, lambda: stand_in.unit("activating", "auto-restart", 78, restarts=1))
    clock.at(9, stand_in.unit)
    assert take(stand_in) == "restart"


def test_a_gateway_that_does_not_come_back_in_time_is_rejected(stand_in: StandIn, clock: Clock) -> None:
    restarting(stand_in, clock, back_at=100)
    with pytest.raises(Rejected, match=r"it did not come back with them within 40 s\. .*requires gateway restart"):
        take(stand_in, timeout=40)
    assert 40 <= clock.now - 1000 < 41


def test_the_database_is_read_with_the_accounts_rights(
    stand_in: StandIn, clock: Clock, another_account: _store.Account
) -> None:
    stand_in.accept(NEW)
    assert stand_in.gateway().take(NEW, port=stand_in.port, restart=False, timeout=5) == "hot"
    # pytest's own directory is closed to it.
    gateway = stand_in.gateway(another_account)
    with pytest.raises(Rejected, match=r"^it did not come back with them within 5 s$"):
        gateway.take(NEW, port=stand_in.port, restart=False, timeout=5)
    assert gateway.notes == ["The gateway did not read its changed settings within 30 s: restarted."]


# ---- whether it serves -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "serves"),
    [
        pytest.param(200, b'{"status": "started", "uptimeMs": 5}', True, id="started"),
        pytest.param(200, b'{"status": "starting"}', False, id="starting"),
        pytest.param(503, b'{"status": "started"}', False, id="another-status"),
        pytest.param(200, b"<html>", False, id="a-web-page"),
        pytest.param(200, b'["started"]', False, id="a-list"),
        pytest.param(200, b"\xff", False, id="no-text"),
    ],
)
def test_a_gateway_has_started_when_it_says_so(stand_in: StandIn, status: int, body: bytes, serves: bool) -> None:
    stand_in.status, stand_in.body = status, body
    assert (stand_in.gateway().started() is not None) is serves


def test_a_closed_port_is_no_started_gateway(stand_in: StandIn) -> None:
    gateway = stand_in.gateway()
    stand_in.close()
    assert gateway.started() is None


def test_a_gateway_that_is_starting_is_waited_for(
    stand_in: StandIn, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_host, "main_process", lambda unit: 4711 if unit == UNIT else 0)
    stand_in.answer(status=503, word="starting")
    clock.at(12, stand_in.answer)
    assert stand_in.gateway().settle_down(60) is True
    assert 12 <= clock.now - 1000 < 13


def test_a_gateway_that_never_starts_is_waited_for_in_vain(
    stand_in: StandIn, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_host, "main_process", lambda _unit: 4711)
    stand_in.answer(status=503, word="starting")
    assert stand_in.gateway().settle_down(60) is False
    assert 60 <= clock.now - 1000 < 61


def test_no_process_is_not_waited_for(stand_in: StandIn, clock: Clock) -> None:
    stand_in.answer(status=503, word="starting")
    assert stand_in.gateway().settle_down(60) is False
    assert clock.now == 1000


# ---- going back --------------------------------------------------------------------------------------------


def test_a_gateway_that_still_serves_with_the_old_settings_is_left_alone(stand_in: StandIn) -> None:
    assert stand_in.gateway().stop_unless_serving(OLD) is False
    assert stand_in.systemctl_calls() == []


@pytest.mark.parametrize("reason", ["it-is-down", "it-runs-with-the-new-ones"])
def test_another_is_stopped_before_the_old_settings_come_back(stand_in: StandIn, reason: str) -> None:
    if reason == "it-is-down":
        stand_in.answer(status=503, word="starting")
    else:
        stand_in.accept(NEW)
    assert stand_in.gateway().stop_unless_serving(OLD) is True
    assert stand_in.systemctl_calls() == [f"stop {UNIT}"]


def test_a_stopped_gateway_is_started_whatever_systemd_thinks_of_it(stand_in: StandIn) -> None:
    assert stand_in.gateway().start(60) is True
    assert stand_in.systemctl_calls() == [f"reset-failed {UNIT}", f"start {UNIT}"]


def test_the_last_words_are_the_last_loud_ones(stand_in: StandIn) -> None:
    stand_in.log("before", "ERROR")
    gateway = stand_in.gateway()
    assert gateway.last_words() == ""
    for level in ("WARN", "INFO", "ERROR", "DEBUG", "FATAL", "WARN"):
        stand_in.log(f"{level.lower()} words", level)
    assert gateway.last_words() == "error words | fatal words | warn words"


# ---- the release -------------------------------------------------------------------------------------------

# Run by sh, which every account can reach. It answers what the settings file tells it to answer.
PROGRAM = """
{ id -u; id -g; id -G; pwd; echo "$*"; env; } > "${0%/*}/seen"
echo 'some chatter before the answer'
if grep -q '^{' "$OPENCLAW_CONFIG_PATH"; then cat "$OPENCLAW_CONFIG_PATH"; else cat "$OPENCLAW_CONFIG_PATH" >&2; fi
grep -q '"valid": true' "$OPENCLAW_CONFIG_PATH"
"""


class Seen:
    """How the program was called."""

    def __init__(self, path: Path) -> None:
        self.uid, self.gid, self.groups, self.cwd, self.words, *lines = path.read_text().splitlines()
        self.environment = dict(line.split("=", 1) for line in lines)


@pytest.fixture
def release(open_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release whose program is a stand-in."""
    path = open_directory / "2026.9.6"
    program = path / "node_modules/openclaw/dist/index.js"
    program.parent.mkdir(parents=True)
    program.write_text(PROGRAM)
    program.parent.chmod(0o777)
    run = _bounded.run

    def with_a_shell(argv: list[str], text: str, **options: Any) -> Any:
        assert argv[0] == "/usr/bin/node"
        return run(["/bin/sh", *argv[1:]], text, **options)

    monkeypatch.setattr(_bounded, "run", with_a_shell)
    return path


def validate(
    release: Path, content: dict[str, Any] | str, account: _store.Account | None = None, **environment: str
) -> tuple[Any, Seen]:
    candidate = release.parent / "candidate.json"
    candidate.write_text(content if isinstance(content, str) else json.dumps(content))
    result = _runtime.Release(str(release), account, environment).validate(str(candidate))
    return result, Seen(release / "node_modules/openclaw/dist/seen")


def test_a_release_is_installed_when_its_package_is_there(tmp_path: Path) -> None:
    release = _runtime.Release(str(tmp_path / "2026.9.6"), None, {})
    assert (release.version, release.installed) == ("2026.9.6", False)
    package = tmp_path / "2026.9.6/node_modules/openclaw/package.json"
    package.parent.mkdir(parents=True)
    package.write_text("{}")
    assert release.installed is True


@pytest.mark.parametrize(
    ("answer", "issues", "warnings"),
    [
        pytest.param({"valid": True, "warnings": []}, [], [], id="valid"),
        pytest.param({"valid": True}, [], [], id="valid-without-a-list"),
        pytest.param(
            {"valid": True, "warnings": [{"path": "a", "message": "stale"}, "plain"]},
            [],
            ["stale", "plain"],
            id="warnings",
        ),
        pytest.param(
            {"valid": False, "issues": [{"path": "a", "message": "no"}]},
            [{"path": "a", "message": "no"}],
            [],
            id="issues",
        ),
        pytest.param(
            {"ok": False, "error": "broken", "valid": False, "issues": []},
            [{"path": "", "message": "broken"}],
            [],
            id="an-error-without-issues",
        ),
        pytest.param({}, [{"path": "", "message": "is not accepted"}], [], id="no-word"),
    ],
)
def test_what_the_release_finds(release: Path, answer: dict[str, Any], issues: list[Any], warnings: list[str]) -> None:
    result, seen = validate(release, answer)
    assert result == (issues, warnings)
    assert seen.words == "config validate --json"


def test_a_release_that_cannot_judge_is_an_error_with_its_words(release: Path) -> None:
    with pytest.raises(
        OpenClawError, match=r"OpenClaw 2026\.9\.6: could not judge the settings: out of memory\. Check"
    ):
        validate(release, "out of memory")


@pytest.mark.parametrize(
    ("answer", "devices"),
    [
        pytest.param('{"removedDevices": [{}, {}], "rejectedPending": [{}]}', (2, 1), id="some"),
        pytest.param('a banner\n{"removedDevices": [], "rejectedPending": []}', (0, 0), id="none"),
    ],
)
def test_paired_devices_are_ended_and_counted(release: Path, answer: str, devices: tuple[int, int]) -> None:
    candidate = release.parent / "candidate.json"
    candidate.write_text(answer)
    ended = _runtime.Release(str(release), None, {"OPENCLAW_CONFIG_PATH": str(candidate)}).clear_devices()
    assert (ended["devices_removed"], ended["device_requests_rejected"]) == devices
    assert Seen(release / "node_modules/openclaw/dist/seen").words == "devices clear --yes --pending --json"


@pytest.mark.parametrize(
    "answer", ["unauthorized", '{"error": "unauthorized"}', '{"removedDevices": 5, "rejectedPending": 5}']
)
def test_devices_that_could_not_be_ended_are_an_error_that_says_how(release: Path, answer: str) -> None:
    candidate = release.parent / "candidate.json"
    candidate.write_text(answer)
    with pytest.raises(OpenClawError, match=r"could not be ended: .*'openclaw devices clear --yes --pending'"):
        _runtime.Release(str(release), None, {"OPENCLAW_CONFIG_PATH": str(candidate)}).clear_devices()


def test_the_program_gets_the_gateways_environment_and_nothing_of_ours(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAWOPS_OF_THE_CALLER", "x")
    _result, seen = validate(release, {"valid": True}, OPENCLAW_STATE_DIR="/state", EXTRA="y")
    assert "CLAWOPS_OF_THE_CALLER" not in seen.environment
    assert {"EXTRA", "PATH", "OPENCLAW_CONFIG_PATH", "OPENCLAW_STATE_DIR"} <= set(seen.environment)
    assert seen.cwd == "/"
    # Compiled code in a shared /tmp may be another account's.
    assert seen.environment["NODE_DISABLE_COMPILE_CACHE"] == "1"


@pytest.mark.parametrize("place", ["npm", "extensions", "plugins"])
def test_the_gateways_state_is_looked_into_only_where_plugins_are(release: Path, place: str) -> None:
    state = release.parent / "state"
    state.mkdir()
    _result, seen = validate(release, {"valid": True}, OPENCLAW_STATE_DIR=str(state), HOME=str(state))
    assert (seen.environment["OPENCLAW_STATE_DIR"], seen.environment["HOME"]) == ("/nonexistent", "/nonexistent")
    (state / place).mkdir()
    _result, seen = validate(release, {"valid": True}, OPENCLAW_STATE_DIR=str(state), HOME=str(state))
    assert (seen.environment["OPENCLAW_STATE_DIR"], seen.environment["HOME"]) == (str(state), str(state))


def test_the_program_runs_as_the_account(release: Path, another_account: _store.Account) -> None:
    _result, seen = validate(release, {"valid": True}, another_account)
    assert (seen.uid, seen.gid, seen.groups) == (
        str(another_account.uid),
        str(another_account.gid),
        str(another_account.gid),
    )


@pytest.fixture
def json5(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Stands in for Node: answers what it is told to, and notes how it was called."""

    def answering(status: int, out: str, err: str = "") -> list[Any]:
        calls: list[Any] = []

        def run(argv: list[str], text: str, **options: Any) -> subprocess.CompletedProcess[str]:
            calls.append((argv, text))
            return subprocess.CompletedProcess(argv, status, out, err)

        monkeypatch.setattr(_bounded, "run", run)
        return calls

    return answering


def test_json5_is_read_by_the_releases_own_library(json5: Callable[..., list[Any]]) -> None:
    calls = json5(0, '{"a":1}')
    assert _runtime.Release("/opt/x/2026.9.6", None, {}).parse_json5("{a: 1} // ü".encode()) == {"a": 1}
    [(argv, text)] = calls
    assert argv[-1] == "/opt/x/2026.9.6/node_modules/json5"
    # The settings may hold secrets: they are in no process list.
    assert text == "{a: 1} // ü"
    assert not any("{a: 1}" in word for word in argv)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(
            "/x/parse.js:1\nSyntaxError: JSON5: invalid end of input at 1:14\n  at y",
            "SyntaxError: JSON5: invalid end of input at 1:14",
            id="the-librarys-own",
        ),
        pytest.param("Error: Cannot find module", "it is not JSON5", id="any-other"),
    ],
)
def test_what_is_no_json5_is_told_in_the_librarys_words(
    json5: Callable[..., list[Any]], error: str, words: str
) -> None:
    json5(1, "", error)
    with pytest.raises(ValueError, match=words):
        _runtime.Release("/opt/x/2026.9.6", None, {}).parse_json5(b"{")


def test_bytes_that_are_no_text_are_no_json5(json5: Callable[..., list[Any]]) -> None:
    assert json5(0, "{}") == []
    with pytest.raises(ValueError, match="utf-8"):
        _runtime.Release("/opt/x/2026.9.6", None, {}).parse_json5(b"\xff")


# ---- what a hostile account does --------------------------------------------------------------------------


def serves_with(stand_in: StandIn) -> str:
    """What the writer thinks that the gateway runs with."""
    return stand_in.gateway()._settings_in_use()


def test_a_log_that_is_a_pipe_is_not_waited_for(stand_in: StandIn, within: Within) -> None:
    os.mkfifo(stand_in.log_file)
    assert within(5, lambda: stand_in.gateway().last_words()) == ""


def test_a_log_that_is_a_link_is_not_followed(stand_in: StandIn, clock: Clock, tmp_path: Path) -> None:
    gateway = stand_in.gateway()
    stand_in.log("of another tenant", "ERROR")
    stand_in.log_file.rename(tmp_path / "theirs")
    stand_in.log_file.symlink_to(tmp_path / "theirs")
    assert gateway.last_words() == ""


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(
            "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n", id="no-end"
        ),
        pytest.param("select zeroblob(900000000)", id="a-huge-blob"),
        pytest.param("select printf('%.*c', 900000000, 'x')", id="a-huge-text"),
        pytest.param("select '[\"rawHash\"]'", id="a-list"),
        pytest.param("select '" + '{"rawHash":' * 50_000 + "'", id="50000-levels"),
    ],
)
def test_a_database_that_is_a_trap_says_nothing(stand_in: StandIn, within: Within, rows: str) -> None:
    with sqlite3.connect(stand_in.database) as database:
        database.execute("drop table diagnostic_events")
        columns = "'config-snapshot' as scope, 'latest' as event_key"
        database.execute(f"create view diagnostic_events as select {columns}, ({rows}) as value")
    database.close()
    assert within(12, lambda: serves_with(stand_in)) == ""


def test_a_database_that_is_a_pipe_is_not_waited_for(stand_in: StandIn, within: Within) -> None:
    stand_in.database.unlink()
    os.mkfifo(stand_in.database)
    assert within(12, lambda: serves_with(stand_in)) == ""


@pytest.mark.parametrize(
    "uptime",
    ["9" * 400, "[]", '"x"', "1e999", "true", "null"],
    ids=["400-digits", "list", "text", "inf", "true", "null"],
)
def test_an_uptime_that_is_none_is_a_missing_one(stand_in: StandIn, clock: Clock, uptime: str) -> None:
    stand_in.body = f'{{"status": "started", "uptimeMs": {uptime}}}'.encode()
    stand_in.accept(NEW)
    stand_in.log(RESTARTS)
    assert "uptimeMs" in (stand_in.gateway().started() or {"uptimeMs": ""})
    with contextlib.suppress(Rejected):  # refused, or taken: not Python's words
        assert take(stand_in, restart=True) in ("restart", "hot")


@pytest.mark.parametrize("answer", [b"[" * 200_000, b'{"a":' * 60_000], ids=["brackets", "braces"])
def test_an_answer_of_brackets_is_no_started_gateway(stand_in: StandIn, answer: bytes) -> None:
    stand_in.body = answer
    assert stand_in.gateway().started() is None


def test_a_gateway_that_answers_a_byte_a_second_is_left_at_the_deadline(stand_in: StandIn, within: Within) -> None:
    with dripping(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        assert within(8, lambda: stand_in.gateway().started(port)) is None


@contextlib.contextmanager
def dripping(listener: socket.socket) -> Iterator[socket.socket]:
    """A server that answers a byte a second."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                for letter in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100:
                    connection.sendall(bytes([letter]))
                    time.sleep(1)

    with listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener


def test_the_gateways_words_reach_nobodys_terminal_raw(stand_in: StandIn, clock: Clock) -> None:
    clock.at(
        0.6, lambda: stand_in.log("config reload failed: \x1b]0;title\x07\x1b[31mred\nTASK [ok]" + "x" * 5000, "ERROR")
    )
    with pytest.raises(Rejected) as error:
        take(stand_in)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    "answer", [{"valid": False, "issues": 5}, {"valid": False, "issues": [5]}, {"valid": True, "warnings": 5}]
)
def test_an_answer_of_another_shape_is_no_traceback(release: Path, answer: dict[str, Any]) -> None:
    (issues, warnings), _seen = validate(release, answer)
    assert (bool(issues), warnings) == (not answer["valid"], [])


def test_a_plugin_that_prints_without_end_is_no_answer(release: Path) -> None:
    (release / "node_modules/openclaw/dist/index.js").write_text("head -c 30000000 /dev/zero | tr '\\0' x\n")
    with pytest.raises(OpenClawError, match=r"could not judge the settings: x{400}"):
        validate(release, {"valid": True})


def test_a_release_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str], text: str, **options: Any) -> Any:
        raise subprocess.TimeoutExpired(argv, options["seconds"])

    monkeypatch.setattr(_bounded, "run", run)
    with pytest.raises(OpenClawError, match=r"OpenClaw 2026\.9\.6: did not judge the settings within 120 s"):
        _runtime.Release("/opt/x/2026.9.6", None, {}).validate("/c")
