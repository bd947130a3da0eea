# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that site.yml refuses: told with subject, reason and remedy, before anything on the host is touched.

What each message says is held by the unit tests of the modules; here the whole way of each is tried. One of each kind is in
every run of the tests: in test_secrets.py, and in the file of each role.
"""

from __future__ import annotations

import contextlib
import functools
import json
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import lab
from ansible_collections.clawops.openclaw.tests.e2e.conftest import Gateway
from ansible_collections.clawops.openclaw.tests.e2e.lab import assert_refused, message, squeezed, untouched

RETIRED = lab.ROOT / "tests/fixtures/retired-settings"
HOST = "bad-input"
BARE = "bad-input-bare"
# The one snippet among the retired ones that the release still takes.
SANDBOX = json.loads((RETIRED / "agent-docker-sandbox.json").read_text())
PREVIOUS, LAST_GOOD = f"{lab.SETTINGS}.previous", f"{lab.SETTINGS}.last-good"

Words = tuple[str, ...]
pytestmark = pytest.mark.full


def settings(**keys: t.Any) -> dict[str, t.Any]:
    return {"gateway_settings": keys}


def joined(one: t.Any, other: t.Any) -> t.Any:
    """Both, key by key."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: joined(one.get(key), other.get(key)) for key in {**one, **other}}
    return one if other is None else other


def retired(*names: str) -> dict[str, t.Any]:
    """Snippets of old guides, in one inventory."""
    snippets = (json.loads((RETIRED / f"{name}.json").read_text()) for name in names)
    return {"gateway_settings": functools.reduce(joined, snippets)}


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


# ---- values of the inventory ---------------------------------------------------------------------------

LIVE_ROWS = [
    pytest.param(
        {
            "gateway_port": 70000,
            "gateway_releases_keep": 0,
            "gateway_label": "two\nlines",
            "gateway_environment": {"A": None, "B C": "x"},
        },
        (
            "gateway_port 70000: is no TCP port. Choose one of 1 to 65535.",
            "gateway_releases_keep 0: would remove the release that runs. Keep 1 release or more",
            "gateway_label 'two\\nlines': does not fit on one line of the unit. Remove line ends",
            "gateway_environment A: is null, not text. Put it in quotes",
            "gateway_environment B C: is no name of a variable. Use letters",
        ),
        id="variables-that-no-gateway-can-have",
    ),
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
    # All findings at once.
    pytest.param(
        retired(
            "agents-and-telegram-routing",
            "gateway-mtls",
            "gateway-tailscale",
            "gateway-tuning",
            "logging-debug-json",
            "monitoring-prometheus",
            "per-agent-provider-keys",
        ),
        (
            "gateway_settings.identity: an identity belongs to an agent. Move it to agents.entries.<id>.identity.",
            "gateway_settings.channels.telegram.routing: channels do not route. Write a list of bindings",
            "gateway_settings.gateway.tls.clientAuthRequired: OpenClaw accepts this key and ignores it",
            "gateway_settings.gateway.tls.clientCertPath: OpenClaw accepts this key and ignores it",
            "mutual TLS is the job of the role 'mtls'",
            "gateway_settings.gateway.tailscale.enabled: this key is retired. Remove it",
            "gateway_settings.gateway.tailscale.authKeyPath: OpenClaw does not join a tailnet. Remove it",
            "gateway_settings.gateway.tailscale.port: this key is retired. Remove it",
            "gateway_settings.gateway.cache: OpenClaw has no such setting and never applied it. Remove it",
            "gateway_settings.gateway.session: OpenClaw has no such setting",
            "gateway_settings.gateway.websocket: OpenClaw has no such setting",
            "gateway_settings.logging.format: this key is retired. Write logging.consoleStyle: json",
            "gateway_settings.monitoring: monitoring.* does not exist",
            "the plugin diagnostics-prometheus serves metrics on the gateway's port",
            "gateway_settings.agents.list.0.models.providers: an agent has no providers of its own",
            "Move the key to models.providers.<name>.apiKey with the filter secret_ref",
        ),
        id="what-old-guides-hand-out",
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
        settings(
            models={"providers": {"anthropic": {"apiKey": "{{ 'ANTHROPIC_API_KEY' | clawops.openclaw.secret_ref }}"}}}
        ),
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
        ("nodejs_major 22: OpenClaw 2026.9.6 needs Node.js >=24.16.0", "Set nodejs_major to a version of that range"),
        id="node-too-old",
    ),
    pytest.param(
        {"gateway_version": "2026.9.999"},
        ("gateway_version 2026.9.999: the npm registry has no such release of openclaw.", "Nearest: 2026.9."),
        id="version-that-does-not-exist",
    ),
    pytest.param(
        {"gateway_version": "2026.7.1-2"},
        ("gateway_version 2026.7.1-2: is too old: it has no /startupz", "Use 2026.8.2 or newer."),
        id="version-that-is-too-old",
    ),
]


