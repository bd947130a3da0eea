# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An agent's tools run in a sandbox: the limits of the old guides' untrusted agent hold, and root is not handed out.

Two gateways, one with an engine of its own account (the default), one that was given the engine that runs as root. The
model stands in for a real one (agent.py); all else is real.
"""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.clawops.openclaw.tests.e2e import agent, lab
from ansible_collections.clawops.openclaw.tests.e2e.agent import start_model, turn
from ansible_collections.clawops.openclaw.tests.e2e.conftest import Gateway

ROOTLESS, ROOTFUL = "sandbox-rootless", "sandbox-rootful"
SOCKETS = {ROOTLESS: "/var/lib/openclaw/main/docker/docker.sock", ROOTFUL: "/run/docker.sock"}
# The engine that is not the default takes minutes that the gate does not have.
BOTH = [ROOTLESS, pytest.param(ROOTFUL, marks=pytest.mark.full)]
on_both = pytest.mark.parametrize("gateway", BOTH, indirect=True, scope="module")
on_rootless = pytest.mark.parametrize("gateway", BOTH[:1], indirect=True, scope="module")
on_rootful = pytest.mark.parametrize("gateway", BOTH[1:], indirect=True, scope="module")
# What a sandbox says of itself, a line each.
SELF = " ; ".join(
    [
        "id -u",
        "id -g",
        "grep CapEff /proc/self/status",
        "grep NoNewPrivs /proc/self/status",
        "ulimit -n",
        "ulimit -Hn",
        "ulimit -p",
        "ls /sys/class/net",
    ]
)


def docker(host: lab.Host, words: str) -> str:
    return host.run(f"docker --host unix://{SOCKETS[host.name]} {words}")


@pytest.fixture(scope="module")
def gateway(start_shared_gateway: t.Callable[..., Gateway], request: pytest.FixtureRequest) -> Gateway:
    """A gateway with an engine for sandboxes, and a model."""
    name = request.param
    started = start_shared_gateway(name, docker_grant_gateway_root_on_host=name == ROOTFUL, **agent.VARIABLES)
    start_model(started.host)
    run = lab.play("site", started.where)
    assert run.status == 0, run.output
    return started


@pytest.fixture(scope="module")
def said(gateway: Gateway) -> list[str]:
    """What the sandbox says of itself."""
    return turn(gateway.host, "self", SELF).splitlines()


@pytest.fixture(scope="module")
def seen(gateway: Gateway, said: list[str]) -> dict[str, t.Any]:
    """How the engine describes the sandbox."""
    # One for each session, all alike.
    sandbox = docker(gateway.host, "ps --quiet").split()[0]
    return t.cast(dict[str, t.Any], json.loads(docker(gateway.host, f"inspect {sandbox}"))[0])


@on_both
def test_a_tool_call_runs_as_the_user_with_the_limits_and_without_capabilities(
    gateway: Gateway, said: list[str]
) -> None:
    uid, gid, effective, no_new, soft, hard, processes = said[:7]
    assert (uid, gid) == ("1000", "1000")
    assert int(effective.split()[1], 16) == 0
    assert no_new.split()[1] == "1"
    assert (soft, hard, processes) == ("1024", "1024", "256")


@on_both
def test_a_tool_call_has_no_network(gateway: Gateway, said: list[str]) -> None:
    assert said[7:] == ["lo"]
    # Quick, because a command of more than 10 s is left to go on in the background and not waited for; and one stream,
    # because two of them reach their reader in no particular order.
    told = turn(
        gateway.host,
        "network",
        "exec 2>&1 ; curl -sS -m 2 http://mirror.lab/ ; curl -sS -m 2 http://172.17.0.1/ ; echo done",
    )
    assert re.search("Could not resolve host|Resolving timed out", told), told
    assert re.search("(Couldn't|Failed to) connect", told), told
    assert told.splitlines()[-1] == "done"


@on_both
def test_a_tool_call_cannot_write_the_root_of_its_sandbox(gateway: Gateway) -> None:
    told = turn(gateway.host, "write", "touch /x /etc/x /usr/bin/x 2>&1 ; echo done")
    assert told.count("Read-only file system") == 3
    assert told.splitlines()[-1] == "done"


@on_both
def test_the_engine_describes_the_sandbox_as_the_settings_do(gateway: Gateway, seen: dict[str, t.Any]) -> None:
    config, host = seen["Config"], seen["HostConfig"]
    assert config["Image"] == "openclaw-sandbox:bookworm-slim"
    assert config["User"] == "1000:1000"
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert {limit["Name"]: (limit["Soft"], limit["Hard"]) for limit in host["Ulimits"]} == {
        "nofile": (1024, 1024),
        "nproc": (256, 256),
    }


@on_both
def test_memory_and_cpu_of_a_sandbox_are_limited(gateway: Gateway, seen: dict[str, t.Any]) -> None:
    host = gateway.host
    if host.name == ROOTLESS and docker(host, "info --format '{{.CgroupVersion}} {{.CgroupDriver}}'").split() == [
        "1",
        "none",
    ]:
        pytest.skip(
            "memory and CPU: this machine has control groups of the first version, where no rootless engine can limit"
        )
    limits = seen["HostConfig"]
    assert (limits["Memory"], limits["NanoCpus"]) == (512 << 20, 500_000_000)
    inside = turn(
        host,
        "limits",
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
        " /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us /sys/fs/cgroup/cpu.max 2>/dev/null",
    ).split()
    # Both versions of control groups: the limit, then half of the period.
    assert inside[:3] in ([str(512 << 20), "50000", "100000"],)


@on_rootful
def test_a_sandbox_that_takes_more_memory_than_it_may_is_ended_and_the_gateway_goes_on(gateway: Gateway) -> None:
    host = gateway.host
    process = host.process()
    told = turn(host, "hog", "python3 -c 'x = bytearray(1 << 30)' ; echo status $?")
    assert "status 137" in told
    assert host.process() == process
    assert host.serves()


# ---- without handing out root --------------------------------------------------------------------------


@on_both
def test_no_engine_runs_as_root_unless_the_operator_says_so(gateway: Gateway) -> None:
    is_rootful = gateway.host.name == ROOTFUL
    assert gateway.host.run("ps -o user= -C dockerd").split() == ["root" if is_rootful else "openclaw"]
    groups = gateway.host.run(f"ps -o supgrp= -p {gateway.host.process()}").strip().split(",")
    assert ("docker" in groups) is is_rootful
    # Whoever else acts for the account has not been given it either way.
    assert "docker" not in gateway.host.run("id -Gn openclaw").split()


@on_rootless
@pytest.mark.parametrize("user", ["1000:1000", "0:0"])
def test_roots_files_are_out_of_reach_for_whoever_has_the_gateways_socket(gateway: Gateway, user: str) -> None:
    # What an agent could do that has broken out of everything: the socket, as the gateway's account.
    host = gateway.host
    # One stream inside the container: two of them reach its caller in no particular order.
    tried = "cat /host/etc/shadow ; echo x >> /host/etc/passwd ; touch /host/root/x ; chroot /host id -u ; echo done"
    told = host.run(
        f"runuser -u openclaw -- docker --host unix://{SOCKETS[ROOTLESS]} run --rm --user {user} --volume /:/host"
        f" openclaw-sandbox:bookworm-slim sh -c 'exec 2>&1 ; {tried}'"
    )
    assert told.count("ermission denied") >= 3
    assert not re.search("^root:", told, re.MULTILINE), told
    assert told.splitlines()[-1] == "done"
    # As for --privileged: what it may do ends at the account.
    told = host.run(
        f"runuser -u openclaw -- docker --host unix://{SOCKETS[ROOTLESS]} run --rm --user {user} --privileged --pid host"
        " --volume /:/host openclaw-sandbox:bookworm-slim cat /host/etc/shadow 2>&1",
        check=False,
    )
    assert not re.search("^root:", told, re.MULTILINE), told


@on_rootless
def test_the_gateways_account_may_not_use_the_engine_that_runs_as_root_by_default(gateway: Gateway) -> None:
    host = gateway.host
    assert host.run("systemctl is-enabled docker.service docker.socket", check=False).split() == [
        "disabled",
        "disabled",
    ]
    assert host.run("ls /run/docker.sock", check=False) == ""


@on_rootless
def test_a_workspace_can_be_written_by_the_root_of_a_rootless_sandbox(gateway: Gateway) -> None:
    # docs/sandboxes.md: inside, root is the gateway's own account.
    host = gateway.host
    folder = host.run(
        "mktemp -d /var/lib/openclaw/main/workspace/XXXX; chown -R openclaw: /var/lib/openclaw/main/workspace"
    ).strip()
    run = f"docker --host unix://{SOCKETS[ROOTLESS]} run --rm --cap-drop ALL --volume {folder}:/workspace"
    host.run(f"{run} --user 0:0 openclaw-sandbox:bookworm-slim touch /workspace/file")
    assert host.run(f"stat -c %U {folder}/file").strip() == "openclaw"


# ---- changes -------------------------------------------------------------------------------------------


@pytest.mark.full
@on_both
def test_a_second_run_changes_nothing_and_a_dry_run_predicts_nothing(gateway: Gateway) -> None:
    for words in ((), ("--check", "--diff")):
        run = lab.play("site", gateway.where, *words)
        assert run.status == 0, run.output
        assert run.changed(gateway.host.name) == 0, run.output


@on_rootful
def test_what_the_operator_wrote_into_daemon_json_stays(gateway: Gateway, tmp_path: Path) -> None:
    host, path = gateway.host, "/etc/docker/daemon.json"
    ours = json.loads(host.read(path))
    host.write(path, json.dumps({**ours, "max-concurrent-downloads": 2}))
    where = varied(gateway, tmp_path, docker_daemon_options={"shutdown-timeout": 20})
    run = lab.play("site", where, "--tags", "docker")
    assert run.status == 0, run.output
    assert json.loads(host.read(path)) == {**ours, "max-concurrent-downloads": 2, "shutdown-timeout": 20}
    assert docker(host, "info --format '{{.LiveRestoreEnabled}}'").strip() == "true"


def varied(gateway: Gateway, folder: Path, **variables: t.Any) -> Path:
    """The inventory of a gateway with other variables."""
    content = yaml.safe_load(gateway.where.read_text())
    content["gateways"]["vars"].update(variables)
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump(content))
    return path


BAD = [
    pytest.param(
        {"docker_daemon_options": {"no-such-key": True}},
        ("daemon.json: the engine does not run with it", "no-such-key", "Correct docker_daemon_options", "runs on"),
        id="unknown-key-of-daemon-json",
    ),
    pytest.param(
        {"docker_daemon_options": {"storage-driver": "floppy"}},
        ("daemon.json: the engine does not run with it", "floppy", "Correct docker_daemon_options", "runs again"),
        id="value-that-the-daemon-does-not-start-with",
    ),
    pytest.param(
        {"docker_sandbox_base": "no-such-base.invalid/nothing:1", "docker_sandbox_base_archive": ""},
        ("could not be built on no-such-base.invalid/nothing:1", "Check docker_sandbox_base", "is still there"),
        id="base-image-that-does-not-exist",
    ),
    pytest.param(
        {"docker_sandbox_packages": ["bash", "no-such-package"]},
        ("could not be built on debian:bookworm-slim", "no-such-package", "is still there"),
        id="package-that-does-not-exist",
    ),
]


@on_rootless
@pytest.mark.parametrize(("variables", "words"), lab.sampled(BAD, "value-that-the-daemon-does-not-start-with"))
def test_a_bad_value_leaves_engine_sandboxes_and_gateway_as_they_are(
    gateway: Gateway, tmp_path: Path, variables: dict[str, t.Any], words: tuple[str, ...]
) -> None:
    host = gateway.host
    process, digest = host.process(), host.digest()
    images = docker(host, "images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' openclaw-sandbox")
    run = lab.play("site", varied(gateway, tmp_path, **variables))
    assert run.status != 0, run.output
    squeezed = "".join(run.output.split())
    assert [word for word in words if "".join(word.split()) not in squeezed] == [], run.output
    assert (host.process(), host.digest()) == (process, digest)
    assert docker(host, "images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' openclaw-sandbox") == images
    assert turn(host, f"after-{len(words)}-{abs(hash(words))}", "echo still here").strip() == "still here"


@pytest.mark.full
@on_rootless
def test_a_broken_daemon_json_is_refused_before_anything_is_touched(gateway: Gateway) -> None:
    host, path = gateway.host, "/etc/openclaw/main/docker/daemon.json"
    good = host.read(path)
    host.write(path, good[:-4])
    try:
        digest = host.digest()
        run = lab.play("site", gateway.where)
        assert run.status != 0
        squeezed = "".join(run.output.split())
        for words in (f"{path}: it is not valid JSON", "Repair it, or move it away"):
            assert "".join(words.split()) in squeezed, run.output
        assert host.digest() == digest
    finally:
        host.write(path, good)


@on_rootless
def test_the_engine_comes_back_with_the_host(gateway: Gateway) -> None:
    host = gateway.host
    host.reboot()
    host.eventually(f"docker --host unix://{SOCKETS[ROOTLESS]} info", seconds=120)


@on_rootful
def test_absent_takes_the_engine_away_and_leaves_its_data(gateway: Gateway, tmp_path: Path) -> None:
    host, path = gateway.host, "/etc/docker/daemon.json"
    host.write(path, json.dumps({**json.loads(host.read(path)), "max-concurrent-downloads": 2}))
    run = lab.play("site", varied(gateway, tmp_path, docker_state="absent"))
    assert run.status == 0, run.output
    assert (
        host.run("ls /usr/bin/dockerd /etc/systemd/system/openclaw-gateway.service.d/60-docker.conf", check=False) == ""
    )
    # Only what the operator wrote.
    assert json.loads(host.read(path)) == {"max-concurrent-downloads": 2}
    assert host.run("ls /var/lib/docker") != ""
    assert host.serves()
    again = lab.play("site", varied(gateway, tmp_path, docker_state="absent"))
    assert again.changed(ROOTFUL) == 0, again.output
