# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""The installed release and the running gateway, as a writer of settings sees them.

What the gateway does about a changed file was measured on OpenClaw 2026.9.6 (docs/openclaw.md, "Settings at run
time"): it notices a renamed file after 0.6 s; a hot change is in force 0.3 s later; any other change makes it
drain, exit with status 0 and rely on systemd to start it again; a file that it refuses it leaves alone and says
so in its log.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _bounded, _host, _http, _store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._health_probes import number
from ansible_collections.clawops.openclaw.plugins.module_utils._text import parse_json, parse_object, printable

_REFUSED = ("config reload skipped", "config reload failed")
_RESTARTS = "config change requires gateway restart"
_HOT = "config hot reload applied"
_NOWHERE = "/nonexistent"
# The words for a file that means what the gateway runs with already.
_SUPERSEDED = "config reload superseded"
# The words with gateway.reload.mode: off, for a file that it notes as accepted and does not act on.
_IGNORED = "config reload disabled"
# Measured: 0.6 to 0.9 s.
_READS_WITHIN = 30
# How long after the file was accepted a restart must have begun to be one; measured: 1.1 s.
_RESTART_BEGINS = 20
# Seconds for the whole of an answer; an idle gateway takes 2 ms.
_ANSWERS_WITHIN = 5
# Bytes of what it has logged since a change.
_LOG_LIMIT = 1 << 20
# Seconds for one question to the release, which takes 3 on a small host, and bytes that it may answer: plugins of the
# account's are part of it.
_RELEASE_SECONDS = 120
_RELEASE_SAYS = 4 << 20


class Rejected(Exception):
    """The gateway did not take the change; the argument has its own words."""


class Release(t.NamedTuple):
    """An installed OpenClaw release, run as the gateway's account."""

    path: str
    account: _store.Account | None
    environment: t.Mapping[str, t.Any]

    @property
    def version(self) -> str:
        return os.path.basename(self.path)

    @property
    def installed(self) -> bool:
        return os.path.exists(os.path.join(self.path, "node_modules/openclaw/package.json"))

    def validate(self, candidate: str) -> tuple[list[dict[str, t.Any]], list[str]]:
        """The release's findings in a settings file: what it refuses, and what it only warns of."""
        program = os.path.join(self.path, "node_modules/openclaw/dist/index.js")
        variables = {"OPENCLAW_CONFIG_PATH": candidate, "OPENCLAW_NO_RESPAWN": "1"}
        if not self._has_plugins():
            # Measured: half the time, as there is no index of plugins to open. It then writes nothing anywhere.
            variables.update(OPENCLAW_STATE_DIR=_NOWHERE, HOME=_NOWHERE)
        done = self._run(["/usr/bin/node", program, "config", "validate", "--json"], **variables)
        try:
            answer = parse_object(done.stdout[done.stdout.index("{") :])
        except ValueError as error:
            words = printable((done.stderr or done.stdout).strip()[-500:])
            raise OpenClawError(
                f"OpenClaw {self.version}",
                f"could not judge the settings: {words}",
                "Check the release with 'openclaw config validate'.",
            ) from error
        # A plugin of the account's may have a say in it.
        issues = [issue for issue in _list(answer.get("issues")) if isinstance(issue, dict)]
        if not answer.get("valid") and not issues:
            issues = [{"path": "", "message": str(answer.get("error") or "is not accepted")}]
        return issues, [
            printable(warning.get("message", warning) if isinstance(warning, dict) else warning)
            for warning in _list(answer.get("warnings"))
        ]

    def clear_devices(self) -> dict[str, int]:
        """End every paired device and every request to become one; how many there were, by the gateway's own word."""
        program = os.path.join(self.path, "node_modules/openclaw/dist/index.js")
        words = ["devices", "clear", "--yes", "--pending", "--json"]
        done = self._run(["/usr/bin/node", program, *words], purpose="end its paired devices", OPENCLAW_NO_RESPAWN="1")
        counted = {"devices_removed": "removedDevices", "device_requests_rejected": "rejectedPending"}
        try:
            answer = parse_object(done.stdout[done.stdout.index("{") :])
            return {name: len(list(answer[key])) for name, key in counted.items()}
        except (ValueError, KeyError, TypeError) as error:
            said = printable((done.stderr or done.stdout).strip()[-500:])
            remedy = f"The token is rotated and proven all the same. On the host, run 'openclaw {' '.join(words[:4])}'."
            raise OpenClawError("The paired devices", f"could not be ended: {said}", remedy) from error

    def _has_plugins(self) -> bool:
        """Whether plugins were added to the gateway, whose settings only its own state knows."""
        state = str(self.environment.get("OPENCLAW_STATE_DIR", ""))
        with _store.rights_of(self.account):
            return any(os.path.isdir(os.path.join(state, place)) for place in ("npm", "extensions", "plugins"))

    def parse_json5(self, content: bytes) -> t.Any:
        """Settings that a person wrote as JSON5, read by the library that OpenClaw itself reads them with."""
        library = os.path.join(self.path, "node_modules/json5")
        script = "const j=require(process.argv[1]);process.stdout.write(JSON.stringify(j.parse(require('fs').readFileSync(0,'utf8'))))"
        done = self._run(["/usr/bin/node", "-e", script, library], text=content.decode())
        if done.returncode != 0:
            words = next((line for line in done.stderr.splitlines() if "JSON5:" in line), "it is not JSON5")
            raise ValueError(printable(words.strip()))
        return parse_json(done.stdout)

    def _run(
        self, argv: list[str], text: str = "", purpose: str = "judge the settings", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        identity: dict[str, t.Any] = {}
        if self.account is not None:
            identity = {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        environment = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            # Of a shared /tmp, where another account may have put compiled code.
            "NODE_DISABLE_COMPILE_CACHE": "1",
            **{name: str(value) for name, value in self.environment.items()},
            **variables,
        }
        try:
            return _bounded.run(argv, text, seconds=_RELEASE_SECONDS, limit=_RELEASE_SAYS, env=environment, **identity)
        except subprocess.TimeoutExpired as error:
            reason = f"did not {purpose} within {_RELEASE_SECONDS} s"
            remedy = "Look at the load of the host, then at the plugins of the gateway."
            raise OpenClawError(f"OpenClaw {self.version}", reason, remedy) from error


class Gateway:
    """The gateway that runs now, or does not."""

    def __init__(
        self,
        *,
        unit: str,
        port: int,
        settings_path: str,
        state_path: str,
        log_path: str,
        account: _store.Account | None,
    ) -> None:
        self.unit = unit
        self.port = port
        self.settings_path = settings_path
        self.account = account
        self._database = os.path.join(state_path, "state/openclaw.sqlite")
        self._log = log_path
        self.notes: list[str] = []
        self._failures: set[str] = set()
        self._log_from = self._log_size()

    def started(self, port: int | None = None) -> dict[str, t.Any] | None:
        """The body of ``/startupz`` of a gateway that has started, or ``None``."""
        client = _http.Client(url=f"http://127.0.0.1:{port or self.port}", timeout=_ANSWERS_WITHIN)
        try:
            answer = client.request("/startupz")
            body = parse_object(answer.body)
        except (_http.HttpFailure, ValueError):
            return None
        return body if answer.status == 200 and body.get("status") == "started" else None

    def settle_down(self, timeout: float) -> bool:
        """Wait while the gateway is starting or draining; whether it serves then.

        A settings file that changes while it starts makes it give up that start.
        """
        deadline = time.monotonic() + timeout
        while self.started() is None and _host.main_process(self.unit) and time.monotonic() < deadline:
            time.sleep(0.5)
        return self.started() is not None

    def take(self, content: bytes, *, port: int, restart: bool, timeout: float, anew: bool = False) -> str:
        """Wait until the gateway has taken the settings that were just written.

        One that does not read its file, or that ``gateway.reload.mode: off`` keeps from acting on it, is restarted.

        :param restart: whether it is expected to restart by itself.
        :param anew: whether it has to be restarted in any case.
        :returns: ``hot`` or ``restart``, whichever it was.
        :raises Rejected: the gateway refused them, or does not come back with them.
        """
        begun = time.monotonic()
        made_to_start = anew or not self._reads(hashlib.sha256(content).hexdigest())
        if anew:
            begun = self._make_start()
        elif made_to_start:
            # Whatever made it deaf to its file, a start reads it: seen once, by a gateway that served all the while.
            self.notes.append(f"The gateway did not read its changed settings within {_READS_WITHIN} s: restarted.")
            begun = self._make_start()
        accepted = time.monotonic()
        while True:
            words = self._log_since()
            if _IGNORED in words and not made_to_start:
                made_to_start, begun = True, self._make_start()
            restart = made_to_start or ((restart or _RESTARTS in words) and _HOT not in words)
            body = self.started(port)
            if body is not None and not restart:
                return "hot"
            if body is not None and (number(body.get("uptimeMs")) or 0) < (time.monotonic() - begun) * 1000:
                return "restart"
            begins = made_to_start or _RESTARTS in words
            if body is not None and time.monotonic() - accepted > _RESTART_BEGINS and not begins:
                return "hot"
            self._raise_if_refused()
            self._raise_if_failed()
            if time.monotonic() - begun > timeout:
                raise self._rejected(f"it did not come back with them within {timeout:.0f} s")
            time.sleep(0.25)

    def _make_start(self) -> float:
        """Have systemd restart the gateway; the moment before."""
        begun = time.monotonic()
        subprocess.run(["systemctl", "--no-block", "restart", self.unit], capture_output=True, check=False)
        return begun

    def _reads(self, wanted: str) -> bool:
        """Wait until the gateway has read its changed file; whether it has in time."""
        begun = time.monotonic()
        while self._settings_in_use() != wanted and _SUPERSEDED not in self._log_since():
            self._raise_if_refused()
            if time.monotonic() - begun > _READS_WITHIN:
                return False
            time.sleep(0.1)
        return True

    def stop_unless_serving(self, content: bytes) -> bool:
        """Stop the gateway unless it serves with these settings; whether it was stopped.

        Settings that come back while it starts would make it exit with 78, and a third failed start within five
        minutes would make it come up with every channel off: so it is stopped before.
        """
        if self.started() is not None and self._settings_in_use() == hashlib.sha256(content).hexdigest():
            return False
        self.stop()
        return True

    def stop(self) -> None:
        subprocess.run(["systemctl", "stop", self.unit], capture_output=True, check=False)

    def start(self, timeout: float) -> bool:
        """Start a stopped gateway; whether it serves."""
        for verb in ("reset-failed", "start"):
            subprocess.run(["systemctl", verb, self.unit], capture_output=True, check=False)
        return self.settle_down(timeout)

    def _settings_in_use(self) -> str:
        """The SHA-256 of the settings file that the gateway runs with, out of its own state.

        It notes this at every start and whenever it has accepted a changed file.
        """
        query = "select * from diagnostic_events where scope='config-snapshot' and event_key='latest'"
        for cell in _store.first_row(self._database, query, self.account):
            if '"rawHash"' in cell:
                with contextlib.suppress(ValueError):
                    return str(parse_object(cell).get("rawHash", ""))
        return ""

    def _log_size(self) -> int:
        return self._read_log(0, 0)[0]

    def _log_since(self) -> str:
        """What the gateway has logged since the file was written."""
        size = self._log_size()
        start = self._log_from if size >= self._log_from else 0  # rotated since
        return self._read_log(start, _LOG_LIMIT)[1].decode(errors="replace")

    def _read_log(self, start: int, limit: int) -> tuple[int, bytes]:
        """The log's size and a part of it; nothing where something else stands in its place."""
        try:
            return _store.read_part(self._log, self.account, start, limit) if self._log else (0, b"")
        except OpenClawError:
            return 0, b""

    def _raise_if_refused(self) -> None:
        for message in _messages(self._log_since()):
            if message.startswith(_REFUSED):
                raise Rejected(message)

    def _raise_if_failed(self) -> None:
        argv = ["systemctl", "show", "-p", "ActiveState,SubState,ExecMainStatus,NRestarts", self.unit]
        shown = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
        unit = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        status = unit.get("ExecMainStatus", "0")
        # Status 0 is how it makes systemd start it again with changed settings. A single failure may be the host's, too
        # busy for a start; three make OpenClaw come up with every channel off, so the third is not waited for.
        if unit.get("SubState") == "auto-restart" and status != "0":
            self._failures.add(unit.get("NRestarts", ""))
        if unit.get("ActiveState") == "failed" or len(self._failures) > 1:
            raise self._rejected(f"it exited with status {status}")

    def _rejected(self, reason: str) -> Rejected:
        return Rejected(". ".join(filter(None, (reason, self.last_words()))))

    def last_words(self) -> str:
        """The last warnings and errors of the gateway since the file was written."""
        lines = self._log_since().splitlines()
        loud = [line for line in lines if '"WARN"' in line or '"ERROR"' in line or '"FATAL"' in line]
        return " | ".join(_messages("\n".join(loud))[-3:])


def _messages(log: str) -> list[str]:
    found = []
    for line in log.splitlines():
        try:
            entry = parse_object(line)
        except ValueError:
            continue
        if entry.get("message"):
            found.append(printable(entry["message"]))
    return found


def _list(value: t.Any) -> list[t.Any]:
    return value if isinstance(value, list) else []


__all__ = ("Gateway", "Rejected", "Release")
