# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What should be there, out of what is desired, what is there and what was applied last; and what of it changes."""

from __future__ import annotations

import json
import re
import secrets as random
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _merge, _settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._health import SHORTEST_CREDENTIAL
from ansible_collections.clawops.openclaw.plugins.module_utils._merge import Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._settings_found import Found, Secrets

Params = t.Mapping[str, t.Any]

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,127}")
# A change of this key makes the gateway read its secrets again and changes nothing else (measured).
STAMP_PATH = ("secrets", "providers", _settings.SECRET_PROVIDER, "timeoutMs")
_STAMPS = (5000, 5001)


class Plan(t.NamedTuple):
    """What should be there; ``target`` is ``desired`` with drift that is kept, ``ours`` the names that we gave."""

    desired: Settings
    target: Settings
    settings: Settings
    secrets: Secrets
    ours: list[str]
    keys: list[_merge.Path]
    names: list[str]
    drift: list[_merge.Path]


def desired_settings(params: Params) -> tuple[Settings, list[OpenClawError]]:
    """The defaults, the operator's keys and ours as one, and what is wrong with them whatever the host."""
    settings, owned = params["settings"], params["owned"]
    errors = _settings.retired(settings) + _settings.reserved(settings) + against_the_role(settings, owned)
    for name, value in params["secrets"].items():
        if not _NAME.fullmatch(name) or not isinstance(value, str) or not value:
            errors.append(
                OpenClawError(
                    f"gateway_secrets.{name}",
                    "a secret is a text that is not empty, under a name of capitals, digits and underscores",
                    "Correct the name or the value.",
                )
            )
        elif name in params["generate"] and not is_header(value):
            errors.append(
                OpenClawError(
                    f"gateway_secrets.{name}",
                    "holds a space, a line end or another character that no header of HTTP can carry, so nobody could show it",
                    "Use letters, digits and punctuation of ASCII; 'echo -n' leaves the line end out.",
                )
            )
        elif name in params["generate"] and not is_long(value):
            reason = f"has fewer than {SHORTEST_CREDENTIAL} letters, so it can be guessed"
            remedy = "Give it more, as 'openssl rand -hex 32' prints, or leave it out: one is made on the host."
            errors.append(OpenClawError(f"gateway_secrets.{name}", reason, remedy))
    return _merge.overlay(_merge.overlay(params["defaults"], settings), owned), errors


def is_header(value: str) -> bool:
    """Whether a credential can be shown as ``Authorization: Bearer …``."""
    return value.isascii() and value.isprintable() and " " not in value


def is_long(value: str) -> bool:
    """Whether a credential is long enough to be one."""
    return len(value) >= SHORTEST_CREDENTIAL


def against_the_role(settings: Settings, owned: Settings) -> list[OpenClawError]:
    """An error for each key that the role needs to be something else, or that has no room for one that it needs."""
    places = {}
    for path, _value in _merge.leaves(owned):
        above = (path[:length] for length in range(1, len(path)))
        place = next((key for key in above if not isinstance(_merge.lookup(settings, key), dict)), path)
        if _merge.lookup(settings, place) is not _merge.MISSING:
            places[place] = _merge.lookup(owned, place)
    remedy = "Remove it from gateway_settings; the role sets this key itself, from a variable of its own where there is one to choose."
    return [
        OpenClawError(
            f"gateway_settings.{_settings.dotted(place)}", f"the role needs it to be {json.dumps(value)}", remedy
        )
        for place, value in places.items()
        if not _merge.same(_merge.lookup(settings, place), value)
    ]


def make_plan(params: Params, desired: Settings, found: Found) -> Plan:
    """From what is desired and what is there, what should be there."""
    applied: Settings = found.journal.get("applied", {})
    attempts = unfinished(found.journal)
    drift = _merge.drift(applied=applied, live=found.settings) if found.raw else []
    for attempt in attempts:
        # What an interrupted attempt of ours wrote is no drift.
        others = _merge.drift(applied=attempt, live=found.settings)
        drift = [path for path in drift if path in others]
    target = desired
    if params["drift"] == "keep":
        target = _merge.adopt(desired=desired, applied=applied, live=found.settings, paths=drift)
    secrets = planned_secrets(params, found)
    # A secret that an interrupted attempt was about to let go is on its way out already.
    going = {*found.secrets} - {*found.journal.get("pending", {}).get("secrets", found.secrets)} - {*secrets}
    names = sorted(name for name in {*secrets, *found.secrets} - going if secrets.get(name) != found.secrets.get(name))
    stamped = stamp(found, renew=bool(names))
    desired, target = _merge.overlay(desired, stamped), _merge.overlay(target, stamped)
    settings = found.settings
    # What an interrupted attempt wrote and is no longer desired goes, too.
    for before in (*attempts, applied):
        settings = _merge.merge(applied=before, desired=target, live=settings)
    ours = sorted({*our_secrets(found), *params["secrets"], *params["generate"]})
    return Plan(desired, target, settings, secrets, ours, _merge.differing(found.settings, settings), names, drift)


