# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""The story of one change of a gateway's settings and secrets: read, plan, validate, write, confirm.

In a directory of root's stands a journal: what was applied last and, between the first write and the gateway's
confirmation, what is being applied. Whoever is killed in between leaves two whole files and that note, from which
the next run goes on.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import (
    _merge,
    _rotation,
    _runtime,
    _settings,
    _settings_repair,
    _store,
)
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError, Several
from ansible_collections.clawops.openclaw.plugins.module_utils._merge import Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._settings_found import (
    SECRETS_LIMIT,
    SETTINGS_LIMIT,
    Found,
    Paths,
    Unread,
    digest,
    is_json,
    look,
    read_journal,
    read_secrets,
)
from ansible_collections.clawops.openclaw.plugins.module_utils._settings_plan import (
    Params,
    Plan,
    desired_settings,
    known_secrets,
    known_values,
    make_plan,
    report,
    unfinished,
)
from ansible_collections.clawops.openclaw.plugins.module_utils._text import parse_object

_DEFAULT_PORT = 18789
# How often settings are written that a start of OpenClaw takes back.
_WRITES = 3
# How many of the files that its starts have set aside are looked at, the latest.
_KEPT = 5
_SECRETS_MODE = 0o400
# The account could hide by it what it has changed: it is written with the caller's rights, where the account cannot write.
_JOURNAL_OWNER = None
_SETTINGS_MODE = 0o600


# The options of the module gateway_config, which documents them.
OPTIONS: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "rotated", "confirmed", "rolled_back"], "default": "present"},
    "owner": {"type": "str"},
    "settings": {"type": "dict", "default": {}},
    "defaults": {"type": "dict", "default": {}},
    "owned": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "secrets_path": {"type": "path", "required": True, "no_log": False},
    "journal_path": {"type": "path", "required": True},
    "generate": {"type": "list", "elements": "str", "default": []},
    "rotate": {"type": "list", "elements": "str", "default": []},
    "end_devices": {"type": "bool", "default": False},
    "environment_variables": {"type": "dict", "default": {}},
    "release": {"type": "path"},
    "unit": {"type": "str", "default": "openclaw-gateway.service"},
    "drift": {"type": "str", "choices": ["revert", "keep"], "default": "revert"},
    "recover": {"type": "str", "choices": ["repair", "none", "last_good", "previous", "discard"], "default": "repair"},
    "confirm": {"type": "bool", "default": True},
    "hold": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 180},
}


def run(params: Params, *, check_mode: bool) -> dict[str, t.Any]:
    """Do what the module's parameters ask for, and return its result with ``notes`` for the operator."""
    paths = Paths(params["path"], params["secrets_path"], params["journal_path"])
    account = _store.find_account(params["owner"])
    # On a fresh host there is nothing yet to have for oneself; check mode only looks.
    shared = check_mode or not os.path.isdir(os.path.dirname(paths.settings))
    with contextlib.nullcontext() if shared else _store.alone(paths.settings, timeout=params["timeout"]):
        if params["state"] == "confirmed":
            return confirm(params, paths, account, check_mode=check_mode)
        if params["state"] == "rolled_back":
            return roll_back(paths, account, check_mode=check_mode)
        if params["state"] == "rotated":
            return rotate(params, paths, account, check_mode=check_mode)
        return ensure(params, paths, account, check_mode=check_mode)


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
    asked, errors = desired_settings(params)
    checked()
    judge = Judge(release, paths, account)
    if params["recover"] == "repair":
        found = _settings_repair.look_or_repair(paths, account, reader)
        if is_repairable(found, release, paths):
            found = _settings_repair.examined(
                params,
                asked,
                found,
                lambda settings: judge(settings)[0],
                lambda: _settings_repair.newest_copy(paths, account, reader, found.journal),
            )
    else:
        found = look(paths, account, reader, recover=params["recover"])
    plan = make_plan(params, asked, found)
    errors += _settings.undefined_secrets(plan.settings, plan.secrets)
    errors += _settings.undefined_variables(plan.target, params["environment_variables"])
    result = report(plan, found)
    result["repaired"], repaired = _settings_repair.report(found, plan, paths)
    result["notes"] = repaired + result["notes"]
    attributes = any(
        _store.wrong_attributes(path, account, mode)
        for path, mode in ((paths.settings, _SETTINGS_MODE), (paths.secrets, _SECRETS_MODE))
    )
    result["changed"] = bool(plan.keys or plan.names or attributes or not found.raw)
    # A file that is not the one which was judged is judged again.
    validated = found.journal.get("validated_by") == release.version and found.judged
    if (result["changed"] or not validated) and release.installed and os.path.isdir(os.path.dirname(paths.settings)):
        invalid, notes = validate(judge, paths, found, plan)
        # The release knows no better of a key that is explained already.
        errors += [error for error in invalid if not is_among(error, errors)]
        result["notes"] += notes
        result["validated"] = True
    refuse(errors)
    leftover = os.path.lexists(paths.previous_secrets)
    unsettled = result["pending"] or not validated or found.unremembered or leftover
    return Prepared(found, plan, result, bool(result["changed"] or unsettled))


