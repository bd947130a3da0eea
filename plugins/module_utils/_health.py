# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""From what the probes brought back to a verdict: pure functions, no clock, no socket, no file."""

from __future__ import annotations

import dataclasses
import json
import math
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

MASK = "********"

Level = t.Literal["healthy", "degraded", "unhealthy", "unreachable"]
# From best to worst: the worst finding is the verdict.
LEVELS: tuple[Level, ...] = ("healthy", "degraded", "unhealthy", "unreachable")

CHECKS = (
    "startupz",
    "version",
    "readyz",
    "event_loop",
    "healthz",
    "websocket",
    "authenticated_call",
    "wrong_credential",
    "state",
    "certificate",
    "client_certificate",
    "door",
    "expiry",
    "tailnet",
)

# A gateway that is asked by the wrong credential again and again locks the asking address out after ten attempts in a
# minute (loopback: answers ever later). Pauses that grow to this many seconds keep below that.
REFUSED_PAUSE = 15.0

# A gateway says that it has started before its event loop is through with the work of that, 2 to 4 s on two cores: a loop
# that is degraded before it has been up for so long tells of its start, not of its service.
START_MS = 30_000

_MEANING_OF_FAILURES = {
    "unresolved": ("the host name cannot be resolved", "Correct url, or the name service of this host."),
    "refused": ("nothing listens there", "Start the gateway, or correct the port."),
    "unroutable": (
        "the host cannot be reached",
        "Look at the network and the firewall between this host and the gateway.",
    ),
    "connect-timeout": (
        "nobody answers at this address",
        "Look at the firewall between this host and the gateway; the host may be down.",
    ),
    "answer-timeout": (
        "the connection is accepted, but no answer comes",
        "The process hangs, is stopped or is overloaded: look at its log and CPU; raise timeout only for a busy host.",
    ),
    "closed": (
        "the connection is accepted and closed without an answer",
        "A gateway that starts or stops does this for a moment; if it goes on, look at its log. A port with TLS needs url with https.",
    ),
    "tls": (
        "no trusted TLS connection",
        "Look at the certificate, ca_path and server_name, or write url with http where the port has no TLS.",
    ),
    "garbled": ("what answers does not speak HTTP", "Another program uses the port: stop it, or correct url."),
}
_EXPIRING = {
    "authority": ("the authority of the door", "Run rotate.yml -e rotate=mtls_ca."),
    "revocation_list": (
        "the revocation list of the door",
        "Run site.yml, which renews it; nginx refuses every client when it has expired.",
    ),
    "clients": ("the first of the clients' certificates to expire", "Run site.yml, which renews it, and hand it out."),
}
_SIGNAL_RESULTS = ("signal", "core-dump", "oom-kill", "watchdog")


class Probe(t.NamedTuple):
    """What one request brought back: an answer (``status``), or the way it failed (``failure``)."""

    status: int | None = None
    # The body, if it is a JSON object. A status code proves nothing: OpenClaw answers 200 with a page for any path.
    says: dict[str, t.Any] | None = None
    latency_ms: float | None = None
    failure: str = ""
    detail: str = ""


class Finding(t.NamedTuple):
    """One thing that is not as it should be, and how bad that is."""

    check: str
    level: Level
    reason: str
    # Whether it is as true in a minute as now, so that looking again is of no use.
    lasting: bool = False


@dataclasses.dataclass
class Observations:
    """All that one look at a gateway learnt, and what was expected of it."""

    url: str
    version: str | None = None
    min_days_left: int = 21
    probes: dict[str, Probe] = dataclasses.field(default_factory=dict)
    # Why no credential could be read, although one was asked for.
    credential_problem: str = ""
    days_left: int | None = None
    # What systemd says about the unit; only asked when the gateway cannot be reached.
    unit: str | None = None
    unit_properties: dict[str, str] = dataclasses.field(default_factory=dict)
    # Directories that were removed under the gateway's process; None where it was not looked at.
    lost: list[str] | None = None
    # The same gateway, seen through the door in front of it, and why that cannot be looked at, although one was asked for.
    door: Observations | None = None
    door_problem: str = ""
    # Days left of what the door needs besides its own certificate.
    expiring: dict[str, int] = dataclasses.field(default_factory=dict)
    # Why the host's node of a tailnet cannot be reached, and what to do; None where nobody asked.
    node_trouble: str | None = None
    node_remedy: str = ""


