# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What one request to a gateway brought back, and what it shows: pure functions."""

from __future__ import annotations

import json
import math
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._text import parse_object, printable

MASK = "********"
# A call that needs the credential, and changes nothing.
CALL = json.dumps({"tool": "sessions_list", "args": {"limit": 1}}).encode()
# Seconds: OpenClaw delays a refusal by up to 5.
REFUSAL_DELAY = 6.0

# Letters of a text, and texts of a list, that a reason repeats.
_SHORT = 80
_NAMED = 10
# More than any figure is; Python's whole numbers have no end.
_TOO_LARGE = 2**63


class Probe(t.NamedTuple):
    """What one request brought back: an answer (``status``), or the way it failed (``failure``)."""

    status: int | None = None
    # The body, if it is a JSON object. A status code proves nothing: OpenClaw answers 200 with a page for any path.
    says: dict[str, t.Any] | None = None
    latency_ms: float | None = None
    failure: str = ""
    detail: str = ""


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


def answered(
    status: int, headers: dict[str, str], body: bytes, latency_ms: float, *, secret: str | None = None
) -> Probe:
    """A probe that was answered. Whatever the server says enters here, and leaves the secret behind."""
    try:
        # Parsed first: JSON can write the same secret in many ways.
        says = without_secret(parse_object(body), secret)
    except ValueError:
        says = None
    detail = headers.get("retry-after", "") if status == 429 else headers.get("content-type", "").partition(";")[0]
    return Probe(status, says, latency_ms, detail=printable(without_secret(detail, secret), _SHORT))


def failed(kind: str, detail: str) -> Probe:
    """A probe that brought no answer."""
    return Probe(failure=kind, detail=printable(detail))


def is_gateway(probe: Probe | None) -> bool:
    """Whether an answer to ``/startupz`` is one that OpenClaw gives, in whatever phase it is."""
    return isinstance(json_object(probe).get("ok"), bool) and isinstance(json_object(probe).get("status"), str)


def is_started(probe: Probe | None) -> bool:
    """Whether an answer to ``/startupz`` says that the gateway has started."""
    says = json_object(probe)
    return probe is not None and probe.status == 200 and says.get("ok") is True and says.get("status") == "started"


def is_accepted(probe: Probe | None) -> bool:
    """Whether the credential of an authenticated call was accepted.

    A gateway whose tool policy does not allow the tool says so only to those whose credential it has accepted: that
    "not found" is as good a proof as a result.
    """
    if probe is None:
        return False
    allowed = probe.status == 200 and json_object(probe).get("ok") is True
    return allowed or (
        probe.status == 404 and json_object(probe).get("ok") is False and error_type(probe) == "not_found"
    )


def is_unauthorized(probe: Probe | None) -> bool:
    """Whether the credential of an authenticated call was looked at and refused, in OpenClaw's words."""
    return probe is not None and probe.status == 401 and error_type(probe) == "unauthorized"


def is_refused(probe: Probe | None) -> bool:
    """Whether the credential of an authenticated call was refused, or not even looked at after too many wrong ones."""
    return is_unauthorized(probe) or (probe is not None and probe.status == 429)


def json_object(probe: Probe | None) -> dict[str, t.Any]:
    return (probe.says if probe else None) or {}


def error_type(probe: Probe) -> str:
    error = json_object(probe).get("error")
    return short_text(error.get("type")) if isinstance(error, dict) else ""


def short_text(value: object) -> str:
    """A short text of the server's, fit for a terminal; anything else is empty."""
    return printable(value, _SHORT) if isinstance(value, str) else ""


def short_list(value: object) -> str:
    """The first texts of a list of the server's."""
    texts = [short_text(item) for item in value[: _NAMED + 1]] if isinstance(value, list) else []
    return ", ".join([*texts[:_NAMED], "…"] if len(texts) > _NAMED else texts)


def number(value: object) -> int | float | None:
    """A number that monitoring can take; JSON as Python reads it also knows infinity, NaN and numbers of any length."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < _TOO_LARGE and math.isfinite(value) else None


__all__ = (
    "CALL",
    "MASK",
    "REFUSAL_DELAY",
    "Probe",
    "answered",
    "error_type",
    "failed",
    "is_accepted",
    "is_gateway",
    "is_refused",
    "is_started",
    "is_unauthorized",
    "json_object",
    "number",
    "short_list",
    "short_text",
    "without_secret",
)
