# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role tuning sets is what the running process has; what cannot work is refused, or put back.

The host is a container. Where its kernel or its capabilities cannot apply a limit, that is looked at first, and the
test is skipped by name and with the reason.
"""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import lab
from ansible_collections.clawops.openclaw.tests.e2e.conftest import Gateway
from ansible_collections.clawops.openclaw.tests.e2e.lab import assert_refused, message, squeezed, untouched

HOST = "tun-live"
DROPIN = f"/etc/systemd/system/{lab.UNIT}.d/50-tuning.conf"
FILES = (DROPIN, "/etc/security/limits.d/60-openclaw.conf", "/etc/sysctl.d/60-openclaw.conf")
JOURNAL = "/etc/openclaw/main/unproven.json"
SWAP, SWAP_UNIT = "/var/openclaw_swap", "/etc/systemd/system/var-openclaw_swap.swap"
OPEN_FILES = 65535  # what guides ask for, and the role's default
CAP_SYS_RESOURCE = 24
DESIRED: dict[str, t.Any] = {
    "tuning_memory_max_mb": 1536,
    "tuning_cpu_quota": 150,
    "tuning_cpu_weight": 50,
    "tuning_sysctl": {"net.core.somaxconn": 8192, "vm.swappiness": 10},
    "tuning_swap_mb": 32,
}
# Asks the running gateway over V8's own inspector. Nothing of OpenClaw takes part in the answer.
ASK_V8 = r"""
const [target] = await (await fetch("http://127.0.0.1:9229/json/list")).json();
const socket = new WebSocket(target.webSocketDebuggerUrl);
const expression = "process.getBuiltinModule('v8').getHeapStatistics().heap_size_limit";
socket.onopen = () => socket.send(JSON.stringify({id: 1, method: "Runtime.evaluate", params: {expression}}));
socket.onmessage = (event) => {
  const answer = JSON.parse(event.data);
  if (answer.id === 1) { console.log(answer.result.result.value); process.exit(0); }
};
"""
# Takes memory until it is stopped: in the gateway's group, file system and account, and with the score that OpenClaw's
# own wrapper gives a tool before it starts it.
HOG = (
    "(echo $BASHPID > {group}/cgroup.procs && exec nsenter --target {process} --mount"
    " setpriv --reuid openclaw --regid openclaw --clear-groups"
    " sh -c 'echo 1000 > /proc/self/oom_score_adj && exec python3 -'); echo $?"
)
TAKE_MEMORY = 'taken = [b"x" * (1 << 20) for _ in range(4096)]'

Words = tuple[str, ...]


def may_raise_limits(host: lab.Host) -> bool:
    """Whether systemd on this host can give the default number of open files."""
    hard = int(re.findall(r"Max open files +\d+ +(\d+)", host.read("/proc/1/limits"))[0])
    capabilities = int(re.findall(r"CapEff:\s+(\S+)", host.read("/proc/1/status"))[0], 16)
    return hard >= OPEN_FILES or bool(capabilities >> CAP_SYS_RESOURCE & 1)


def group_of(host: lab.Host, controller: str) -> tuple[str, int]:
    """The directory of the gateway's group under a controller, and the version of control groups: 0 without it."""
    groups = host.read(f"/proc/{host.process()}/cgroup")
    if first := re.search(rf"^\d+:(?:\S*,)?{controller}(?:,\S*)?:(\S+)$", groups, re.MULTILINE):
        return f"/sys/fs/cgroup/{controller}{first[1]}", 1
    if second := re.search(r"^0::(\S+)$", groups, re.MULTILINE):
        directory = f"/sys/fs/cgroup{second[1]}"
        if controller in host.run(f"cat {directory}/cgroup.controllers", check=False).split():
            return directory, 2
    return "", 0


def need_group(host: lab.Host, controller: str, versions: t.Collection[int] = (1, 2)) -> tuple[str, int]:
    """The same; a test that needs it is skipped where the kernel of this host does not have it."""
    directory, version = group_of(host, controller)
    if version not in versions:
        there = f"has it in version {version} only" if version else "does not have it"
        pytest.skip(f"{controller} of control groups, version {max(versions)}: the kernel of {host.name} {there}")
    return directory, version


def site(folder: Path, variables: t.Mapping[str, t.Any], *words: str) -> lab.Run:
    """Run site.yml with other variables than those that the host was tuned with."""
    return lab.play("site", lab.inventory(folder, {HOST: {}}, **{**open_files, **DESIRED, **variables}), *words)


open_files: dict[str, int] = {}


