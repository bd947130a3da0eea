# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module's own main() against a stand-in for the gateway that gives the answers recorded from OpenClaw 2026.9.6."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _health_directory, _host, _peer, _pki, _store
from ansible_collections.clawops.openclaw.plugins.module_utils import _http as http_util
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.modules import gateway_health
from ansible_collections.clawops.openclaw.tests.unit.plugins.module_utils.test_http import CA, server_context

TOKEN = "3f6c0ffee-the-right-credential-51"
VERSION = "2026.9.6"
PAGE = (200, "<!doctype html><html data-openclaw-control-ui-base-path=''>")
UNAUTHORIZED = (401, {"error": {"message": "Unauthorized", "type": "unauthorized"}})
CHALLENGE = {"type": "event", "event": "connect.challenge", "payload": {"nonce": "17dd2506", "ts": 1795414383150}}

Reply = tuple[int, Any]
Health = Callable[..., dict[str, Any]]


class StandIn(http.server.ThreadingHTTPServer):
    """Answers as a gateway does that has started, is ready and knows TOKEN; tests change what they are about."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.server_address[1]}"
        self.requests: list[tuple[str, str | None]] = []
        self.looks_until_started = 0
        self.remote = False
        self.replies: dict[str, Reply] = {
            "/readyz": (200, {"ready": True, "failing": [], "eventLoop": {"degraded": False, "delayP99Ms": 21.9}}),
            "/healthz": (200, {"ok": True, "status": "live"}),
            "/tools/invoke": (200, {"ok": True, "result": {"details": {"count": 0, "sessions": []}}}),
        }
        self.accepts: Callable[[str | None], bool] = lambda shown: shown == f"Bearer {TOKEN}"
        self.challenge: dict[str, Any] = CHALLENGE

    def reply(self, path: str, shown: str | None) -> Reply:
        self.requests.append((path, shown))
        if path == "/startupz" and path not in self.replies:
            return self.startup(shown)
        if path == "/tools/invoke" and not self.accepts(shown):
            return UNAUTHORIZED
        return self.replies.get(path, PAGE)

    def startup(self, shown: str | None) -> Reply:
        if self.asked("/startupz") <= self.looks_until_started:
            return 503, {"ok": False, "status": "starting", "version": VERSION, "pendingReason": "startup-sidecars"}
        if self.remote and not self.accepts(shown):
            return 200, {"ok": True, "status": "started"}
        return 200, {"ok": True, "status": "started", "version": VERSION, "uptimeMs": 317620}

    def asked(self, path: str) -> int:
        return sum(asked == path for asked, _ in self.requests)

    def handle_error(self, *_: object) -> None:
        """A client that is refused in the handshake is what a test wants, not news."""


class Conversation(http.server.BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        if self.headers["Upgrade"] == "websocket":
            self.wfile.write(self.upgrade(json.dumps(self.server.challenge).encode()))
        else:
            self.answer(*self.server.reply(self.path, self.headers["Authorization"]))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def answer(self, status: int, body: Any) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def upgrade(self, message: bytes) -> bytes:
        accept = http_util.accept_key(self.headers["Sec-WebSocket-Key"])
        head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        frame = b"\x81\x7e" + len(message).to_bytes(2, "big") + message
        return f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode() + frame

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def standing_in(context: ssl.SSLContext | None = None) -> Iterator[StandIn]:
    with StandIn(context) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture
def gateway() -> Iterator[StandIn]:
    with standing_in() as server:
        yield server


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"OPENCLAW_GATEWAY_TOKEN": TOKEN, "OTHER": "x"}))
    return path


@pytest.fixture
def look(run_module: Any, gateway: StandIn, token_file: Path) -> Health:
    """Run the module against the stand-in; arguments come on top of what a role would give."""

    def run(**arguments: Any) -> dict[str, Any]:
        usual = {"url": gateway.url, "token_file": str(token_file), "version": VERSION, "interval": 0.05}
        given = {name: value for name, value in (usual | arguments).items() if value is not None}
        result: dict[str, Any] = run_module(gateway_health.main, **given)
        return result

    return run


def systemctl(directory: Path, monkeypatch: pytest.MonkeyPatch, **said: str) -> Path:
    """A stand-in for systemctl that prints these properties; returns the file in which it keeps its arguments."""
    asked, script = directory / "asked", directory / "systemctl"
    lines = "\n".join(f"{name}={value}" for name, value in said.items())
    script.write_text(f"#!/bin/sh\necho \"$*\" >> {asked}\ncat <<'END'\n{lines}\nEND\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return asked


@pytest.fixture
def nowhere() -> str:
    """The URL of a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_gateway_that_passes_every_check_is_healthy_and_nothing_has_changed(look):
    result = look()
    assert (result["verdict"], result["reasons"], result["changed"]) == ("healthy", [], False)
    assert {name for name, state in result["checks"].items() if state != "passed"} == {
        "certificate",
        "client_certificate",
        "health_directory",
        "mtls",
        "expiry",
        "settings",
        "state",
        "tailnet",
        "backup",
    }
    assert result["version"] == VERSION


