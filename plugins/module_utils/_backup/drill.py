# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""A drill: the newest snapshot is restored beside the gateway, started with nothing that reaches the world, proven, and removed.

It runs as the gateway's account, in the sandbox of the unit that backs up, on a port of loopback, with a token of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets as random
import signal
import socket
import subprocess
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _store as store
from ansible_collections.clawops.openclaw.plugins.module_utils._backup import archive, backup, restore, status
from ansible_collections.clawops.openclaw.plugins.module_utils._backup.settings import Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._text import parse_json, printable

_START = 240
_ANSWER = 1 << 20


def run(settings: Settings, say: backup.Say) -> dict[str, t.Any]:
    """Restore, start, prove, compare and remove; what it took."""
    began = time.time()
    folder = settings.drill
    # Paths of the drill's own, in place of the gateway's.
    drilled = settings._replace(
        home=os.path.join(folder, "home"),
        state=os.path.join(folder, "home", os.path.relpath(settings.state, settings.home)),
        settings=os.path.join(folder, "home", os.path.relpath(settings.settings, settings.home)),
        workspace=os.path.join(folder, "home", os.path.relpath(settings.workspace, settings.home)),
    )
    archive.clear(folder)
    # The account has to get at what is its.
    os.mkdir(folder)
    os.chmod(folder, 0o711)  # noqa: S103, nobody can list it
    try:
        return practise(settings, drilled, began, say)
    except BaseException as raised:
        error = status.problem(raised)
        known = status.read(settings).get("drill", {})
        status.note(settings, drill={**known, "error": str(error or type(raised).__name__)})
        if error:
            raise error from None
        raise
    finally:
        try:
            archive.clear(drilled.restoring)
        finally:
            archive.clear(folder)


def practise(settings: Settings, drilled: Settings, began: float, say: backup.Say) -> dict[str, t.Any]:
    """Restore into a folder, and prove what comes of it."""
    found = restore.choose(settings, "latest", "", "", settings.timeout)
    say(f"snapshot {found.snapshot.id[:8]} of {restore.clock(found.snapshot.time)}")
    about = restore.fetch(drilled, found)
    os.rename(os.path.join(drilled.restoring, "home"), drilled.home)
    port, token = free_port(), random.token_hex(24)
    environment = prepare(drilled, port, token)
    with started(drilled, environment) as process:
        prove(process, port, token)
    result = {
        "last_success": int(time.time()),
        "snapshot": found.snapshot.id,
        "files": about["files"],
        "bytes": about["bytes"],
        "rto_seconds": round(time.time() - began, 1),
        "rpo_seconds": int(began - about["time"]),
        "error": "",
    }
    status.note(settings, drill=result)
    return result


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def prepare(drilled: Settings, port: int, token: str) -> dict[str, str]:
    """Have the settings reach nobody: no channel, no job, no hook, nothing but loopback. The variables to start with."""
    account = store.find_account(drilled.account)
    with store.rights_of(account):
        # A backup without workspaces has none.
        os.makedirs(drilled.workspace, exist_ok=True)
    try:
        settings = parse_json(store.read(drilled.settings, account, 64 << 20) or b"")
    except ValueError:
        raise OpenClawError(
            "openclaw.json of the snapshot", "it is no JSON", "Run site.yml, which writes it again."
        ) from None
    if not isinstance(settings, dict):
        raise OpenClawError(
            "openclaw.json of the snapshot", "it is no JSON object", "Run site.yml, which writes it again."
        )
    store.write(drilled.settings, json.dumps(silenced(settings, drilled, port, token)).encode(), account)
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": drilled.state,
        "LC_ALL": "C.UTF-8",
        "NODE_DISABLE_COMPILE_CACHE": "1",
        "OPENCLAW_STATE_DIR": drilled.state,
        "OPENCLAW_CONFIG_PATH": drilled.settings,
        "OPENCLAW_CONFIG_READONLY": "1",
        "OPENCLAW_NO_AUTO_UPDATE": "1",
    }


def silenced(settings: dict[str, t.Any], drilled: Settings, port: int, token: str) -> dict[str, t.Any]:
    """Settings with which a gateway does nothing of its own accord."""
    kept = {
        name: value
        for name, value in settings.items()
        if name not in ("channels", "hooks", "secrets", "logging", "mcp", "env")
    }
    agents = kept.get("agents") if isinstance(kept.get("agents"), dict) else {}
    defaults = {**((agents or {}).get("defaults") or {}), "workspace": drilled.workspace, "heartbeat": {"every": "0m"}}
    return {
        **without_references(kept),
        "agents": {**without_references(agents or {}), "defaults": without_references(defaults)},
        "cron": {"enabled": False},
        "discovery": {"mdns": {"mode": "off"}},
        "update": {"auto": {"enabled": False}},
        "gateway": {"mode": "local", "port": port, "bind": "loopback", "auth": {"mode": "token", "token": token}},
    }


def without_references(value: t.Any) -> t.Any:
    """A value without references to secrets, which are not the drill's to use."""
    if isinstance(value, dict):
        return {
            name: without_references(each)
            for name, each in value.items()
            if not (isinstance(each, dict) and {"source", "provider", "id"} <= each.keys())
        }
    return [without_references(each) for each in value] if isinstance(value, list) else value


@contextlib.contextmanager
def started(drilled: Settings, environment: dict[str, str]) -> t.Iterator[subprocess.Popen[bytes]]:
    """A gateway of the account's, for the length of the block. The unit's end ends whatever it leaves."""
    account = store.find_account(drilled.account)
    rights: dict[str, t.Any] = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    program = os.path.join(drilled.release, "node_modules/openclaw/dist/index.js")
    process = subprocess.Popen(
        ["/usr/bin/node", program, "gateway", "run"],
        cwd=drilled.state if account is None else "/",
        env=environment,
        stdin=subprocess.DEVNULL,  # what it says goes to the unit's journal
        start_new_session=True,
        **rights,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def prove(process: subprocess.Popen[bytes], port: int, token: str) -> None:
    """Wait until it has started, then have it answer a call with the token, and refuse one without."""
    deadline = time.monotonic() + _START
    subject, remedy = (
        "the restored gateway",
        "Restore another snapshot; 'journalctl -u' of the drill's unit tells more.",
    )
    while True:
        answer = ask(port, "GET", "/startupz")
        if answer[0] == 200 and is_started(answer[1]):
            break
        if process.poll() is not None:
            raise OpenClawError(subject, f"it has ended with status {process.returncode}", remedy)
        if time.monotonic() > deadline:
            raise OpenClawError(subject, f"it has not started within {_START} s", remedy)
        time.sleep(0.5)
    for given, wanted in ((token, 200), ("x" * len(token), 401)):
        found, said = ask(port, "POST", "/tools/invoke", given)
        if found != wanted:
            words = f"it answers {found} to a call, not {wanted}: {printable(said.decode(errors='replace'), 120)}"
            raise OpenClawError(subject, words, remedy)


def is_started(body: bytes) -> bool:
    try:
        said = parse_json(body)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("status") == "started"


def ask(port: int, method: str, path: str, token: str = "") -> tuple[int, bytes]:
    """Status and body of an answer; 0 where there is none."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"} if token else {}
    body = json.dumps({"tool": "sessions_list", "args": {}}) if token else None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(_ANSWER)
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


__all__ = ("run", "silenced")
