# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""The story of one change of a gateway's settings and secrets: read, plan, validate, write, confirm.

Beside the settings stands a journal: what was applied last and, between the first write and the gateway's
confirmation, what is being applied. Whoever is killed in between leaves two whole files and that note, from which
the next run goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets as random
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _merge, _runtime, _settings, _store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError, Several
from ansible_collections.clawops.openclaw.plugins.module_utils._merge import Settings

Params = t.Mapping[str, t.Any]
Secrets = dict[str, str]

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,127}")
# A change of this key makes the gateway read its secrets again and changes nothing else (measured).
_STAMP_PATH = ("secrets", "providers", _settings.SECRET_PROVIDER, "timeoutMs")
_STAMPS = (5000, 5001)
_DEFAULT_PORT = 18789
_SECRETS_MODE = 0o400
_SETTINGS_MODE = 0o600


# The options of the module gateway_config, which documents them.
OPTIONS: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "confirmed", "rolled_back"], "default": "present"},
    "owner": {"type": "str"},
    "settings": {"type": "dict", "default": {}},
    "defaults": {"type": "dict", "default": {}},
    "owned": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "secrets_path": {"type": "path", "required": True, "no_log": False},
    "generate": {"type": "list", "elements": "str", "default": []},
    "environment_variables": {"type": "dict", "default": {}},
    "release": {"type": "path"},
    "unit": {"type": "str", "default": "openclaw-gateway.service"},
    "drift": {"type": "str", "choices": ["revert", "keep"], "default": "revert"},
    "recover": {"type": "str", "choices": ["none", "last_good", "previous", "discard"], "default": "none"},
    "confirm": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 180},
}


class Paths(t.NamedTuple):
    """The files of one gateway's settings."""

    settings: str
    secrets: str

    @property
    def previous(self) -> str:
        return self.settings + ".previous"

    @property
    def last_good(self) -> str:
        return self.settings + ".last-good"

    @property
    def journal(self) -> str:
        return self.settings + ".applied"

    @property
    def previous_secrets(self) -> str:
        return self.secrets + ".previous"


class Found(t.NamedTuple):
    """What stands on the host; ``raw`` is ``None`` without a settings file and empty for one that cannot be read."""

    settings: Settings
    raw: bytes | None
    secrets: Secrets
    journal: dict[str, t.Any]

    @property
    def unremembered(self) -> bool:
        """Whether a person's JSON5 stands there that the journal does not know yet."""
        return (
            bool(self.raw) and not is_json(self.raw) and self.journal.get("json5", {}).get("sha256") != digest(self.raw)
        )


class Plan(t.NamedTuple):
    """What should stand there; ``wished`` is ``desired`` without drift that is kept, ``ours`` whose names we gave."""

    wished: Settings
    desired: Settings
    settings: Settings
    secrets: Secrets
    ours: list[str]
    keys: list[_merge.Path]
    names: list[str]
    drift: list[_merge.Path]


def run(params: Params, *, check_mode: bool) -> dict[str, t.Any]:
    """Do what the module's parameters ask for, and return its result with ``notes`` for the operator."""
    paths = Paths(params["path"], params["secrets_path"])
    account = _store.find_account(params["owner"])
    # On a fresh host there is nothing yet to have for oneself; check mode only looks.
    shared = check_mode or not os.path.isdir(os.path.dirname(paths.settings))
    with contextlib.nullcontext() if shared else _store.alone(paths.settings, timeout=params["timeout"]):
        if params["state"] == "confirmed":
            return confirm(paths, account, check_mode=check_mode)
        if params["state"] == "rolled_back":
            return roll_back(paths, account, check_mode=check_mode)
        return ensure(params, paths, account, check_mode=check_mode)


class _Unread(OpenClawError):
    """The settings that are there cannot be read, and the operator has not said what to start from."""


class Prepared(t.NamedTuple):
    """What is there and what should be; ``due`` says whether anything at all has to be written."""

    found: Found
    plan: Plan
    result: dict[str, t.Any]
    due: bool