class Judge:
    """The release's findings in settings, each asked for once: a process of Node.js takes more than a second."""

    def __init__(self, release: _runtime.Release, paths: Paths, account: _store.Account | None) -> None:
        self.release, self.paths, self.account = release, paths, account
        self.known: dict[bytes, tuple[list[dict[str, t.Any]], list[str]]] = {}

    def __call__(self, settings: Settings) -> tuple[list[dict[str, t.Any]], list[str]]:
        content = _store.dump(settings)
        if content not in self.known:
            with _store.staged(self.paths.settings, content, self.account) as candidate:
                self.known[content] = self.release.validate(candidate)
        return self.known[content]


def is_repairable(found: Found, release: _runtime.Release, paths: Paths) -> bool:
    """Whether what the release refuses of the file is what somebody has broken, since a run had it accepted."""
    if not release.installed or found.journal.get("validated_by") != release.version:
        # Of another release, or of nobody's making: what it refuses may be dear to the operator.
        return False
    return os.path.isdir(os.path.dirname(paths.settings)) and (found.repair is not None or not found.judged)


def preview(params: Params, *, reader: str) -> dict[str, t.Any]:
    """Whether a call with these parameters has anything to do (``due``), and its ``notes``; refuses what that refuses.

    :param reader: the directory of a release that can read the settings which are there, where the one that will run them
        is not installed yet.
    """
    paths = Paths(params["path"], params["secrets_path"], params["journal_path"])
    account = _store.find_account(params["owner"])
    release, read_by = (
        _runtime.Release(path, account, params["environment_variables"]) for path in (params["release"], reader)
    )
    try:
        prepared = prepare(params, paths, account, release, release if release.installed else read_by)
    except Unread:
        if release.installed or read_by.installed:
            raise
        # JSON5, perhaps: a release says so as soon as there is one.
        return {"due": True, "notes": []}
    except OSError as error:
        # The account can close its own directories to itself.
        reason = f"cannot be written as the gateway's account: {error.strerror}"
        remedy = f"Make {os.path.dirname(paths.settings)} a directory of the account's, with mode 0700."
        raise OpenClawError(paths.settings, reason, remedy) from error
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
    _store.sweep(paths.journal, _JOURNAL_OWNER)
    gateway = running_gateway(params, paths, account, found)
    if result["changed"]:
        write(paths, account, found, plan, release.version)
    # Only a change of what the settings mean can be confirmed: the gateway takes no notice of any other.
    to_confirm = bool(found.repair or (found.raw and (plan.keys or plan.names))) or result["pending"]
    if to_confirm and gateway and params["confirm"]:
        result["reload"] = await_gateway(gateway, params, paths, account, found, plan)
        result["notes"] += gateway.notes
        to_confirm = params["hold"]
    result["pending"] = to_confirm or not (found.raw or found.repair)
    if not result["pending"]:
        settle(paths, account, note_of(plan, release.version), plan.settings)
    return result


def prerequisites(params: Params, account: _store.Account | None, release: _runtime.Release) -> list[OpenClawError]:
    """What has to be there before settings can be."""
    errors = []
    if account is not None and account.missing:
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


def validate(judge: Judge, paths: Paths, found: Found, plan: Plan) -> tuple[list[OpenClawError], list[str]]:
    """What the release finds wrong with what would be written, and what it only warns of."""
    issues, warnings = judge(plan.settings)
    errors = _settings.from_validation(issues, file=paths.settings, is_hosts=lambda where: is_hosts(where, found, plan))
    return errors, [f"OpenClaw {judge.release.version}: {warning}" for warning in warnings]