def test_a_host_whose_tailscaled_does_not_answer_is_degraded(look, tmp_path):
    folder = tmp_path / "health.d"
    folder.mkdir(mode=0o755)
    (folder / "tailscale.json").write_text(json.dumps({"kind": "tailscale", "socket": str(tmp_path / "none")}))
    result = look(health_directory=str(folder), fail_on="never")
    assert (result["verdict"], result["checks"]["tailnet"]) == ("degraded", "failed")
    assert "tailscaled does not answer" in result["reasons"][0]


def test_check_mode_gives_the_same_verdict(look, gateway):
    result = look(_ansible_check_mode=True)
    assert (result["verdict"], result["changed"]) == ("healthy", False)
    assert gateway.asked("/tools/invoke") == 2


def test_every_figure_is_flat(look):
    figures = look()["figures"]
    assert figures["uptime_ms"] == 317620
    assert figures["looks"] == 1
    assert all(isinstance(figure, int | float) for figure in figures.values())


def test_a_gateway_that_is_down_fails_the_task_with_the_reason(look, nowhere):
    result = look(url=nowhere)
    assert result["failed"]
    assert result["verdict"] == "unreachable"
    assert result["msg"].startswith(f"The gateway is unreachable. {nowhere}: nothing listens there")


@pytest.mark.parametrize(
    ("fail_on", "failed"),
    [
        pytest.param("never", False, id="never"),
        pytest.param("unhealthy", False, id="unhealthy"),
        pytest.param("degraded", True, id="degraded"),
    ],
)
def test_the_caller_decides_whether_a_degraded_gateway_fails_the_task(look, gateway, fail_on, failed):
    gateway.replies["/readyz"] = (503, {"ready": False, "failing": ["telegram"]})
    result = look(fail_on=fail_on)
    assert (result["verdict"], result.get("failed", False)) == ("degraded", failed)


def test_a_status_of_200_alone_convinces_nobody(look, gateway):
    gateway.replies = dict.fromkeys(("/startupz", "/readyz", "/healthz", "/tools/invoke"), PAGE)
    assert look()["verdict"] == "unhealthy"


def test_another_program_on_the_port_is_never_shown_the_credential(look, gateway):
    gateway.replies["/startupz"] = (200, {"status": "UP"})
    assert look()["verdict"] == "unhealthy"
    assert gateway.requests == [("/startupz", None)]


def test_a_server_that_accepts_and_is_silent_is_left_at_the_timeout(look):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = look(url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.2)
    assert "hangs, is stopped or is overloaded" in result["msg"]


def test_another_version_than_the_expected_one_is_unhealthy(look):
    result = look(version="2026.9.7")
    assert (result["failed"], result["checks"]["version"]) == (True, "failed")


def test_a_version_of_two_numbers_is_compared_as_text(look, gateway):
    gateway.replies["/startupz"] = (200, {"ok": True, "status": "started", "version": "2026.9"})
    assert look(version=2026.9)["verdict"] == "healthy"


def test_waiting_ends_with_the_first_healthy_look_and_the_wrong_credential_is_tried_once(look, gateway):
    gateway.looks_until_started = 3
    result = look(wait=30)
    assert (result["verdict"], result["figures"]["looks"]) == ("healthy", 4)
    assert [shown == f"Bearer {TOKEN}" for path, shown in gateway.requests if path == "/tools/invoke"] == [True, False]


def test_waiting_ends_at_the_deadline(look, nowhere):
    result = look(url=nowhere, wait=1)
    assert result["verdict"] == "unreachable"
    assert result["figures"]["waited_seconds"] >= 1
    assert result["figures"]["looks"] > 2


