# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a gateway counts as healthy: tables over what the probes can bring back."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.clawops.openclaw.plugins.module_utils import _health as health
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._health import Observations, Patience, Probe, failed

URL = "http://127.0.0.1:18789"
TOKEN = "b2f1c0ffee-secret-token-of-the-gateway"
PAGE = Probe(200, None, 1.0, detail="text/html")
UNAUTHORIZED = {"error": {"message": "Unauthorized", "type": "unauthorized"}}
STARTING = {
    "ok": False,
    "status": "starting",
    "version": "2026.9.6",
    "uptimeMs": 859,
    "pendingReason": "startup-sidecars",
}
NO_TOOL = {"ok": False, "error": {"type": "not_found", "message": "Tool not available: sessions_list"}}

# As OpenClaw 2026.9.6 answered.
REAL = {
    "startupz": Probe(200, {"ok": True, "status": "started", "version": "2026.9.6", "uptimeMs": 317620}, 1.6),
    "readyz": Probe(
        200,
        {
            "ready": True,
            "failing": [],
            "uptimeMs": 317633,
            "eventLoop": {
                "degraded": False,
                "degradedSinceMs": None,
                "reasons": [],
                "intervalMs": 1011.2,
                "delayP99Ms": 21.9,
                "delayMaxMs": 22.4,
                "utilization": 0.014,
                "cpuCoreRatio": 0.015,
                "cpuBreakdown": {"mainThreadCoreRatio": 0.013, "hostUtilization": 0.168, "hostCpuCount": 2},
            },
        },
        1.3,
    ),
    "healthz": Probe(200, {"ok": True, "status": "live"}, 1.1),
    "websocket": Probe(101, {"type": "event", "event": "connect.challenge", "payload": {"nonce": "17dd2506"}}, 4.2),
    "authenticated_call": Probe(200, {"ok": True, "result": {"details": {"count": 0, "sessions": []}}}, 18.4),
    "wrong_credential": Probe(401, UNAUTHORIZED, 252.7),
}
UNIT = {
    "LoadState": "loaded",
    "ActiveState": "failed",
    "SubState": "failed",
    "Result": "exit-code",
    "ExecMainStatus": "78",
    "NRestarts": "0",
}


def seen(**changes: object) -> Observations:
    """A healthy gateway as it was seen, with some observations or expectations changed; None takes a probe away."""
    observations = Observations(url=URL, version="2026.9.6", probes=copy.deepcopy(REAL))
    for name, value in changes.items():
        if name in REAL or name == "client_certificate":
            observations.probes[name] = value  # type: ignore[assignment]
        else:
            setattr(observations, name, value)
    observations.probes = {name: probe for name, probe in observations.probes.items() if probe is not None}
    return observations


def ready(**changes: object) -> Probe:
    """The real readiness with some keys changed."""
    return Probe(200, {**(REAL["readyz"].says or {}), **changes}, 1.3)


def unreached(failure: Probe, **changes: object) -> Observations:
    """What one sees of a gateway that gives no answer to the first question."""
    return Observations(url=URL, version="2026.9.6", probes={"startupz": failure}, **changes)  # type: ignore[arg-type]


def test_a_gateway_that_answers_as_the_real_one_does_is_healthy():
    verdict = health.judge(seen())
    assert (verdict.verdict, verdict.reasons, verdict.version) == ("healthy", [], "2026.9.6")
    assert verdict.checks == {
        **dict.fromkeys(health.CHECKS, "passed"),
        **dict.fromkeys(
            (
                "state",
                "settings",
                "certificate",
                "client_certificate",
                "health_directory",
                "mtls",
                "expiry",
                "tailnet",
                "backup",
            ),
            "not_run",
        ),
    }


def test_a_node_of_a_tailnet_counts_where_it_is_asked():
    well = health.judge(seen(node_problem=""))
    assert (well.verdict, well.checks["tailnet"]) == ("healthy", "passed")
    gone = health.judge(seen(node_problem="its key has expired", node_remedy="Join again."))
    assert (gone.verdict, gone.checks["tailnet"]) == ("degraded", "failed")
    assert gone.reasons == ["the node of the tailnet: its key has expired. Join again."]