@dataclasses.dataclass
class Verdict:
    """What a person, a play and a monitoring system need, each in its own form."""

    verdict: Level
    reasons: list[str]
    version: str
    checks: dict[str, str]
    figures: dict[str, t.Any]


@dataclasses.dataclass
class Patience:
    """How long to go on looking at a gateway that is not healthy; all in seconds."""

    wait: float
    settle: float
    interval: float
    elapsed: float = 0.0
    looks: int = 0
    # How many looks in a row found the credential refused.
    refusals: int = 0
    # Since when something has answered that is not on its way up or down.
    settling_since: float | None = None

    def pause(self, seen: Observations, elapsed: float) -> float | None:
        """Seconds until the next look after one that ended at ``elapsed``; None: it would be too late or of no use."""
        verdict, startupz = judge(seen).verdict, seen.probes.get("startupz")
        lasting = all(finding.lasting for finding in _findings(seen))
        self.elapsed, self.looks = elapsed, self.looks + 1
        self.refusals = self.refusals + 1 if is_refused(seen.probes.get("authenticated_call")) else 0
        left = self.wait - elapsed
        if verdict == "unreachable" or (is_gateway(startupz) and not is_started(startupz)):
            self.settling_since = None
        else:
            self.settling_since = elapsed if self.settling_since is None else self.settling_since
            left = min(left, self.settling_since + self.settle - elapsed)
        given_up = verdict == "unreachable" and _is_hopeless(seen.unit_properties)
        if lasting or given_up or left <= 0:
            return None
        return min(left, self.interval * 2.0 ** min(self.refusals, 16), max(REFUSED_PAUSE, self.interval))


def _is_hopeless(unit: t.Mapping[str, str]) -> bool:
    """Whether a unit is not started again by itself, or has failed to start for the second time in a row.

    Three failed starts within five minutes make OpenClaw come up with every channel off: the third is not waited for.
    """
    failed_again = unit.get("SubState") == "auto-restart" and unit.get("ExecMainStatus", "0") != "0"
    return unit.get("ActiveState") == "failed" or (failed_again and unit.get("NRestarts", "0") != "0")


def without_secret(value: t.Any, secret: str | None) -> t.Any:
    """A JSON value with every appearance of ``secret`` masked, in keys as well as in values."""
    if not secret:
        return value
    if isinstance(value, str):
        return value.replace(secret, MASK)
    if isinstance(value, list):
        return [without_secret(item, secret) for item in value]
    if isinstance(value, dict):
        return {without_secret(key, secret): without_secret(item, secret) for key, item in value.items()}
    return value


def credential(text: str, name: str) -> str:
    """The credential called ``name`` in the text of a secrets file. No message repeats what is in the text."""
    try:
        token = json.loads(text)[name]
    except (ValueError, RecursionError):
        raise OpenClawError("token_file", "it is not valid JSON", "Deploy the secrets file again.") from None
    except (KeyError, TypeError):
        remedy = "Correct token_name, or deploy the secrets file again."
        raise OpenClawError("token_file", f"there is no {name} in it", remedy) from None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token.strip():
        remedy = "Deploy a credential of letters and digits."
        raise OpenClawError("token_file", f"{name} in it is not a text that can stand in a header", remedy)
    return token


def properties(text: str) -> dict[str, str]:
    """What ``systemctl show`` printed."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def answered(
    status: int, headers: dict[str, str], body: bytes, latency_ms: float, *, secret: str | None = None
) -> Probe:
    """A probe that was answered. Whatever the server says enters here, and leaves the secret behind."""
    try:
        # Parsed first: JSON can write the same secret in many ways.
        says = without_secret(json.loads(body.decode("utf-8")), secret)
    except (ValueError, RecursionError):
        says = None
    detail = headers.get("retry-after", "") if status == 429 else headers.get("content-type", "").partition(";")[0]
    return Probe(status, says if isinstance(says, dict) else None, latency_ms, detail=without_secret(detail, secret))


def failed(kind: str, detail: str) -> Probe:
    """A probe that brought no answer."""
    return Probe(failure=kind, detail=detail)


def is_gateway(probe: Probe | None) -> bool:
    """Whether an answer to ``/startupz`` is one that OpenClaw gives, in whatever phase it is."""
    return isinstance(_object(probe).get("ok"), bool) and isinstance(_object(probe).get("status"), str)


def is_started(probe: Probe | None) -> bool:
    """Whether an answer to ``/startupz`` says that the gateway has started."""
    says = _object(probe)
    return probe is not None and probe.status == 200 and says.get("ok") is True and says.get("status") == "started"


def is_accepted(probe: Probe | None) -> bool:
    """Whether the credential of an authenticated call was accepted.

    A gateway whose tool policy does not allow the tool says so only to those whose credential it has accepted: that
    "not found" is as good a proof as a result.
    """
    if probe is None:
        return False
    allowed = probe.status == 200 and _object(probe).get("ok") is True
    return allowed or (probe.status == 404 and _object(probe).get("ok") is False and _error_type(probe) == "not_found")


def is_unauthorized(probe: Probe | None) -> bool:
    """Whether the credential of an authenticated call was looked at and refused, in OpenClaw's words."""
    return probe is not None and probe.status == 401 and _error_type(probe) == "unauthorized"


