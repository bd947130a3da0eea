# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What is wrong with a gateway, in words, out of all that one look at it learnt: pure functions."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._health_probes import (
    Probe,
    error_type,
    failed,
    is_accepted,
    is_gateway,
    is_started,
    is_unauthorized,
    json_object,
    number,
    short_list,
    short_text,
)

Level = t.Literal["healthy", "degraded", "unhealthy", "unreachable"]
# From best to worst: the worst finding is the verdict.
LEVELS: tuple[Level, ...] = ("healthy", "degraded", "unhealthy", "unreachable")

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
    "foreign": (
        "another program has the gateway's port, and was not sent the credential",
        "Find out how it came to run, stop it, and start the gateway.",
    ),
}
_EXPIRING = {
    "ca": ("the CA of the mTLS proxy", "Run rotate.yml -e rotate=mtls_ca."),
    "revocation_list": (
        "the revocation list of the mTLS proxy",
        "Run site.yml, which renews it; nginx refuses every client when it has expired.",
    ),
    "clients": ("the first of the clients' certificates to expire", "Run site.yml, which renews it, and hand it out."),
}
_SIGNAL_RESULTS = ("signal", "core-dump", "oom-kill", "watchdog")


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
    # What the release refuses in a settings file that has changed since it was judged; None where there was nothing to judge.
    settings_problems: list[str] | None = None
    # Directories that were removed under the gateway's process; None where it was not looked at.
    missing: list[str] | None = None
    # How many things roles have described that belong to the verdict, and why descriptions cannot be used.
    described: int = 0
    health_problems: list[str] = dataclasses.field(default_factory=list)
    # The same gateway, seen through the mTLS proxy in front of it, and why that cannot be looked at, although it is described.
    mtls: Observations | None = None
    mtls_problem: str = ""
    # Days left of what the mTLS proxy needs besides its own certificate.
    expiring: dict[str, int] = dataclasses.field(default_factory=dict)
    # Why the host's node of a tailnet cannot be reached, and what to do; None where it was not asked.
    node_problem: str | None = None
    node_remedy: str = ""
    # What is wrong with backups and drills; None where the host makes none. And their figures, by name.
    backup_problems: list[str] | None = None
    backup_figures: dict[str, t.Any] = dataclasses.field(default_factory=dict)


def findings(seen: Observations) -> t.Iterator[Finding]:
    """All that is wrong."""
    yield from _startup(seen)
    yield from _version(seen)
    yield from _readiness(seen)
    yield from _liveness(seen)
    yield from _websocket(seen)
    yield from _credential(seen)
    yield from _wrong_credential(seen)
    yield from _state(seen)
    yield from _settings(seen)
    yield from _certificate(seen)
    yield from _client_certificate(seen)
    yield from _health_directory(seen)
    yield from _mtls(seen)
    yield from _expiry(seen)
    yield from _tailnet(seen)
    yield from _backup(seen)


def is_fresh(seen: Observations) -> bool:
    """Whether the gateway is still busy with its own start."""
    uptime = number(json_object(seen.probes.get("readyz")).get("uptimeMs"))
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
        seen_as = f"a proxy answers {probe.status}, the gateway behind it does not"
        remedy = "Start the gateway, or correct the proxy's upstream."
        yield Finding("startupz", "unreachable", _reason(seen.url, seen_as, remedy))
        yield from _unit(seen)
    elif error_type(probe) == "proxy_attribution_required":
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
        phase, cause = short_text(json_object(probe)["status"]), short_text(json_object(probe).get("pendingReason"))
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
    version = short_text(json_object(probe).get("version"))
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
    subject, says = f"{seen.url}/readyz", json_object(probe)
    if not isinstance(says.get("ready"), bool):
        yield Finding("readyz", "degraded", _reason(subject, _unexpected(probe), "Look at the gateway's log."))
    elif not says["ready"] or probe.status != 200 or says.get("failing"):
        named = short_list(says.get("failing")) or "it does not say what"
        remedy = "The rest serves; look at the gateway's log for this name: an expired credential of a channel is the usual cause."
        yield Finding("readyz", "degraded", _reason(subject, f"answered {probe.status}, not ready: {named}", remedy))
    loop = says.get("eventLoop")
    if isinstance(loop, dict) and loop.get("degraded") is True and not is_fresh(seen):
        because = _because(short_list(loop.get("reasons")))
        delay = number(loop.get("delayP99Ms"))
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
        probe.status == 200 and json_object(probe).get("ok") is True and json_object(probe).get("status") == "live"
    ):
        yield Finding(
            "healthz", "unhealthy", _reason(f"{seen.url}/healthz", _unexpected(probe), "Look at the gateway's log.")
        )


def _websocket(seen: Observations) -> t.Iterator[Finding]:
    probe = seen.probes.get("websocket")
    if probe is None or (probe.status == 101 and json_object(probe).get("event") == "connect.challenge"):
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
    if probe.failure == "foreign":
        remedy = _MEANING_OF_FAILURES[probe.failure][1]
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
        remedy = "Anybody who reaches the port rules the gateway: set gateway.auth.mode to token now."
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
    """It answers from what it has in memory, but cannot keep what it is told."""
    if seen.missing:
        phrase = "its working directory was removed under it; it can write no state, and does not end by itself"
        remedy = "Run site.yml, which gives it a new one and restarts it, and then restore what was in it."
        yield Finding("state", "unhealthy", _reason(f"unit {seen.unit}", phrase, remedy), lasting=True)


def _settings(seen: Observations) -> t.Iterator[Finding]:
    """It runs with what it has read before, but the next start is refused."""
    for problem in seen.settings_problems or []:
        yield Finding("settings", "degraded", f"The next start will fail. {problem}", lasting=True)


def _health_directory(seen: Observations) -> t.Iterator[Finding]:
    for problem in seen.health_problems:
        yield Finding("health_directory", "unhealthy", problem, lasting=True)


def _mtls(seen: Observations) -> t.Iterator[Finding]:
    """What is wrong with the mTLS proxy, although the gateway itself answers."""
    if seen.mtls_problem:
        yield Finding("mtls", "unhealthy", seen.mtls_problem, lasting=True)
    if seen.mtls is None:
        return
    for part in (_startup, _websocket, _credential, _certificate, _client_certificate):
        for finding in part(seen.mtls):
            check = finding.check if finding.check in ("certificate", "client_certificate") else "mtls"
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
    """It serves, but cannot be reached over the tailnet."""
    if seen.node_problem:
        yield Finding("tailnet", "degraded", _reason("the node of the tailnet", seen.node_problem, seen.node_remedy))


def _backup(seen: Observations) -> t.Iterator[Finding]:
    """It serves, but what it knows might not come back."""
    for problem in seen.backup_problems or []:
        yield Finding("backup", "degraded", problem, lasting=True)


def _reason(subject: str, seen_as: str, remedy: str) -> str:
    return f"{subject}: {seen_as}. {remedy}"


def _because(text: str) -> str:
    return f" ({text})" if text else ""


def _unexpected(probe: Probe) -> str:
    """A probe that was not answered as it should have been, in words that quote no free text of the server."""
    if probe.failure:
        return f"{_MEANING_OF_FAILURES[probe.failure][0]}{_because(probe.detail)}"
    if probe.says is None:
        return f"answered {probe.status} with {probe.detail or 'a body'} instead of JSON"
    return f"answered {probe.status}{_because(error_type(probe) or 'JSON of another shape')}"


__all__ = (
    "LEVELS",
    "START_MS",
    "Finding",
    "Level",
    "Observations",
    "findings",
    "is_fresh",
)