def test_a_gateway_whose_directory_was_removed_serves_and_is_unhealthy():
    well = health.judge(seen(missing=[]))
    assert (well.verdict, well.checks["state"]) == ("healthy", "passed")
    gone = health.judge(seen(unit="u.service", missing=["/state"]))
    assert (gone.verdict, gone.checks["state"]) == ("unhealthy", "failed")
    assert [reason.startswith("unit u.service: its working directory was removed") for reason in gone.reasons] == [True]


@pytest.mark.parametrize(
    ("observations", "level", "check", "words"),
    [
        # degraded: it serves
        pytest.param(
            seen(readyz=Probe(503, {"ready": False, "failing": ["telegram"]}, 1.0)),
            "degraded",
            "readyz",
            "answered 503, not ready: telegram",
            id="a-channel-fails",
        ),
        pytest.param(seen(readyz=ready(ready=False)), "degraded", "readyz", "not say what", id="not-ready-with-200"),
        pytest.param(seen(readyz=ready(failing=["x"])), "degraded", "readyz", "ready: x", id="ready-but-failing"),
        pytest.param(seen(readyz=PAGE), "degraded", "readyz", "text/html instead of JSON", id="readiness-is-a-page"),
        pytest.param(seen(readyz=failed("answer-timeout", "")), "degraded", "readyz", "no answer", id="no-readiness"),
        pytest.param(
            seen(readyz=ready(eventLoop={"degraded": True, "reasons": ["cpu"], "delayP99Ms": 466.4})),
            "degraded",
            "event_loop",
            "degraded (cpu), p99 delay 466.4 ms",
            id="event-loop",
        ),
        pytest.param(seen(websocket=PAGE), "degraded", "websocket", "no connect.challenge", id="no-upgrade"),
        pytest.param(
            seen(websocket=Probe(101, {"event": "hello"}, 1.0)),
            "degraded",
            "websocket",
            "JSON of another shape",
            id="another-first-message",
        ),
        pytest.param(
            seen(websocket=failed("garbled", "a wrong Sec-WebSocket-Accept")),
            "degraded",
            "websocket",
            "Sec-WebSocket-Accept",
            id="forged-upgrade",
        ),
        pytest.param(seen(days_left=20), "degraded", "certificate", "20 days left, fewer than 21", id="days-low"),
        pytest.param(
            seen(wrong_credential=failed("answer-timeout", "")),
            "degraded",
            "wrong_credential",
            "instead of 401",
            id="refusal-not-shown",
        ),
        pytest.param(
            seen(wrong_credential=Probe(401, None, 1.0, detail="text/html")),
            "degraded",
            "wrong_credential",
            "text/html instead of JSON",
            id="401-of-another-server",
        ),
        pytest.param(
            seen(client_certificate=failed("answer-timeout", "")),
            "degraded",
            "client_certificate",
            "not shown",
            id="anonymous-client-not-shown-refused",
        ),
        pytest.param(
            seen(client_certificate=Probe(502, None, 1.0, detail="text/html")),
            "degraded",
            "client_certificate",
            "answered 502",
            id="anonymous-client-met-another-error",
        ),
        # unhealthy: it must not be used
        pytest.param(
            seen(version="2026.9.7"),
            "unhealthy",
            "version",
            "version 2026.9.6 answers, 2026.9.7 is expected",
            id="wrong-version",
        ),
        pytest.param(
            seen(startupz=Probe(200, {"ok": True, "status": "started"}, 1.0)),
            "unhealthy",
            "version",
            "does not say its version",
            id="version-not-told",
        ),
        pytest.param(
            unreached(Probe(503, STARTING, 1.0)),
            "unhealthy",
            "startupz",
            "has not started: starting (startup-sidecars)",
            id="starting",
        ),
        pytest.param(
            unreached(Probe(503, {"ok": False, "status": "draining", "uptimeMs": 1}, 1.0)),
            "unhealthy",
            "startupz",
            "draining. It is being stopped",
            id="draining",
        ),
        pytest.param(
            unreached(Probe(200, STARTING, 1.0)), "unhealthy", "startupz", "has not started", id="starting-with-200"
        ),
        pytest.param(
            unreached(Probe(200, {"ok": True, "status": "draining"}, 1.0)),
            "unhealthy",
            "startupz",
            "has not started: draining",
            id="ok-but-draining",
        ),
        pytest.param(
            unreached(Probe(503, {"ok": True, "status": "started"}, 1.0)),
            "unhealthy",
            "startupz",
            "has not started",
            id="started-with-503",
        ),
        pytest.param(unreached(PAGE), "unhealthy", "startupz", "Another program uses the port", id="a-page-with-200"),
        pytest.param(
            unreached(Probe(200, {"status": "UP"}, 1.0, detail="application/json")),
            "unhealthy",
            "startupz",
            "application/json that is not OpenClaw's",
            id="json-of-another-program",
        ),
        pytest.param(
            unreached(failed("garbled", "")), "unhealthy", "startupz", "does not speak HTTP", id="another-protocol"
        ),
        pytest.param(
            unreached(failed("tls", "certificate has expired")),
            "unhealthy",
            "certificate",
            "(certificate has expired)",
            id="expired-certificate",
        ),
        pytest.param(
            unreached(Probe(403, {"error": {"type": "proxy_attribution_required"}}, 1.0)),
            "unhealthy",
            "startupz",
            "gateway.trustedProxies",
            id="proxy-not-trusted",
        ),
        pytest.param(
            seen(healthz=Probe(200, {"ok": True}, 1.0)), "unhealthy", "healthz", "JSON of another shape", id="not-live"
        ),
        pytest.param(
            seen(authenticated_call=Probe(401, UNAUTHORIZED, 1.0)),
            "unhealthy",
            "authenticated_call",
            "the credential is refused",
            id="credential-refused",
        ),
        pytest.param(
            seen(authenticated_call=Probe(429, {"error": {"type": "rate_limited"}}, 1.0, detail="244")),
            "unhealthy",
            "authenticated_call",
            "locked out (for 244 s more)",
            id="locked-out",
        ),
        pytest.param(
            seen(authenticated_call=PAGE),
            "unhealthy",
            "authenticated_call",
            "text/html instead of JSON",
            id="call-answered-by-a-page",
        ),
        pytest.param(
            seen(authenticated_call=Probe(200, {"ok": False}, 1.0)),
            "unhealthy",
            "authenticated_call",
            "answered 200",
            id="call-not-ok-with-200",
        ),
        pytest.param(
            seen(authenticated_call=None, credential_problem="/x: it cannot be read. Y."),
            "unhealthy",
            "authenticated_call",
            "/x: it cannot be read",
            id="no-credential-to-show",
        ),
        pytest.param(
            seen(wrong_credential=REAL["authenticated_call"]),
            "unhealthy",
            "wrong_credential",
            "a random credential is accepted",
            id="wrong-credential-accepted",
        ),
        pytest.param(
            seen(wrong_credential=Probe(404, NO_TOOL, 1.0)),
            "unhealthy",
            "wrong_credential",
            "a random credential is accepted",
            id="wrong-credential-accepted",
        ),
        pytest.param(
            seen(client_certificate=REAL["startupz"]),
            "unhealthy",
            "client_certificate",
            "without a client certificate: the gateway answers",
            id="anonymous-client-let-in",
        ),
        pytest.param(
            seen(client_certificate=Probe(503, STARTING, 1.0)),
            "unhealthy",
            "client_certificate",
            "the gateway answers",
            id="anonymous-client-let-in-while-starting",
        ),
        # unreachable: nothing to talk to
        pytest.param(unreached(failed("refused", "")), "unreachable", "startupz", "nothing listens there", id="down"),
        pytest.param(
            unreached(failed("answer-timeout", "")), "unreachable", "startupz", "hangs, is stopped", id="hangs"
        ),
        pytest.param(
            unreached(failed("connect-timeout", "")), "unreachable", "startupz", "firewall", id="packets-dropped"
        ),
        pytest.param(unreached(failed("closed", "")), "unreachable", "startupz", "url with https", id="hung-up"),
        pytest.param(unreached(failed("unresolved", "")), "unreachable", "startupz", "resolved", id="no-such-host"),
        pytest.param(unreached(failed("unroutable", "")), "unreachable", "startupz", "network", id="no-route"),
        pytest.param(
            unreached(Probe(502, None, 1.0, detail="text/html")),
            "unreachable",
            "startupz",
            "a proxy answers 502",
            id="proxy-without-gateway",
        ),
    ],
)
def test_one_fault_gives_one_verdict_with_its_reason(observations, level, check, words):
    verdict = health.judge(observations)
    assert (verdict.verdict, verdict.checks[check]) == (level, "failed")
    assert any(words in reason for reason in verdict.reasons), verdict.reasons


