# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""New values for secrets that are in use: what is rotated, what is not and why, and the proof by real calls.

Old values stay in the memory of this process and of the two that it forks to watch the gateway meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets as random
import select
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _http, _merge, _settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._health_probes import (
    CALL,
    REFUSAL_DELAY,
    Probe,
    answered,
    failed,
    is_accepted,
    is_unauthorized,
    json_object,
)
from ansible_collections.clawops.openclaw.plugins.module_utils._settings_found import Found
from ansible_collections.clawops.openclaw.plugins.module_utils._settings_plan import (
    STAMP_PATH,
    Params,
    Plan,
    desired_settings,
    our_secrets,
    stamp,
    unfinished,
)

ALL = "all"
# Bytes that a look at the gateway has to say.
_FOUND = 4096
# Seconds between two looks at the gateway while it takes the new values, and until one that is not answered is missed.
_INTERVAL = 0.05
_PROBE_SECONDS = 5.0
# Seconds until a token that the gateway has read must be in force; measured: 0.3.
_IN_FORCE_WITHIN = 20


class NotProven(Exception):
    """The gateway took the change and does not act on it; the argument says what was seen."""


class Rotation(t.NamedTuple):
    """What is rotated (``plan``), and why other secrets that were asked for are not, by name."""

    plan: Plan
    kept: dict[str, str]


def plan_rotation(params: Params, found: Found) -> tuple[Rotation, list[OpenClawError]]:
    """What of the secrets that were asked for gets a new value; the settings stay, but for the stamp."""
    given, generate = params["secrets"], params["generate"]
    known = sorted({*given, *generate, *our_secrets(found)})
    asked = known if ALL in params["rotate"] else list(dict.fromkeys(params["rotate"]))
    new, kept, errors = {}, {}, []
    for name in asked:
        if name not in known:
            errors.append(_unknown(name, known))
        elif name not in found.secrets:
            kept[name] = "it is not on the host yet: site.yml brings it"
        elif name in given and given[name] != found.secrets[name]:
            new[name] = given[name]
        elif name in given:
            kept[name] = "nothing to rotate: give a new value in " + _variable(name, generate)
        elif name in generate:
            new[name] = random.token_hex(32)
        else:
            kept[name] = "the inventory gives no new value"
    alone = {**params, "settings": {}, "defaults": {}, "owned": {}, "secrets": new}
    errors += desired_settings(alone)[1]
    stamped = stamp(found, renew=bool(new))
    settings, applied = _merge.overlay(found.settings, stamped), found.journal.get("applied", {})
    plan = Plan(
        desired=_merge.overlay(applied, stamped),
        target=stamped,
        settings=settings,
        secrets={**found.secrets, **new},
        ours=sorted({*our_secrets(found), *new}),
        keys=_merge.differing(found.settings, settings),
        names=sorted(new),
        drift=[],
    )
    return Rotation(plan, kept), errors


def _unknown(name: str, known: t.Sequence[str]) -> OpenClawError:
    remedy = f"Correct rotate. There are: {', '.join(known) or 'none'}."
    return OpenClawError(f"rotate {name}", "neither the inventory nor the host has a secret of this name", remedy)


def _variable(name: str, generate: t.Collection[str]) -> str:
    return "gateway_token, or leave it empty and one is made" if name in generate else "gateway_secrets"


def is_rotation(journal: t.Mapping[str, t.Any]) -> bool:
    """Whether all that was broken off is changes of secrets, and none of settings."""
    applied = journal.get("applied", {})
    return all(set(_merge.differing(applied, attempt)) <= {STAMP_PATH} for attempt in unfinished(journal))


def used_by(settings: _merge.Settings, names: t.Iterable[str]) -> dict[str, list[str]]:
    """The settings that refer to each of these secrets."""
    return {name: [_settings.dotted(path) for path in references(settings, name)] for name in names}


def references(settings: _merge.Settings, name: str) -> list[_merge.Path]:
    return [path for path, value in _settings.walk(settings) if value == _settings.secret_ref(name)]


def is_environment(settings: _merge.Settings, names: t.Iterable[str]) -> bool:
    """Whether one of these secrets is a variable of a process, which has it from its start on."""
    return any("env" in path[:-1] for name in names for path in references(settings, name))


