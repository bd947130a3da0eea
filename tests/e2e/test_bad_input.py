# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What site.yml refuses: told with subject, reason and remedy, before anything on the host is touched."""

from __future__ import annotations

import contextlib
import json
import re
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import lab
from ansible_collections.clawops.openclaw.tests.e2e.conftest import Gateway, wait_until_serving

RETIRED = lab.ROOT / "tests/fixtures/retired-settings"
HOST = "bad-input"
BARE = "bad-input-bare"
# The one snippet among the retired ones that the release still takes.
SANDBOX = json.loads((RETIRED / "agent-docker-sandbox.json").read_text())
PREVIOUS, LAST_GOOD = f"{lab.SETTINGS}.previous", f"{lab.SETTINGS}.last-good"

Words = tuple[str, ...]


def settings(**keys: t.Any) -> dict[str, t.Any]:
    return {"gateway_settings": keys}


def retired(name: str) -> dict[str, t.Any]:
    return {"gateway_settings": json.loads((RETIRED / f"{name}.json").read_text())}


@pytest.fixture(scope="module")
def gateway(start_shared_gateway: t.Callable[..., Gateway]) -> Gateway:
    """A gateway whose settings have changed once, so that a previous version is kept."""
    started: Gateway = start_shared_gateway(HOST, gateway_settings=SANDBOX)
    run = lab.play("site", started.where)
    assert run.status == 0, run.output
    return started


@pytest.fixture(scope="module")
def bare() -> Iterator[lab.Host]:
    """A host on which nothing is installed."""
    yield lab.up({BARE: "debian12"})[BARE]
    lab.down([BARE])


def site(folder: Path, host: lab.Host, variables: t.Mapping[str, t.Any], *words: str) -> lab.Run:
    """Run site.yml with other variables than those that made the gateway."""
    base = {"gateway_settings": SANDBOX} if host.name == HOST else {}
    return lab.play("site", lab.inventory(folder, {host.name: {}}, **{**base, **variables}), *words)


def message(run: lab.Run, kind: str = "ERROR") -> str:
    """What the run said in its errors or warnings, without the white space that the width of a terminal brings."""
    told = re.findall(rf"^\[{kind}\]: (.*?)(?=^Origin: |^fatal: |^\[|^TASK |^PLAY |\Z)", run.output, re.MULTILINE | re.DOTALL)
    return squeezed(" ".join(told))


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def assert_refused(run: lab.Run, words: t.Iterable[str]) -> None:
    assert run.status != 0, run.output
    told = message(run)
    assert [each for each in words if squeezed(each) not in told] == [], run.output


@contextlib.contextmanager
def untouched(host: lab.Host) -> Iterator[None]:
    """Whatever happens in the block, the host is afterwards as it was, and its gateway, if any, has gone on."""
    packages, digest, process, uptime = host.packages(), host.digest(), host.process(), host.startup().get("uptimeMs", 0)
    yield
    assert host.digest() == digest
    assert host.packages() == packages
    assert host.process() == process
    if process:
        now = host.startup()
        assert now["status"] == "started"
        assert now["uptimeMs"] > uptime


# ---- values of the inventory ---------------------------------------------------------------------------

