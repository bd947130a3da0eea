# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What we know about OpenClaw's settings: pure functions over JSON values.

Retired keys and what replaced them, references to secrets and environment variables, what must be masked.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _merge
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._merge import Path, Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._text import printable

MASK = "********"
SECRET_PROVIDER = "clawops"  # noqa: S105 - a name, no password

# Keys that the program keeps for itself (measured: docs/openclaw.md, "The settings file").
PROGRAM_KEYS = ("meta", "wizard")

# Every path that the release itself marks as sensitive is covered (204 in 2026.9.6, docs/openclaw.md), and some more:
# a value masked in vain costs a look at the host, one shown in vain a new secret.
_SECRET_KEY = re.compile(
    r"token(?!izer)|password|passwd|secret|passphrase|(api|private|encrypt|session)[_-]?key|^key$|auth_?tag|serviceaccount|credential|authorization"
    r"|cookie|(webhook|incoming|proxy)_?url|(certificate|identity|knownhosts)data",
    re.IGNORECASE,
)
# Their names look secret, their values are not: limits, switches, names, places.
_NOT_SECRET_KEY = re.compile(
    r"(max|limit|budget|count|reserve|context|completion|prompt|input|output|total).*tokens?|tokens?(count|limit|budget)"
    r"|(file|path|mode|ms|enabled)$",
    re.IGNORECASE,
)
# Whatever stands below these keys is meant for another program's environment or request.
_SECRET_PARENTS = {"env", "vars", "headers", "edgeAuth"}
_URL_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+:[^/@\s]+(?=@)")
# What OpenClaw itself shows in place of a secret; written back, it would replace the secret.
_PLACEHOLDERS = ("__OPENCLAW_REDACTED__", "[redacted]", "***", MASK)
_REFERENCE = re.compile(r"\$\{[A-Z_][A-Z0-9_]*\}|\$[A-Z_][A-Z0-9_]*")
_VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_][A-Z0-9_]*)\}|^\$([A-Z_][A-Z0-9_]*)$")
# What systemd puts into the environment of a service with User= [systemd.exec(5)].
_SYSTEMD_VARIABLES = ("HOME", "INVOCATION_ID", "JOURNAL_STREAM", "LANG", "LOGNAME", "PATH", "SHELL", "USER")


class RetiredKey(t.NamedTuple):
    """A key that does not exist (any more): where, why, and what to write in its place."""

    pattern: str
    reason: str
    remedy: str


