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
# What a fresh machine does to itself: each lock for some seconds.
BUSY = """
import fcntl, time
for path in ("/var/lib/apt/lists/lock", "/var/lib/dpkg/lock-frontend"):
    with open(path, "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        time.sleep(20)
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
    with untouched(host):
        run = converge(gateway)
    assert_refused(run, (told, "write session.idleMinutes: null in gateway_settings"))
    without: dict[str, t.Any] = {"gateway_settings": {"session": {"idleMinutes": None}}}
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
