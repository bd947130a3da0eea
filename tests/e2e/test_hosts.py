# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts and values as people have them: an engine, an account or a source that was there before, text for a list, a busy apt.

Each message is held by the unit tests of the checks; here the whole way is tried.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import lab
from ansible_collections.clawops.openclaw.tests.e2e.conftest import Gateway
from ansible_collections.clawops.openclaw.tests.e2e.lab import assert_refused, message, squeezed, untouched

pytestmark = pytest.mark.full
ENGINE, PERSON, SETTINGS = "hosts-engine", "hosts-person", "hosts-settings"
BARE, DISTRIBUTION = "hosts-bare", "hosts-distribution"
DOCKER = "http://mirror.lab/docker/linux/debian"
# As Docker's own instructions say, with a source that is gone beside it.
THEIR_ENGINE = f"""
set -e
install -d /etc/apt/keyrings
curl -fsS {DOCKER}/gpg -o /usr/share/keyrings/docker.asc
echo 'deb [signed-by=/usr/share/keyrings/docker.asc] {DOCKER} bookworm stable' >/etc/apt/sources.list.d/docker.list
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker-ce docker-ce-cli containerd.io >/dev/null
systemctl enable --now docker
echo 'deb http://mirror.lab/gone stable main' >/etc/apt/sources.list.d/gone.list
"""
# Node.js 22 kept back, and sources of the two vendors', as their guides have them: keys where ours are not.
THEIR_SOURCES = """
set -e
install -d /usr/share/keyrings
curl -fsS http://mirror.lab/nodesource/gpgkey/nodesource-repo.gpg.key -o /usr/share/keyrings/nodesource.asc
echo 'deb [signed-by=/usr/share/keyrings/nodesource.asc] http://mirror.lab/nodesource/node_22.x nodistro main' \
  >/etc/apt/sources.list.d/nodesource.list
apt-get update -qq
apt-get install -y -qq --no-install-recommends nodejs >/dev/null
apt-mark hold nodejs
sed -i s/node_22/node_24/ /etc/apt/sources.list.d/nodesource.list
curl -fsS http://mirror.lab/tailscale/stable/debian/bookworm.noarmor.gpg -o /usr/share/keyrings/tailscale-theirs.gpg
echo 'deb [signed-by=/usr/share/keyrings/tailscale-theirs.gpg] http://mirror.lab/tailscale/stable/debian bookworm main' \
  >/etc/apt/sources.list.d/tailscale.list
"""
# What a fresh machine does to itself: apt's lock for 60 seconds, then dpkg's for 100.
BUSY = """
import fcntl, time
for path, seconds in (("/var/lib/apt/lists/lock", 60), ("/var/lib/dpkg/lock-frontend", 100)):
    with open(path, "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        time.sleep(seconds)
"""
INI = """[gateways]
{host}

[gateways:vars]
{variables}
"""


def converge(gateway: Gateway, *words: str, **variables: t.Any) -> lab.Run:
    where = lab.inventory(gateway.where.parent, {gateway.host.name: {}}, **variables)
    return lab.play("site", where, *words)


# ---- what was there before ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(start_shared_gateway: t.Callable[..., Gateway]) -> Gateway:
    """A gateway on a host that has an engine of the operator's."""
    started = start_shared_gateway(ENGINE)
    started.host.run(THEIR_ENGINE)
    return started


def theirs(host: lab.Host) -> str:
    """The operator's engine: its process, its package, its source."""
    return host.run(
        "systemctl show -p MainPID,UnitFileState docker.service; dpkg-query -W docker-ce containerd.io; ls /etc/apt/sources.list.d"
    )


def test_an_engine_that_was_there_before_stays_when_the_gateway_comes_and_goes(engine: Gateway) -> None:
    host = engine.host
    before = theirs(host)
    assert "MainPID=0" not in before
    host.run("cat > /root/busy.py", stdin=BUSY)
    host.begin("python3", "/root/busy.py")
    run = converge(engine, docker_state="present")
    assert run.status == 0, run.output
    # It waited for the one lock, and passed over the source that is gone.
    assert "retries left" in run.output
    assert squeezed("http://mirror.lab/gone stable Release") in squeezed(run.output)
    assert theirs(host) == before
    assert host.run("cat /etc/openclaw/brought/docker").split() != []
    again = converge(engine, docker_state="present")
    assert (again.status, again.changed(ENGINE)) == (0, 0), again.output
    run = lab.play("retire", engine.where)
    assert run.status == 0, run.output
    assert theirs(host) == before
    assert host.run("ls -d /usr/bin/dockerd-rootless.sh /etc/openclaw/brought/docker", check=False) == ""


@pytest.fixture(scope="module")
def bare() -> Iterator[lab.Host]:
    """A host without a gateway, with the vendors' sources and a Node.js that is kept back."""
    host = lab.up({BARE: "debian12"})[BARE]
    host.run(THEIR_SOURCES)
    yield host
    lab.down([BARE])