@pytest.mark.parametrize(
    "observations",
    [
        pytest.param(seen(authenticated_call=Probe(404, NO_TOOL, 1.0)), id="tool-denied-by-policy"),
        pytest.param(seen(version=None), id="any-version"),
        pytest.param(seen(days_left=21), id="just-enough-days"),
        pytest.param(seen(readyz=Probe(200, {"ready": True}, 1.0)), id="remote-readiness-without-detail"),
        pytest.param(
            seen(client_certificate=failed("tls", "alert certificate required")), id="anonymous-client-alerted"
        ),
        pytest.param(seen(client_certificate=failed("closed", "")), id="anonymous-client-hung-up-on"),
        pytest.param(
            seen(client_certificate=Probe(400, None, 1.0, detail="text/html")), id="anonymous-client-gets-400"
        ),
        pytest.param(seen(websocket=None, wrong_credential=None, authenticated_call=None), id="checks-switched-off"),
    ],
)
def test_what_is_no_fault_leaves_the_gateway_healthy(observations):
    verdict = health.judge(observations)
    assert (verdict.verdict, verdict.reasons) == ("healthy", [])


def test_the_worst_finding_is_the_verdict_and_every_finding_is_told():
    verdict = health.judge(seen(version="2026.9.7", days_left=3, websocket=PAGE))
    assert (verdict.verdict, len(verdict.reasons)) == ("unhealthy", 3)