def unfinished(journal: t.Mapping[str, t.Any]) -> list[Settings]:
    """What interrupted attempts were to bring about since the last one that was settled."""
    pending = journal.get("pending")
    return [*pending["earlier"], pending["desired"]] if pending else []


def our_secrets(found: Found) -> set[str]:
    """The names of the secrets that we put there."""
    return {*found.journal.get("secrets", []), *found.journal.get("pending", {}).get("ours", [])}


def planned_secrets(params: Params, found: Found) -> Secrets:
    """The inventory's secrets and those that somebody else put there, without those that we gave and no longer give."""
    ours = our_secrets(found)
    secrets = {name: value for name, value in found.secrets.items() if name not in ours or name in params["generate"]}
    for name in params["generate"]:
        secrets.setdefault(name, random.token_hex(32))
    return {**secrets, **params["secrets"]}


def stamp(found: Found, *, renew: bool) -> Settings:
    """The key that changes whenever a secret does, so that the gateway reads its secrets again."""
    now = _merge.lookup(found.settings, STAMP_PATH)
    # An attempt that was interrupted between secrets and settings has its stamp still to be written.
    wanted = next((_merge.lookup(each, STAMP_PATH) for each in reversed(unfinished(found.journal))), now)
    following = _STAMPS[1] if now == _STAMPS[0] else _STAMPS[0]
    value: t.Any = following if renew or wanted not in _STAMPS else wanted
    for key in reversed(STAMP_PATH):
        value = {key: value}
    return t.cast(Settings, value)


def report(plan: Plan, found: Found) -> dict[str, t.Any]:
    """The module's result, with every secret in it masked."""
    applied: Settings = found.journal.get("applied", {})
    known = known_values(found.secrets, found.settings) + known_values(plan.secrets, plan.settings)
    sides = {}
    for side, settings, secrets in (("before", found.settings, found.secrets), ("after", plan.settings, plan.secrets)):
        shown = {
            name: "(new value)"
            if side == "after" and name in plan.names
            else "(kept)"
            if name not in plan.names
            else "(old value)"
            for name in sorted(secrets)
        }
        sides[side] = {
            "settings": _settings.redact(_merge.project(settings, applied, plan.target), known),
            "secrets": shown,
        }
    plain = [_settings.dotted(path) for path, _value in _settings.plain_secrets(_merge.without_null(plan.target))]
    notes = [
        f"gateway_settings.{path} holds a secret as plain text: put it into gateway_secrets and refer to it with the filter secret_ref."
        for path in plain
    ]
    notes += [
        f"gateway_settings.{_settings.dotted(path)} was changed on the host since the last run." for path in plan.drift
    ]
    notes += [
        f"gateway_secrets.{name} ends with a line end, which few services take for part of a secret: 'echo -n' leaves it out."
        for name, value in sorted(plan.secrets.items())
        if isinstance(value, str) and value.endswith("\n") and "\n" not in value[:-1]
    ]
    return {
        "changed_keys": [_settings.dotted(path) for path in plan.keys],
        "changed_secrets": plan.names,
        "drift": [_settings.dotted(path) for path in plan.drift],
        "reload": _settings.reload_kind(plan.keys, plan.settings),
        "pending": "pending" in found.journal,
        "validated": False,
        "plain_secrets": plain,
        "diff": {**sides, "before_header": "settings and secrets", "after_header": "settings and secrets"},
        "notes": notes,
    }


def known_values(secrets: Secrets, settings: Settings) -> list[str]:
    """Secret texts to look for wherever something is shown; too short ones would mask ordinary words."""
    values = [*secrets.values(), *(value for _path, value in _settings.plain_secrets(settings))]
    return [value for value in values if isinstance(value, str) and len(value) >= 6]


def known_secrets(params: Params) -> list[str]:
    """The same, out of the parameters alone."""
    return known_values(params["secrets"], params["settings"])


__all__ = (
    "STAMP_PATH",
    "Plan",
    "desired_settings",
    "known_secrets",
    "known_values",
    "make_plan",
    "our_secrets",
    "report",
    "stamp",
    "unfinished",
)