_NO_EQUIVALENT = "OpenClaw has no such setting and never applied it"
# A pattern is a path in which '*' stands for one key or list index. The release refuses most of these
# with 'Unrecognized key'; 'gateway.tls' it accepts and ignores.
RETIRED_KEYS: tuple[RetiredKey, ...] = (
    RetiredKey(
        "gateway.tls.clientAuthRequired",
        "OpenClaw accepts this key and ignores it: no client certificate is ever asked for",
        "Remove it; mutual TLS is the job of the role 'mtls', which puts nginx in front of the gateway.",
    ),
    RetiredKey(
        "gateway.tls.clientCertPath",
        "OpenClaw accepts this key and ignores it: no client certificate is ever asked for",
        "Remove it; mutual TLS is the job of the role 'mtls', which puts nginx in front of the gateway.",
    ),
    RetiredKey(
        "gateway.tailscale.enabled",
        "this key is retired",
        "Remove it; the role 'tailscale' joins the tailnet and serves the gateway there (tailscale_state: present).",
    ),
    RetiredKey(
        "gateway.tailscale.authKeyPath",
        "OpenClaw does not join a tailnet",
        "Remove it; the role 'tailscale' joins with tailscale_auth_key, from a vault, and keeps it out of the settings.",
    ),
    RetiredKey(
        "gateway.tailscale.port",
        "this key is retired",
        "Remove it; Serve uses gateway.port. The role 'tailscale' prints the address.",
    ),
    RetiredKey("gateway.cache", _NO_EQUIVALENT, "Remove it; the role 'tuning' sets the limits that take effect."),
    RetiredKey(
        "gateway.session",
        _NO_EQUIVALENT,
        "Remove it; conversations are governed by the root key 'session' (session.dmScope, session.reset).",
    ),
    RetiredKey(
        "gateway.websocket",
        _NO_EQUIVALENT,
        "Remove it; a proxy in front of the gateway sets its own time-outs (role 'mtls').",
    ),
    RetiredKey(
        "gateway.reload.mode=hot",
        "this reload mode is retired",
        "Write gateway.reload.mode: hybrid, or leave it out: it is the default.",
    ),
    RetiredKey(
        "gateway.reload.mode=restart",
        "this reload mode is retired",
        "Write gateway.reload.mode: hybrid, or leave it out: it is the default.",
    ),
    RetiredKey(
        "monitoring",
        "monitoring.* does not exist: the gateway has no metrics port of its own",
        "Remove it; the plugin diagnostics-prometheus serves metrics on the gateway's port (role 'monitoring').",
    ),
    RetiredKey(
        "logging.format", "this key is retired", "Write logging.consoleStyle: json; the log file is JSON lines anyway."
    ),
    RetiredKey("identity", "an identity belongs to an agent", "Move it to agents.entries.<id>.identity."),
    RetiredKey("agent", "this key is retired", "Write agents.defaults for all agents or agents.entries.<id> for one."),
    RetiredKey(
        "channels.*.routing",
        "channels do not route",
        "Write a list of bindings: {agentId: family, match: {channel: telegram, peer: {kind: group, id: '-100…'}}}.",
    ),
    RetiredKey(
        "agents.list.*.models.providers",
        "an agent has no providers of its own: keys are shared by the whole gateway",
        "Move the key to models.providers.<name>.apiKey with the filter secret_ref; agents that must not share a key need gateways of their own.",
    ),
    RetiredKey(
        "agents.entries.*.models.providers",
        "an agent has no providers of its own: keys are shared by the whole gateway",
        "Move the key to models.providers.<name>.apiKey with the filter secret_ref; agents that must not share a key need gateways of their own.",
    ),
)


def dotted(path: t.Iterable[str | int]) -> str:
    """``("gateway", "port")`` as ``gateway.port``."""
    return printable(".".join(str(key) for key in path))


def walk(value: t.Any, path: tuple[str, ...] = ()) -> t.Iterator[tuple[tuple[str, ...], t.Any]]:
    """Every path below *value*, through objects and lists, with what stands there."""
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, (*path, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, (*path, str(index)))


def retired(settings: Settings) -> list[OpenClawError]:
    """One error for each retired or invented key in *settings*."""
    errors = []
    for path, value in walk(settings):
        for key in RETIRED_KEYS:
            pattern, _, only = key.pattern.partition("=")
            if value is None or (only and value != only) or not _matches(pattern.split("."), path):
                continue
            errors.append(OpenClawError(f"gateway_settings.{dotted(path)}", key.reason, key.remedy))
    return errors


def _matches(pattern: t.Sequence[str], path: t.Sequence[str]) -> bool:
    return len(pattern) == len(path) and all(want in ("*", key) for want, key in zip(pattern, path, strict=False))


def reserved(settings: Settings) -> list[OpenClawError]:
    """Keys that only the program may write, and masks that somebody took for values."""
    masks = [
        OpenClawError(
            f"gateway_settings.{dotted(path)}",
            f"'{value}' is what is shown in place of a secret, not the secret",
            "Put the real value into gateway_secrets and refer to it with the filter secret_ref.",
        )
        for path, value in walk(settings)
        if value in _PLACEHOLDERS
    ]
    return masks + [
        OpenClawError(f"gateway_settings.{key}", "OpenClaw keeps this key for itself", "Remove it from the inventory.")
        for key in PROGRAM_KEYS
        if key in settings and not _only_removes(settings[key])
    ]


def _only_removes(value: t.Any) -> bool:
    """Whether a setting takes single keys out of the host's file and writes none."""
    if not isinstance(value, dict) or not value:
        return False
    return all(item is None or _only_removes(item) for item in value.values())


def secret_ref(name: str) -> dict[str, str]:
    """The SecretRef that makes OpenClaw read *name* from the gateway's secrets file."""
    return {"source": "file", "provider": SECRET_PROVIDER, "id": f"/{name}"}


