# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is explained about settings, and what of them is never shown."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from ansible_collections.clawops.openclaw.plugins.module_utils import _settings
from ansible_collections.clawops.openclaw.plugins.module_utils._merge import Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._settings import MASK, secret_ref

RETIRED = Path(__file__).parents[4] / "tests/fixtures/retired-settings"


def at(path: str, value: Any) -> Settings:
    """Settings with one value at a dotted path; a number in the path is an index of a list."""
    for key in reversed(path.split(".")):
        value = [value] if key.isdigit() else {key: value}
    settings: Settings = value
    return settings


# ---- retired keys ---------------------------------------------------------------------------------------------

TAUGHT = {
    "agents-and-telegram-routing": {
        "identity": "agents.entries.<id>.identity",
        "channels.telegram.routing": "bindings",
    },
    "gateway-mtls": {
        "gateway.tls.clientAuthRequired": "role 'mtls'",
        "gateway.tls.clientCertPath": "role 'mtls'",
    },
    "gateway-tailscale": {
        "gateway.tailscale.enabled": "tailscale_state: present",
        "gateway.tailscale.authKeyPath": "role 'tailscale'",
        "gateway.tailscale.port": "gateway.port",
    },
    "gateway-tuning": {
        "gateway.cache": "role 'tuning'",
        "gateway.session": "session.reset",
        "gateway.websocket": "proxy",
    },
    "logging-debug-json": {"logging.format": "logging.consoleStyle: json"},
    "monitoring-prometheus": {"monitoring": "diagnostics-prometheus"},
    "per-agent-provider-keys": {"agents.list.0.models.providers": "models.providers.<name>.apiKey"},
    # The one of the old snippets that is still good.
    "agent-docker-sandbox": {},
}


def snippet(name: str) -> Settings:
    settings: Settings = json.loads((RETIRED / f"{name}.json").read_text(encoding="utf-8"))
    return settings


def test_every_snippet_of_an_old_guide_is_covered() -> None:
    assert {path.stem for path in RETIRED.iterdir()} == set(TAUGHT)


@pytest.mark.parametrize("name", TAUGHT)
def test_a_retired_snippet_explains_what_to_write_in_its_place(name: str) -> None:
    errors = {error.subject: error for error in _settings.retired(snippet(name))}
    assert set(errors) == {f"gateway_settings.{path}" for path in TAUGHT[name]}
    for path, remedy in TAUGHT[name].items():
        error = errors[f"gateway_settings.{path}"]
        assert error.reason
        assert remedy in error.remedy
        assert str(error).startswith(f"gateway_settings.{path}: {error.reason}. ")


@pytest.mark.parametrize(
    ("path", "value", "explained"),
    [
        pytest.param("gateway.reload.mode", "hot", ["gateway.reload.mode"], id="retired-reload-mode-hot"),
        pytest.param("gateway.reload.mode", "restart", ["gateway.reload.mode"], id="retired-reload-mode-restart"),
        pytest.param("gateway.reload.mode", "hybrid", [], id="reload-mode-of-today"),
        pytest.param("agent", {"model": "x"}, ["agent"], id="agent"),
        pytest.param("agents.entries.work.models.providers", {}, ["agents.entries.work.models.providers"], id="keyed"),
        pytest.param("gateway.tls.certPath", "/x", [], id="a-real-key-of-tls"),
        pytest.param("gateway.tailscale.mode", "serve", [], id="tailscale-of-today"),
        pytest.param("agents.entries.work.identity", {"name": "x"}, [], id="an-agents-identity"),
        pytest.param("channels.telegram.accounts.routing", {}, [], id="an-account-with-that-name"),
        pytest.param("session", {"dmScope": "main"}, [], id="the-root-key-session"),
        pytest.param("monitoring", None, [], id="a-desired-that-it-is-absent"),
    ],
)
def test_retired_keys(path: str, value: Any, explained: list[str]) -> None:
    assert [error.subject for error in _settings.retired(at(path, value))] == [
        f"gateway_settings.{key}" for key in explained
    ]