@pytest.fixture(scope="module")
def gateway(start_shared_gateway: t.Callable[..., Gateway]) -> Gateway:
    """A gateway that serves and has not been tuned so yet."""
    started: Gateway = start_shared_gateway(HOST)
    if not may_raise_limits(started.host):
        open_files["tuning_limit_nofile"] = 16384
    return started


@pytest.fixture(scope="module")
def tuned(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> lab.Run:
    """The run that tunes it."""
    run = site(tmp_path_factory.mktemp("tuned"), {})
    assert run.status == 0, run.output
    return run


@pytest.fixture
def host(gateway: Gateway, tuned: lab.Run) -> lab.Host:
    """The tuned host."""
    return gateway.host


# ---- before anything is touched ------------------------------------------------------------------------------


@pytest.mark.full
def test_a_dry_run_shows_what_would_be_set_and_touches_nothing(gateway: Gateway, tmp_path: Path) -> None:
    with untouched(gateway.host):
        run = site(tmp_path, {}, "--check", "--diff")
    assert run.status == 0, run.output
    assert run.changed(HOST) > 0
    for line in (
        "+MemoryMax=1536M",
        "+net.core.somaxconn = 8192",
        "+What=/var/openclaw_swap",
        "net.core.somaxconn=8192",
    ):
        assert line in run.output


# ---- the running process -------------------------------------------------------------------------------------


def test_the_play_says_what_it_chose_and_why(tuned: lab.Run) -> None:
    for line in (
        "MemoryMax 1536 MiB: as the inventory says",
        "MemoryHigh 1382 MiB: nine tenths of MemoryMax: slowed down before it is killed",
        "heap 768 MiB: half of MemoryMax",
    ):
        assert squeezed(line) in squeezed(tuned.output)


def test_the_process_has_the_limits_of_the_drop_in(host: lab.Host) -> None:
    limits = host.read(f"/proc/{host.process()}/limits")
    files = open_files.get("tuning_limit_nofile", OPEN_FILES)
    tasks = re.findall(r"^TasksMax=(\d+)$", host.read(DROPIN), re.MULTILINE)[0]
    assert re.search(rf"^Max open files +{files} +{files} ", limits, re.MULTILINE), limits
    assert re.search(rf"^Max processes +{tasks} +{tasks} ", limits, re.MULTILINE), limits
    assert host.read(f"/proc/{host.process()}/oom_score_adj").strip() == "200"


def test_the_default_number_of_open_files_is_in_force(host: lab.Host) -> None:
    if not may_raise_limits(host):
        hard = re.findall(r"Max open files +\d+ +(\d+)", host.read("/proc/1/limits"))[0]
        pytest.skip(
            f"LimitNOFILE={OPEN_FILES}: {host.name} may open {hard} files and has no CAP_SYS_RESOURCE to raise that"
        )
    assert re.search(rf"^Max open files +{OPEN_FILES} ", host.read(f"/proc/{host.process()}/limits"), re.MULTILINE)


def test_the_process_has_the_environment_of_the_drop_in(host: lab.Host) -> None:
    variables = set(host.run(f"tr '\\0' '\\n' < /proc/{host.process()}/environ").splitlines())
    assert variables >= {
        "NODE_ENV=production",
        "NODE_OPTIONS=--max-old-space-size=768",
        "NODE_COMPILE_CACHE=/var/cache/openclaw/main/compile",
    }


def test_the_compile_cache_is_filled_and_survives_a_restart(host: lab.Host) -> None:
    listing = "find /var/cache/openclaw/main/compile -type f -printf '%p %i\\n' | sort"
    before = host.run(listing).splitlines()
    assert len(before) > 100
    host.run(f"systemctl restart {lab.UNIT}")
    host.wait_until_serving()
    assert set(before) & set(host.run(listing).splitlines())


def test_v8_itself_has_the_heap_that_was_chosen(host: lab.Host) -> None:
    process = host.process()
    host.run(f"kill -USR1 {process}")
    host.eventually("curl -sf http://127.0.0.1:9229/json/list", seconds=30)
    host.write("/root/ask.mjs", ASK_V8)
    limit = int(host.run("timeout 30 node /root/ask.mjs")) >> 20
    # V8 counts its young generation in, which the option does not mean.
    assert 768 <= limit <= 768 + 192
    assert (host.process(), host.serves()) == (process, True)


def test_the_group_has_the_memory_that_was_chosen(host: lab.Host) -> None:
    group, version = need_group(host, "memory")
    name = {1: "memory.limit_in_bytes", 2: "memory.max"}[version]
    assert int(host.read(f"{group}/{name}")) == 1536 << 20


def test_the_group_is_slowed_down_before_it_is_killed(host: lab.Host) -> None:
    assert host.run(f"systemctl show -p MemoryHigh --value {lab.UNIT}").strip() == str(1382 << 20)
    group, _ = need_group(host, "memory", {2})
    assert int(host.read(f"{group}/memory.high")) == 1382 << 20


def test_the_group_has_the_number_of_tasks_that_was_chosen(host: lab.Host) -> None:
    group, _ = need_group(host, "pids")
    assert f"TasksMax={host.read(f'{group}/pids.max').strip()}\n" in host.read(DROPIN)


def test_the_group_has_the_share_of_the_processor_that_was_chosen(host: lab.Host) -> None:
    group, version = need_group(host, "cpu")
    if version == 1:
        # What has CPUWeight=100 has 1024 shares there.
        assert int(host.read(f"{group}/cpu.shares")) == 512
        assert int(host.read(f"{group}/cpu.cfs_quota_us")) / int(host.read(f"{group}/cpu.cfs_period_us")) == 1.5
    else:
        assert host.read(f"{group}/cpu.weight").strip() == "50"
        quota, period = host.read(f"{group}/cpu.max").split()
        assert int(quota) / int(period) == 1.5


def test_a_tool_that_takes_too_much_memory_is_killed_and_the_gateway_goes_on(host: lab.Host) -> None:
    group, _ = need_group(host, "memory")
    process = host.process()
    assert host.run(HOG.format(group=group, process=process), stdin=TAKE_MEMORY).strip() == "137"
    assert (host.process(), host.serves()) == (process, True)
    assert host.accepts(host.token())


# ---- kernel and swap -----------------------------------------------------------------------------------------


def test_a_setting_that_is_the_hosts_own_is_in_force(host: lab.Host) -> None:
    assert host.read("/proc/sys/net/core/somaxconn").strip() == "8192"


def test_a_setting_of_the_machine_around_it_is_written_named_and_not_applied(host: lab.Host, tuned: lab.Run) -> None:
    live = host.read("/proc/sys/vm/swappiness").strip()
    if not host.run("ls /run/systemd/container", check=False):
        pytest.skip(f"vm.swappiness: {host.name} is no container, and may set it")
    assert "vm.swappiness = 10\n" in host.read("/etc/sysctl.d/60-openclaw.conf")
    assert live != "10"
    assert squeezed(f"vm.swappiness ({live}, not 10). They are written, not applied") in message(tuned, "WARNING")


def test_swap_is_prepared_for_root_alone(host: lab.Host) -> None:
    assert host.run(f"stat -c '%U %a %s' {SWAP}").split() == ["root", "600", str(32 << 20)]
    assert host.run(f"tail -c +4087 {SWAP} | head -c 10") == "SWAPSPACE2"
    assert f"What={SWAP}\n" in host.read(SWAP_UNIT)


def test_swap_is_in_use(host: lab.Host, tuned: lab.Run) -> None:
    if host.run("ls /run/systemd/container", check=False):
        assert squeezed("tuning_swap_mb: a container cannot swap by itself") in message(tuned, "WARNING")
        pytest.skip(f"swapon: {host.name} is a container, which the kernel does not let swap by itself")
    assert SWAP in host.read("/proc/swaps")


# ---- again ---------------------------------------------------------------------------------------------------


@pytest.mark.full
def test_a_second_run_changes_nothing_and_restarts_nothing(host: lab.Host, tmp_path: Path) -> None:
    with untouched(host):
        run = site(tmp_path, {}, "--diff")
    assert (run.status, run.changed(HOST)) == (0, 0), run.output
    # The preflight has seen that there is nothing to write.
    assert "tuning : configure |" not in run.output


@pytest.mark.full
def test_a_dry_run_on_the_tuned_host_predicts_nothing(host: lab.Host, tmp_path: Path) -> None:
    run = site(tmp_path, {}, "--check", "--diff")
    assert (run.status, run.changed(HOST)) == (0, 0), run.output


@pytest.mark.full
def test_what_does_not_concern_the_process_restarts_nothing(host: lab.Host, tmp_path: Path) -> None:
    process = host.process()
    run = site(tmp_path, {"tuning_sysctl": {"net.core.somaxconn": 8193}}, "--tags", "tuning")
    assert (run.status, run.changed(HOST) > 0) == (0, True), run.output
    assert host.read("/proc/sys/net/core/somaxconn").strip() == "8193"
    assert (host.process(), host.serves()) == (process, True)
    assert site(tmp_path, {}, "--tags", "tuning").status == 0
    assert host.read("/proc/sys/net/core/somaxconn").strip() == "8192"


# ---- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("desired", "words"),
    lab.sampled(
        [
            pytest.param(
                {
                    "tuning_heap_mb": 1400,
                    "tuning_sysctl": {"net.core.somaxcon": 8192},
                    "tuning_swap_mb": 100_000_000,
                    # Good, and refused along with the rest; no role may have applied it by then.
                    "tuning_cpu_weight": 60,
                    "gateway_settings_host": {"agentz": {"x": 1}},
                    "mtls_state": "present",
                    "mtls_names": ["not a name"],
                    "mtls_address": "not a name",
                    "tailscale_state": "present",
                    "tailscale_auth_key": "tskey-api-k1-abc",
                },
                (
                    'gateway_settings.agentz: Unrecognized key: "agentz".',
                    "mtls_names: not a name:",
                    "tailscale_auth_key: it is a token for the API",
                    "tuning_heap_mb 1400: with 450 MiB that are no heap it makes 1850 MiB, and MemoryMax is 1536 MiB",
                    "tuning_sysctl net.core.somaxcon: this kernel has no such setting. Correct the name",
                    f"tuning_swap_mb 100000000: {SWAP} would take 99999968 MiB, and ",
                ),
                id="several-of-four-roles-at-once",
            ),
            pytest.param(
                {"tuning_heap_mb": 1_000_000},
                (
                    "tuning_heap_mb 1000000: with 450 MiB that are no heap it makes 1000450 MiB, and MemoryMax is 1536 MiB",
                    "Set it to 1086 or less, or raise tuning_memory_max_mb.",
                ),
                id="heap-larger-than-the-memory",
            ),
            pytest.param(
                {"tuning_heap_mb": 1400},
                ("tuning_heap_mb 1400: with 450 MiB that are no heap it makes 1850 MiB, and MemoryMax is 1536 MiB",),
                id="heap-above-memory-max",
            ),
            pytest.param(
                {"gateway_environment": {"NODE_OPTIONS": "--max-old-space-size=1400"}},
                ("tuning_heap_mb 1400: with 450 MiB that are no heap it makes 1850 MiB",),
                id="heap-of-the-environment-above-memory-max",
            ),
            pytest.param(
                {"tuning_memory_max_mb": 512},
                ("tuning_memory_max_mb 512: a gateway needs 900 MiB to start. Set it to 900 or more",),
                id="memory-max-below-a-start",
            ),
            pytest.param(
                {"tuning_memory_max_mb": 1_000_000},
                ("tuning_memory_max_mb 1000000: the host has ", "Set it to less, or to 0"),
                id="more-memory-than-there-is",
            ),
            pytest.param(
                {"tuning_sysctl": {"net.core.somaxcon": 8192}},
                ("tuning_sysctl net.core.somaxcon: this kernel has no such setting. Correct the name",),
                id="unknown-setting",
            ),
            pytest.param(
                {"tuning_swap_mb": 100_000_000},
                (f"tuning_swap_mb 100000000: {SWAP} would take 99999968 MiB, and ", "Free some space, or ask for "),
                id="swap-on-a-full-disk",
            ),
            pytest.param(
                {"tuning_limit_nofile": "many"}, ("tuning_limit_nofile", "unable to convert to int"), id="wrong-type"
            ),
            pytest.param({"tuning_sysctl": "fast"}, ("tuning_sysctl", "dict"), id="wrong-type-of-a-dictionary"),
            pytest.param(
                {"tuning_oom_policy": "never"}, ("tuning_oom_policy", "continue, stop, kill"), id="wrong-choice"
            ),
        ],
        "several-of-four-roles-at-once",
    ),
)
def test_a_bad_value_is_refused_and_the_gateway_goes_on(
    host: lab.Host, tmp_path: Path, desired: dict[str, t.Any], words: Words
) -> None:
    with untouched(host):
        run = site(tmp_path, desired)
    assert_refused(run, words)