def prepare(
    params: Params,
    paths: Paths,
    account: _store.Account | None,
    release: _runtime.Release,
    reader: _runtime.Release,
    *,
    checked: t.Callable[[], None] = lambda: None,
) -> Prepared:
    """Find out what has to change, and refuse what cannot be. Writes nothing but a candidate for the release to validate.

    :param release: the release that will run the settings; where it is not installed, it validates nothing.
    :param reader: a release that can read what is there.
    :param checked: called between the checks of the parameters and those of the host.
    """
    desired = wish(params)
    checked()
    found = look(paths, account, reader, recover=params["recover"])
    plan = make_plan(params, desired, found)
    refuse(
        _settings.undefined_secrets(plan.settings, plan.secrets)
        + _settings.undefined_variables(plan.desired, params["environment_variables"])
    )
    result = report(plan, found)
    attributes = any(
        _store.wrong_attributes(path, account, mode)
        for path, mode in ((paths.settings, _SETTINGS_MODE), (paths.secrets, _SECRETS_MODE))
    )
    result["changed"] = bool(plan.keys or plan.names or attributes or not found.raw)
    validated = found.journal.get("validated_by") == release.version
    if (result["changed"] or not validated) and release.installed and os.path.isdir(os.path.dirname(paths.settings)):
        result["notes"] += judge(release, paths, account, plan)
        result["validated"] = True
    leftover = os.path.lexists(paths.previous_secrets)
    unsettled = result["pending"] or not validated or found.unremembered or leftover
    return Prepared(found, plan, result, bool(result["changed"] or unsettled))


def preview(params: Params, *, reader: str) -> dict[str, t.Any]:
    """Whether a call with these parameters has anything to do (``due``), and its ``notes``; refuses what that refuses.

    :param reader: the directory of a release that can read the settings which are there, where the one that will run them
        is not installed yet.
    """
    paths = Paths(params["path"], params["secrets_path"])
    account = _store.find_account(params["owner"])
    release, read_by = (
        _runtime.Release(path, account, params["environment_variables"]) for path in (params["release"], reader)
    )
    try:
        prepared = prepare(params, paths, account, release, release if release.installed else read_by)
    except _Unread:
        if release.installed or read_by.installed:
            raise
        # JSON5, perhaps: a release says so as soon as there is one.
        return {"due": True, "notes": []}
    return {"due": prepared.due, "notes": prepared.result["notes"]}


def ensure(params: Params, paths: Paths, account: _store.Account | None, *, check_mode: bool) -> dict[str, t.Any]:
    """Make the settings and secrets as desired."""
    release = _runtime.Release(params["release"], account, params["environment_variables"])

    def checked() -> None:
        if not check_mode:
            refuse(prerequisites(params, account, release))

    found, plan, result, due = prepare(params, paths, account, release, release, checked=checked)
    if check_mode or not due:
        return result
    for path in (paths.settings, paths.secrets):
        _store.sweep(path, account)
    gateway = running_gateway(params, paths, account, found)
    if result["changed"]:
        write(paths, account, found, plan, release.version)
    # Only a change of what the settings mean can be confirmed: the gateway takes no notice of any other.
    to_confirm = bool(found.raw and (plan.keys or plan.names)) or result["pending"]
    if to_confirm and gateway and params["confirm"]:
        result["reload"] = await_gateway(gateway, params, paths, account, found, plan)
        result["notes"] += gateway.notes
        to_confirm = False
    result["pending"] = to_confirm or not found.raw
    if not result["pending"]:
        settle(paths, account, note_of(plan, release.version), plan.settings)
    return result


def prerequisites(params: Params, account: _store.Account | None, release: _runtime.Release) -> list[OpenClawError]:
    """What has to be there before settings can be."""
    errors = []
    if params["owner"] and account is None and os.geteuid() == 0:
        errors.append(
            OpenClawError(
                f"The account {params['owner']}", "does not exist", "Run the whole role 'gateway', which makes it."
            )
        )
    if not release.installed:
        errors.append(
            OpenClawError(
                f"OpenClaw {release.version}",
                f"is not installed in {release.path}, and nothing else can judge the settings",
                "Run the whole role 'gateway', which installs it.",
            )
        )
    return errors


def wish(params: Params) -> Settings:
    """The one wish out of the defaults, the operator's keys and ours; everything that is wrong with it is refused."""
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
    refuse(errors)
    return _merge.overlay(_merge.overlay(params["defaults"], settings), owned)


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