@pytest.mark.parametrize("key", _settings.RETIRED_KEYS, ids=lambda key: key.pattern)
def test_every_retired_key_is_found(key: _settings.RetiredKey) -> None:
    path, _, value = key.pattern.replace("list.*", "list.0").replace("*", "x").partition("=")
    assert (key.reason, key.remedy) in [
        (error.reason, error.remedy) for error in _settings.retired(at(path, value or "x"))
    ]


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        pytest.param({"meta": {}}, ["meta"], id="meta"),
        pytest.param({"wizard": None}, ["wizard"], id="wizard-even-its-absence"),
        pytest.param({"meta": {"lastTouchedAt": None}}, [], id="a-key-of-it-that-goes"),
        pytest.param({"meta": {"a": None, "b": 1}}, ["meta"], id="a-key-of-it-that-goes-and-one-that-comes"),
        pytest.param({"agents": {"meta": 1}}, [], id="the-same-name-further-down"),
        pytest.param({"a": {"token": "__OPENCLAW_REDACTED__"}}, ["a.token"], id="what-openclaw-shows-for-a-secret"),
        pytest.param({"a": [{"b": MASK}]}, ["a.0.b"], id="what-we-show-for-a-secret"),
        pytest.param({"a": [None, {}, [], 3, "* * *"]}, [], id="nothing-of-the-kind"),
    ],
)
def test_reserved(settings: Settings, refused: list[str]) -> None:
    assert [error.subject for error in _settings.reserved(settings)] == [f"gateway_settings.{key}" for key in refused]


# ---- references --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        pytest.param(at("a.b", secret_ref("GIVEN")), [], id="given"),
        pytest.param(at("a.b", secret_ref("NONE")), [("a.b", "NONE")], id="not-given"),
        pytest.param(at("a.0.b", secret_ref("NONE")), [("a.0.b", "NONE")], id="in-a-list"),
        pytest.param(at("a", {**secret_ref("NONE"), "provider": "other"}), [], id="of-another-provider"),
        pytest.param(at("a", {**secret_ref("NONE"), "source": "exec"}), [], id="of-another-source"),
        pytest.param(at("a", {"id": "/NONE"}), [], id="no-reference-at-all"),
        pytest.param(at("a", secret_ref("GIVEN/inner")), [("a", "GIVEN/inner")], id="a-pointer-into-a-secret"),
        pytest.param({}, [], id="nothing"),
    ],
)
def test_undefined_secrets(settings: Settings, missing: list[tuple[str, str]]) -> None:
    errors = _settings.undefined_secrets(settings, {"GIVEN": "x"})
    assert [error.subject for error in errors] == [f"gateway_settings.{path}" for path, _name in missing]
    for error, (_path, name) in zip(errors, missing, strict=True):
        assert f"'{name}'" in error.reason
        assert f"Add {name} to gateway_secrets" in error.remedy
        assert "Given: GIVEN." in error.remedy


def test_without_secrets_none_is_said_to_be_given() -> None:
    [error] = _settings.undefined_secrets(at("a", secret_ref("A")), {})
    assert error.remedy.endswith("Given: none.")


@pytest.mark.parametrize(
    ("value", "missing"),
    [
        pytest.param("${NONE}", ["NONE"], id="braces"),
        pytest.param("$NONE", ["NONE"], id="bare"),
        pytest.param("x-${NONE}-${ALSO}", ["ALSO", "NONE"], id="two-in-a-text"),
        pytest.param("${GIVEN}${NONE}", ["NONE"], id="one-of-two"),
        pytest.param("${GIVEN} $GIVEN", [], id="given"),
        pytest.param("$${NONE}", [], id="escaped"),
        pytest.param("costs $NONE", [], id="bare-inside-a-text-is-text"),
        pytest.param("${none}", [], id="small-letters-are-text"),
        pytest.param("${HOME}", [], id="what-systemd-sets"),
        pytest.param("${INLINE}", [], id="what-the-settings-set"),
        pytest.param("${GONE}", ["GONE"], id="what-the-settings-no-longer-set"),
        pytest.param({"source": "env", "provider": "default", "id": "NONE"}, ["NONE"], id="a-reference"),
        pytest.param({"source": "env", "provider": "default", "id": "GIVEN"}, [], id="a-reference-to-one-given"),
        pytest.param(["a", {"b": "${NONE}"}], ["NONE"], id="in-a-list"),
        pytest.param(5, [], id="a-number"),
    ],
)
def test_undefined_variables(value: Any, missing: list[str]) -> None:
    settings = {"a": value, "env": {"vars": {"INLINE": "x", "GONE": None}}}
    errors = _settings.undefined_variables(settings, {"GIVEN": "x"})
    assert [error.reason for error in errors] == [
        f"the environment variable {name} is nowhere defined" for name in missing
    ]
    for error, name in zip(errors, missing, strict=True):
        assert error.subject.startswith("gateway_settings.a")
        assert f"'{name}' | clawops.openclaw.secret_ref" in error.remedy
        assert f"$${{{name}}}" in error.remedy