def test_a_check_that_was_not_made_is_not_passed():
    checks = health.judge(unreached(failed("refused", ""))).checks
    assert checks == {**dict.fromkeys(health.CHECKS, "not_run"), "startupz": "failed"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {},
            "last exit status 78, 0 restarts; 78 means that OpenClaw refuses its configuration or its state",
            id="78",
        ),
        pytest.param({"ExecMainStatus": "1"}, "last exit status 1, 0 restarts. Look at journalctl", id="exit-1"),
        pytest.param({"Result": "signal", "ExecMainStatus": "9"}, "killed by signal 9", id="signal"),
        pytest.param(
            {"Result": "core-dump", "ExecMainStatus": "78"}, "killed by signal 78", id="a-signal-is-no-status"
        ),
        pytest.param({"LoadState": "not-found"}, "systemd knows no such unit", id="no-such-unit"),
        pytest.param(
            {"ActiveState": "active", "SubState": "running", "Result": "success", "ExecMainStatus": "0"},
            "active (running), result success, last exit status 0, 0 restarts. The process runs",
            id="runs-but-does-not-answer",
        ),
        pytest.param(
            {"ActiveState": "inactive", "ExecMainStatus": "0"}, "systemctl start openclaw-gateway", id="stopped"
        ),
    ],
)
def test_an_unreachable_gateway_is_explained_by_its_unit(changes, words):
    verdict = health.judge(
        unreached(failed("refused", ""), unit="openclaw-gateway", unit_properties={**UNIT, **changes})
    )
    assert words in verdict.reasons[1]
    assert verdict.reasons[1].startswith("unit openclaw-gateway: ")