def refuse(errors: t.Sequence[OpenClawError]) -> None:
    """Fail with all errors at once."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise Several(
            f"{len(errors)} settings",
            "cannot be applied; nothing was changed",
            "Correct each in the inventory:",
            errors,
        )


def look(paths: Paths, account: _store.Account | None, release: _runtime.Release, *, recover: str) -> Found:
    """Read what stands on the host; a file that cannot be read stops the run unless the operator has decided."""
    journal = read_journal(paths, account)
    try:
        raw = _store.read(paths.settings, account)
        settings = parse(raw, release, journal) if raw is not None else {}
    except (ValueError, _store.Unreadable) as error:
        cause = error.cause if isinstance(error, _store.Unreadable) else str(error)
        settings, raw = recovered(paths, account, release, cause, recover), b""
    return Found(settings, raw, read_secrets(paths.secrets, account), journal)


def parse(raw: bytes, release: _runtime.Release, journal: t.Mapping[str, t.Any]) -> Settings:
    """Settings as the program reads them: JSON, or JSON5 by the program's own library."""
    try:
        settings = json.loads(raw)
    except ValueError as error:
        seen = journal.get("json5", {})
        if seen.get("sha256") == digest(raw):
            settings = seen["settings"]
        elif release.installed and raw.strip():
            settings = release.parse_json5(raw)
        else:
            raise ValueError(f"it is not JSON ({error})") from error
    if not isinstance(settings, dict):
        raise ValueError("it holds no object")
    return settings


def recovered(
    paths: Paths, account: _store.Account | None, release: _runtime.Release, reason: str, recover: str
) -> Settings:
    """The settings to start from in place of an unreadable file, as the operator has decided."""
    choices = {"last_good": paths.last_good, "previous": paths.previous}
    there = [name for name, path in choices.items() if _store.read(path, account) is not None]
    if recover == "none":
        offers = [f"gateway_settings_recover={name} starts from {choices[name]}" for name in there]
        offers.append("gateway_settings_recover=discard keeps only what the inventory says")
        raise _Unread(
            paths.settings,
            f"cannot be read: {reason}. It was left as it is",
            f"Repair it, or decide what to start from: {'; '.join(offers)}.",
        )
    if recover == "discard":
        return {}
    kept = _store.read(choices[recover], account)
    if kept is None:
        raise OpenClawError(
            choices[recover],
            "is not there to start from",
            f"There is: {', '.join(there) or 'nothing'}; gateway_settings_recover=discard keeps only what the inventory says.",
        )
    try:
        return parse(kept, release, {})
    except ValueError as error:
        raise OpenClawError(
            choices[recover],
            f"cannot be read either: {error}",
            "Use gateway_settings_recover=discard, which keeps only what the inventory says.",
        ) from error


def read_journal(paths: Paths, account: _store.Account | None) -> dict[str, t.Any]:
    """What we wrote down last; a journal that cannot be read is as good as none, and is said so."""
    raw = _store.read(paths.journal, account)
    try:
        journal = json.loads(raw) if raw else {}
    except ValueError:
        journal = {}
    return journal if isinstance(journal, dict) else {}


def read_secrets(path: str, account: _store.Account | None) -> Secrets:
    raw = _store.read(path, account)
    try:
        secrets = json.loads(raw) if raw else {}
    except ValueError:
        secrets = None
    if not isinstance(secrets, dict):
        # What stands there is not quoted: it may be a secret.
        remedy = "Restore it, or remove it: every secret of the inventory is written again."
        raise OpenClawError(path, "is no JSON object", remedy)
    return secrets


def make_plan(params: Params, wished: Settings, found: Found) -> Plan:
    """From what is wished and what is there, what should be there."""
    applied: Settings = found.journal.get("applied", {})
    attempts = unfinished(found.journal)
    drift = _merge.drift(applied=applied, live=found.settings) if found.raw else []
    for attempt in attempts:
        # What an interrupted attempt of ours wrote is no drift.
        others = _merge.drift(applied=attempt, live=found.settings)
        drift = [path for path in drift if path in others]
    desired = wished
    if params["drift"] == "keep":
        desired = _merge.adopt(desired=wished, applied=applied, live=found.settings, paths=drift)
    secrets = planned_secrets(params, found)
    # A secret that an interrupted attempt was about to let go is on its way out already.
    going = {*found.secrets} - {*found.journal.get("pending", {}).get("secrets", found.secrets)} - {*secrets}
    names = sorted(name for name in {*secrets, *found.secrets} - going if secrets.get(name) != found.secrets.get(name))
    stamped = stamp(found, renew=bool(names))
    wished, desired = _merge.overlay(wished, stamped), _merge.overlay(desired, stamped)
    settings = found.settings
    # What an interrupted attempt wrote and nobody wishes any more goes, too.
    for before in (*attempts, applied):
        settings = _merge.merge(applied=before, desired=desired, live=settings)
    ours = sorted({*our_secrets(found), *params["secrets"], *params["generate"]})
    return Plan(wished, desired, settings, secrets, ours, _merge.differing(found.settings, settings), names, drift)