LIVE_ROWS = [
    pytest.param(
        settings(monitorring=True),
        ("gateway_settings.monitorring", "Unrecognized key", "openclaw config schema"),
        id="unknown-root-key",
    ),
    pytest.param(
        settings(cron={"retryy": {}}),
        ("gateway_settings.cron.retryy", "Unrecognized key", "openclaw config schema"),
        id="unknown-nested-key",
    ),
    pytest.param(
        retired("agents-and-telegram-routing"),
        (
            "gateway_settings.identity: an identity belongs to an agent. Move it to agents.entries.<id>.identity.",
            "gateway_settings.channels.telegram.routing: channels do not route. Write a list of bindings",
        ),
        id="retired-routing",
    ),
    pytest.param(
        retired("gateway-mtls"),
        (
            "gateway_settings.gateway.tls.clientAuthRequired: OpenClaw accepts this key and ignores it",
            "gateway_settings.gateway.tls.clientCertPath: OpenClaw accepts this key and ignores it",
            "mutual TLS is the job of the role 'mtls'",
        ),
        id="tls-keys-that-openclaw-ignores",
    ),
    pytest.param(
        retired("gateway-tailscale"),
        (
            "gateway_settings.gateway.tailscale.enabled: this key is retired. Write gateway.tailscale.mode: serve",
            "gateway_settings.gateway.tailscale.authKeyPath: OpenClaw does not join a tailnet. Remove it",
            "gateway_settings.gateway.tailscale.port: this key is retired. Remove it",
        ),
        id="retired-tailscale",
    ),
    pytest.param(
        retired("gateway-tuning"),
        (
            "gateway_settings.gateway.cache: OpenClaw has no such setting and never applied it. Remove it",
            "gateway_settings.gateway.session: OpenClaw has no such setting",
            "gateway_settings.gateway.websocket: OpenClaw has no such setting",
        ),
        id="invented-tuning",
    ),
    pytest.param(
        retired("logging-debug-json"),
        ("gateway_settings.logging.format: this key is retired. Write logging.consoleStyle: json",),
        id="retired-log-format",
    ),
    pytest.param(
        retired("monitoring-prometheus"),
        (
            "gateway_settings.monitoring: monitoring.* does not exist",
            "the plugin diagnostics-prometheus serves metrics on the gateway's port",
        ),
        id="invented-monitoring",
    ),
    pytest.param(
        retired("per-agent-provider-keys"),
        (
            "gateway_settings.agents.list.0.models.providers: an agent has no providers of its own",
            "Move the key to models.providers.<name>.apiKey with the filter secret_ref",
        ),
        id="provider-keys-of-an-agent",
    ),
    pytest.param(
        settings(logging={"level": 5}),
        ("gateway_settings.logging.level", "Invalid", "Allowed: "),
        id="wrong-type-of-a-setting",
    ),
    pytest.param(
        {"gateway_port": "abc"},
        ("gateway_port", "unable to convert to int"),
        id="wrong-type-of-a-variable",
    ),
    pytest.param(
        settings(messages={"responsePrefix": "${NOWHERE_DEFINED}"}),
        (
            "gateway_settings.messages.responsePrefix: the environment variable NOWHERE_DEFINED is nowhere defined.",
            "define NOWHERE_DEFINED in gateway_environment",
        ),
        id="variable-nowhere-defined",
    ),
    pytest.param(
        settings(models={"providers": {"anthropic": {"apiKey": "{{ 'ANTHROPIC_API_KEY' | clawops.openclaw.secret_ref }}"}}}),
        (
            "gateway_settings.models.providers.anthropic.apiKey: the secret 'ANTHROPIC_API_KEY' is not given.",
            "Add ANTHROPIC_API_KEY to gateway_secrets, or correct the name. Given: OPENCLAW_GATEWAY_TOKEN.",
        ),
        id="secret-not-given",
    ),
    pytest.param(
        settings(bindings=[{"agentId": "ghost", "match": {"channel": "telegram"}}]),
        ("gateway_settings.bindings.0.agentId", 'Unknown agent id "ghost"', "Add the agent to agents.entries"),
        id="binding-to-an-unknown-agent",
    ),
    pytest.param(
        settings(gateway={"port": 18000}),
        ("gateway_settings.gateway.port: the role needs it to be 18789.", "Remove it from gateway_settings"),
        id="key-of-the-role",
    ),
    pytest.param(
        {"nodejs_major": 22},
        ("nodejs_major 22: OpenClaw 2026.9.6 runs on Node.js >=24.16.0", "Set nodejs_major to a version of that range"),
        id="node-too-old",
    ),
    pytest.param(
        {"gateway_version": "2026.9.999"},
        ("gateway_version 2026.9.999: the npm registry has no such release of openclaw.", "Nearest: 2026.9."),
        id="version-that-does-not-exist",
    ),
    pytest.param(
        {"gateway_version": "2026.1.28"},
        ("gateway_version 2026.1.28: is not safe: CVE-2026-25253", "Use 2026.1.29 or newer; gateway_allow_unsafe_version: true"),
        id="unsafe-version",
    ),
]