def is_refused(probe: Probe | None) -> bool:
    """Whether the credential of an authenticated call was refused, or not even looked at after too many wrong ones."""
    return is_unauthorized(probe) or (probe is not None and probe.status == 429)


def judge(seen: Observations, patience: Patience | None = None) -> Verdict:
    """The verdict over all that was seen, and over how long it took to see it."""
    findings = list(_findings(seen))
    failing = {finding.check for finding in findings}
    if not is_started(seen.probes.get("startupz")):
        failing.add("startupz")
    version = _text(_object(seen.probes.get("startupz")).get("version"))
    return Verdict(
        verdict=max((finding.level for finding in findings), key=LEVELS.index, default="healthy"),
        reasons=[finding.reason for finding in findings],
        version=version,
        checks={
            name: "failed" if name in failing else "passed" if name in _looked_at(seen) else "not_run"
            for name in CHECKS
        },
        figures=figures(seen)
        | ({"waited_seconds": round(patience.elapsed, 1), "looks": patience.looks} if patience else {}),
    )


def fails(verdict: Level, fail_on: str) -> bool:
    """Whether a verdict is at least as bad as what the caller wants to fail on."""
    return fail_on != "never" and LEVELS.index(verdict) >= LEVELS.index(t.cast(Level, fail_on))


def figures(seen: Observations) -> dict[str, t.Any]:
    """Every figure under a name of its own; what was not learnt is left out."""
    startup, ready = _object(seen.probes.get("startupz")), _object(seen.probes.get("readyz"))
    loop = ready.get("eventLoop")
    loop = loop if isinstance(loop, dict) else {}
    found: dict[str, t.Any] = {f"{name}_latency_ms": probe.latency_ms for name, probe in seen.probes.items()}
    found |= {
        "uptime_ms": _number(startup.get("uptimeMs")),
        "event_loop_degraded": loop.get("degraded") if isinstance(loop.get("degraded"), bool) else None,
        "event_loop_delay_p99_ms": _number(loop.get("delayP99Ms")),
        "event_loop_delay_max_ms": _number(loop.get("delayMaxMs")),
        "event_loop_utilization": _number(loop.get("utilization")),
        "event_loop_cpu_core_ratio": _number(loop.get("cpuCoreRatio")),
        "certificate_days_left": seen.door.days_left if seen.door else seen.days_left,
        **{f"{name}_days_left": days for name, days in seen.expiring.items()},
        "door_latency_ms": seen.door.probes["startupz"].latency_ms if seen.door else None,
    }
    for name, key in (("unit_exit_status", "ExecMainStatus"), ("unit_restarts", "NRestarts")):
        value = seen.unit_properties.get(key, "")
        found[name] = int(value) if value.isdecimal() else None
    return {name: value for name, value in found.items() if value is not None}


def _findings(seen: Observations) -> t.Iterator[Finding]:
    yield from _startup(seen)
    yield from _version(seen)
    yield from _readiness(seen)
    yield from _liveness(seen)
    yield from _websocket(seen)
    yield from _credential(seen)
    yield from _wrong_credential(seen)
    yield from _state(seen)
    yield from _certificate(seen)
    yield from _client_certificate(seen)
    yield from _door(seen)
    yield from _expiry(seen)
    yield from _tailnet(seen)


def _looked_at(seen: Observations) -> set[str]:
    """The checks that had something to look at."""
    names = {name for name in seen.probes if name in CHECKS}
    if seen.version and is_gateway(seen.probes.get("startupz")):
        names.add("version")
    if (degraded := figures(seen).get("event_loop_degraded")) is not None and not (degraded and _is_fresh(seen)):
        names.add("event_loop")
    if seen.lost is not None:
        names.add("state")
    if seen.days_left is not None:
        names.add("certificate")
    if seen.door:
        names |= {"door", *(_looked_at(seen.door) & {"certificate", "client_certificate"})}
    if seen.expiring:
        names.add("expiry")
    if seen.node_trouble is not None:
        names.add("tailnet")
    return names