def is_secret_ref(value: t.Any) -> bool:
    named = isinstance(value, dict) and {"source", "provider", "id"} == set(value)
    return named and all(isinstance(item, str) for item in value.values())


def undefined_secrets(settings: Settings, secrets: t.Collection[str]) -> list[OpenClawError]:
    """An error for each reference to a name that the gateway's secrets file will not have."""
    given = ", ".join(sorted(secrets)) or "none"
    return [
        OpenClawError(
            f"gateway_settings.{dotted(path)}",
            f"the secret '{name}' is not given",
            f"Add {name} to gateway_secrets, or correct the name. Given: {given}.",
        )
        for path, value in walk(settings)
        if is_secret_ref(value) and value["source"] == "file" and value["provider"] == SECRET_PROVIDER
        for name in [str(value["id"]).lstrip("/")]
        if name not in secrets
    ]


def undefined_variables(settings: Settings, variables: t.Collection[str]) -> list[OpenClawError]:
    """An error for each ``${VARIABLE}`` that the gateway's environment will not have."""
    inline = settings.get("env", {}).get("vars") if isinstance(settings.get("env"), dict) else None
    defined = [name for name, value in inline.items() if value is not None] if isinstance(inline, dict) else []
    known = {*variables, *defined, *_SYSTEMD_VARIABLES}
    errors = []
    for path, value in walk(settings):
        names: set[str] = set()
        if is_secret_ref(value) and value["source"] == "env":
            names = {str(value["id"])}
        elif isinstance(value, str):
            names = {first or second for first, second in _VARIABLE.findall(value)}
        errors += [_undefined_variable(f"gateway_settings.{dotted(path)}", name) for name in sorted(names - known)]
    return errors


def _undefined_variable(where: str, name: str) -> OpenClawError:
    return OpenClawError(
        where,
        f"the environment variable {name} is nowhere defined",
        f"Use a secret ({{{{ '{name}' | clawops.openclaw.secret_ref }}}} with gateway_secrets), or define {name} in "
        f"gateway_environment. Write $${{{name}}} for the literal text.",
    )


def from_validation(
    issues: t.Iterable[t.Mapping[str, t.Any]],
    *,
    file: str = "",
    is_hosts: t.Callable[[list[str]], bool] = lambda _where: False,
    hosts_remedy: str = "",
) -> list[OpenClawError]:
    """The release's own findings as our errors: the path, its words, what to do.

    :param file: the settings file of the host.
    :param is_hosts: whether a key stands only in that file, and the inventory does not write it.
    :param hosts_remedy: what to do about such a key, where it is not to remove it.
    """
    errors = []
    for issue in issues:
        message = _message(issue)
        for where in places(issue):
            if is_hosts(where):
                remedy = (
                    hosts_remedy
                    or f"The inventory does not write it. Remove it in that file, or write {dotted(where)}: null in gateway_settings."
                )
                errors.append(OpenClawError(": ".join(filter(None, (file, dotted(where)))), message, remedy))
            else:
                subject = ".".join(filter(None, ("gateway_settings", dotted(where))))
                errors.append(OpenClawError(subject, message, _remedy(message, issue.get("allowedValues"))))
    return errors


def _message(issue: t.Mapping[str, t.Any]) -> str:
    return printable(str(issue.get("message") or "is not accepted").strip())


def places(issue: t.Mapping[str, t.Any]) -> list[list[str]]:
    """The keys that a finding is about: the path, with each unknown key below it."""
    path = printable(issue.get("path") or "")
    keys = path.split(".") if path not in ("", "<root>") else []
    unknown = re.match(r'Unrecognized keys?: ((?:"[^"]+"(?:, )?)+)', _message(issue))
    return [[*keys, name] for name in re.findall(r'"([^"]+)"', unknown.group(1))] if unknown else [keys]