@pytest.mark.parametrize(
    ("variables", "words"),
    LIVE_ROWS,
)
def test_a_bad_value_is_refused_and_the_gateway_goes_on(
    gateway: Gateway, tmp_path: Path, variables: dict[str, t.Any], words: Words
) -> None:
    with untouched(gateway.host):
        run = site(tmp_path, gateway.host, variables)
    assert_refused(run, words)


def test_a_retired_snippet_that_the_release_still_takes_is_applied(gateway: Gateway) -> None:
    agent = gateway.host.settings()["agents"]["list"][0]
    assert agent == SANDBOX["agents"]["list"][0]


# ---- what stands in the way on the host ----------------------------------------------------------------


def test_a_port_that_something_else_listens_on_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    host = gateway.host
    host.run("systemd-run --quiet --unit=squatter python3 -m http.server --bind 127.0.0.1 18999")
    try:
        host.eventually("curl -s http://127.0.0.1:18999/")
        with untouched(host):
            run = site(tmp_path, host, {"gateway_port": 18999})
    finally:
        host.run("systemctl stop squatter")
    assert_refused(
        run,
        ("gateway_port 18999: python3 (process ", "listens on it. Choose another gateway_port, or stop that process."),
    )


@contextlib.contextmanager
def damaged(host: lab.Host, damage: str) -> Iterator[None]:
    """The settings file is damaged by a shell command, and whole again after the block."""
    kept = "/root/openclaw.json"
    host.run(f"cp -a {lab.SETTINGS} {kept}; f={lab.SETTINGS}; {damage}")
    try:
        yield
    finally:
        host.run(f"rm -rf {lab.SETTINGS}; mv {kept} {lab.SETTINGS}; rm -rf {lab.SETTINGS}.*elsewhere")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param("truncate -s 200 $f", "SyntaxError: JSON5: invalid end of input", id="torn"),
        pytest.param("truncate -s 0 $f", "it is not JSON", id="empty"),
        pytest.param("head -c 300 /dev/urandom >$f", "", id="binary"),
        pytest.param("echo '[]' >$f", "it holds no object", id="no-object"),
        pytest.param("rm $f; mkdir $f", "it is not a plain file", id="directory"),
        pytest.param("mv $f $f.elsewhere; ln -s $f.elsewhere $f", "it is a symbolic link", id="link"),
    ],
)
def test_settings_that_cannot_be_read_are_left_where_the_operator_says_so(
    gateway: Gateway, tmp_path: Path, damage: str, reason: str
) -> None:
    with damaged(gateway.host, damage), untouched(gateway.host):
        run = site(tmp_path, gateway.host, {"gateway_settings_recover": "none"})
    offers = (
        "It was left as it is",
        f"gateway_settings_recover=previous starts from {PREVIOUS}",
        "gateway_settings_recover=discard keeps only what the inventory says",
    )
    assert_refused(run, (f"{lab.SETTINGS}: cannot be read: {reason}", *offers))


def marked(host: lab.Host, path: str, word: str) -> None:
    """Put a copy of the settings with a foreign key there, as the gateway or the collection would have kept it."""
    wanted = host.settings()
    wanted.setdefault("logging", {})["redactPatterns"] = [word]
    host.run(f"cp -a {lab.SETTINGS} {path}")
    host.write(path, json.dumps(wanted))