def test_a_package_that_is_kept_back_is_named_before_anything_is_touched(bare: lab.Host, tmp_path: Path) -> None:
    where = lab.inventory(tmp_path, {BARE: {}})
    before = bare.digest() + bare.packages()
    run = lab.play("site", where)
    assert_refused(run, ("The package nodejs: 'apt-mark hold' keeps it in version 22", "apt-mark unhold nodejs"))
    assert bare.digest() + bare.packages() == before


def test_the_operators_sources_of_a_vendor_are_used_and_no_second_one_is_added(bare: lab.Host, tmp_path: Path) -> None:
    bare.run("apt-mark unhold nodejs")
    sources = "cd /etc/apt && sha256sum sources.list.d/* && ls preferences.d keyrings 2>/dev/null"
    before = bare.run(sources)
    # No coordination server answers there. By then the package is there, which a failed join takes away again.
    tailscale = {
        "tailscale_state": "present",
        "tailscale_login_server": "https://nobody.lab",
        "tailscale_auth_key": "x",
    }
    run = lab.play("site", lab.inventory(tmp_path, {BARE: {}}, **tailscale))
    assert "nobody.lab" in run.output
    assert bare.run("dpkg-query -W nodejs").split()[1].startswith("24.")
    assert bare.run("grep -c 'Package: tailscale' /var/lib/apt/lists/mirror.lab_tailscale*Packages").strip() != "0"
    after = bare.run(sources)
    assert [line for line in after.splitlines() if "sources.list.d/" in line] == [
        line for line in before.splitlines() if "sources.list.d/" in line
    ]
    assert bare.run("apt-get update 2>&1 | grep -E '^(E|W):' || true") == ""


def test_an_engine_of_ubuntus_own_is_refused_with_the_way_to_leave_it(tmp_path: Path) -> None:
    host = lab.up({DISTRIBUTION: "ubuntu2404"})[DISTRIBUTION]
    try:
        host.run("apt-get update -qq && apt-get install -y -qq --no-install-recommends docker.io >/dev/null")
        before = host.digest() + host.packages()
        run = lab.play("site", lab.inventory(tmp_path, {DISTRIBUTION: {}}, docker_state="present"))
        assert_refused(run, ("docker.io", "leave the engine that is there as it is with docker_state: unmanaged"))
        assert host.digest() + host.packages() == before
    finally:
        lab.down([DISTRIBUTION])


@pytest.fixture(scope="module")
def person() -> Iterator[lab.Host]:
    """A host whose operator runs OpenClaw under an account of their own, of the gateway's name."""
    host = lab.up({PERSON: "debian12"})[PERSON]
    host.run("useradd -m -s /bin/bash openclaw && mkdir ~openclaw/.openclaw && touch ~openclaw/.openclaw/openclaw.json")
    host.run(
        "cat > /etc/systemd/system/openclaw-gateway.service && systemctl daemon-reload",
        stdin="[Service]\nUser=openclaw\nExecStart=/usr/bin/sleep infinity\n",
    )
    host.run("systemctl start openclaw-gateway")
    yield host
    lab.down([PERSON])


@pytest.mark.parametrize(
    ("playbook", "words"), [("site", ()), ("retire", ("-e", "retire_purge=true"))], ids=["site", "purge"]
)
def test_a_persons_account_and_unit_of_the_gateways_name_are_left_alone(
    person: lab.Host, tmp_path: Path, playbook: str, words: tuple[str, ...]
) -> None:
    where = lab.inventory(tmp_path, {PERSON: {}})
    before, process = person.digest() + person.run("getent passwd openclaw") + person.packages(), person.process()
    run = lab.play(playbook, where, *words)
    assert_refused(
        run,
        (
            "The account openclaw: is somebody's own: its home is /home/openclaw",
            "Choose another gateway_instance",
            "/etc/systemd/system/openclaw-gateway.service: is a unit that this collection has not written",
        ),
    )
    assert person.digest() + person.run("getent passwd openclaw") + person.packages() == before
    assert person.process() == process > 0


# ---- values, and the host's own settings file ----------------------------------------------------------------


@pytest.fixture(scope="module")
def gateway(start_shared_gateway: t.Callable[..., Gateway]) -> Gateway:
    return start_shared_gateway(SETTINGS)


def test_a_source_that_cannot_be_read_is_taken_away_again(gateway: Gateway) -> None:
    host = gateway.host
    before = host.run("find /etc/apt -type f -exec sha256sum {} + | sort")
    run = converge(gateway, docker_state="present", docker_repository_url="http://mirror.lab/gone")
    told = "The source of http://mirror.lab/gone: it could not be read, and was taken away again"
    assert_refused(run, (told, "Check the address, the key and the host's network"))
    assert host.run("find /etc/apt -type f -exec sha256sum {} + | sort") == before
    assert host.serves()