def test_a_unit_that_systemd_could_not_be_asked_about_is_named():
    verdict = health.judge(unreached(failed("refused", ""), unit="openclaw-gateway"))
    assert "unit openclaw-gateway: systemd cannot be asked" in verdict.reasons[1]


def test_the_output_of_systemctl_is_read_as_properties():
    assert health.properties("ActiveState=failed\nExecMainStatus=78\n\nnonsense\n") == {
        "ActiveState": "failed",
        "ExecMainStatus": "78",
    }


@pytest.mark.parametrize(
    ("uptime", "verdict", "check"),
    [
        pytest.param(2596, "healthy", "not_run", id="busy-with-its-start"),
        pytest.param(29_999, "healthy", "not_run", id="the-last-moment"),
        pytest.param(30_000, "degraded", "failed", id="it-should-be-through"),
        pytest.param("soon", "degraded", "failed", id="nobody-knows"),
    ],
)
def test_a_degraded_event_loop_counts_once_the_gateway_is_through_with_its_start(uptime, verdict, check):
    busy = health.judge(seen(readyz=ready(uptimeMs=uptime, eventLoop={"degraded": True, "reasons": ["cpu"]})))
    assert (busy.verdict, busy.checks["event_loop"], busy.figures["event_loop_degraded"]) == (verdict, check, True)
    idle = health.judge(seen(readyz=ready(uptimeMs=uptime, eventLoop={"degraded": False})))
    assert (idle.verdict, idle.checks["event_loop"]) == ("healthy", "passed")


def test_every_figure_has_a_name_of_its_own_with_its_unit():
    verdict = health.judge(seen(days_left=90, unit_properties=UNIT), Patience(9, 9, 1, elapsed=3.14159, looks=4))
    assert verdict.figures == {
        "startupz_latency_ms": 1.6,
        "readyz_latency_ms": 1.3,
        "healthz_latency_ms": 1.1,
        "websocket_latency_ms": 4.2,
        "authenticated_call_latency_ms": 18.4,
        "wrong_credential_latency_ms": 252.7,
        "uptime_ms": 317620,
        "event_loop_degraded": False,
        "event_loop_delay_p99_ms": 21.9,
        "event_loop_delay_max_ms": 22.4,
        "event_loop_utilization": 0.014,
        "event_loop_cpu_core_ratio": 0.015,
        "certificate_days_left": 90,
        "unit_exit_status": 78,
        "unit_restarts": 0,
        "waited_seconds": 3.1,
        "looks": 4,
    }


@pytest.mark.parametrize(
    ("fail_on", "failing"),
    [
        pytest.param("never", [], id="never"),
        pytest.param("unhealthy", ["unhealthy", "unreachable"], id="unhealthy"),
        pytest.param("degraded", ["degraded", "unhealthy", "unreachable"], id="degraded"),
    ],
)
def test_the_caller_says_which_verdict_is_a_failure(fail_on, failing):
    assert [level for level in health.LEVELS if health.fails(level, fail_on)] == failing


DOWN = unreached(failed("refused", ""))
DEGRADED = seen(websocket=PAGE)
# What systemd says while it waits to start a unit again.
AGAIN = {**UNIT, "ActiveState": "activating", "SubState": "auto-restart", "ExecMainStatus": "1"}
REFUSED = seen(authenticated_call=Probe(401, UNAUTHORIZED, 1.0))