@pytest.mark.parametrize(
    ("choice", "damage", "foreign"),
    [
        pytest.param("last_good", "truncate -s 200 $f", ["of-last-good"], id="last-good"),
        pytest.param("previous", "rm $f; mkdir $f", ["of-previous"], id="previous"),
        pytest.param("discard", "mv $f $f.elsewhere; ln -s $f.elsewhere $f", None, id="discard"),
    ],
)
def test_the_operator_decides_what_to_start_from(
    gateway: Gateway, tmp_path: Path, choice: str, damage: str, foreign: list[str] | None
) -> None:
    host = gateway.host
    # OpenClaw 2026.9.6 writes the first itself only where it may write its settings: this is a stand-in.
    marked(host, LAST_GOOD, "of-last-good")
    marked(host, PREVIOUS, "of-previous")
    process = host.process()
    host.run(f"f={lab.SETTINGS}; {damage}")
    run = site(tmp_path, host, {"gateway_settings_recover": choice})
    assert run.status == 0, run.output
    assert host.settings()["logging"].get("redactPatterns") == foreign
    assert host.settings()["agents"]["list"] == SANDBOX["agents"]["list"]
    assert host.run(f"stat -c '%U %a %F' {lab.SETTINGS}") == "openclaw 600 regular file\n"
    assert host.run(f"ls -d {lab.SETTINGS}.unreadable-*").count("\n") == 1
    assert (host.process(), host.serves()) == (process, True)
    host.run(f"rm -rf {lab.SETTINGS}.unreadable-* {lab.SETTINGS}.elsewhere {LAST_GOOD}")
    again = site(tmp_path, host, {})
    assert (again.status, again.changed(HOST)) == (0, 0), again.output


# ---- hosts that are too small, too old, or claimed twice -------------------------------------------------


@contextlib.contextmanager
def memory(host: lab.Host, megabytes: int) -> Iterator[None]:
    """A stand-in for a smaller machine: another MemTotal in /proc/meminfo. Limits of a container do not show there."""
    host.run(
        f"sed 's/^MemTotal:.*/MemTotal: {megabytes * 1024} kB/' /proc/meminfo >/root/meminfo;"
        " mount --bind /root/meminfo /proc/meminfo"
    )
    try:
        yield
    finally:
        host.run("umount /proc/meminfo")


def test_a_host_with_less_memory_than_recommended_is_warned_of(gateway: Gateway, tmp_path: Path) -> None:
    # Without the role that would have the gateway's limits follow from it.
    with memory(gateway.host, 1500), untouched(gateway.host):
        run = site(tmp_path, gateway.host, {}, "--skip-tags", "tuning")
    assert (run.status, run.changed(HOST)) == (0, 0), run.output
    told = message(run, "WARNING")
    assert squeezed("The host's memory: 1500 MiB; an idle gateway takes about 950 MiB") in told, run.output
    assert squeezed("it will be slow, and may be killed when agents work. Give the host more memory") in told, (
        run.output
    )


def test_a_host_with_too_little_memory_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    with memory(gateway.host, 1100), untouched(gateway.host):
        run = site(tmp_path, gateway.host, {})
    words = (
        "The host's memory: 1100 MiB",
        "the kernel would kill it while it starts",
        "Give the host more memory (2 GiB",
    )
    assert_refused(run, words)


@contextlib.contextmanager
def disk(host: lab.Host, megabytes: int) -> Iterator[None]:
    """A small file system where the releases go."""
    host.run(
        f"mkdir -p /opt/openclaw/releases; mount -t tmpfs -o size={megabytes}m,mode=0755 small /opt/openclaw/releases"
    )
    try:
        yield
    finally:
        host.run("umount /opt/openclaw/releases; rm -r /opt/openclaw")


def test_a_disk_that_is_too_small_is_refused(bare: lab.Host, tmp_path: Path) -> None:
    with disk(bare, 1600), untouched(bare):
        run = site(tmp_path, bare, {})
    words = ("The disk of /opt/openclaw/releases: 1600 MiB are free", "the installation would fail", "Free some space")
    assert_refused(run, words)


def test_a_disk_that_is_nearly_too_small_is_warned_of(bare: lab.Host, tmp_path: Path) -> None:
    with disk(bare, 2000), untouched(bare):
        run = site(tmp_path, bare, {}, "--check")
    assert run.status == 0, run.output
    told = message(run, "WARNING")
    assert squeezed("The disk of /opt/openclaw/releases: 2000 MiB are free") in told, run.output
    assert squeezed("there is little left for state, logs and the next release. Free some space") in told, run.output


@pytest.mark.parametrize("words", [("--tags", "gateway"), ("--skip-tags", "nodejs", "--check")])
def test_a_run_that_could_not_install_the_release_is_refused(bare: lab.Host, tmp_path: Path, words: Words) -> None:
    with untouched(bare):
        run = site(tmp_path, bare, {}, *words)
    told = (
        "npm: there is no such program on this host, and nothing in this run installs it",
        "Run the role nodejs too",
    )
    assert_refused(run, told)


def test_node_that_is_too_old_is_refused_before_it_is_installed(bare: lab.Host, tmp_path: Path) -> None:
    with untouched(bare):
        run = site(tmp_path, bare, {"nodejs_major": 22})
    assert_refused(run, ("nodejs_major 22: OpenClaw 2026.9.6 needs Node.js >=24.16.0", "Set nodejs_major"))