class Watch:
    """Watches a gateway while its secrets change, and proves in the end that it acts on them.

    :param url: where the gateway is.
    :param unit: its systemd unit, which alone is shown a token; ``None`` where that cannot be told.
    :param old: the token so far, or ``None`` where it stays.
    :param new: the token that is to be accepted in the end, or ``None`` where the gateway has none.
    """

    def __init__(self, url: str, unit: str | None, *, old: str | None, new: str | None) -> None:
        self._client = _http.Client(url=url, timeout=5.0, unit=unit)
        self._quick = _http.Client(url=url, timeout=_PROBE_SECONDS)
        self._old, self._new = old, new
        self._began = 0.0
        self.figures: dict[str, t.Any] = {}

    @contextlib.contextmanager
    def watching(self) -> t.Iterator[None]:
        """Look at the gateway all through the block; the figures are there after it."""
        watched = [_beside(self._look)] + ([_beside(self._show_old)] if self._old else [])
        self._began = time.monotonic()
        try:
            yield
        finally:
            for stop in watched:
                self.figures |= stop()
            if refused_at := self.figures.pop("refused_at", None):
                self.figures["old_token_refused_after_ms"] = round((refused_at - self._began) * 1000)

    def prove(self) -> None:
        """Show that the new token is accepted and the old one is not."""
        if not self._new:
            return
        deadline = time.monotonic() + _IN_FORCE_WITHIN
        while not is_accepted(seen := call(self._client, self._new)):
            if time.monotonic() > deadline:
                raise NotProven(f"the gateway does not accept the token that it should ({_words(seen)})")
            time.sleep(_INTERVAL)
        if self._old and not is_unauthorized(seen := call(self._client, self._old)):
            raise NotProven(f"the gateway does not refuse the old token ({_words(seen)})")
        self.figures |= {"token_accepted": True, **({"old_token_refused": True} if self._old else {})}

    def is_back(self) -> bool:
        """Whether the gateway accepts what it accepted before."""
        token = self._old or self._new
        return token is None or is_accepted(call(self._client, token))

    def _look(self, over: t.Callable[[float], bool]) -> dict[str, t.Any]:
        sent, missed, slowest, rest = 0, 0, 0.0, 0.0
        while not over(rest):
            begun = time.monotonic()
            sent, missed = sent + 1, missed + (json_object(_ask(self._quick, "/healthz")).get("ok") is not True)
            took = time.monotonic() - begun
            slowest, rest = max(slowest, took), max(0.0, _INTERVAL - took)
        return {"probes": sent, "probes_missed": missed, "slowest_probe_ms": round(slowest * 1000, 1)}

    def _show_old(self, over: t.Callable[[float], bool]) -> dict[str, t.Any]:
        """Until it is refused once: more wrong ones would make the gateway answer ever later."""
        while True:
            begun = time.monotonic()
            # OpenClaw judges it at once and answers a refusal 0.25 s later.
            if is_unauthorized(call(self._client, self._old or "")):
                return {"refused_at": begun}
            if over(_INTERVAL):
                return {}


def call(client: _http.Client, token: str) -> Probe:
    """An authenticated call."""
    return _ask(client, "/tools/invoke", token=token, body=CALL, patience=REFUSAL_DELAY)


def _ask(client: _http.Client, path: str, **options: t.Any) -> Probe:
    try:
        answer = client.request(path, **options)
    except _http.HttpFailure as exc:
        return failed(exc.kind, exc.detail)
    return answered(answer.status, answer.headers, answer.body, answer.latency_ms, secret=options.get("token"))


def _words(seen: Probe) -> str:
    return f"it answers {seen.status}" if seen.status else f"{seen.failure}: {seen.detail}"


def _beside(action: t.Callable[[t.Callable[[float], bool]], dict[str, t.Any]]) -> t.Callable[[], dict[str, t.Any]]:
    """Do something in a process of its own, since this one has the account's rights now and then.

    :param action: gets a function that waits some seconds and says whether it is over.
    :returns: a function that ends it, and gives back what it has found.
    """
    reading, writing = os.pipe()
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(tell)  # so that it notices when nobody is left to tell it
            found = action(lambda seconds: bool(select.select([told], [], [], seconds)[0]))
            os.write(writing, json.dumps(found).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.close(told)

    def stop() -> dict[str, t.Any]:
        with contextlib.suppress(BrokenPipeError):  # it has found what it looked for
            os.write(tell, b".")
        found = os.read(reading, _FOUND)  # a pipe takes so little in one piece
        os.close(reading)
        os.close(tell)
        os.waitpid(child, 0)
        return t.cast(dict[str, t.Any], json.loads(found or b"{}"))

    return stop


__all__ = ("ALL", "NotProven", "Rotation", "Watch", "call", "is_environment", "is_rotation", "plan_rotation", "used_by")
