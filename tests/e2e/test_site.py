# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main job on every supported distribution: bare hosts become verified gateways, live, and are retired.

The hosts share two cores, so each step is one run for all of them. Every step is a fixture that brings the steps
before it along; the tests stand in the order of the story.
"""

from __future__ import annotations

import functools
import json
import re
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import agent, lab

NAMES = {distribution: f"e2e-{distribution}" for distribution in lab.DISTRIBUTIONS}
STATE = "/var/lib/openclaw/main/state"
RELEASES = "/opt/openclaw/releases"
# What a person left in the workspace, by which kept data are recognised.
KEEPSAKE = "/var/lib/openclaw/main/workspace/keepsake"
# What retiring removes, and what only a purge does.
REMOVED = (
    f"/etc/systemd/system/{lab.UNIT}",
    f"/etc/systemd/system/{lab.UNIT}.d",
    "/etc/security/limits.d/60-openclaw.conf",
    "/etc/sysctl.d/60-openclaw.conf",
    "/usr/local/bin/openclaw",
    "/opt/openclaw/main/current",
    RELEASES,
)
DATA = (
    "/opt/openclaw/main",
    "/var/lib/openclaw/main",
    "/etc/openclaw/main",
    "/var/cache/openclaw/main",
    "/var/log/openclaw/main",
    "/etc/ssh/sshd_config.d/60-openclaw.conf",
)
# Opens a WebSocket by hand and prints what the gateway says first.
GREETING = r"""
import json, socket
connection = socket.create_connection(("127.0.0.1", 18789), timeout=30)
connection.sendall(
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:18789\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
stream = connection.makefile("rb")
status = stream.readline().decode().strip()
while stream.readline().strip():
    pass
_, length = stream.read(2)
length = int.from_bytes(stream.read(2), "big") if length == 126 else length
print(json.dumps({"status": status, **json.loads(stream.read(length))}))
"""

on_each = pytest.mark.parametrize("distribution", lab.DISTRIBUTIONS)
# One gateway is purged where the others' data are kept; a single one's are kept.
PURGED = lab.DISTRIBUTIONS[:-1][:1]
KEPT = lab.DISTRIBUTIONS[len(PURGED) :]


def chosen(request: pytest.FixtureRequest, test: t.Callable[..., None]) -> list[str]:
    """The hosts on which a test is to run this time."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    return [NAMES[str(item.callspec.params["distribution"])] for item in items if item.originalname == test.__name__]


class Fleet(t.NamedTuple):
    """One host per distribution, by name, and the inventory of them all."""

    hosts: dict[str, lab.Host]
    where: Path

    def play(self, playbook: str, *words: str) -> lab.Run:
        return lab.play(playbook, self.where, *words)

    def changes(self, run: lab.Run) -> dict[str, int]:
        return {name: run.changed(name) for name in self.hosts}


class Prediction(t.NamedTuple):
    """A dry run, and by host the paths that are not the same before and after it."""

    run: lab.Run
    touched: dict[str, list[str]]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Bare hosts. An engine takes minutes: those have one whose agents are to work in a sandbox in this run."""
    engines = chosen(request, test_an_agents_tool_call_runs_in_a_sandbox)
    try:
        hosts = lab.up({name: distribution for distribution, name in NAMES.items()})
        own: dict[str, dict[str, t.Any]] = {
            name: {"docker_state": "present" if name in engines else "unmanaged"} for name in hosts
        }
        for distribution in PURGED:
            own[NAMES[distribution]]["retire_purge"] = True
        if ubuntu := NAMES.get("ubuntu2604"):
            own[ubuntu] |= agent.UBUNTU2604
        yield Fleet(hosts, lab.inventory(tmp_path_factory.mktemp("fleet"), own, **agent.VARIABLES))
    finally:
        lab.down(NAMES.values())


@pytest.fixture(scope="module")
def prediction(fleet: Fleet) -> Prediction:
    """A dry run on the bare hosts."""
    before = {name: everything(host) for name, host in fleet.hosts.items()}
    run = fleet.play("site", "--check", "--diff")
    return Prediction(run, {name: sorted(before[name] ^ everything(host)) for name, host in fleet.hosts.items()})


@pytest.fixture(scope="module")
def deployment(fleet: Fleet, prediction: Prediction) -> lab.Run:
    """The first real run, after the prediction, which needs bare hosts."""
    run = fleet.play("site")
    assert run.status == 0, run.output
    return run


@pytest.fixture
def host(fleet: Fleet, deployment: lab.Run, distribution: str) -> lab.Host:
    """The deployed host of one distribution."""
    return fleet.hosts[NAMES[distribution]]


@pytest.fixture(scope="module")
def retired(fleet: Fleet, deployment: lab.Run) -> dict[str, str]:
    """The tokens that gateways had before a retirement that keeps their data, and purges one of them."""
    tokens = {name: fleet.hosts[name].token() for name in (NAMES[each] for each in KEPT)}
    for name in tokens:
        fleet.hosts[name].run(f"echo kept > {KEEPSAKE} && chown openclaw: {KEEPSAKE}")
    for host in fleet.hosts.values():
        host.run(STAYS, stdin=CRONTAB)
        assert host.run("pgrep -u openclaw -x sleep").strip()
    run = fleet.play("retire")
    assert run.status == 0, run.output
    return tokens


TERMINAL = """\
#!/bin/sh
ps -o tty= -p $$
for descriptor in 0 1 2; do
  case $(readlink /proc/$$/fd/$descriptor) in
    /dev/pts/*) readlink /proc/$$/fd/$descriptor ;;
    /dev/null) echo null ;;
    pipe:*) echo pipe ;;
    *) echo file ;;
  esac
done
"""


# What an account that was turned against its host leaves, so as to be there again after its removal: a process outside of unit
# and user manager that no signal but one ends, jobs for later, a mount that holds the data, directories deeper than any path.
# The mount is a stand-in for one of the account's own (FUSE), which a container may not have.
CRONTAB = "@reboot touch /var/tmp/back\n"
STAYS = f"""
set -e
setsid setpriv --reuid openclaw --regid openclaw --clear-groups bash -c 'trap "" TERM HUP; exec sleep 7200' >/dev/null 2>&1 &
mkdir -p /var/spool/cron/crontabs && cat >/var/spool/cron/crontabs/openclaw && chown openclaw /var/spool/cron/crontabs/openclaw
setpriv --reuid openclaw --regid openclaw --clear-groups touch /var/tmp/its /dev/shm/its
mkdir -p {STATE}/workspace/mounted && mount -t tmpfs its {STATE}/workspace/mounted
cd {STATE}/workspace && setpriv --reuid openclaw --regid openclaw --clear-groups perl -e 'for (1..3000) {{ mkdir "d"; chdir "d" }}'
"""


def everything(host: lab.Host) -> set[str]:
    """Every path of the machine with owner, mode, size and time; but not what logging in leaves."""
    spared = " -o ".join(f"-path {path}" for path in ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/log"))
    listing = host.run(rf"find / \( {spared} \) -prune -o -printf '%p %M %u %g %s %T@ %l\n'")
    return set(listing.splitlines())


def figures(run: lab.Run) -> dict[str, t.Any]:
    """What health.yml hands on through set_stats."""
    handed = run.output.rpartition("RUN:")[2]
    return t.cast(dict[str, t.Any], json.loads(handed)["openclaw_gateways"])


def is_well(row: t.Mapping[str, t.Any]) -> bool:
    """Healthy, or so but for the event loop, which waits where the machine of the tests is short of CPU."""
    return row["verdict"] == "healthy" or (
        row["verdict"] == "degraded" and all("event loop" in reason for reason in row["reasons"])
    )


def health(fleet: Fleet) -> lab.Run:
    return lab.play("health", fleet.where, ANSIBLE_SHOW_CUSTOM_STATS="1", ANSIBLE_CALLBACK_RESULT_FORMAT="json")


# ---- a bare host ---------------------------------------------------------------------------------------


def test_a_dry_run_on_bare_hosts_predicts_the_change_without_an_error(fleet: Fleet, prediction: Prediction) -> None:
    run, _ = prediction
    assert run.status == 0, run.output
    assert [name for name, count in fleet.changes(run).items() if count == 0] == []
    # Each in full: the source, the unit and the command, which a diff shows where they would be new.
    for line in ("+URIs: http://mirror.lab/nodesource/node_24.x", "+ProtectSystem=strict", "+account=openclaw"):
        assert run.output.count(line) == len(fleet.hosts), line


@on_each
def test_a_dry_run_on_a_bare_host_touches_nothing(prediction: Prediction, distribution: str) -> None:
    assert prediction.touched[NAMES[distribution]] == []


def test_one_run_makes_every_bare_host_a_verified_gateway(fleet: Fleet, deployment: lab.Run) -> None:
    verdicts = dict(re.findall(rf"'(\S+): OpenClaw {re.escape(lab.VERSION)} answers, (\w+)'", deployment.output))
    assert set(verdicts) == set(fleet.hosts)
    assert set(verdicts.values()) <= {"healthy", "degraded"}
    # Where the token is, but not the token.
    assert lab.SECRETS in deployment.output
    assert [name for name, host in fleet.hosts.items() if host.token() in deployment.output] == []


def test_a_second_run_changes_nothing(fleet: Fleet, deployment: lab.Run) -> None:
    before = {name: (host.digest(), host.process()) for name, host in fleet.hosts.items()}
    run = fleet.play("site", "--diff")
    assert run.status == 0, run.output
    assert set(fleet.changes(run).values()) == {0}, run.output
    assert {name: (host.digest(), host.process()) for name, host in fleet.hosts.items()} == before


def test_a_dry_run_on_live_hosts_predicts_no_change(fleet: Fleet, deployment: lab.Run) -> None:
    run = fleet.play("site", "--check", "--diff")
    assert run.status == 0, run.output
    assert set(fleet.changes(run).values()) == {0}, run.output


# ---- each distribution ---------------------------------------------------------------------------------


@on_each
def test_the_pinned_version_answers(host: lab.Host) -> None:
    assert host.startup().items() >= {"ok": True, "status": "started", "version": lab.VERSION}.items()


@on_each
def test_the_token_is_accepted_and_a_wrong_one_refused(host: lab.Host) -> None:
    token = host.token()
    assert host.accepts(token)
    assert not host.accepts(token[:-1] + ("0" if token[-1] != "0" else "1"))


@on_each
def test_a_websocket_opens_with_the_challenge_while_the_unit_is_hardened(host: lab.Host) -> None:
    greeting = json.loads(host.run("python3 -", stdin=GREETING))
    assert (greeting["status"], greeting["event"]) == ("HTTP/1.1 101 Switching Protocols", "connect.challenge")
    assert exposure(host) <= 2.0


def exposure(host: lab.Host) -> float:
    judged = host.run(f"systemd-analyze security --no-pager {lab.UNIT}")
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", judged)
    assert found, judged
    return float(found[1])


@on_each
def test_the_unit_starts_with_the_host(host: lab.Host) -> None:
    unit = host.system.service(lab.UNIT)
    assert (unit.is_enabled, unit.is_running) == (True, True)


@on_each
def test_the_main_process_is_node_with_the_gateway_under_its_own_account(host: lab.Host) -> None:
    process = host.system.process.get(pid=host.process())
    assert process.user == "openclaw"
    assert host.system.file(f"/proc/{process.pid}/exe").linked_to == "/usr/bin/node"
    # ps shows the name that Node.js gave itself.
    command = host.read(f"/proc/{process.pid}/cmdline").split("\0")
    assert command[1:4] == ["/opt/openclaw/main/current/node_modules/openclaw/dist/index.js", "gateway", "run"]


@on_each
def test_the_gateway_listens_on_loopback_only(host: lab.Host) -> None:
    assert host.system.socket("tcp://127.0.0.1:18789").is_listening
    listening = [socket for socket in host.system.socket.get_listening_sockets() if socket.endswith(":18789")]
    assert set(listening) <= {"tcp://127.0.0.1:18789", "tcp://::1:18789"}
    # Nothing else of the process does either.
    owned = host.run(f"ss -ltnpH | grep -F 'pid={host.process()},'").splitlines()
    assert {line.split()[3].rpartition(":")[2] for line in owned} == {"18789"}


@on_each
def test_the_link_names_the_release_that_runs(host: lab.Host) -> None:
    assert host.system.file("/opt/openclaw/main/current").linked_to == f"{RELEASES}/{lab.VERSION}"


@on_each
def test_only_root_may_write_what_root_or_the_unit_runs(host: lab.Host) -> None:
    writable = host.run(rf"find {RELEASES} /opt/openclaw/main ! -type l \( ! -user root -o -perm /022 \) | head")
    assert writable == ""


@on_each
def test_the_command_runs_the_release_as_the_gateway_whoever_calls_it(host: lab.Host) -> None:
    host.run("printf '#!/bin/sh\\nid -un; echo $NODE_COMPILE_CACHE\\n' >/root/who; chmod 0755 /root/who")
    for caller in ("root", "ops"):
        call = f"cd / && runuser -u {caller} -- openclaw"
        assert host.run(f"{call} --version").startswith(f"OpenClaw {lab.VERSION} ")
        # In a mount namespace of its own, something in Node.js's place says under which account it was started, and where it
        # would take compiled code from: not from /tmp, where anybody may have put it.
        assert host.run(f"unshare --mount sh -c 'mount --bind /root/who /usr/bin/node && {call}'") == (
            "openclaw\n/var/cache/openclaw/main/compile\n"
        )
    # Settings that only the gateway's account can read; and nothing is left there that belongs to a caller.
    assert host.run("cd / && runuser -u ops -- openclaw config get gateway.port").split()[-1] == "18789"
    # The engine's data belong to whoever is in a sandbox.
    assert host.run("find /var/lib/openclaw/main -path '*/main/docker' -prune -o ! -user openclaw -print") == ""


@on_each
@pytest.mark.parametrize("pipe", ["", " | cat", " >/root/out 2>&1; cat /root/out"], ids=["terminal", "pipe", "file"])
def test_roots_terminal_is_out_of_the_reach_of_the_account(host: lab.Host, pipe: str) -> None:
    # Something in Node.js's place says which terminal it has, and which it could read from or write to; by root's, the account
    # could type into root's shell, and read what root types next.
    host.run("cat >/root/terminal; chmod 0755 /root/terminal", stdin=TERMINAL)
    call = f"unshare --mount sh -c 'mount --bind /root/terminal /usr/bin/node && cd / && openclaw{pipe}'"
    host.write("/root/call", f"tty\n{call}\n")
    roots, accounts, *descriptors = re.findall(
        r"pts/\d+|\?|null|pipe|file", host.run("script -qec 'sh /root/call' /dev/null")
    )
    assert roots.startswith("pts/")
    assert roots not in (accounts, *descriptors)
    assert len(descriptors) == 3
    assert (accounts == "?") is bool(pipe)


@on_each
def test_apt_prefers_the_pinned_major_version_whatever_else_is_offered(host: lab.Host) -> None:
    policy = host.run("apt-cache policy nodejs")
    assert re.search(r"Installed: (24\.\S+)\n\s+Candidate: \1\n", policy), policy
    offers = re.findall(r"^ [* ]{3} (\d+)\.\S+ (\d+)$", policy, re.MULTILINE)
    assert offers
    assert {priority for major, priority in offers if major == "24"} == {"1001"}


@on_each
def test_the_log_file_has_json_lines_and_the_journal_what_openclaw_prints(host: lab.Host) -> None:
    log = functools.partial(host.run, "cat /var/log/openclaw/main/gateway.log")
    lab.eventually(log, lambda text: "gateway ready" in text)
    assert "gateway ready" in [str(json.loads(line).get("message")) for line in log().splitlines()]
    journal = functools.partial(host.run, f"journalctl -o cat _SYSTEMD_UNIT={lab.UNIT}")
    lines = lab.eventually(journal, lambda text: "[gateway] ready" in text).splitlines()
    assert not [line for line in lines if line.startswith("{")]


@on_each
def test_a_person_at_the_keyboard_gets_what_openclaw_prints(host: lab.Host) -> None:
    lines = host.run("openclaw status").splitlines()
    assert "OpenClaw status" in lines
    assert [line for line in lines if "ws://127.0.0.1:18789" in line]


# test_docker.py has a Debian 12 in every run.
@pytest.mark.full
@on_each
def test_an_agents_tool_call_runs_in_a_sandbox(host: lab.Host) -> None:
    process = host.process()
    agent.start_model(host)
    assert agent.turn(host, "first", "id -u; ls /sys/class/net").split() == [
        "1000",
        "lo",
    ]
    assert host.process() == process


# ---- the operator's day --------------------------------------------------------------------------------


@pytest.mark.full
@on_each
def test_the_gateway_survives_a_restart_of_its_unit(host: lab.Host) -> None:
    before = host.process()
    host.run(f"systemctl restart {lab.UNIT}")
    host.wait_until_serving()
    assert host.process() not in (0, before)


@on_each
def test_the_gateway_comes_back_by_itself_after_a_reboot(host: lab.Host) -> None:
    boot = host.run("systemctl show -p UserspaceTimestampMonotonic --value")
    host.reboot()
    host.wait_until_serving()
    assert host.run("systemctl show -p UserspaceTimestampMonotonic --value") != boot


@pytest.mark.full
def test_limit_and_tag_choose_one_host_and_one_role(fleet: Fleet, deployment: lab.Run) -> None:
    only = NAMES[lab.DISTRIBUTIONS[-1]]
    run = fleet.play("site", "--limit", only, "--tags", "gateway")
    assert run.status == 0, run.output
    assert run.recap.keys() == {only}
    assert run.changed(only) == 0, run.output
    # Ansible validates the arguments of every role, whatever the tags, and what cannot work is refused in any case.
    left_out = r"Validating arguments|preflight \|"
    roles = re.findall(rf"^TASK \[clawops\.openclaw\.(\w+) : (?!{left_out})", run.output, re.MULTILINE)
    assert set(roles) == {"gateway"}


@pytest.mark.full
def test_health_of_a_fleet_that_is_well_ends_well(fleet: Fleet, deployment: lab.Run) -> None:
    run = health(fleet)
    assert run.status == 0, run.output
    assert [row for row in figures(run).values() if not is_well(row)] == []


def test_health_shows_the_fleet_and_fails_for_the_gateway_that_does_not_answer_and_says_why(
    fleet: Fleet, deployment: lab.Run
) -> None:
    stopped = NAMES[lab.DISTRIBUTIONS[-1]]
    fleet.hosts[stopped].run(f"systemctl stop {lab.UNIT}")
    try:
        run = health(fleet)
    finally:
        fleet.hosts[stopped].run(f"systemctl start {lab.UNIT}")
        fleet.hosts[stopped].wait_until_serving()
    assert run.status != 0
    assert set(fleet.changes(run).values()) == {0}
    assert {name for name, figure in run.recap.items() if figure["failed"]} == {stopped}
    rows = figures(run)
    assert [name for name, row in rows.items() if not is_well(row)] == [stopped]
    for name, row in rows.items():
        if name != stopped:
            assert row["version"] == lab.VERSION
            assert re.search(rf'"{name} +- +{row["verdict"]} +{re.escape(lab.VERSION)} ', run.output)
            assert row["figures"].keys() >= {"uptime_ms", "startupz_latency_ms", "websocket_latency_ms"}
            assert row["figures"]["wrong_credential_latency_ms"] >= 250
    assert rows[stopped]["verdict"] == "unreachable"
    assert "nothing listens there" in rows[stopped]["reasons"][0]
    assert f"unit {lab.UNIT}: inactive (dead)" in rows[stopped]["reasons"][1]
    # The table begins with what is worst.
    assert re.search(rf'"GATEWAY +LABEL +VERDICT +VERSION +REASONS",\s+"{stopped} ', run.output)


# ---- the end -------------------------------------------------------------------------------------------


def assert_purged(host: lab.Host) -> None:
    assert host.run("pgrep -x sleep -a", check=False) == ""
    assert host.run(f"ls -d {' '.join([*REMOVED, *DATA])}", check=False) == ""
    assert not host.system.user("openclaw").exists
    assert not host.system.group("openclaw").exists
    assert host.run("find / -xdev -nouser -o -xdev -nogroup") == ""


@pytest.mark.parametrize("distribution", KEPT)
def test_retiring_stops_and_removes_and_keeps_the_data(
    fleet: Fleet, retired: dict[str, str], distribution: str
) -> None:
    host = fleet.hosts[NAMES[distribution]]
    assert host.run(f"ls -d {' '.join(REMOVED)}", check=False) == ""
    assert host.system.process.filter(user="openclaw") == []
    assert not host.serves()
    assert host.run("systemctl list-unit-files --no-legend 'openclaw*'", check=False) == ""
    assert host.token() == retired[host.name]
    assert host.settings()["gateway"]["port"] == 18789
    assert host.read(KEEPSAKE) == "kept\n"
    assert host.system.file(f"{STATE}/state/openclaw.sqlite").size > 0


def test_a_purge_leaves_nothing_of_the_gateway(fleet: Fleet, retired: dict[str, str]) -> None:
    if not PURGED:
        pytest.skip("a run on one distribution keeps its data; the full matrix purges it later")
    assert_purged(fleet.hosts[NAMES[PURGED[0]]])


@pytest.mark.full
def test_a_retired_gateway_comes_back_with_its_token_and_its_state(fleet: Fleet, retired: dict[str, str]) -> None:
    run = fleet.play("site")
    assert run.status == 0, run.output
    for name, token in retired.items():
        host = fleet.hosts[name]
        assert host.startup()["version"] == lab.VERSION
        assert host.accepts(token)
        assert host.read(KEEPSAKE) == "kept\n"


@pytest.mark.full
def test_a_purge_leaves_nothing_on_any_distribution_and_a_second_one_changes_nothing(
    fleet: Fleet, retired: dict[str, str]
) -> None:
    run = fleet.play("retire", "-e", "retire_purge=true")
    assert run.status == 0, run.output
    for host in fleet.hosts.values():
        assert_purged(host)
    run = fleet.play("retire", "-e", "retire_purge=true")
    assert run.status == 0, run.output
    assert set(fleet.changes(run).values()) == {0}, run.output