@pytest.mark.parametrize(
    ("observations", "elapsed", "pause"),
    [
        pytest.param(seen(), 0, None, id="healthy-is-the-end"),
        pytest.param(DOWN, 0, 0.5, id="down-may-come-up"),
        pytest.param(DOWN, 119.8, pytest.approx(0.2), id="the-last-look-is-at-the-deadline"),
        pytest.param(DOWN, 120, None, id="too-late"),
        pytest.param(
            unreached(failed("refused", ""), unit="x", unit_properties=UNIT), 1, None, id="a-failed-unit-stays-down"
        ),
        pytest.param(
            unreached(failed("refused", ""), unit="x", unit_properties=AGAIN), 1, 0.5, id="first-failed-start"
        ),
        pytest.param(
            unreached(failed("refused", ""), unit="x", unit_properties={**AGAIN, "NRestarts": "1"}),
            1,
            None,
            id="second-failed-start",
        ),
        pytest.param(
            unreached(
                failed("refused", ""), unit="x", unit_properties={**AGAIN, "NRestarts": "1", "ExecMainStatus": "0"}
            ),
            1,
            0.5,
            id="an-orderly-restart-is-no-failed-start",
        ),
        pytest.param(
            unreached(
                failed("refused", ""), unit="x", unit_properties={**AGAIN, "NRestarts": "1", "SubState": "running"}
            ),
            1,
            0.5,
            id="the-third-start-runs",
        ),
        pytest.param(seen(days_left=3), 0, None, id="a-certificate-does-not-get-younger"),
        pytest.param(
            seen(authenticated_call=None, credential_problem="x"), 0, None, id="an-unreadable-credential-stays-so"
        ),
        pytest.param(DEGRADED, 0, 0.5, id="degraded-may-settle"),
        pytest.param(REFUSED, 0, 1.0, id="a-refused-credential-is-tried-more-rarely"),
    ],
)
def test_looking_goes_on_only_where_it_is_of_use(observations, elapsed, pause):
    assert Patience(wait=120, settle=30, interval=0.5).pause(observations, elapsed) == pause


def test_one_look_is_all_where_nothing_may_be_waited_for():
    assert Patience(wait=0, settle=30, interval=0.5).pause(DOWN, 0.01) is None


@pytest.mark.parametrize(
    "unsettled",
    [
        pytest.param(DEGRADED, id="degraded"),
        pytest.param(seen(version="2026.9.7"), id="wrong-version"),
        pytest.param(unreached(PAGE), id="another-program"),
    ],
)
def test_what_answers_gets_only_so_long_to_settle(unsettled):
    patience = Patience(wait=120, settle=30, interval=0.5)
    assert patience.pause(DOWN, 50) == 0.5
    assert patience.pause(unsettled, 60) == 0.5
    assert patience.pause(unsettled, 89.9) == pytest.approx(0.1)
    assert patience.pause(unsettled, 90) is None


def test_settling_begins_anew_when_the_gateway_restarts():
    patience = Patience(wait=120, settle=30, interval=0.5)
    patience.pause(DEGRADED, 0)
    patience.pause(unreached(Probe(503, STARTING, 1.0)), 20)
    assert patience.pause(DEGRADED, 40) == 0.5


def test_a_refused_credential_is_shown_less_than_ten_times_a_minute():
    patience, now, times = Patience(wait=600, settle=600, interval=0.5), 0.0, []
    while (pause := patience.pause(REFUSED, now)) is not None:
        times.append(now)
        now += pause
    assert max(sum(begin <= moment <= begin + 60 for moment in times) for begin in times) < 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(f'{{"A": "{TOKEN}"', "not valid JSON", id="torn"),
        pytest.param("[" * 100_000, "not valid JSON", id="too-deep"),
        pytest.param(f'{{"A": "{TOKEN}"}}', "there is no OPENCLAW_GATEWAY_TOKEN in it", id="other-name"),
        pytest.param(f'["{TOKEN}"]', "there is no OPENCLAW_GATEWAY_TOKEN in it", id="a-list"),
        pytest.param('{"OPENCLAW_GATEWAY_TOKEN": 5}', "cannot stand", id="a-number"),
        pytest.param('{"OPENCLAW_GATEWAY_TOKEN": " "}', "cannot stand", id="blank"),
        pytest.param(f'{{"OPENCLAW_GATEWAY_TOKEN": "{TOKEN}\\r\\nX: y"}}', "cannot stand", id="a-second-header"),
        pytest.param(f'{{"OPENCLAW_GATEWAY_TOKEN": "{TOKEN}\\u00e9"}}', "cannot stand", id="not-ascii"),
        pytest.param(
            '{"OPENCLAW_GATEWAY_TOKEN": "unreachable"}', "is too short to be a secret", id="a-word-of-a-verdict"
        ),
    ],
)
def test_a_secrets_file_without_a_usable_credential_is_refused_without_quoting_it(text, words):
    words = words.replace("cannot stand", "is not a text that can stand in a header")
    with pytest.raises(OpenClawError, match=words) as error:
        health.credential(text, "OPENCLAW_GATEWAY_TOKEN")
    assert TOKEN not in str(error.value)