def _is_fresh(seen: Observations) -> bool:
    """Whether the gateway is still busy with its own start."""
    uptime = _number(_object(seen.probes.get("readyz")).get("uptimeMs"))
    return uptime is not None and uptime < START_MS


def _startup(seen: Observations) -> t.Iterator[Finding]:
    probe = seen.probes.get("startupz", failed("refused", ""))
    if probe.failure:
        level: Level = "unhealthy" if probe.failure in ("tls", "garbled") else "unreachable"
        meaning, remedy = _MEANING_OF_FAILURES[probe.failure]
        check = "certificate" if probe.failure == "tls" else "startupz"
        yield Finding(check, level, _reason(seen.url, f"{meaning}{_because(probe.detail)}", remedy))
        if level == "unreachable":
            yield from _unit(seen)
    elif probe.status in (502, 504) and probe.says is None:
        yield Finding(
            "startupz",
            "unreachable",
            _reason(
                seen.url,
                f"a proxy answers {probe.status}, the gateway behind it does not",
                "Start the gateway, or correct the proxy's upstream.",
            ),
        )
        yield from _unit(seen)
    elif _error_type(probe) == "proxy_attribution_required":
        yield Finding(
            "startupz",
            "unhealthy",
            _reason(
                seen.url,
                "the gateway does not trust the proxy in front of it",
                "Set gateway.trustedProxies to the proxy's address, and do not go through the proxy from the gateway's own loopback.",
            ),
        )
    elif not is_gateway(probe):
        yield Finding(
            "startupz",
            "unhealthy",
            _reason(
                f"{seen.url}/startupz",
                f"answered {probe.status} with {probe.detail or 'a body'} that is not OpenClaw's",
                "Another program uses the port: stop it, or correct url.",
            ),
        )
    elif not is_started(probe):
        phase, cause = _text(_object(probe)["status"]), _text(_object(probe).get("pendingReason"))
        remedy = (
            "It is being stopped or restarted."
            if phase == "draining"
            else "Give it time (wait); if it stays so, look at the gateway's log."
        )
        yield Finding(
            "startupz",
            "unhealthy",
            _reason(f"{seen.url}/startupz", f"the gateway has not started: {phase}{_because(cause)}", remedy),
        )


def _unit(seen: Observations) -> t.Iterator[Finding]:
    """What systemd knows about a gateway that cannot be reached."""
    if not seen.unit:
        return
    said = seen.unit_properties
    active, result, status = said.get("ActiveState", "unknown"), said.get("Result", ""), said.get("ExecMainStatus", "")
    ending = f"killed by signal {status}" if result in _SIGNAL_RESULTS else f"last exit status {status}"
    phrase = f"{active} ({said.get('SubState', '')}), result {result}, {ending}, {said.get('NRestarts', '0')} restarts"
    remedy = f"Look at journalctl --unit {seen.unit} --lines 50."
    if not said:
        phrase, remedy = "systemd cannot be asked about it", "Look at the log of whatever starts the gateway."
    elif said.get("LoadState") == "not-found":
        phrase, remedy = "systemd knows no such unit", "Install the gateway, or correct unit."
    elif status == "78" and result not in _SIGNAL_RESULTS:
        phrase += "; 78 means that OpenClaw refuses its configuration or its state, or that the host was too busy for its start"
        remedy = f"Run openclaw config validate, and look at journalctl --unit {seen.unit} --lines 50."
    elif active == "active":
        remedy = f"The process runs: it is still starting, or listens elsewhere than at url. {remedy}"
    elif active == "inactive":
        remedy = f"Start it with systemctl start {seen.unit}."
    yield Finding("startupz", "unreachable", _reason(f"unit {seen.unit}", phrase, remedy))


def _version(seen: Observations) -> t.Iterator[Finding]:
    probe = seen.probes.get("startupz")
    if not seen.version or not is_gateway(probe):
        return
    version = _text(_object(probe).get("version"))
    if not version:
        remedy = "From another address OpenClaw tells it only to those who show the credential: give token_file, or ask on the gateway's loopback."
        yield Finding(
            "version",
            "unhealthy",
            _reason(seen.url, f"it does not say its version, {seen.version} is expected", remedy),
        )
    elif version != seen.version:
        remedy = "The old release still runs: restart the gateway, or correct the expected version."
        yield Finding(
            "version", "unhealthy", _reason(seen.url, f"version {version} answers, {seen.version} is expected", remedy)
        )