def test_a_gateway_that_stays_degraded_is_waited_for_no_longer_than_settle(look, gateway):
    gateway.challenge = {"event": "hello"}
    result = look(wait=60, settle=1)
    assert result["verdict"] == "degraded"
    assert 1 <= result["figures"]["waited_seconds"] < 30


def test_a_refused_credential_is_named_and_no_other_wrong_one_is_tried(look, gateway):
    gateway.accepts = lambda shown: shown == "Bearer another"
    result = look()
    assert "the credential is refused" in result["msg"]
    assert gateway.asked("/tools/invoke") == 1
    assert result["checks"]["wrong_credential"] == "not_run"


def test_a_gateway_that_accepts_any_credential_is_unhealthy(look, gateway):
    gateway.accepts = lambda shown: True
    assert "a random credential is accepted" in look()["msg"]


def test_each_wrong_credential_is_a_new_one(look, gateway):
    look()
    look()
    shown = {shown for path, shown in gateway.requests if path == "/tools/invoke"}
    assert len(shown) == 3


def test_checks_that_are_switched_off_are_not_made(look, gateway):
    result = look(check_websocket=False, check_wrong_credential=False, token_file=None, version=None)
    assert {name for name, state in result["checks"].items() if state == "passed"} == {
        "startupz",
        "readyz",
        "event_loop",
        "healthz",
    }
    assert gateway.asked("/tools/invoke") == 0


def test_from_another_address_the_version_is_learnt_by_showing_the_accepted_credential(look, gateway):
    gateway.remote = True
    result = look()
    assert (result["verdict"], result["version"]) == ("healthy", VERSION)


def test_a_wrong_credential_is_shown_to_no_probe_but_the_call(look, gateway):
    # Each showing counts towards OpenClaw's lock-out.
    gateway.remote = True
    gateway.accepts = lambda shown: False
    look()
    assert [path for path, shown in gateway.requests if shown] == ["/tools/invoke"]


def test_a_missing_secrets_file_is_reported_with_the_rest(look, tmp_path):
    result = look(token_file=str(tmp_path / "none.json"))
    assert f"{tmp_path}/none.json: it cannot be read: No such file or directory." in result["msg"]
    assert result["checks"]["healthz"] == "passed"


def test_an_unreachable_gateway_is_explained_by_systemd(look, nowhere, tmp_path, monkeypatch):
    said = {"LoadState": "loaded", "ActiveState": "failed", "SubState": "failed", "Result": "exit-code"}
    asked = systemctl(tmp_path, monkeypatch, **said, ExecMainStatus="78", NRestarts="0")
    result = look(url=nowhere, unit="openclaw-gateway.service", wait=60)
    assert "unit openclaw-gateway.service: failed (failed), result exit-code, last exit status 78" in result["msg"]
    assert "OpenClaw refuses its configuration" in result["msg"]
    # It was given up at once: nothing starts a failed unit again.
    assert (result["figures"]["looks"], result["figures"]["unit_exit_status"]) == (1, 78)
    assert asked.read_text().endswith("-- openclaw-gateway.service\n")


def in_unit(monkeypatch: pytest.MonkeyPatch, *pids: int) -> None:
    """Have these processes, and no other, in the gateway's unit."""
    unit = "openclaw-gateway.service"
    monkeypatch.setattr(_peer, "_cgroup", lambda pid: f"0::/system.slice/{unit if pid in pids else 'other.service'}\n")
    monkeypatch.setattr(_peer, "_top", lambda cgroup: "")


def test_a_program_that_took_the_gateways_port_is_not_sent_the_credential(look, gateway, monkeypatch):
    in_unit(monkeypatch)
    result = look(unit="openclaw-gateway.service", fail_on="never")
    assert {shown for _, shown in gateway.requests} == {None}
    assert (result["verdict"], result["checks"]["authenticated_call"]) == ("unhealthy", "failed")
    reason = next(each for each in result["reasons"] if "/tools/invoke" in each)
    assert f"(process {os.getpid()}) has the port, no process of openclaw-gateway.service" in reason
    assert "was not sent the credential" in reason
    assert "stop it, and start the gateway" in reason


def test_the_gateway_itself_is_sent_the_credential(look, gateway, monkeypatch):
    in_unit(monkeypatch, os.getpid())
    assert look(unit="openclaw-gateway.service")["verdict"] == "healthy"
    assert f"Bearer {TOKEN}" in {shown for _, shown in gateway.requests}