def is_hosts(where: t.Sequence[str], found: Found, plan: Plan) -> bool:
    """Whether a key was found in the host's file, and is none of the inventory's."""
    # What is in a list belongs to whoever wrote the list.
    keys = tuple(itertools.takewhile(lambda key: not key.isdigit(), where))
    there, asked = _merge.lookup(found.settings, keys), _merge.lookup(plan.target, keys)
    return bool(keys) and there is not _merge.MISSING and asked is _merge.MISSING


def is_among(error: OpenClawError, known: t.Iterable[OpenClawError]) -> bool:
    """Whether one of the known errors is about the same key, or about one above it."""
    return any(f"{error.subject}.".startswith(f"{each.subject}.") for each in known)


def running_gateway(
    params: Params, paths: Paths, account: _store.Account | None, found: Found
) -> _runtime.Gateway | None:
    """The gateway that serves with what was found, or ``None``."""
    port = _merge.lookup(found.settings, ("gateway", "port"))
    if not is_port(port):
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


def is_port(value: t.Any) -> bool:
    """Whether a setting is a TCP port; anything may stand in the file."""
    return type(value) is int and 0 < value < 65536


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
    content = content_of(found, plan)
    note = {
        **note_of(plan, version),
        "earlier": unfinished(found.journal),
        "existed": kept or bool(found.raw),
        # A person's JSON5, where it stays: who confirms it cannot read it.
        "judged": digest(content),
        "json5": {} if is_json(content) else plan.settings,
    }
    _store.write(paths.journal, _store.dump({**found.journal, "pending": note}), _JOURNAL_OWNER)
    # The settings that still run may refer to a secret that goes: it goes when the new ones are in force.
    _store.write(paths.secrets, _store.dump({**found.secrets, **plan.secrets}), account, _SECRETS_MODE)
    _store.write(paths.settings, content, account, _SETTINGS_MODE)


def content_of(found: Found, plan: Plan) -> bytes:
    """What the file has to hold, byte by byte: as it was, where that means what it should."""
    copy = found.repair.copy if found.repair else None
    if copy and copy.raw and _merge.same(copy.settings, plan.settings):
        # A gateway that runs with this very file has nothing to take; of other bytes it would say nothing at all.
        return copy.raw
    return found.raw if found.raw and not plan.keys else _store.dump(plan.settings)


def note_of(plan: Plan, version: str) -> dict[str, t.Any]:
    """What the journal keeps of a plan."""
    return {"desired": plan.desired, "secrets": sorted(plan.secrets), "ours": plan.ours, "release": version}


def await_gateway(
    gateway: _runtime.Gateway,
    params: Params,
    paths: Paths,
    account: _store.Account | None,
    found: Found,
    plan: Plan,
) -> str:
    """Wait until the gateway has taken what was written, or put the previous files back and fail."""
    content = _store.read(paths.settings, account, SETTINGS_LIMIT) or b""
    kind = _settings.reload_kind(plan.keys, plan.settings)
    port = _merge.lookup(plan.settings, ("gateway", "port"))
    port = port if is_port(port) else _DEFAULT_PORT
    try:
        return gateway.take(content, port=port, restart=kind == "restart", timeout=params["timeout"])
    except _runtime.Rejected as words:
        if found.repair:
            reason = f"was repaired, but the running gateway goes on with what it has, and did not take this: {words}"
            raise OpenClawError(paths.settings, reason, "Correct that, then run again.") from None
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
    journal = read_journal(paths)
    note = journal.pop("pending", None)
    if note is None or not note["existed"]:
        return False
    previous = _store.read(paths.previous, account, SETTINGS_LIMIT)
    previous_secrets = _store.read(paths.previous_secrets, account, SECRETS_LIMIT)
    if previous_secrets is not None:
        _store.write(paths.secrets, previous_secrets, account, _SECRETS_MODE)
        _store.remove(paths.previous_secrets, account)
    if previous is not None:
        _store.write(paths.settings, previous, account, _SETTINGS_MODE)
    _store.write(paths.journal, _store.dump(journal), _JOURNAL_OWNER)
    return True


def roll_back(paths: Paths, account: _store.Account | None, *, check_mode: bool) -> dict[str, t.Any]:
    """Take an unconfirmed change back."""
    note = read_journal(paths).get("pending")
    changed = bool(note and note["existed"])
    if changed and not check_mode:
        restore(paths, account)
    return {"changed": changed, "pending": bool(note) and not changed, "notes": []}