def _readiness(seen: Observations) -> t.Iterator[Finding]:
    probe = seen.probes.get("readyz")
    if probe is None:
        return
    subject, says = f"{seen.url}/readyz", _object(probe)
    if not isinstance(says.get("ready"), bool):
        yield Finding("readyz", "degraded", _reason(subject, _unexpected(probe), "Look at the gateway's log."))
    elif not says["ready"] or probe.status != 200 or says.get("failing"):
        failing = says.get("failing") if isinstance(says.get("failing"), list) else []
        named = ", ".join(_text(name) for name in failing or []) or "it does not say what"
        remedy = "The rest serves; look at the gateway's log for this name: an expired credential of a channel is the usual cause."
        yield Finding("readyz", "degraded", _reason(subject, f"answered {probe.status}, not ready: {named}", remedy))
    loop = says.get("eventLoop")
    if isinstance(loop, dict) and loop.get("degraded") is True and not _is_fresh(seen):
        causes = loop.get("reasons") if isinstance(loop.get("reasons"), list) else []
        because = _because(", ".join(_text(cause) for cause in causes or []))
        delay = _number(loop.get("delayP99Ms"))
        remedy = "Requests wait: the host is short of CPU, or a turn takes it all."
        yield Finding(
            "event_loop",
            "degraded",
            _reason(
                subject,
                f"the event loop is degraded{because}, p99 delay {'unknown' if delay is None else f'{delay:g} ms'}",
                remedy,
            ),
        )


def _liveness(seen: Observations) -> t.Iterator[Finding]:
    probe = seen.probes.get("healthz")
    if probe is not None and not (
        probe.status == 200 and _object(probe).get("ok") is True and _object(probe).get("status") == "live"
    ):
        yield Finding(
            "healthz", "unhealthy", _reason(f"{seen.url}/healthz", _unexpected(probe), "Look at the gateway's log.")
        )


def _websocket(seen: Observations) -> t.Iterator[Finding]:
    probe = seen.probes.get("websocket")
    if probe is None or (probe.status == 101 and _object(probe).get("event") == "connect.challenge"):
        return
    remedy = "Clients and the Control UI cannot connect: let the proxy pass Upgrade and Connection on, or look at the gateway's log."
    yield Finding(
        "websocket",
        "degraded",
        _reason(f"{seen.url} (WebSocket)", f"no connect.challenge: {_unexpected(probe)}", remedy),
    )


def _credential(seen: Observations) -> t.Iterator[Finding]:
    probe, subject = seen.probes.get("authenticated_call"), f"{seen.url}/tools/invoke"
    if seen.credential_problem:
        yield Finding("authenticated_call", "unhealthy", seen.credential_problem, lasting=True)
    if probe is None or is_accepted(probe):
        return
    seen_as, remedy = _unexpected(probe), "Look at the gateway's log."
    if is_unauthorized(probe):
        seen_as = "the credential is refused"
        remedy = "The running gateway has another one: let it reload its secrets (it does not watch the file), or correct token_file and token_name."
    elif probe.status == 429:
        seen_as = f"too many refused credentials from this address, locked out{_because(probe.detail and f'for {probe.detail} s more')}"
        remedy = "Find the client with the old credential; the lock ends by itself."
    yield Finding("authenticated_call", "unhealthy", _reason(subject, seen_as, remedy))


def _wrong_credential(seen: Observations) -> t.Iterator[Finding]:
    probe, subject = seen.probes.get("wrong_credential"), f"{seen.url}/tools/invoke"
    if probe is None or is_unauthorized(probe):
        return
    if is_accepted(probe):
        remedy = "Whoever reaches the port rules the gateway: set gateway.auth.mode to token now."
        yield Finding("wrong_credential", "unhealthy", _reason(subject, "a random credential is accepted", remedy))
    else:
        remedy = "It is not shown that wrong credentials are refused: try again, then look at the gateway's log."
        yield Finding(
            "wrong_credential",
            "degraded",
            _reason(subject, f"a random credential: {_unexpected(probe)} instead of 401", remedy),
        )


def _certificate(seen: Observations) -> t.Iterator[Finding]:
    if seen.days_left is not None and seen.days_left < seen.min_days_left:
        seen_as = f"{seen.days_left} days left, fewer than {seen.min_days_left}"
        remedy = "Renew it now; clients refuse the gateway when it has expired."
        yield Finding("certificate", "degraded", _reason(f"certificate of {seen.url}", seen_as, remedy), lasting=True)