def unfinished(journal: t.Mapping[str, t.Any]) -> list[Settings]:
    """What interrupted attempts have wished since the last one that was settled."""
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
    now = _merge.lookup(found.settings, _STAMP_PATH)
    # An attempt that was interrupted between secrets and settings has its stamp still to be written.
    wanted = next((_merge.lookup(wish, _STAMP_PATH) for wish in reversed(unfinished(found.journal))), now)
    following = _STAMPS[1] if now == _STAMPS[0] else _STAMPS[0]
    value: t.Any = following if renew or wanted not in _STAMPS else wanted
    for key in reversed(_STAMP_PATH):
        value = {key: value}
    return t.cast(Settings, value)


def judge(release: _runtime.Release, paths: Paths, account: _store.Account | None, plan: Plan) -> list[str]:
    """Have the release validate what would be written; return what it only warns of."""
    with _store.staged(paths.settings, _store.dump(plan.settings), account) as candidate:
        issues, warnings = release.validate(candidate)
    refuse(_settings.from_validation(issues))
    return [f"OpenClaw {release.version}: {warning}" for warning in warnings]


def running_gateway(
    params: Params, paths: Paths, account: _store.Account | None, found: Found
) -> _runtime.Gateway | None:
    """The gateway that serves with what was found, or ``None``."""
    port = _merge.lookup(found.settings, ("gateway", "port"))
    if not isinstance(port, int):
        return None
    log = _merge.lookup(found.settings, ("logging", "file"))
    gateway = _runtime.Gateway(
        unit=params["unit"],
        port=port,
        settings_path=paths.settings,
        state_path=str(params["environment_variables"].get("OPENCLAW_STATE_DIR", "")),
        log_path=log if isinstance(log, str) else "",
        account=account,
    )
    return gateway if gateway.settle_down(params["timeout"]) else None


def write(paths: Paths, account: _store.Account | None, found: Found, plan: Plan, version: str) -> None:
    """Previous version, journal, secrets, settings: in this order, each replaced whole."""
    # After an attempt that was interrupted, the version before it is the one to go back to.
    kept = found.journal.get("pending", {}).get("existed", False)
    if found.raw == b"":
        unreadable = f"{paths.settings}.unreadable-{time.strftime('%Y%m%dT%H%M%S')}"
        _store.set_aside(paths.settings, unreadable, account)
    elif found.raw and not kept:
        _store.write(paths.previous, found.raw, account)
    if found.secrets and not kept:
        _store.write(paths.previous_secrets, _store.dump(found.secrets), account, _SECRETS_MODE)
    note = {**note_of(plan, version), "earlier": unfinished(found.journal), "existed": kept or bool(found.raw)}
    _store.write(paths.journal, _store.dump({**found.journal, "pending": note}), account)
    # The settings that still run may refer to a secret that goes: it goes when the new ones are in force.
    _store.write(paths.secrets, _store.dump({**found.secrets, **plan.secrets}), account, _SECRETS_MODE)
    if plan.keys or not found.raw:
        _store.write(paths.settings, _store.dump(plan.settings), account, _SETTINGS_MODE)
    elif found.raw:
        _store.write(paths.settings, found.raw, account, _SETTINGS_MODE)


def note_of(plan: Plan, version: str) -> dict[str, t.Any]:
    """What the journal keeps of a plan."""
    return {"desired": plan.wished, "secrets": sorted(plan.secrets), "ours": plan.ours, "release": version}