@pytest.mark.full
def test_a_value_that_only_the_kernel_refuses_is_put_back(host: lab.Host, tmp_path: Path) -> None:
    live = "cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/tcp_fin_timeout"
    before = host.run(live)
    with untouched(host):
        # The kernel takes the first before it refuses the second.
        run = site(tmp_path, {"tuning_sysctl": {"net.core.somaxconn": 8193, "net.ipv4.tcp_fin_timeout": "sixty"}})
    assert_refused(
        run, ("tuning_sysctl: the kernel refused a value:", "tcp_fin_timeout", "Correct it in tuning_sysctl;")
    )
    assert host.run(live) == before


@pytest.mark.full
def test_gateways_of_one_host_share_it_and_have_to_agree(host: lab.Host, tmp_path: Path) -> None:
    second = {"ansible_host": HOST, "gateway_instance": "second", "gateway_port": 19000}
    variables = {**open_files, **DESIRED, "tuning_memory_max_mb": 0}
    with untouched(host):
        shared = lab.inventory(tmp_path, {HOST: {}, "second": second}, **variables)
        # The figures are comments of the drop-in.
        run = lab.play("site", shared, "--check", "--diff", "--tags", "tuning")
        assert run.status == 0, run.output
        assert squeezed(run.output).count("sharedby2gateways") >= 2
        other = {**second, "tuning_sysctl": {"vm.swappiness": 1}}
        contested = lab.inventory(tmp_path, {HOST: {}, "second": other}, **variables)
        refused = lab.play("site", contested, "--check", "--tags", "tuning")
    assert_refused(
        refused,
        (
            f"tuning_sysctl of the inventory hosts {HOST} and second: they share one host and have different values.",
            "Give all of them the same tuning_sysctl.",
        ),
    )