@pytest.mark.parametrize(("variables", "words"), LIVE_ROWS)
def test_a_bad_value_is_refused_and_the_gateway_goes_on(
    gateway: Gateway, tmp_path: Path, variables: dict[str, t.Any], words: Words
) -> None:
    with untouched(gateway.host):
        run = site(tmp_path, gateway.host, variables)
    assert_refused(run, words)


def test_a_retired_snippet_that_the_release_still_takes_is_applied(gateway: Gateway) -> None:
    agent = gateway.host.settings()["agents"]["list"][0]
    assert agent == SANDBOX["agents"]["list"][0]


def test_an_unsafe_version_that_the_operator_insists_on_is_only_warned_of(gateway: Gateway, tmp_path: Path) -> None:
    # The registry has no other version that is old enough.
    wish = {"gateway_version": "0.0.1", "gateway_allow_unsafe_version": True}
    with untouched(gateway.host):
        run = site(tmp_path, gateway.host, wish, "--check")
    assert run.status == 0, run.output
    assert squeezed("gateway_version 0.0.1: is not safe: CVE-2026-25253") in message(run, "WARNING")


# ---- what stands in the way on the host ----------------------------------------------------------------


def test_a_port_that_something_else_listens_on_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    host = gateway.host
    host.run("systemd-run --quiet --unit=squatter python3 -m http.server --bind 127.0.0.1 18999")
    try:
        host.run("timeout 60 bash -c 'until curl -s http://127.0.0.1:18999/ >/dev/null; do sleep 0.2; done'")
        with untouched(host):
            run = site(tmp_path, host, {"gateway_port": 18999})
    finally:
        host.run("systemctl stop squatter")
    assert_refused(run, ("gateway_port 18999: python3 (process ", "listens on it. Choose another gateway_port, or stop that process."))


@contextlib.contextmanager
def damaged(host: lab.Host, damage: str) -> Iterator[None]:
    """The settings file is damaged by a shell command, and whole again after the block."""
    kept = "/root/openclaw.json"
    host.run(f"cp -a {lab.SETTINGS} {kept}; cd $(dirname {lab.SETTINGS}); f={lab.SETTINGS}; {damage}")
    try:
        yield
    finally:
        host.run(f"rm -rf {lab.SETTINGS}; mv {kept} {lab.SETTINGS}; rm -f {lab.SETTINGS}.unreadable-*")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param("truncate -s 200 $f", "cannot be read: SyntaxError: JSON5: invalid end of input", id="torn"),
        pytest.param("truncate -s 0 $f", "cannot be read: it is not JSON", id="empty"),
        pytest.param("head -c 300 /dev/urandom >$f", "cannot be read: ", id="binary"),
        pytest.param("echo '[]' >$f", "cannot be read: it holds no object", id="no-object"),
        pytest.param("rm $f; mkdir $f", "is not a plain file", id="directory"),
        pytest.param("mv $f $f.elsewhere; ln -s $f.elsewhere $f", "cannot be read: it is a symbolic link", id="link"),
    ],
)
def test_settings_that_cannot_be_read_are_left_as_they_are(
    gateway: Gateway, tmp_path: Path, damage: str, reason: str
) -> None:
    with damaged(gateway.host, damage), untouched(gateway.host):
        run = site(tmp_path, gateway.host, {})
    offers = (
        "It was left as it is",
        f"gateway_settings_recover=previous starts from {PREVIOUS}",
        "gateway_settings_recover=discard keeps only what the inventory says",
    )
    assert_refused(run, (f"{lab.SETTINGS}: {reason}", *offers))