def await_gateway(
    gateway: _runtime.Gateway,
    params: Params,
    paths: Paths,
    account: _store.Account | None,
    found: Found,
    plan: Plan,
) -> str:
    """Wait until the gateway has taken what was written, or put the previous files back and fail."""
    content = _store.read(paths.settings, account) or b""
    kind = _settings.reload_kind(plan.keys, plan.settings)
    port = _merge.lookup(plan.settings, ("gateway", "port"))
    port = port if isinstance(port, int) else _DEFAULT_PORT
    try:
        return gateway.take(content, port=port, restart=kind == "restart", timeout=params["timeout"])
    except _runtime.Rejected as words:
        stopped = gateway.stop_unless_serving(found.raw or b"")
        back = "The previous settings are back" if restore(paths, account) else "There were none before, so these stay"
        serves = gateway.start(params["timeout"]) if stopped else True
        ending = (
            "and the gateway serves with them"
            if serves
            else f"but the gateway does not serve: see 'journalctl -u {params['unit']}'"
        )
        raise OpenClawError(
            paths.settings,
            f"the running gateway did not take the change: {words}",
            f"{back} {ending}. Correct the change in the inventory.",
        ) from None


def restore(paths: Paths, account: _store.Account | None) -> bool:
    """Put the files from before an attempt that is not settled back; whether there was one, and files before it."""
    journal = read_journal(paths, account)
    note = journal.pop("pending", None)
    if note is None or not note["existed"]:
        return False
    previous, previous_secrets = _store.read(paths.previous, account), _store.read(paths.previous_secrets, account)
    if previous_secrets is not None:
        _store.write(paths.secrets, previous_secrets, account, _SECRETS_MODE)
        _store.remove(paths.previous_secrets, account)
    if previous is not None:
        _store.write(paths.settings, previous, account, _SETTINGS_MODE)
    _store.write(paths.journal, _store.dump(journal), account)
    return True


def roll_back(paths: Paths, account: _store.Account | None, *, check_mode: bool) -> dict[str, t.Any]:
    """Take an unconfirmed change back."""
    note = read_journal(paths, account).get("pending")
    changed = bool(note and note["existed"])
    if changed and not check_mode:
        restore(paths, account)
    return {"changed": changed, "pending": bool(note) and not changed, "notes": []}


def confirm(paths: Paths, account: _store.Account | None, *, check_mode: bool) -> dict[str, t.Any]:
    """Note that an unconfirmed change is in force."""
    note = read_journal(paths, account).get("pending")
    if note and not check_mode:
        settle(paths, account, note, {})
    # Only our own note changes, nothing that the gateway reads.
    return {"changed": False, "pending": bool(note) and check_mode, "notes": []}


def settle(paths: Paths, account: _store.Account | None, note: t.Mapping[str, t.Any], settings: Settings) -> None:
    """Write down that what was attempted is in force, and let go of what is no longer referred to."""
    secrets = read_secrets(paths.secrets, account)
    kept = {name: value for name, value in secrets.items() if name in note["secrets"]}
    if kept != secrets:
        _store.write(paths.secrets, _store.dump(kept), account, _SECRETS_MODE)
    journal: dict[str, t.Any] = {
        "applied": note["desired"],
        "secrets": [name for name in note["ours"] if name in note["secrets"]],
        "validated_by": note["release"],
    }
    raw = _store.read(paths.settings, account) or b""
    if settings and not is_json(raw):
        # A person's JSON5 is remembered, so that the next run needs no process to read it.
        journal["json5"] = {"sha256": digest(raw), "settings": settings}
    _store.write(paths.journal, _store.dump(journal), account)
    _store.remove(paths.previous_secrets, account)


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
            "settings": _settings.redact(_merge.project(settings, applied, plan.desired), known),
            "secrets": shown,
        }
    plain = [_settings.dotted(path) for path, _value in _settings.plain_secrets(_merge.without_null(plan.desired))]
    notes = [
        f"gateway_settings.{path} holds a secret as plain text: put it into gateway_secrets and refer to it with the filter secret_ref."
        for path in plain
    ]
    notes += [
        f"gateway_settings.{_settings.dotted(path)} was changed on the host since the last run." for path in plan.drift
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


def is_json(raw: bytes | None) -> bool:
    try:
        json.loads(raw or b"")
    except ValueError:
        return False
    return True


def digest(raw: bytes | None) -> str:
    return hashlib.sha256(raw or b"").hexdigest()


__all__ = ("OPTIONS", "known_secrets", "preview", "run")