@pytest.mark.parametrize(
    "words",
    [pytest.param(("--tags", "tuning"), id="alone", marks=pytest.mark.full), pytest.param((), id="with-the-gateway")],
)
def test_a_drop_in_that_the_gateway_does_not_start_with_is_put_back(
    host: lab.Host, tmp_path: Path, words: tuple[str, ...]
) -> None:
    # A stand-in for what was not foreseen: a gateway that does not start with one weight.
    stand_in = f"/etc/systemd/system/{lab.UNIT}.d/99-stand-in.conf"
    host.run(f"printf '[Service]\\nExecStartPre=/bin/sh -c \"! grep -q CPUWeight=77 {DROPIN}\"\\n' > {stand_in}")
    host.run("systemctl daemon-reload")
    before = host.digest()
    try:
        run = site(tmp_path, {"tuning_cpu_weight": 77}, *words)
        assert run.status != 0, run.output
        assert re.search(squeezed("put back and (the gateway )?is (healthy|degraded)."), message(run)), run.output
        assert host.digest() == before
        assert host.serves()
        assert host.accepts(host.token())
    finally:
        host.run(f"rm {stand_in}; systemctl daemon-reload")


@pytest.mark.full
@pytest.mark.parametrize("runs", [True, False], ids=["the-gateway-runs", "it-has-tried-to-start-since"])
def test_what_a_killed_run_wrote_and_nobody_proved_is_put_back_where_it_does_not_work(
    host: lab.Host, tmp_path: Path, runs: bool
) -> None:
    stand_in = f"/etc/systemd/system/{lab.UNIT}.d/99-stand-in.conf"
    host.run(f"printf '[Service]\\nExecStartPre=/bin/sh -c \"! grep -q CPUWeight=77 {DROPIN}\"\\n' > {stand_in}")
    host.run("systemctl daemon-reload")
    proven = host.read(DROPIN)
    way_back = [{"path": DROPIN, "state": "file", "content": proven, "owner": "root", "group": "root", "mode": "0644"}]
    try:
        # What such a run leaves behind, killed after it has written the drop-in.
        host.write(JOURNAL, json.dumps(way_back))
        host.run(f"sed -i s/^CPUWeight=.*/CPUWeight=77/ {DROPIN}")
        if not runs:
            host.run(f"systemctl stop {lab.UNIT}")
        run = site(tmp_path, {"tuning_cpu_weight": 77})
        assert run.status != 0, run.output
        assert re.search(squeezed("put back and is (healthy|degraded)."), message(run)), run.output
        assert host.read(DROPIN) == proven
        assert not host.system.file(JOURNAL).exists
        assert host.serves()
    finally:
        host.run(f"rm -f {stand_in} {JOURNAL}; systemctl daemon-reload")


# ---- the end -------------------------------------------------------------------------------------------------


def test_retiring_takes_the_tuning_away(host: lab.Host, tmp_path: Path) -> None:
    run = lab.play("retire", lab.inventory(tmp_path, {HOST: {}}, **open_files, **DESIRED))
    assert run.status == 0, run.output
    assert host.run(f"ls -d {' '.join(FILES)} {SWAP} {SWAP_UNIT} {Path(DROPIN).parent}", check=False) == ""


@pytest.mark.full
def test_retiring_again_changes_nothing(host: lab.Host, tmp_path: Path) -> None:
    again = lab.play("retire", lab.inventory(tmp_path, {HOST: {}}, **open_files, **DESIRED))
    assert (again.status, again.changed(HOST)) == (0, 0), again.output