def test_text_on_the_command_line_means_what_it_says(gateway: Gateway) -> None:
    words = ("-e", "gateway_port=18790", "-e", 'gateway_settings={"logging":{"consoleLevel":"warn"}}')
    run = converge(gateway, *words)
    assert run.status == 0, run.output
    settings = gateway.host.settings()
    assert (settings["gateway"]["port"], settings["logging"]["consoleLevel"]) == (18790, "warn")
    assert gateway.host.serves(18790)
    assert converge(gateway).status == 0


def test_an_ini_inventory_means_what_it_says(gateway: Gateway, tmp_path: Path) -> None:
    variables = {
        **lab.LAB_VARIABLES,
        "gateway_port": 18790,
        "gateway_settings": '{"channels": {"telegram": {"enabled": false}}}',
        "gateway_settings_readonly": "false",
    }
    where = tmp_path / "hosts.ini"
    lines = "\n".join(f"{name}={value}" for name, value in variables.items())
    where.write_text(INI.format(host=SETTINGS, variables=lines), encoding="utf-8")
    run = lab.play("site", where)
    assert run.status == 0, run.output
    settings = gateway.host.settings()
    assert (settings["gateway"]["port"], settings["channels"]["telegram"]["enabled"]) == (18790, False)
    assert "OPENCLAW_CONFIG_READONLY" not in gateway.host.run(f"systemctl show -p Environment {lab.UNIT}")
    assert lab.play("site", where).changed(SETTINGS) == 0
    assert converge(gateway).status == 0


def test_an_nginx_that_does_not_read_the_proxys_file_is_named_beforehand(gateway: Gateway, tmp_path: Path) -> None:
    host = gateway.host
    host.run("apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx >/dev/null")
    host.run("sed -i /conf.d/d /etc/nginx/nginx.conf && systemctl restart nginx")
    mtls = {"mtls_clients": ["alice"], "mtls_bundle_passphrase": "opens-the-bundles-of-a-throw-away-host"}
    with untouched(host):
        run = converge(gateway, mtls_state="present", mtls_bundles_path=str(tmp_path), **mtls)
    told = "/etc/nginx/nginx.conf: it includes no file of /etc/nginx/conf.d"
    assert_refused(run, (told, "Add 'include /etc/nginx/conf.d/*.conf;' to its http block"))


def test_a_token_that_no_header_carries_is_refused_and_nothing_changes(gateway: Gateway) -> None:
    with untouched(gateway.host):
        run = converge(gateway, gateway_token="a-token-with-newline-0123456789abcdef\n")
    assert_refused(run, ("gateway_secrets.OPENCLAW_GATEWAY_TOKEN: holds a space, a line end", "echo -n"))


def test_the_hosts_own_settings_are_judged_again_when_somebody_changes_them(gateway: Gateway) -> None:
    host = gateway.host
    settings = host.settings()
    host.write(lab.SETTINGS, json.dumps({**settings, "session": {"idleMinutes": 60}}))
    told = f"{lab.SETTINGS}: session.idleMinutes: "
    run = lab.play("health", gateway.where)
    assert run.status == 0, run.output  # it serves all the same
    assert squeezed(told) in squeezed(run.output), run.output
    assert "degraded" in run.output
    left: dict[str, t.Any] = {"gateway_settings_recover": "none"}
    with untouched(host):
        run = converge(gateway, **left)
    assert_refused(run, (told, "write session.idleMinutes: null in gateway_settings"))
    without: dict[str, t.Any] = {"gateway_settings": {"session": {"idleMinutes": None}}, **left}
    run = converge(gateway, **without)
    assert run.status == 0, run.output
    assert "idleMinutes" not in host.settings().get("session", {})
    assert converge(gateway, **without).changed(SETTINGS) == 0


def test_settings_that_a_start_takes_back_are_written_again(gateway: Gateway) -> None:
    host = gateway.host
    large = {"env": {"vars": {f"BENCH_{number}": "x" * 60 for number in range(60)}}}
    writable: dict[str, t.Any] = {"gateway_settings_readonly": False}
    assert converge(gateway, gateway_settings=large, **writable).status == 0
    # Only a change of OpenClaw's own makes the backup that it takes back later.
    host.run("cd / && openclaw config set logging.level debug")
    host.eventually(f"test -s {lab.SETTINGS}.bak && grep -q debug {lab.SETTINGS}.last-good")
    host.run(f"systemctl stop {lab.UNIT}")
    run = converge(gateway, gateway_settings={"logging": {"consoleLevel": "warn"}}, **writable)
    assert run.status == 0, run.output
    assert squeezed("OpenClaw had taken the former settings back at its start") in message(run, "WARNING"), run.output
    assert "env" not in host.settings()
    # What the inventory says nothing of is as it was, too.
    assert host.settings()["logging"] == {**host.settings()["logging"], "consoleLevel": "warn", "level": "debug"}
    assert host.serves()