def confirm(params: Params, paths: Paths, account: _store.Account | None, *, check_mode: bool) -> dict[str, t.Any]:
    """Note that an unconfirmed change is in force, and bring it into force where a start has taken it back."""
    note = read_journal(paths).get("pending")
    notes = []
    if note and not check_mode:
        if write_again(params, paths, account):
            notes.append(
                "OpenClaw had taken the former settings back at its start: the new ones were written again, and are in force."
            )
        settle(paths, account, note, note["json5"])
    # Otherwise only our own note changes, nothing that the gateway reads.
    return {"changed": bool(notes), "pending": bool(note) and check_mode, "notes": notes}


def write_again(params: Params, paths: Paths, account: _store.Account | None) -> bool:
    """Write what is desired once more, where a start of OpenClaw has replaced it; whether it had.

    Since 2026.9 a start compares the file with the last good one and silently takes that one back where the new one is much
    smaller, or lacks ``meta``. What a running gateway reads becomes the last good one (docs/openclaw.md).
    """
    for attempt in range(_WRITES):
        raw = _store.read(paths.settings, account, SETTINGS_LIMIT) or b""
        journal = read_journal(paths)
        note = journal.get("pending")
        if note is None or digest(raw) == note["judged"] or not is_json(raw):
            return attempt > 0
        live = parse_object(raw)
        settings = set_aside_by_a_start(paths, account, note["judged"])
        if settings is None:
            settings = live
            for before in (*unfinished(journal), journal.get("applied", {})):
                settings = _merge.merge(applied=before, desired=note["desired"], live=settings)
        keys = _merge.differing(live, settings)
        if not keys:
            return attempt > 0  # it has only added keys of its own
        found = Found(live, raw, {}, journal)
        gateway = running_gateway(params, paths, account, found)
        content = _store.dump(settings)
        _store.write(
            paths.journal, _store.dump({**journal, "pending": {**note, "judged": digest(content)}}), _JOURNAL_OWNER
        )
        _store.write(paths.settings, content, account, _SETTINGS_MODE)
        if gateway:
            restart = _settings.reload_kind(keys, settings) == "restart"
            port = _merge.lookup(settings, ("gateway", "port"))
            try:
                gateway.take(content, port=port, restart=restart, timeout=params["timeout"])
            except _runtime.Rejected as words:
                reason = f"a start of OpenClaw took the former settings back, and the gateway did not take these again: {words}"
                raise OpenClawError(paths.settings, reason, "Correct the change in the inventory.") from None
    reason = (
        f"OpenClaw has taken the former settings back {_WRITES} times (its log: 'Config auto-restored from backup')"
    )
    raise OpenClawError(paths.settings, reason, "Set gateway_settings_readonly to true, which keeps it from that.")


def set_aside_by_a_start(paths: Paths, account: _store.Account | None, written: str) -> Settings | None:
    """What was written and a start has replaced, where it kept it; with what the inventory says nothing of.

    :param written: the SHA-256 of it.
    """
    for path in sorted(glob.glob(f"{glob.escape(paths.settings)}.clobbered.*"))[-_KEPT:]:
        with contextlib.suppress(OpenClawError):
            raw = _store.read(path, account, SETTINGS_LIMIT)
            if raw and digest(raw) == written and is_json(raw):
                return parse_object(raw)
    return None