@pytest.mark.parametrize("env", ["x", {"vars": "x"}, {"vars": None}, None, []], ids=repr)
def test_an_odd_environment_in_the_settings_defines_nothing(env: Any) -> None:
    assert len(_settings.undefined_variables({"env": env, "a": "${NONE}"}, {})) == 1


# ---- the release's own findings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("issue", "subject", "reason", "remedy"),
    [
        pytest.param(
            {"path": "gateway.port", "message": "Invalid input: expected number, received string"},
            "gateway_settings.gateway.port",
            "Invalid input: expected number, received string",
            "Correct the value: 'openclaw config schema' tells its type and range.",
            id="a-wrong-type",
        ),
        pytest.param(
            {"path": "", "message": 'Unrecognized key: "identity"'},
            "gateway_settings.identity",
            'Unrecognized key: "identity"',
            "Correct the spelling or remove it: 'openclaw config schema' lists what this release knows.",
            id="an-unknown-key-at-the-root",
        ),
        pytest.param(
            {"path": "<root>", "message": 'Unrecognized key: "identity"'},
            "gateway_settings.identity",
            'Unrecognized key: "identity"',
            "Correct the spelling or remove it: 'openclaw config schema' lists what this release knows.",
            id="an-unknown-key-at-the-named-root",
        ),
        pytest.param(
            {"path": "cron", "message": 'Unrecognized keys: "retry"'},
            "gateway_settings.cron.retry",
            'Unrecognized keys: "retry"',
            "Correct the spelling or remove it: 'openclaw config schema' lists what this release knows.",
            id="unknown-keys",
        ),
        pytest.param(
            {"path": "channels.telegram", "message": 'must not have additional properties: "routing"'},
            "gateway_settings.channels.telegram",
            'must not have additional properties: "routing"',
            "Correct the spelling or remove it: 'openclaw config schema' lists what this release knows.",
            id="an-unknown-key-of-a-plugin",
        ),
        pytest.param(
            {"path": "gateway.bind", "message": "Invalid option", "allowedValues": ["auto", "lan", 1]},
            "gateway_settings.gateway.bind",
            "Invalid option",
            "Allowed: auto, lan, 1.",
            id="allowed-values",
        ),
        pytest.param(
            {"path": "bindings.0.agentId", "message": 'Unknown agent id "ghost"'},
            "gateway_settings.bindings.0.agentId",
            'Unknown agent id "ghost"',
            "Add the agent to agents.entries, or correct the binding.",
            id="an-unknown-agent",
        ),
        pytest.param(
            {},
            "gateway_settings",
            "is not accepted",
            "Correct the value: 'openclaw config schema' tells its type and range.",
            id="without-a-word",
        ),
    ],
)
def test_from_validation(issue: dict[str, Any], subject: str, reason: str, remedy: str) -> None:
    [error] = _settings.from_validation([issue])
    assert (error.subject, error.reason, error.remedy) == (subject, reason, remedy)


def test_from_validation_tells_of_each_unknown_key() -> None:
    issues = [{"path": "cron", "message": 'Unrecognized keys: "retry", "again"'}]
    subjects = [error.subject for error in _settings.from_validation(issues)]
    assert subjects == ["gateway_settings.cron.retry", "gateway_settings.cron.again"]


# ---- what is a secret ------------------------------------------------------------------------------------------

SECRET_PATHS = [
    "gateway.auth.token",
    "gateway.auth.password",
    "channels.telegram.botToken",
    "channels.telegram.accounts.work.botToken",
    "channels.feishu.encryptKey",
    "channels.buzz.authTag",
    "channels.googlechat.serviceAccount",
    "channels.slack.signingSecret",
    "channels.discord.webhookUrl",
    "models.providers.anthropic.apiKey",
    "models.providers.anthropic.headers.x-anything",
    "models.providers.anthropic.request.auth.value",
    "models.providers.anthropic.request.tls.key",
    "models.providers.anthropic.request.tls.passphrase",
    "agents.defaults.sandbox.ssh.identityData",
    "agents.defaults.sandbox.docker.env.ANYTHING",
    "skills.entries.search.env.ANYTHING",
    "gateway.remote.edgeAuth.anything",
    "plugins.entries.x.config.api-key",
    "plugins.entries.x.config.api_key",
    "plugins.entries.x.config.PASSWD",
    "plugins.entries.x.config.Authorization",
    "plugins.entries.x.config.sessionCookie",
    "plugins.entries.x.config.credentials",
    "plugins.entries.x.config.tokens.0",
    "env.vars.ANYTHING",
]
OPEN_PATHS = [
    "agents.defaults.maxTokens",
    "agents.defaults.contextTokens",
    "agents.defaults.compaction.reserveTokensFloor",
    "agents.defaults.tokenBudget",
    "models.providers.x.models.0.compat.maxTokensField",
    "gateway.auth.mode",
    "gateway.auth.tokenFile",
    "gateway.auth.passwordFile",
    "gateway.auth.tokenTtlMs",
    "gateway.tls.keyPath",
    "memory.search.store.fts.tokenizer",
    "secrets.providers.clawops.path",
    "gateway.port",
    "session.mainKey",
    "channels.telegram.webhookPath",
    "models.providers.x.request.tls.cert",
]


