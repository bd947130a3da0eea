# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found and due over a stand-in for tailscaled, which speaks HTTP on a Unix socket as the real one does."""

from __future__ import annotations

import http.server
import json
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _host, _preflight
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import tailscale
from ansible_collections.clawops.openclaw.tests.unit.plugins.module_utils.test_tailnet import PREFS, SELF, SERVED

Run = Callable[..., dict[str, Any]]
Answers = dict[str, Any]
RUNNING = {"BackendState": "Running", "HaveNodeKey": True, "Health": None, "Self": SELF}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Answers]:
    """A tailscaled whose node is well and serves the gateway; a test changes its answers. It knows only its own name."""
    answers: Answers = {"status": {**RUNNING, "Self": dict(SELF)}, "prefs": dict(PREFS), "serve-config": SERVED}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path.removeprefix("/localapi/v0/").partition("?")[0])
            known = body is not None and self.headers["Host"] == "local-tailscaled.sock"
            self.send_response(200 if known else 403)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode() if known else b"invalid localapi request\n")

        def log_message(self, *_arguments: Any) -> None:
            """A client of a Unix socket has no address to log."""

    with socketserver.UnixStreamServer(str(tmp_path / "s"), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield answers
        server.shutdown()
        thread.join()


class Refused(Exception):
    """What cannot work."""


class Host(_host.Host):
    """A host with the package."""

    def text(self, path: str) -> str:
        assert path == "/var/lib/dpkg/status"
        return "Package: tailscale\nStatus: install ok installed\nVersion: 1.102.5\n\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """What the check finds over a host that has TUN and the package, and what is due, as one."""
    tun = tmp_path / "tun"
    tun.touch()
    monkeypatch.setattr(tailscale, "TUN", str(tun))

    def run(**changes: Any) -> dict[str, Any]:
        parameters = {
            "state": "present",
            "socket": str(tmp_path / "s"),
            "key_given": False,
            "login_server": "https://control",
            "account": "openclaw",
            "gateway_port": 18789,
            "paths": [str(tmp_path / "dropin")],
            "settle": 0,
        }
        answer = _preflight.run({"tailscale": {**parameters, **changes}}, Host())
        assert answer.warnings == []
        if answer.errors:
            raise Refused("\n".join(answer.errors))
        found = answer.found["tailscale"]
        assert not found.keys() & found["due"].keys()
        return {**found, **found["due"]}

    return run


def refusal(run: Run, **changes: Any) -> str:
    """What it refuses, in words; empty where it refuses nothing."""
    try:
        run(**changes)
    except Refused as told:
        return str(told)
    return ""


def test_of_a_node_that_is_well_nothing_is_due(run: Run, daemon: Answers, tmp_path: Path) -> None:
    result = run()
    due = ("phases", "install", "join", "settings", "serve", "unserve", "problem")
    assert [result[name] for name in due] == [[], False, "none", [], False, False, ""]
    assert (result["name"], result["installed"]) == ("vps.tailnet.lab", "1.102.5")
    assert result["files"] == [{"path": str(tmp_path / "dropin"), "state": "absent"}]


def test_a_bare_host_has_to_join_and_to_serve(run: Run) -> None:
    result = run(key_given=True)
    assert [result[name] for name in ("running", "known", "join", "serve")] == [False, False, "join", True]
    assert result["phases"] == ["install", "join", "configure"]


@pytest.mark.parametrize(
    ("status", "changes", "phases"),
    [
        pytest.param({}, {}, [], id="nothing"),
        pytest.param({}, {"version": "1.102.*"}, ["install", "join", "configure"], id="a-version-that-apt-judges"),
        pytest.param({}, {"source_files": [{"path": "/nowhere"}]}, ["install", "join", "configure"], id="the-source"),
        pytest.param({"BackendState": "Stopped"}, {}, ["join", "configure"], id="taken-down"),
        pytest.param({}, {"tags": ["tag:spare"], "key_given": True}, ["join", "configure"], id="other-tags"),
        pytest.param({}, {"hostname": "new"}, ["configure"], id="a-setting"),
        pytest.param({}, {"serve": False}, ["configure"], id="no-longer-served"),
        pytest.param({}, {"state": "absent"}, ["remove"], id="to-go"),
    ],
)
def test_only_phases_with_something_to_do_are_due(
    run: Run, daemon: Answers, status: dict[str, Any], changes: dict[str, Any], phases: list[str]
) -> None:
    daemon["status"].update(status)
    assert run(**changes)["phases"] == phases


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"serve": False}, id="not-served"),
        pytest.param({"gateway_mode": "serve", "login_server": ""}, id="serves-itself"),
        pytest.param({"state": "absent"}, id="to-go"),
    ],
)
def test_the_gateway_is_told_of_the_name_that_it_is_served_under(
    run: Run, daemon: Answers, changes: dict[str, Any]
) -> None:
    origin = "http://vps.tailnet.lab:18789"
    needed = {"gateway": {"trustedProxies": ["127.0.0.1"], "controlUi": {"allowedOrigins": [origin]}}}
    assert run()["gateway_settings"] == needed
    daemon["prefs"]["ControlURL"] = ""
    assert "gateway_settings" not in run(**changes)
    daemon["status"]["Self"]["DNSName"] = ""
    assert "gateway_settings" not in run(login_server="")


SOURCES: list[list[dict[str, str]]] = [[], [{"path": "/nowhere"}]]


def test_whether_the_apt_source_is_in_sync_is_told(run: Run) -> None:
    assert [run(source_files=files, key_given=True)["source"] for files in SOURCES] == [True, False]


def test_a_tailscaled_that_answers_something_else_is_none(run: Run, daemon: Answers) -> None:
    daemon.update({"status": ["odd"], "prefs": None, "serve-config": 1})
    assert run(key_given=True)["running"] is False


@pytest.mark.parametrize(
    ("status", "changes", "words"),
    [
        pytest.param(
            {"BackendState": "NeedsLogin", "HaveNodeKey": False},
            {},
            "there is no key (it is not logged in",
            id="no-key",
        ),
        pytest.param({}, {"tags": ["tag:spare"]}, "the node has tag:gateway, and only a key brings others", id="tags"),
        pytest.param({}, {"login_server": ""}, "the host is in a tailnet of https://control", id="another-server"),
        pytest.param({}, {"tags": ["gateway"], "key_given": True}, "tailscale_tags gateway: it is no tag", id="no-tag"),
        pytest.param({}, {"tags": ["tag:a\n"], "key_given": True}, "it is no tag", id="a-tag-with-a-line-end"),
        pytest.param({}, {"hostname": "a_b"}, "tailscale_hostname a_b: it is no host name", id="no-name"),
        pytest.param({}, {"hostname": "a" * 64}, "it is no host name", id="a-long-name"),
        pytest.param({}, {"login_server": "control"}, "it is no address of a server", id="no-address"),
        pytest.param({}, {"gateway_mode": "funnel"}, "must have gateway.auth.mode password", id="funnel"),
        pytest.param({}, {"gateway_mode": "serve"}, "https://control gives none", id="serve-without-certificates"),
        pytest.param(
            {},
            {"gateway_mode": "serve", "gateway_bind": "lan", "login_server": ""},
            "OpenClaw serves itself only from loopback",
            id="serve-from-elsewhere",
        ),
        pytest.param({}, {"gateway_bind": "tailnet"}, "the gateway listens by itself", id="bind"),
    ],
)
def test_what_cannot_work_is_refused(
    run: Run, daemon: Answers, status: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    daemon["status"].update(status)
    assert words in refusal(run, **changes)


def test_what_the_controller_has_found_is_told_along_with_the_rest(run: Run, daemon: Answers) -> None:
    told = refusal(run, problems=["tailscale_auth_key: it is odd. Correct it."], hostname="a_b")
    assert told.splitlines()[0] == "tailscale_auth_key: it is odd. Correct it."
    assert len(told.splitlines()) == 2
    assert refusal(run, state="absent", problems=["x: y. Z."]) == "x: y. Z."


def test_a_host_without_tun_is_refused(run: Run, daemon: Answers, tmp_path: Path) -> None:
    (tmp_path / "tun").unlink()
    assert "have the provider of the machine enable TUN" in refusal(run)


def test_a_port_that_is_served_to_something_else_stays_so(run: Run, daemon: Answers) -> None:
    daemon["serve-config"] = {"TCP": {"18789": {"TCPForward": "127.0.0.1:22"}}}
    assert "this port of the node is served to other already" in refusal(run)
    assert refusal(run, serve=False) == ""


def test_nothing_is_refused_for_a_node_that_is_to_go(run: Run, daemon: Answers, tmp_path: Path) -> None:
    (tmp_path / "tun").unlink()
    result = run(state="absent", tags=["odd"], gateway_mode="funnel", login_server="")
    assert (result["join"], result["serve"], result["unserve"]) == ("none", False, True)


def test_the_account_of_a_gateway_that_serves_itself_becomes_the_operator(run: Run, daemon: Answers) -> None:
    daemon["prefs"]["ControlURL"] = ""
    result = run(gateway_mode="serve", login_server="")
    assert (result["settings"], result["unserve"]) == (["--operator=openclaw"], True)


def test_a_node_that_the_server_does_not_serve_was_removed_only_if_the_server_answers(
    run: Run, daemon: Answers
) -> None:
    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Quiet."""

    daemon["status"]["Self"]["Online"] = False
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        daemon["prefs"]["ControlURL"] = url
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            assert run(key_given=True, login_server=url)["join"] == "rejoin"
        finally:
            server.shutdown()
            thread.join()
    assert run(login_server=url)["join"] == "none"


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        pytest.param("renamed.tailnet.lab.", "renamed.tailnet.lab", id="the-desired-name"),
        pytest.param("renamed-1.tailnet.lab.", "renamed-1.tailnet.lab", id="a-numbered-one"),
        pytest.param("renamedly.tailnet.lab.", "vps.tailnet.lab", id="of-another-node"),
    ],
)
def test_a_new_name_is_waited_for_so_that_what_is_served_is_served_under_it(
    run: Run, daemon: Answers, monkeypatch: pytest.MonkeyPatch, given: str, seen: str
) -> None:
    now = [0.0]

    def later(seconds: float) -> None:
        now[0] += seconds
        if seen.startswith("renamed") or now[0] < 1:
            daemon["status"]["Self"]["DNSName"] = given if now[0] > 1 else "vps.tailnet.lab."

    monkeypatch.setattr(time, "sleep", later)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    result = run(hostname="Renamed", settle_name=3)
    assert (result["name"], result["serve"]) == (seen, seen != "vps.tailnet.lab")
    assert now[0] == pytest.approx(1.1 if seen.startswith("renamed") else 3.0, abs=0.11)