def _remedy(message: str, allowed: t.Any) -> str:
    if isinstance(allowed, list) and allowed:
        return f"Allowed: {', '.join(printable(value, 80) for value in allowed[:50])}."
    if "Unrecognized key" in message or "additional properties" in message:
        return "Correct the spelling or remove it: 'openclaw config schema' lists what this release knows."
    if "Unknown agent id" in message:
        return "Add the agent to agents.entries, or correct the binding."
    return "Correct the value: 'openclaw config schema' tells its type and range."


def is_secret_path(path: t.Sequence[str]) -> bool:
    """Whether the name of a key says that its value is a secret."""
    names = [key for key in path if not key.isdigit()]
    if not names:
        return False
    if _SECRET_PARENTS.intersection(names[:-1]) or names[-2:] == ["auth", "value"]:
        return True
    return bool(_SECRET_KEY.search(names[-1])) and not _NOT_SECRET_KEY.search(names[-1])


def plain_secrets(settings: Settings) -> list[tuple[Path, str]]:
    """Secrets that stand in the settings themselves in place of a reference."""
    return [
        (path, value)
        for path, value in walk(settings)
        if isinstance(value, str) and value and value != MASK and not _VARIABLE.search(value)
        if is_secret_path(path)
        if not _inside_reference(settings, path)
    ]


def _inside_reference(settings: t.Any, path: t.Sequence[str]) -> bool:
    node = settings
    for key in path[:-1]:
        node = node[int(key)] if isinstance(node, list) else node[key]
    return is_secret_ref(node)


def redact(value: t.Any, known: t.Collection[str] = (), path: tuple[str, ...] = ()) -> t.Any:
    """A copy that may be shown: values of secret keys and every known secret are masked."""
    if is_secret_ref(value):
        return {key: scrub(item, known) for key, item in value.items()}
    if isinstance(value, dict):
        return {scrub(str(key), known): redact(item, known, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list):
        return [redact(item, known, (*path, str(index))) for index, item in enumerate(value)]
    if isinstance(value, str) and value:
        if is_secret_path(path) and not _REFERENCE.fullmatch(value):
            return MASK
        return scrub(value, known)
    # A password of digits alone, which YAML has made a number.
    if isinstance(value, int) and abs(value) >= 10**5 and is_secret_path(path):
        return MASK
    return value


def scrub(text: str, known: t.Collection[str]) -> str:
    """*text* with every known secret and every password in a URL masked; longer ones first, so that none leaves a tail."""
    text = _URL_CREDENTIALS.sub(MASK, text)
    for secret in sorted(known, key=len, reverse=True):
        if secret:
            text = text.replace(secret, MASK)
    return text


# What the running gateway does about a change [openclaw docs: gateway/configuration/hot-reload.md; measured].
# The first prefix that fits decides; a path that fits none makes the gateway restart itself.
_HOT = (
    "agents", "models", "auth", "hooks", "cron", "session", "messages", "tools", "skills", "mcp", "plugins.entries",
    "plugins.allow", "plugins.deny", "ui", "logging", "bindings", "gateway.auth.token", "gateway.auth.password",
    "gateway.trustedProxies", "gateway.auth.trustedProxy", "gateway.auth.rateLimit", "gateway.roles",
    "discovery.mdns.mode", "gateway.http.endpoints", "diagnostics.flags", "telemetry", "secrets.providers", "channels",
)  # fmt: skip


def reload_kind(paths: t.Iterable[Path], settings: Settings) -> str:
    """``none``, ``hot`` (applied without a restart) or ``restart``, for a change of these paths to these settings."""
    off = _merge.lookup(settings, ("gateway", "reload", "mode")) == "off"
    kinds = {"hot" if _is_hot(dotted(path)) and not off else "restart" for path in paths if path[0] not in PROGRAM_KEYS}
    return "restart" if "restart" in kinds else "hot" if kinds else "none"


def _is_hot(path: str) -> bool:
    return any(path == prefix or path.startswith(prefix + ".") for prefix in _HOT)


__all__ = (
    "MASK",
    "SECRET_PROVIDER",
    "dotted",
    "from_validation",
    "plain_secrets",
    "redact",
    "reload_kind",
    "reserved",
    "retired",
    "scrub",
    "secret_ref",
    "undefined_secrets",
    "undefined_variables",
    "walk",
)