@pytest.mark.parametrize("path", SECRET_PATHS)
def test_the_value_of_a_secret_key_is_masked(path: str) -> None:
    settings = at(path, "hunter2")
    assert _settings.redact(settings) == at(path, MASK)
    assert [value for _path, value in _settings.plain_secrets(settings)] == ["hunter2"]


@pytest.mark.parametrize("path", OPEN_PATHS)
def test_the_value_of_another_key_is_shown(path: str) -> None:
    settings = at(path, "hunter2")
    assert _settings.redact(settings) == settings
    assert _settings.plain_secrets(settings) == []


def test_a_secret_of_digits_that_yaml_has_made_a_number_is_masked() -> None:
    assert _settings.redact(at("channels.telegram.botToken", 123456)) == at("channels.telegram.botToken", MASK)


@pytest.mark.parametrize("value", [8192, True, None, 0.5, "", [], {}], ids=repr)
def test_only_texts_and_long_numbers_are_masked(value: Any) -> None:
    assert _settings.redact(at("a.token", value)) == at("a.token", value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(secret_ref("TOKEN"), id="a-reference-to-a-file"),
        pytest.param({"source": "env", "provider": "default", "id": "TOKEN"}, id="a-reference-to-the-environment"),
        pytest.param("${TOKEN}", id="a-variable"),
        pytest.param("$TOKEN", id="a-bare-variable"),
    ],
)
@pytest.mark.parametrize("path", ["gateway.auth.token", "models.providers.x.headers.any", "a.tokens.0"])
def test_a_reference_is_shown_and_is_no_plain_secret(path: str, value: Any) -> None:
    settings = at(path, value)
    assert _settings.redact(settings) == settings
    assert _settings.plain_secrets(settings) == []


@pytest.mark.parametrize("value", ["hunter2${TOKEN}", "${TOKEN}hunter2", "$TOKEN hunter2", "${token}", "$$TOKEN"])
def test_a_secret_beside_a_variable_is_masked(value: str) -> None:
    assert _settings.redact(at("gateway.auth.token", value)) == at("gateway.auth.token", MASK)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        pytest.param({"a": {"token": "x", "b": "y"}}, [(("a", "token"), "x")], id="by-its-path"),
        pytest.param({"a": {"token": MASK}}, [], id="a-mask-is-none"),
        pytest.param({"a": {"token": ""}}, [], id="an-empty-text-is-none"),
        pytest.param({"a": [{"token": "x"}]}, [(("a", "0", "token"), "x")], id="in-a-list"),
        pytest.param({"secret": {"source": "file", "provider": "x"}}, [], id="no-reference-and-no-secret"),
    ],
)
def test_plain_secrets(settings: Settings, found: list[tuple[tuple[str, ...], str]]) -> None:
    assert _settings.plain_secrets(settings) == found


@pytest.mark.parametrize(
    ("text", "known", "shown"),
    [
        pytest.param("the word hunter2 here", ["hunter2"], f"the word {MASK} here", id="inside-a-text"),
        pytest.param("hunter22", ["hunter2", "hunter22"], MASK, id="the-longer-first"),
        pytest.param("hunter2hunter2", ["hunter2"], MASK * 2, id="twice"),
        pytest.param("nothing", ["hunter2", ""], "nothing", id="an-empty-secret-masks-nothing"),
        pytest.param("https://u:p4ss@host/x", [], f"https://{MASK}@host/x", id="a-password-in-a-url"),
        pytest.param("https://host:80/x@y", [], "https://host:80/x@y", id="a-port-in-a-url"),
    ],
)
def test_scrub(text: str, known: list[str], shown: str) -> None:
    assert _settings.scrub(text, known) == shown