def test_the_credential_is_found_by_its_name():
    assert health.credential(f'{{"OPENCLAW_GATEWAY_TOKEN": "{TOKEN}"}}', "OPENCLAW_GATEWAY_TOKEN") == TOKEN


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(b'{"ok":true}', {"ok": True}, id="object"),
        pytest.param(b"<!doctype html>", None, id="page"),
        pytest.param(b"[1]", None, id="list"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"\xff\xfe", None, id="not-utf-8"),
        pytest.param(b'{"a":' * 100_000, None, id="too-deep"),
    ],
)
def test_only_a_json_object_counts_as_something_said(body, says):
    assert health.answered(200, {}, body, 1.0).says == says


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(float("inf"), id="infinity"),
        pytest.param(float("nan"), id="not-a-number"),
        pytest.param(True, id="a-boolean"),
        pytest.param("7", id="a-text"),
    ],
)
def test_a_figure_that_monitoring_cannot_take_is_left_out(value):
    assert "uptime_ms" not in health.figures(seen(startupz=Probe(200, {"uptimeMs": value}, 1.0)))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"ok": False, "status": TOKEN}, id="phase"),
        pytest.param({"ok": True, "status": "started", "version": f"v{TOKEN}"}, id="version"),
        pytest.param({"error": {"type": TOKEN}}, id="error-type"),
        pytest.param({"ready": False, "failing": [TOKEN]}, id="failing"),
        pytest.param({"ready": True, "eventLoop": {"degraded": True, "reasons": [TOKEN]}}, id="loop-reason"),
    ],
)
@pytest.mark.parametrize("name", list(REAL))
def test_a_server_that_echoes_the_credential_does_not_get_it_into_the_verdict(name, body):
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in TOKEN)
    text = json.dumps(body).replace(TOKEN, escaped)
    probe = health.answered(418, {"content-type": TOKEN, "retry-after": TOKEN}, text.encode(), 1.0, secret=TOKEN)
    verdict = health.judge(seen(**{name: probe, "version": "1"}))
    assert TOKEN not in repr(verdict)


def test_what_a_server_says_cannot_steer_a_terminal():
    verdict = health.judge(unreached(Probe(503, {"ok": False, "status": "\x1b[2Jgone\n"}, 1.0)))
    assert verdict.reasons[0].isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(TOKEN),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just(TOKEN), inner, max_size=3)
    ),
    max_leaves=8,
)
SAID = st.dictionaries(
    st.sampled_from(["ok", "status", "version", "ready", "failing", "eventLoop", "event", "error", "uptimeMs", TOKEN]),
    JSON | st.sampled_from(["started", "live", "connect.challenge"]),
    max_size=6,
)


# Each example builds a whole conversation; the laws that need thousands are those of the merge.
@settings(max_examples=300)
@given(answers=st.dictionaries(st.sampled_from([*REAL, "client_certificate"]), SAID), status=st.integers(100, 599))
def test_whatever_a_server_says_there_is_a_verdict_flat_figures_and_no_secret(answers, status):
    probes = {
        name: health.answered(status, {}, json.dumps(said).encode(), 1.0, secret=TOKEN)
        for name, said in answers.items()
    }
    verdict = health.judge(Observations(url=URL, version="1", probes=probes))
    assert verdict.verdict in health.LEVELS
    assert (verdict.verdict == "healthy") == (verdict.reasons == [])
    assert set(verdict.checks.values()) <= {"passed", "failed", "not_run"}
    assert all(isinstance(figure, int | float) for figure in verdict.figures.values())
    assert TOKEN not in repr(verdict)