@pytest.mark.parametrize(
    "unserved",
    [
        pytest.param({"Self": {**SELF, "Online": False}}, id="just-brought-up"),
        pytest.param({"BackendState": "NoState", "HaveNodeKey": False}, id="just-started"),
        pytest.param({"BackendState": "Starting"}, id="starting"),
    ],
)
@pytest.mark.parametrize(("settle", "wait"), [pytest.param(5, 0.7, id="in-time"), pytest.param(0, 0, id="too-late")])
def test_a_node_that_is_not_served_yet_is_waited_for_before_it_is_called_removed(
    run: Run,
    daemon: Answers,
    monkeypatch: pytest.MonkeyPatch,
    unserved: dict[str, Any],
    settle: int,
    wait: float,
) -> None:
    now = [0.0]

    def later(seconds: float) -> None:
        now[0] += seconds
        if now[0] > 0.65:
            daemon["status"] = RUNNING

    daemon["status"] = {**RUNNING, **unserved}
    monkeypatch.setattr(time, "sleep", later)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    result = run(hostname="vps", key_given=True, settle=settle)
    assert now[0] == pytest.approx(wait, abs=0.11)
    assert (result["problem"] == "") is (settle > 0)


def test_it_starts_no_process(run: Run, daemon: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_process(*_arguments: Any, **_keywords: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    assert run()["running"]