def test_a_gateway_whose_working_directory_was_removed_is_unhealthy(look, tmp_path, monkeypatch):
    in_unit(monkeypatch, os.getpid())
    home = tmp_path / "home"
    home.mkdir()
    with subprocess.Popen(["sleep", "60"], cwd=home) as process:
        monkeypatch.setattr(
            _host, "main_process", lambda unit: process.pid if unit == "openclaw-gateway.service" else 0
        )
        before = look(unit="openclaw-gateway.service")
        home.rmdir()
        after = look(unit="openclaw-gateway.service")
        process.kill()
    assert (before["verdict"], before["checks"]["state"], before["reasons"]) == ("healthy", "passed", [])
    assert (after["verdict"], after["checks"]["state"]) == ("unhealthy", "failed")
    assert "its working directory was removed under it" in after["msg"]


def test_systemd_is_not_asked_while_the_gateway_answers(look, tmp_path, monkeypatch):
    asked = systemctl(tmp_path, monkeypatch, ActiveState="active")
    look(unit="openclaw-gateway.service")
    assert not asked.exists()


@pytest.mark.parametrize("path", ["/startupz", "/readyz", "/healthz", "/tools/invoke"])
@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_server_that_echoes_the_credential_does_not_get_it_into_the_result(look, gateway, monkeypatch, path, status):
    echo = {"ok": True, "status": TOKEN, "version": TOKEN, "failing": [TOKEN], TOKEN: TOKEN, "ready": True}
    echo |= {"error": {"message": f"bad {TOKEN}", "type": TOKEN}, "eventLoop": {"degraded": True, "reasons": [TOKEN]}}
    gateway.replies[path] = (status, echo)
    gateway.accepts = lambda shown: True
    # Without Ansible's own masking, so that it is this module's that is tested.
    monkeypatch.setattr(AnsibleModule, "_return_formatted", _without_masking)
    result = look(fail_on="never")
    assert "invocation" not in result
    assert TOKEN not in json.dumps(result)


def _without_masking(_module: Any, result: dict[str, Any]) -> None:
    print(json.dumps(result))