NAMES = st.sampled_from(["a", "b", "token", "headers", "maxTokens", "0", "source", "provider", "id"])
SECRETS = st.lists(st.text('kqü"\\\n$ ', min_size=2, max_size=6), min_size=1, max_size=3)


def with_secrets(known: list[str]) -> st.SearchStrategy[Settings]:
    """Settings in which secrets stand as values, in values and in keys."""
    within = st.builds("{}{}{}".format, st.text("ab", max_size=2), st.sampled_from(known), st.text("ab", max_size=2))
    texts = st.sampled_from([*known, "b", "${TOKEN}", secret_ref("TOKEN"), 1, None]) | within
    values = st.recursive(
        texts,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES | within, inner, max_size=3),
        max_leaves=6,
    )
    return st.dictionaries(NAMES | within, values, max_size=3)


def texts_in(value: Any) -> list[str]:
    """Every text in a JSON value, the names of keys included."""
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in [key, *texts_in(item)]]
    if isinstance(value, list):
        return [text for item in value for text in texts_in(item)]
    return [value] if isinstance(value, str) else []


@given(st.data())
def test_no_known_secret_survives_wherever_it_stands(data: st.DataObject) -> None:
    known = data.draw(SECRETS)
    settings = data.draw(with_secrets(known))
    before = copy.deepcopy(settings)
    shown = _settings.redact(settings, known)
    assert [(text, secret) for text in texts_in(shown) for secret in known if secret in text] == []
    printed = json.dumps(shown, ensure_ascii=False)
    assert [secret for secret in known if secret.isalpha() and secret in printed] == []
    assert settings == before


@tries(max_examples=200)
@given(st.data())
def test_masking_twice_is_masking_once(data: st.DataObject) -> None:
    known = data.draw(SECRETS)
    once = _settings.redact(data.draw(with_secrets(known)), known)
    assert _settings.redact(once, known) == once


# ---- what the gateway does about a change ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "kind"),
    [
        pytest.param([], "none", id="no-change"),
        pytest.param(["meta.lastTouchedAt", "wizard"], "none", id="what-the-program-keeps"),
        pytest.param(["gateway.trustedProxies"], "hot", id="trusted-proxies"),
        pytest.param(["gateway.auth.token.id"], "hot", id="a-reference-to-a-token"),
        pytest.param(["logging.level"], "hot", id="logging"),
        pytest.param(["secrets.providers.clawops.timeoutMs"], "hot", id="the-stamp"),
        pytest.param(["agents.entries.work.model"], "hot", id="an-agent"),
        pytest.param(["channels.telegram.botToken"], "hot", id="a-channel"),
        pytest.param(["plugins.entries.x.enabled"], "hot", id="a-plugin"),
        pytest.param(["gateway.port"], "restart", id="the-port"),
        pytest.param(["gateway.bind"], "restart", id="the-address"),
        pytest.param(["gateway.auth.mode"], "restart", id="the-kind-of-authentication"),
        pytest.param(["gateway.authx"], "restart", id="a-name-that-only-begins-like-a-hot-one"),
        pytest.param(["agentsx"], "restart", id="a-root-key-that-only-begins-like-a-hot-one"),
        pytest.param(["gateway.controlUi.basePath"], "restart", id="measured-restart"),
        pytest.param(["env.vars.X"], "restart", id="the-environment"),
        pytest.param(["$schema"], "restart", id="the-schema"),
        pytest.param(["secrets.egressProxy.url"], "restart", id="the-egress-proxy"),
        pytest.param(["nobody.knows"], "restart", id="an-unknown-key"),
        pytest.param(["logging.level", "gateway.port", "meta.x"], "restart", id="the-strongest-of-many"),
    ],
)
def test_reload_kind(paths: list[str], kind: str) -> None:
    changed = [tuple(path.split(".")) for path in paths]
    assert _settings.reload_kind(changed, {"gateway": {"reload": {"mode": "hybrid"}}}) == kind
    ignoring = _settings.reload_kind(changed, {"gateway": {"reload": {"mode": "off"}}})
    assert ignoring == ("none" if kind == "none" else "restart")


def test_walking_visits_lists_and_objects() -> None:
    assert [_settings.dotted(path) for path, _value in _settings.walk({"a": [{"b": 1}], "c": {}})] == [
        "",
        "a",
        "a.0",
        "a.0.b",
        "c",
    ]
