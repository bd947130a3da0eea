# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module answers over a stand-in for tailscaled, which speaks HTTP on a Unix socket as the real one does."""

from __future__ import annotations

import http.server
import json
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible.module_utils import basic

from ansible_collections.clawops.openclaw.plugins.module_utils import _host
from ansible_collections.clawops.openclaw.plugins.modules import tailscale_preflight
from ansible_collections.clawops.openclaw.tests.unit.plugins.module_utils.test_tailnet import PREFS, SELF, SERVED

if TYPE_CHECKING:
    from ansible_collections.clawops.openclaw.tests.unit.conftest import RunModule

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
            """Who asks has no address that could be told."""

    with socketserver.UnixStreamServer(str(tmp_path / "s"), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield answers
        server.shutdown()
        thread.join()


@pytest.fixture
def run(run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the module over a host that has TUN and the package."""
    tun = tmp_path / "tun"
    tun.touch()
    monkeypatch.setattr(tailscale_preflight, "TUN", str(tun))
    status = "Package: tailscale\nStatus: install ok installed\nVersion: 1.102.5\n\n"
    monkeypatch.setattr(_host, "read_text", lambda path: status if path == "/var/lib/dpkg/status" else "")

    def run(**changes: Any) -> dict[str, Any]:
        parameters = {
            "socket": str(tmp_path / "s"),
            "key_given": False,
            "login_server": "https://control",
            "account": "openclaw",
            "gateway_port": 18789,
            "dropin_path": str(tmp_path / "dropin"),
            "settle": 0,
        }
        return run_module(tailscale_preflight.main, **{**parameters, **changes})

    return run


def test_it_answers_what_it_promises(run: Run, daemon: Answers) -> None:
    result = run()
    promised = yaml.safe_load(tailscale_preflight.RETURN)
    types = {"list": list, "str": str, "bool": bool, "dict": dict}
    assert {name: types[entry["type"]] for name, entry in promised.items()} == {
        name: type(result[name]) for name in promised
    }
    assert set(result) - {"invocation"} == {*promised, "changed"}


def test_of_a_node_that_is_well_nothing_is_due(run: Run, daemon: Answers) -> None:
    result = run()
    due = ("join", "settings_due", "serve_due", "unserve_due", "trouble", "dropin", "changed")
    assert [result[name] for name in due] == ["none", [], False, False, "", False, False]
    assert (result["name"], result["addresses"], result["installed"]) == ("vps.tailnet.lab", ["100.64.0.1"], "1.102.5")


def test_a_bare_host_has_to_join_and_to_serve(run: Run) -> None:
    result = run(key_given=True)
    assert result.get("failed", False) is False
    assert [result[name] for name in ("running", "known", "join", "serve_due")] == [False, False, "join", True]


SOURCES: list[list[dict[str, str]]] = [[], [{"path": "/nowhere"}]]


def test_whether_the_apt_source_is_as_wished_is_told(run: Run) -> None:
    assert [run(source_files=files)["source"] for files in SOURCES] == [True, False]


def test_a_tailscaled_that_is_somebody_elses_idea_of_http_is_none(run: Run, daemon: Answers) -> None:
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
        pytest.param(
            {}, {"tags": ["tag:spare"]}, "the node has the tags tag:gateway, and only a key brings others", id="tags"
        ),
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
    result = run(**changes)
    assert result["failed"] is True
    assert words in result["msg"]
    assert set(yaml.safe_load(tailscale_preflight.RETURN)) <= set(result)


def test_a_host_without_tun_is_refused(run: Run, daemon: Answers, tmp_path: Path) -> None:
    (tmp_path / "tun").unlink()
    assert "have the provider of the machine enable TUN" in run()["msg"]


def test_a_port_that_somebody_serves_is_left_to_them(run: Run, daemon: Answers) -> None:
    daemon["serve-config"] = {"TCP": {"18789": {"TCPForward": "127.0.0.1:22"}}}
    assert "this port of the node is served to other already" in run()["msg"]
    assert run(serve=False).get("failed", False) is False


def test_nothing_is_refused_for_a_node_that_is_to_go(run: Run, daemon: Answers, tmp_path: Path) -> None:
    (tmp_path / "tun").unlink()
    result = run(state="absent", tags=["odd"], gateway_mode="funnel", login_server="")
    assert result.get("failed", False) is False
    assert (result["join"], result["serve_due"], result["unserve_due"]) == ("none", False, True)


def test_the_account_of_a_gateway_that_serves_itself_becomes_the_operator(run: Run, daemon: Answers) -> None:
    daemon["prefs"]["ControlURL"] = ""
    result = run(gateway_mode="serve", login_server="")
    assert (result["settings_due"], result["unserve_due"]) == (["--operator=openclaw"], True)


def test_a_node_that_the_server_does_not_serve_was_removed_only_if_the_server_answers(
    run: Run, daemon: Answers
) -> None:
    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Nobody reads it."""

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
        pytest.param("renamed.tailnet.lab.", "renamed.tailnet.lab", id="the-wished-name"),
        pytest.param("renamed-1.tailnet.lab.", "renamed-1.tailnet.lab", id="a-numbered-one"),
        pytest.param("renamedly.tailnet.lab.", "vps.tailnet.lab", id="somebody-elses"),
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
    assert (result["name"], result["serve_due"]) == (seen, seen != "vps.tailnet.lab")
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
    assert (result["trouble"] == "") is (settle > 0)


def test_it_starts_no_process(run: Run, daemon: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_process(*_arguments: Any, **_keywords: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    assert run() == run(_ansible_check_mode=True)


def test_the_documented_options_are_those_that_it_takes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, Any] = {}
    init = basic.AnsibleModule.__init__

    def noted(self: Any, argument_spec: dict[str, Any], **options: Any) -> None:
        taken.update(argument_spec)
        init(self, argument_spec, **options)

    def plain(options: dict[str, Any]) -> dict[str, Any]:
        compared = ("type", "default", "required", "choices", "elements")
        return {name: {key: option.get(key) for key in compared} for name, option in options.items()}

    monkeypatch.setattr(basic.AnsibleModule, "__init__", noted)
    run()
    assert plain(yaml.safe_load(tailscale_preflight.DOCUMENTATION)["options"]) == plain(taken)
