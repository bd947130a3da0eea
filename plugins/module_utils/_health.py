# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""From what the probes brought back to a verdict: pure functions, no clock, no socket, no file."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._health_findings import (
    LEVELS,
    Finding,
    Level,
    Observations,
    findings,
    is_fresh,
)
from ansible_collections.clawops.openclaw.plugins.module_utils._health_probes import (
    Probe,
    answered,
    failed,
    is_accepted,
    is_gateway,
    is_refused,
    is_started,
    is_unauthorized,
    json_object,
    number,
    short_text,
    without_secret,
)
from ansible_collections.clawops.openclaw.plugins.module_utils._text import parse_json

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
    "settings",
    "certificate",
    "client_certificate",
    "health_directory",
    "mtls",
    "expiry",
    "tailnet",
    "backup",
)

# Letters that a credential must have at least.
SHORTEST_CREDENTIAL = 16

# A gateway that is asked by the wrong credential again and again locks the asking address out after ten attempts in a
# minute (loopback: answers ever later). Pauses that grow to this many seconds keep below that.
REFUSED_PAUSE = 15.0


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
        lasting = all(finding.lasting for finding in findings(seen))
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


def credential(text: str | bytes, name: str) -> str:
    """The credential called ``name`` in the text of a secrets file. No message repeats what is in the text."""
    try:
        token = parse_json(text)[name]
    except ValueError:
        raise OpenClawError("token_file", "it is not valid JSON", "Deploy the secrets file again.") from None
    except (KeyError, TypeError):
        remedy = "Correct token_name, or deploy the secrets file again."
        raise OpenClawError("token_file", f"there is no {name} in it", remedy) from None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token.strip():
        remedy = "Deploy a credential of letters and digits."
        raise OpenClawError("token_file", f"{name} in it is not a text that can stand in a header", remedy)
    if len(token) < SHORTEST_CREDENTIAL:
        # What is masked wherever it appears must be no word of a verdict.
        remedy = f"Give it {SHORTEST_CREDENTIAL} letters or more."
        raise OpenClawError("token_file", f"{name} in it is too short to be a secret", remedy)
    return token


def properties(text: str) -> dict[str, str]:
    """What ``systemctl show`` printed."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def judge(seen: Observations, patience: Patience | None = None) -> Verdict:
    """The verdict over all that was seen, and over how long it took to see it."""
    found = list(findings(seen))
    failing = {finding.check for finding in found}
    if not is_started(seen.probes.get("startupz")):
        failing.add("startupz")
    version = short_text(json_object(seen.probes.get("startupz")).get("version"))
    return Verdict(
        verdict=max((finding.level for finding in found), key=LEVELS.index, default="healthy"),
        reasons=[finding.reason for finding in found],
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
    startup, ready = json_object(seen.probes.get("startupz")), json_object(seen.probes.get("readyz"))
    loop = ready.get("eventLoop")
    loop = loop if isinstance(loop, dict) else {}
    found: dict[str, t.Any] = {f"{name}_latency_ms": probe.latency_ms for name, probe in seen.probes.items()}
    found |= {
        "uptime_ms": number(startup.get("uptimeMs")),
        "event_loop_degraded": loop.get("degraded") if isinstance(loop.get("degraded"), bool) else None,
        "event_loop_delay_p99_ms": number(loop.get("delayP99Ms")),
        "event_loop_delay_max_ms": number(loop.get("delayMaxMs")),
        "event_loop_utilization": number(loop.get("utilization")),
        "event_loop_cpu_core_ratio": number(loop.get("cpuCoreRatio")),
        "certificate_days_left": seen.mtls.days_left if seen.mtls else seen.days_left,
        **{f"{name}_days_left": days for name, days in seen.expiring.items()},
        **seen.backup_figures,
        "mtls_latency_ms": seen.mtls.probes["startupz"].latency_ms if seen.mtls else None,
    }
    for name, key in (("unit_exit_status", "ExecMainStatus"), ("unit_restarts", "NRestarts")):
        value = seen.unit_properties.get(key, "")
        found[name] = int(value) if value.isdecimal() else None
    return {name: value for name, value in found.items() if value is not None}


def _looked_at(seen: Observations) -> set[str]:
    """The checks that had something to look at."""
    names = {name for name in seen.probes if name in CHECKS}
    if seen.version and is_gateway(seen.probes.get("startupz")):
        names.add("version")
    if (degraded := figures(seen).get("event_loop_degraded")) is not None and not (degraded and is_fresh(seen)):
        names.add("event_loop")
    if seen.missing is not None:
        names.add("state")
    if seen.settings_problems is not None:
        names.add("settings")
    if seen.days_left is not None:
        names.add("certificate")
    if seen.described:
        names.add("health_directory")
    if seen.mtls:
        names |= {"mtls", *(_looked_at(seen.mtls) & {"certificate", "client_certificate"})}
    if seen.expiring:
        names.add("expiry")
    if seen.node_problem is not None:
        names.add("tailnet")
    if seen.backup_problems is not None:
        names.add("backup")
    return names


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