def _client_certificate(seen: Observations) -> t.Iterator[Finding]:
    probe = seen.probes.get("client_certificate")
    if probe is None:
        return
    subject = f"{seen.url} without a client certificate"
    if is_gateway(probe):
        remedy = (
            "The proxy in front must verify clients (nginx: ssl_verify_client on); gateway.tls of OpenClaw does not."
        )
        yield Finding("client_certificate", "unhealthy", _reason(subject, "the gateway answers", remedy))
    # nginx lets the handshake pass and answers 400; others refuse the handshake, or hang up.
    elif probe.failure not in ("tls", "closed") and probe.status not in (400, 401, 403):
        remedy = "It is not shown that such clients are refused: try again, then look at the proxy's log."
        yield Finding("client_certificate", "degraded", _reason(subject, _unexpected(probe), remedy))


def _state(seen: Observations) -> t.Iterator[Finding]:
    """It answers from what it has in memory, but what it is told to keep is lost."""
    if seen.lost:
        phrase = "its working directory was removed under it; it can write no state, and does not end by itself"
        remedy = "Run site.yml, which gives it a new one and restarts it, and then restore what was in it."
        yield Finding("state", "unhealthy", _reason(f"unit {seen.unit}", phrase, remedy), lasting=True)


def _door(seen: Observations) -> t.Iterator[Finding]:
    """What is wrong with the way in, although the gateway itself answers."""
    if seen.door_problem:
        yield Finding("door", "unhealthy", seen.door_problem, lasting=True)
    if seen.door is None:
        return
    for part in (_startup, _websocket, _credential, _certificate, _client_certificate):
        for finding in part(seen.door):
            check = finding.check if finding.check in ("certificate", "client_certificate") else "door"
            # The gateway can be reached, if only on its host.
            level: Level = "unhealthy" if finding.level == "unreachable" else finding.level
            yield finding._replace(check=check, level=level)


def _expiry(seen: Observations) -> t.Iterator[Finding]:
    for name, days in seen.expiring.items():
        if days >= seen.min_days_left:
            continue
        subject, remedy = _EXPIRING.get(name, (name, "Renew it now."))
        level: Level = "unhealthy" if days < 0 and name != "clients" else "degraded"
        seen_as = f"{days} days left, fewer than {seen.min_days_left}" if days >= 0 else "it has expired"
        yield Finding("expiry", level, _reason(subject, seen_as, remedy), lasting=True)


def _tailnet(seen: Observations) -> t.Iterator[Finding]:
    """It serves whoever reaches it, but nobody reaches it over the tailnet."""
    if seen.node_trouble:
        yield Finding("tailnet", "degraded", _reason("the node of the tailnet", seen.node_trouble, seen.node_remedy))


def _reason(subject: str, seen_as: str, remedy: str) -> str:
    return f"{subject}: {seen_as}. {remedy}"


def _because(text: str) -> str:
    return f" ({text})" if text else ""


def _unexpected(probe: Probe) -> str:
    """A probe that was not answered as it should have been, in words that quote no free text of the server."""
    if probe.failure:
        return f"{_MEANING_OF_FAILURES[probe.failure][0]}{_because(probe.detail)}"
    if probe.says is None:
        return f"answered {probe.status} with {_text(probe.detail) or 'a body'} instead of JSON"
    return f"answered {probe.status}{_because(_error_type(probe) or 'JSON of another shape')}"


def _object(probe: Probe | None) -> dict[str, t.Any]:
    return (probe.says if probe else None) or {}


def _error_type(probe: Probe) -> str:
    error = _object(probe).get("error")
    return _text(error.get("type")) if isinstance(error, dict) else ""


def _text(value: object) -> str:
    """A short text of the server's, fit for a terminal; anything else is empty."""
    return "".join(letter if letter.isprintable() else " " for letter in value[:80]) if isinstance(value, str) else ""


def _number(value: object) -> int | float | None:
    """A number that monitoring can take; JSON as Python reads it also knows infinity and NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


__all__ = (
    "CHECKS",
    "LEVELS",
    "Finding",
    "Level",
    "Observations",
    "Patience",
    "Probe",
    "Verdict",
    "answered",
    "credential",
    "failed",
    "fails",
    "figures",
    "is_accepted",
    "is_gateway",
    "is_refused",
    "is_started",
    "is_unauthorized",
    "judge",
    "properties",
    "without_secret",
)