def rotate(params: Params, paths: Paths, account: _store.Account | None, *, check_mode: bool) -> dict[str, t.Any]:
    """Give secrets new values while the gateway serves, and prove that they are in force."""
    release = _runtime.Release(params["release"], account, params["environment_variables"])
    found = look(paths, account, release, recover="none")
    resumed = "pending" in found.journal
    if resumed and not _rotation.is_rotation(found.journal):
        reason = "an earlier change of it was broken off before it was proven"
        raise OpenClawError(
            paths.settings, reason, "Run site.yml, which finishes it or takes it back, then this again."
        )
    if resumed:
        # What a rotation that was broken off has written is not in use yet, or not proven.
        found = found._replace(secrets=read_secrets(paths.previous_secrets, account) or found.secrets)
    (plan, kept), errors = _rotation.plan_rotation(params, found)
    refuse(errors)
    anew = _rotation.is_environment(plan.settings, plan.names)
    result = {
        **report(plan, found),
        "changed": bool(plan.names),
        "kept_secrets": kept,
        "used_by": _rotation.used_by(plan.settings, [*plan.names, *kept]),
        "proof": {},
        "pending": resumed,
    }
    if anew and plan.names:
        result["reload"] = "restart"
    if not plan.names:
        if not resumed and not check_mode:
            # Of a rotation that was broken off when all was done but this.
            _store.remove(paths.previous_secrets, account)
        return {**result, "reload": "none"}
    gateway = running_gateway(params, paths, account, found)
    if gateway is None:
        remedy = "Have site.yml bring it up, then run this again."
        raise OpenClawError(
            params["unit"], "it does not serve, so that nothing could be proven; nothing was changed", remedy
        )
    if check_mode:
        return result
    for path in (paths.settings, paths.secrets):
        _store.sweep(path, account)
    _store.sweep(paths.journal, _JOURNAL_OWNER)
    result["reload"], result["proof"] = put_in_force(gateway, params, paths, account, found, plan, anew=anew)
    settle(paths, account, note_of(plan, found.journal.get("validated_by", "")), plan.settings)
    result["pending"] = False
    result["notes"] += gateway.notes
    if params["end_devices"] and not {*plan.names}.isdisjoint(params["generate"]):
        result["proof"] |= release.clear_devices()
    return result


def put_in_force(
    gateway: _runtime.Gateway,
    params: Params,
    paths: Paths,
    account: _store.Account | None,
    found: Found,
    plan: Plan,
    *,
    anew: bool,
) -> tuple[str, dict[str, t.Any]]:
    """Write the new values and prove them, or put the old ones back and fail; how the gateway took them, and the figures."""
    credential = next((name for name in params["generate"] if name in plan.secrets), "")
    old, new = found.secrets.get(credential), plan.secrets.get(credential)
    unit = params["unit"] if os.geteuid() == 0 else None
    watch = _rotation.Watch(f"http://127.0.0.1:{gateway.port}", unit, old=old if old != new else None, new=new)
    try:
        with watch.watching():
            write(paths, account, found, plan, found.journal.get("validated_by", ""))
            kind = gateway.take(
                _store.dump(plan.settings), port=gateway.port, restart=False, timeout=params["timeout"], anew=anew
            )
            watch.prove()
        return kind, watch.figures
    except OSError:
        # A full disk: the gateway goes on with the old values, and so must whoever reads them from the file.
        with contextlib.suppress(OSError):
            restore(paths, account)
        raise
    except (_runtime.Rejected, _rotation.NotProven) as words:
        serves = take_back(gateway, params, paths, account, watch, anew=anew)
        shown = _settings.scrub(
            str(words), known_values(found.secrets, found.settings) + known_values(plan.secrets, plan.settings)
        )
        ending = (
            "and the gateway serves with it. Look at its log, then rotate again."
            if serves
            else f"but the gateway does not serve: see 'journalctl -u {params['unit']}'."
        )
        raise OpenClawError(
            ", ".join(plan.names), f"not rotated: {shown}", f"What was there before is back, {ending}"
        ) from None


def take_back(
    gateway: _runtime.Gateway,
    params: Params,
    paths: Paths,
    account: _store.Account | None,
    watch: _rotation.Watch,
    *,
    anew: bool,
) -> bool:
    """Put the old secrets back and in force, by a restart where it takes one; whether the gateway serves with them."""
    restore(paths, account)
    content = _store.read(paths.settings, account, SETTINGS_LIMIT) or b""
    with contextlib.suppress(_runtime.Rejected):
        gateway.take(content, port=gateway.port, restart=False, timeout=params["timeout"], anew=anew)
        if watch.is_back():
            return True
    gateway.stop()
    return gateway.start(params["timeout"]) and watch.is_back()


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
    raw = _store.read(paths.settings, account, SETTINGS_LIMIT) or b""
    journal["judged"] = digest(raw)
    if settings and not is_json(raw):
        # A person's JSON5 is remembered, so that the next run needs no process to read it.
        journal["json5"] = {"sha256": digest(raw), "settings": settings}
    # The very file, with the host's own keys: what a broken one is repaired from.
    with contextlib.suppress(ValueError):
        journal["file"] = raw.decode()
    _store.write(paths.journal, _store.dump(journal), _JOURNAL_OWNER)
    _store.remove(paths.previous_secrets, account)


__all__ = ("OPTIONS", "known_secrets", "preview", "run")