def test_a_secrets_file_that_is_not_json_is_not_quoted(look, token_file):
    token_file.write_text(f'{{"OPENCLAW_GATEWAY_TOKEN": "{TOKEN}" oops')
    result = look()
    assert "it is not valid JSON" in result["msg"]
    assert TOKEN not in json.dumps(result)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"url": "http://ops:hunter2@gw"}, "url: it holds a user name or a password", id="password-in-url"),
        pytest.param({"url": "ftp://gw"}, "url: it is not an http or https URL", id="scheme"),
        pytest.param({"interval": 0}, "interval: 0 is less than 0.05", id="busy-loop"),
        pytest.param({"timeout": 0}, "timeout: 0 is less than 0.1", id="no-time"),
        pytest.param({"wait": -1}, "wait: -1 is less than 0", id="negative-wait"),
        pytest.param({"client_certificate_required": True}, "only be required with TLS", id="mtls-without-tls"),
        pytest.param(
            {"client_cert": "/x"}, "parameters are required together: client_cert, client_key", id="half-pair"
        ),
        pytest.param({"fail_on": "always"}, "value of fail_on must be one of", id="unknown-choice"),
    ],
)
def test_a_bad_argument_is_refused_before_anything_is_asked(look, gateway, arguments, words):
    result = look(**arguments)
    assert result["failed"]
    assert words in result["msg"]
    assert "verdict" not in result
    assert gateway.requests == []


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> CA:
    return CA(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize(
    ("days", "verdict"), [pytest.param(90, "healthy", id="enough"), pytest.param(10, "degraded", id="too-few")]
)
def test_behind_tls_the_days_of_the_certificate_are_counted(look, ca, days, verdict):
    with standing_in(server_context(ca.issue("127.0.0.1", days=days))) as server:
        result = look(url=server.url, ca_path=ca.ca_path)
    assert (result["verdict"], result["figures"]["certificate_days_left"]) == (verdict, days - 1)


@pytest.mark.parametrize(
    ("demanded", "verdict"),
    [pytest.param(True, "healthy", id="demanded"), pytest.param(False, "unhealthy", id="not-demanded")],
)
def test_a_client_without_certificate_must_be_refused(look, ca, demanded, verdict):
    context = server_context(ca.issue("127.0.0.1"), clients=ca.ca_path if demanded else None)
    probe = ca.issue("probe")
    with standing_in(context) as server:
        result = look(
            url=server.url,
            ca_path=ca.ca_path,
            client_cert=probe,
            client_key=probe,
            client_certificate_required=True,
        )
    assert result["verdict"] == verdict, result["reasons"]


def test_the_credential_is_not_shown_to_a_server_whose_certificate_is_not_trusted(look, ca, tmp_path):
    with standing_in(server_context(ca.issue("127.0.0.1"))) as server:
        result = look(url=server.url, ca_path=CA(tmp_path).ca_path)
        assert (result["verdict"], server.requests) == ("unhealthy", [])


class HealthDirectory:
    """The folder that tells the module of an mTLS proxy on this host's own address."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.ca = folder / "health.d", CA(folder)
        self.folder.mkdir()
        monkeypatch.setattr(_health_directory, "own_address", lambda name: "127.0.0.1")
        self.context = server_context(self.ca.issue("gateway.test", days=40), self.ca.ca_path)

    def write(self, port: int, **changes: Any) -> str:
        client = self.ca.issue("health", days=30)
        said = {
            "kind": "mtls",
            "port": port,
            "name": "gateway.test",
            "ca": self.ca.ca_path,
            "certificate": client,
            "key": client,
            "expiring": {"ca": self.ca.ca_path, "clients": f"{self.folder.parent}/heal*.pem"},
            **changes,
        }
        (self.folder / "mtls.json").write_text(json.dumps(said))
        return str(self.folder)


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HealthDirectory:
    return HealthDirectory(tmp_path, monkeypatch)


def test_the_gateway_is_looked_at_through_its_mtls_proxy_as_well(look, described):
    with standing_in(described.context) as proxy:
        result = look(health_directory=described.write(proxy.server_address[1]))
    assert (result["verdict"], result["reasons"]) == ("healthy", [])
    assert [name for name, how in result["checks"].items() if how != "passed"] == [
        "state",
        "settings",
        "tailnet",
        "backup",
    ]
    figures = {name: result["figures"][f"{name}_days_left"] for name in ("certificate", "ca", "clients")}
    assert figures == {"certificate": 39, "ca": 99, "clients": 29}
    assert proxy.asked("/tools/invoke") == 1  # a wrong credential is not tried twice


def test_where_nothing_is_described_there_is_nothing_to_look_at(look, described):
    for folder in (described.folder, described.folder / "none"):
        result = look(health_directory=str(folder))
        assert result["verdict"] == "healthy"
        assert {result["checks"][name] for name in ("health_directory", "mtls")} == {"not_run"}


def test_the_mtls_proxy_is_not_sent_a_credential_that_it_would_pass_to_a_thief(look, described, gateway, monkeypatch):
    in_unit(monkeypatch)
    with standing_in(described.context) as proxy:
        result = look(
            health_directory=described.write(proxy.server_address[1]), unit="openclaw-gateway.service", fail_on="never"
        )
        assert {shown for _, shown in [*gateway.requests, *proxy.requests]} == {None}
    assert (result["verdict"], result["checks"]["authenticated_call"]) == ("unhealthy", "failed")


def test_an_mtls_proxy_whose_certificates_cannot_be_read_is_a_finding(look, described, monkeypatch):
    monkeypatch.setattr(_pki, "HAS_CRYPTOGRAPHY", False)
    result = look(health_directory=described.write(1), fail_on="never")
    assert (result["verdict"], result["checks"]["mtls"]) == ("unhealthy", "failed")
    assert "python3-cryptography" in result["reasons"][0]


@pytest.mark.parametrize("changes", [{"name": None}, {"certificate": "/nonexistent"}, {"ca": "/nonexistent"}])
def test_an_mtls_proxy_that_is_described_wrongly_is_a_finding(look, described, changes):
    result = look(health_directory=described.write(1, **changes), fail_on="never")
    assert (result["verdict"], result["checks"]["mtls"]) == ("unhealthy", "failed")


def test_a_description_that_is_none_is_a_finding_and_the_others_are_looked_at(look, described):
    (described.folder / "a.json").write_text("{")
    with standing_in(described.context) as proxy:
        result = look(health_directory=described.write(proxy.server_address[1]), fail_on="never")
    assert (result["checks"]["health_directory"], result["checks"]["mtls"]) == ("failed", "passed")
    assert result["reasons"][0].startswith(f"{described.folder}/a.json: it is not valid JSON. Run site.yml again")


@pytest.mark.parametrize(
    ("ways", "address"),
    [
        ({"192.0.2.1": "203.0.113.5", "gateway.test": "10.0.0.2"}, "203.0.113.5"),
        ({"2001:db8::1": "fd00::5"}, "fd00::5"),
        ({"gateway.test": "10.0.0.2"}, "10.0.0.2"),
        ({"gateway.test": "127.0.0.1"}, None),
        ({}, None),
    ],
)
def test_an_mtls_proxy_is_tried_from_an_address_that_is_not_loopbacks(look, described, monkeypatch, ways, address):
    class Sockets(contextlib.nullcontext):
        def connect(self, place: tuple[str, int]) -> None:
            if place[0] not in ways:
                raise OSError("Network is unreachable")
            self.place = place[0]

        def getsockname(self) -> tuple[str, int]:
            return ways[self.place], 9

        def __enter__(self) -> Sockets:
            return self

    monkeypatch.undo()
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", lambda *_words: Sockets())
        if address:
            assert _health_directory.own_address("gateway.test") == address
            return
        with pytest.raises(OpenClawError, match=r"it cannot be tried: the host has no address") as told:
            _health_directory.own_address("gateway.test")

    def nowhere(_name: str) -> str:
        raise told.value

    monkeypatch.setattr(_health_directory, "own_address", nowhere)
    result = look(health_directory=described.write(1), fail_on="never")
    assert (result["verdict"], result["checks"]["mtls"]) == ("unhealthy", "failed")
    assert "have gateway.test mean one of its addresses" in result["reasons"][0]


def test_an_mtls_proxy_that_lets_in_an_anonymous_client_is_unhealthy(look, described):
    open_to_all = server_context(described.ca.issue("gateway.test"))
    with standing_in(open_to_all) as proxy:
        result = look(health_directory=described.write(proxy.server_address[1]), fail_on="never")
    assert (result["verdict"], result["checks"]["client_certificate"]) == ("unhealthy", "failed")


# ---- what a hostile account does --------------------------------------------------------------------------

B_TOKEN = "the-credential-of-another-tenant-b"


@pytest.fixture
def tenant(open_directory: Path, another_account: _store.Account) -> Path:
    """The secrets directory of a gateway whose account is hostile; beside it, the file of another tenant."""
    directory, other = open_directory / "a", open_directory / "b"
    for path in (directory, other):
        path.mkdir(mode=0o700)
    os.chown(directory, another_account.uid, another_account.gid)
    (other / "secrets.json").write_text(json.dumps({"OPENCLAW_GATEWAY_TOKEN": B_TOKEN}))
    (other / "secrets.json").chmod(0o400)
    return directory


@pytest.mark.parametrize("way", ["the file", "its directory", "a hard link"])
def test_the_credential_of_another_tenant_is_neither_read_nor_sent(look, gateway, tenant, another_account, way):
    other, path = tenant.parent / "b/secrets.json", tenant / "secrets.json"
    gateway.accepts = lambda shown: shown == f"Bearer {B_TOKEN}"
    if way == "the file":
        path.symlink_to(other)
    elif way == "its directory":
        (tenant / "deeper").symlink_to(other.parent)
        path = tenant / "deeper/secrets.json"
    else:
        os.link(other, path)
    result = look(token_file=str(path), owner=another_account.name, fail_on="never")
    assert not any(B_TOKEN in (shown or "") for _path, shown in gateway.requests)
    assert (result["verdict"], result["checks"]["authenticated_call"]) == ("unhealthy", "failed")
    assert f"{path}: cannot be read: " in result["reasons"][0]


def make_hole(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1_500_000_000)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(os.mkfifo, "it is not a plain file", id="a-pipe"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), "it is a symbolic link", id="a-link-to-dev-zero"),
        pytest.param(make_hole, "it has more than 1024 KiB", id="a-hole"),
        pytest.param(lambda path: path.write_text('{"a":' * 100_000), "it is not valid JSON", id="100000-levels"),
        pytest.param(lambda path: path.write_text("[]"), "there is no OPENCLAW_GATEWAY_TOKEN in it", id="a-list"),
        pytest.param(Path.mkdir, "it is not a plain file", id="a-directory"),
    ],
)
def test_a_trap_in_the_place_of_the_secrets_is_a_finding_in_time(look, tenant, another_account, within, make, reason):
    path = tenant / "secrets.json"
    make(path)
    if not path.is_symlink():
        path.chmod(0o755)
    result = within(20, lambda: look(token_file=str(path), owner=another_account.name, fail_on="never"))
    assert result["verdict"] == "unhealthy"
    assert reason in result["reasons"][0]


def test_without_the_account_nothing_is_read_as_root(look, tenant, gateway):
    path = tenant.parent / "b/secrets.json"
    result = look(token_file=str(path), owner="no-such-account", fail_on="never")
    assert "it cannot be read as no-such-account: there is no such account" in result["reasons"][0]
    assert not any(shown for _path, shown in gateway.requests if shown and B_TOKEN in shown)


@pytest.mark.parametrize(
    "number", ["9" * 400, "9" * 5000, "1e999", "[]", "-1"], ids=["400-digits", "5000", "inf", "list", "-1"]
)
@pytest.mark.parametrize("place", ["/startupz", "/readyz"])
def test_numbers_that_are_none_are_missing_figures(look, gateway, number, place):
    gateway.replies["/startupz"] = (
        200,
        f'{{"ok": true, "status": "started", "version": "2026.9.6", "uptimeMs": {number}}}',
    )
    if place == "/readyz":
        gateway.replies["/readyz"] = (
            200,
            f'{{"ready": true, "uptimeMs": {number}, "eventLoop": {{"delayP99Ms": {number}}}}}',
        )
    result = look(fail_on="never")
    assert result["verdict"] in ("healthy", "degraded", "unhealthy")
    assert all(abs(figure) < 2**63 for figure in result["figures"].values())


def test_what_a_server_says_reaches_no_terminal_raw(look, gateway, monkeypatch):
    escape = "text/\x1b]0;title\x07\x1b[31mred\x9b1m" + "x" * 5000
    send_header = Conversation.send_header
    monkeypatch.setattr(
        Conversation,
        "send_header",
        lambda self, name, value: send_header(self, name, escape if name == "Content-Type" else value),
    )
    for path in ("/healthz", "/readyz", "/startupz"):
        gateway.replies[path] = PAGE
        result = look(fail_on="never")
        assert result["reasons"]
        assert all(reason.isprintable() and len(reason) < 1000 for reason in result["reasons"])


def test_a_gateway_that_names_without_end_what_fails_is_cut_short(look, gateway):
    gateway.replies["/readyz"] = (503, {"ready": False, "failing": ["\x1b[31m" + "x" * 100] * 5000})
    [reason] = look(fail_on="never")["reasons"]
    assert reason.isprintable()
    assert len(reason) < 1500


# ---- the settings file that the next start reads -------------------------------------------------------------


@pytest.fixture
def changed_settings(tmp_path: Path, programs: None) -> Path:
    """Settings that somebody has changed since they were judged."""
    path = tmp_path / "lib/openclaw.json"
    path.parent.mkdir()
    path.write_text('{"session": {"idleMinutes": 60}}')
    path.parent.with_name("applied.json").write_text(json.dumps({"judged": "0" * 64}))
    return path


def test_settings_that_the_next_start_refuses_are_told_while_the_gateway_runs_on(look, changed_settings, release):
    release.issues[:] = [{"path": "session", "message": 'Unrecognized key: "idleMinutes"'}]
    result = look(
        settings_file=str(changed_settings),
        journal=str(changed_settings.parents[1] / "applied.json"),
        release="/opt/openclaw/main/current",
        fail_on="never",
    )
    assert (result["verdict"], result["checks"]["settings"]) == ("degraded", "failed")
    [reason] = result["reasons"]
    assert reason.startswith(f"The next start will fail. {changed_settings}: session.idleMinutes: Unrecognized key")
    assert "write session.idleMinutes: null in gateway_settings" in reason
    assert [path.name for path in changed_settings.parent.iterdir()] == ["openclaw.json"]


def test_the_keys_are_named_too_when_the_gateway_is_down_for_them(look, nowhere, changed_settings, release):
    release.issues[:] = [{"path": "session", "message": 'Unrecognized key: "idleMinutes"'}]
    result = look(
        url=nowhere,
        settings_file=str(changed_settings),
        journal=str(changed_settings.parents[1] / "applied.json"),
        release="/opt/x/current",
        fail_on="never",
    )
    assert result["verdict"] == "unreachable"
    assert any("session.idleMinutes" in reason for reason in result["reasons"])


REMEDY = "Run site.yml: it repairs the file from what was applied last, and keeps what is broken beside it."


@pytest.fixture
def applied_settings(changed_settings: Path) -> Path:
    """The same where a run has applied them."""
    note = {"judged": "0" * 64, "applied": {}, "validated_by": "2026.9.6"}
    changed_settings.parent.with_name("applied.json").write_text(json.dumps(note))
    return changed_settings


@pytest.mark.parametrize(
    ("damage", "issue", "reason"),
    [
        pytest.param(
            lambda path: path.write_text('{"torn": '),
            {"path": "", "message": "JSON5 parse failed"},
            ": JSON5 parse failed. ",
            id="torn",
        ),
        pytest.param(
            lambda path: path.write_text(""),
            {"path": "", "message": "JSON5 parse failed"},
            ": JSON5 parse failed. ",
            id="emptied",
        ),
        pytest.param(
            lambda path: path.write_text('{"gateway": {"port": "abc"}}'),
            {"path": "gateway.port", "message": "expected number"},
            ": gateway.port: expected number. ",
            id="wrong-type",
        ),
        pytest.param(
            lambda path: path.write_text('{"a": {"x": 1}}'),
            {"path": "a", "message": 'Unrecognized key: "x"'},
            ': a.x: Unrecognized key: "x". ',
            id="unknown-key",
        ),
        pytest.param(lambda path: path.unlink(), None, ": is missing. ", id="missing"),
        pytest.param(
            lambda path: (path.unlink(), path.mkdir()),
            None,
            ": cannot be read: it is not a plain file. ",
            id="a-directory",
        ),
        pytest.param(
            lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
            None,
            ": cannot be read: it is a symbolic link. ",
            id="a-link",
        ),
        pytest.param(
            lambda path: path.write_bytes(b" " * (5 << 20)),
            None,
            ": cannot be read: it has more than 4096 KiB. ",
            id="too-large",
        ),
    ],
)
@pytest.mark.parametrize("runs", [True, False], ids=["running", "stopped"])
def test_a_broken_file_is_told_with_what_repairs_it(
    look, nowhere, applied_settings, release, damage, issue, reason, runs
):
    damage(applied_settings)
    release.issues[:] = [issue] if issue else []
    result = look(
        **({} if runs else {"url": nowhere}),
        settings_file=str(applied_settings),
        journal=str(applied_settings.parents[1] / "applied.json"),
        release="/opt/openclaw/main/current",
        fail_on="never",
    )
    assert (result["verdict"], result["checks"]["settings"]) == ("degraded" if runs else "unreachable", "failed")
    assert f"The next start will fail. {applied_settings}{reason}{REMEDY}" in result["reasons"]


def test_settings_that_are_not_there_before_the_first_run_are_no_finding(look, changed_settings):
    changed_settings.unlink()
    result = look(
        settings_file=str(changed_settings),
        journal=str(changed_settings.parents[1] / "applied.json"),
        release="/opt/openclaw/main/current",
    )
    assert (result["verdict"], result["checks"]["settings"]) == ("healthy", "not_run")


def test_changed_settings_that_the_release_takes_are_fine(look, changed_settings, release):
    result = look(
        settings_file=str(changed_settings),
        journal=str(changed_settings.parents[1] / "applied.json"),
        release="/opt/openclaw/main/current",
    )
    assert (result["verdict"], result["checks"]["settings"]) == ("healthy", "passed")


def test_settings_that_were_judged_start_no_process(look, changed_settings, release):
    digest = hashlib.sha256(changed_settings.read_bytes()).hexdigest()
    changed_settings.parent.with_name("applied.json").write_text(json.dumps({"judged": digest}))
    result = look(
        settings_file=str(changed_settings),
        journal=str(changed_settings.parents[1] / "applied.json"),
        release="/opt/openclaw/main/current",
    )
    assert (result["verdict"], result["checks"]["settings"], release.seen) == ("healthy", "not_run", [])


def test_settings_that_cannot_be_read_are_a_finding(look, changed_settings):
    changed_settings.unlink()
    changed_settings.symlink_to("/etc/passwd")
    result = look(
        settings_file=str(changed_settings),
        journal=str(changed_settings.parents[1] / "applied.json"),
        release="/opt/openclaw/main/current",
        fail_on="never",
    )
    assert "it is a symbolic link" in result["reasons"][0]