def through(**changes: object) -> Observations:
    """A healthy gateway with a healthy mTLS proxy; changes are to what is seen through the proxy."""
    inside = seen(
        **{"readyz": None, "healthz": None, "version": None, "wrong_credential": None, "days_left": 300, **changes}
    )
    inside.url = "https://gateway.example.com:443"
    return seen(mtls=inside, described=1, expiring={"ca": 3000, "revocation_list": 100, "clients": 300})


def test_an_mtls_proxy_that_works_and_has_time_left_is_healthy():
    verdict = health.judge(through(client_certificate=Probe(400, None, 1.0)))
    assert (verdict.verdict, verdict.reasons) == ("healthy", [])
    looked_at = ("health_directory", "mtls", "certificate", "client_certificate", "expiry")
    assert {verdict.checks[name] for name in looked_at} == {"passed"}
    assert verdict.figures["certificate_days_left"] == 300
    assert verdict.figures["revocation_list_days_left"] == 100


@pytest.mark.parametrize(
    ("changes", "level", "check", "words"),
    [
        pytest.param({"startupz": failed("refused", "")}, "unhealthy", "mtls", "nothing listens there", id="closed"),
        pytest.param(
            {"startupz": Probe(403, {"error": {"type": "proxy_attribution_required"}}, 1.0)},
            "unhealthy",
            "mtls",
            "does not trust the proxy",
            id="not-trusted",
        ),
        pytest.param({"startupz": PAGE}, "unhealthy", "mtls", "not OpenClaw's", id="another-site"),
        pytest.param({"websocket": PAGE}, "degraded", "mtls", "no connect.challenge", id="no-upgrade"),
        pytest.param({"days_left": 3}, "degraded", "certificate", "3 days left", id="expires"),
        pytest.param(
            {"client_certificate": Probe(200, {"ok": True, "status": "started"}, 1.0)},
            "unhealthy",
            "client_certificate",
            "the gateway answers",
            id="open-to-anonymous-clients",
        ),
    ],
)
def test_an_mtls_proxy_that_does_not_work_is_told_of(changes, level, check, words):
    verdict = health.judge(through(**changes))
    assert verdict.verdict == level
    assert verdict.checks[check] == "failed"
    assert any(words in reason and "gateway.example.com" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("name", "days", "level", "words"),
    [
        ("ca", 20, "degraded", "rotate=mtls_ca"),
        ("ca", -1, "unhealthy", "it has expired"),
        ("revocation_list", 20, "degraded", "20 days left"),
        ("revocation_list", -1, "unhealthy", "nginx refuses every client"),
        ("clients", -1, "degraded", "it has expired"),
    ],
)
def test_what_the_mtls_proxy_needs_and_what_expires_is_told_of(name, days, level, words):
    observations = through()
    observations.expiring[name] = days
    verdict = health.judge(observations)
    assert (verdict.verdict, verdict.checks["expiry"]) == (level, "failed")
    assert [reason for reason in verdict.reasons if words in reason]


@pytest.mark.parametrize(
    ("problem", "check"),
    [
        pytest.param({"mtls_problem": "/x/mtls.json: it cannot be used: no. Run site.yml again."}, "mtls", id="mtls"),
        pytest.param(
            {"health_problems": ["/x/a.json: it is not valid JSON. Remove it."]}, "health_directory", id="a-description"
        ),
    ],
)
def test_what_cannot_be_looked_at_is_told_of(problem: dict[str, object], check: str) -> None:
    verdict = health.judge(seen(**problem))
    assert (verdict.verdict, verdict.checks[check]) == ("unhealthy", "failed")
    assert verdict.reasons[0].startswith("/x/")