def test_a_distribution_that_nobody_tested_is_refused(bare: lab.Host, tmp_path: Path) -> None:
    stand_ins = {"/usr/lib/os-release": "s/^VERSION_ID=.*/VERSION_ID=11/", "/etc/debian_version": "s/.*/11.9/"}
    for path, change in stand_ins.items():
        bare.run(f"copy=/root/$(basename {path}); sed '{change}' {path} >$copy; mount --bind $copy {path}")
    try:
        with untouched(bare):
            run = site(tmp_path, bare, {})
    finally:
        bare.run(f"umount {' '.join(stand_ins)}")
    words = (
        f"{BARE}: it runs Debian 11 with systemd, which is not supported",
        "one of Debian 12, Debian 13, Ubuntu 24.04",
    )
    assert_refused(run, words)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        pytest.param(
            {"gateway_port": 19000},
            (
                f"The inventory hosts first and second: both stand for {HOST} with gateway_instance main. Give one of them",
            ),
            id="same-instance",
        ),
        pytest.param(
            {"gateway_instance": "other"},
            (f"The inventory hosts first and second: both stand for {HOST} with gateway_port 18789. Give one of them",),
            id="same-port",
        ),
    ],
)
def test_two_inventory_hosts_that_claim_the_same_gateway_are_refused(
    gateway: Gateway, tmp_path: Path, second: dict[str, t.Any], words: Words
) -> None:
    hosts = {"first": {"ansible_host": HOST}, "second": {"ansible_host": HOST, **second}}
    with untouched(gateway.host):
        run = lab.play("site", lab.inventory(tmp_path, hosts, gateway_settings=SANDBOX))
    assert_refused(run, words)


# ---- on a bare host, as soon as the release is there ---------------------------------------------------------


def test_a_bare_hosts_settings_are_refused_once_the_release_is_there_and_before_other_roles_change_the_host(
    bare: lab.Host, tmp_path: Path
) -> None:
    """The last test on the bare host, which has Node.js and the release after it."""
    desired = {**settings(monitorring=True), "mtls_state": "present", "docker_state": "present"}
    words = ("gateway_settings.monitorring", "Unrecognized key", "openclaw config schema")
    assert_refused(site(tmp_path, bare, desired), words)
    # The account and its empty directories are there, since the release judges with the account's rights.
    places = "/etc/systemd/system/openclaw* /etc/sysctl.d/*openclaw* /etc/openclaw /etc/nginx /usr/bin/dockerd /var/lib/openclaw"
    # Node.js came before it, and its role's note.
    assert bare.run(f"find {places} ! -type d ! -path /etc/openclaw/brought/nodejs 2>/dev/null || true") == ""
    assert bare.run("ls /opt/openclaw/releases") == f"{lab.VERSION}\n"
    with untouched(bare):
        again = site(tmp_path, bare, desired)
    assert_refused(again, words)


# ---- what only the running gateway can refuse --------------------------------------------------------------


@contextlib.contextmanager
def put_back(host: lab.Host) -> Iterator[None]:
    """Whatever happens in the block, afterwards what decides how the gateway runs is as it was, and it serves."""
    files = f"{lab.SETTINGS} {lab.SECRETS} /etc/openclaw/main/gateway.env /etc/systemd/system/{lab.UNIT}"
    before = host.run(f"stat -c '%n %U %a' {files}; cat {files}")
    yield
    assert host.run(f"stat -c '%n %U %a' {files}; cat {files}") == before
    assert host.serves()


def test_an_environment_that_the_gateway_does_not_start_with_is_taken_back(gateway: Gateway, tmp_path: Path) -> None:
    with put_back(gateway.host):
        run = site(tmp_path, gateway.host, {"gateway_environment": {"NODE_OPTIONS": "--nonsense"}})
    assert_refused(run, ("What ran before was put back and is healthy.",))


def test_a_token_that_the_gateway_took_goes_back_when_it_does_not_start_with_what_came_along(
    gateway: Gateway, tmp_path: Path
) -> None:
    former = gateway.host.token()
    # The release judges the settings without it, and finds nothing.
    nowhere = {"OPENCLAW_CONFIG_PATH": "/nonexistent/openclaw.json"}
    changes = {"gateway_environment": nowhere, "gateway_token": "n" * 40}
    with put_back(gateway.host):
        run = site(tmp_path, gateway.host, changes)
    assert gateway.host.accepts(former)
    assert_refused(run, ("What ran before was put back and is healthy.",))
