#!/usr/bin/env python3
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures the collection on lab hosts and prints a report. It asserts nothing.

Every claim is a ratio, or a split, of things measured side by side in one run.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / ".ansible/collections"))

from ansible_collections.clawops.openclaw.plugins.module_utils._release import MARKER
from ansible_collections.clawops.openclaw.tests.e2e import lab, tailnet

FLEETS = (1, 10)
ROUNDS = 3
GOLDEN = "bench-golden"
# Removed when the program ends.
FOLDERS = tempfile.TemporaryDirectory(prefix="clawops-benchmark-")
# A host with a release and, beside it, a bare installation, or a host and its image, with what the roles want free.
NEEDED_GIB = 5
RELEASE = f"/opt/openclaw/releases/{lab.VERSION}/node_modules/openclaw"
AS_GATEWAY = (
    "setpriv --reuid openclaw --regid openclaw --init-groups --reset-env env"
    " HOME={home} OPENCLAW_STATE_DIR={home}/state OPENCLAW_CONFIG_PATH={home}/openclaw.json"
)


def say(text: str = "") -> None:
    print(text, flush=True)


def folder() -> Path:
    return Path(tempfile.mkdtemp(dir=FOLDERS.name))


def timed_play(*words: t.Any) -> tuple[float, float, lab.Run]:
    """Wall seconds, CPU seconds of the controller, and the run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    run = lab.play(
        "site", *words, ANSIBLE_CALLBACKS_ENABLED="ansible.posix.profile_tasks", PROFILE_TASKS_TASK_OUTPUT_LIMIT="all"
    )
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if run.status != 0:
        raise SystemExit(run.output)
    return wall, cpu, run


def seconds_by_task(output: str) -> dict[str, float]:
    """What profile_tasks says at the end; tasks of one name together."""
    total: dict[str, float] = collections.defaultdict(float)
    for name, seconds in re.findall(r"^(.+?) -+ +([\d.]+)s$", output, re.MULTILINE):
        total[name.strip()] += float(seconds)
    return total


@contextlib.contextmanager
def hosts(names: t.Iterable[str], image: str = "debian12") -> Iterator[list[lab.Host]]:
    """Hosts of one image, removed after the block."""
    images = dict.fromkeys(names, image)
    try:
        yield list(lab.up(images).values())
    finally:
        lab.down(images)


def deploy() -> None:
    """First deployment, by phase, against a bare npm install and a bare start: on the same host after it, and, in turns
    with it, on a fresh one, where neither has what the other one has read.

    Each host is removed as soon as it is measured, because the lab has no room for all of them. Where it keeps its data in
    memory that costs nothing. On a disk of ext4 without a journal these figures are too high: the inodes of deleted files
    are not used again for one to five minutes and searched past, by which an npm install took up to twice as long.
    """
    deployed, same, fresh = [], [], []
    for _ in range(ROUNDS):
        with hosts(["bench-deploy"]) as (host,):
            deployed.append(deploy_ours(host))
            same.append(deploy_bare(host))
        with hosts(["bench-bare"]) as (host,):
            timed_play(lab.inventory(folder(), {host.name: {}}), "--tags", "nodejs")
            fresh.append(deploy_bare(host))
    wall, cpu, phases = sorted(deployed, key=lambda each: each[0])[ROUNDS // 2]
    say(f"first deployment: {wall:.1f} s wall, {cpu:.1f} s CPU of the controller; medians of {ROUNDS}")
    for name, seconds in sorted(phases.items(), key=lambda item: -item[1])[:14]:
        say(f"  {seconds:6.1f} s  {name}")
    for where, bare in (("the same host, after it", same), ("a fresh host", fresh)):
        install, start = (statistics.median(each) for each in zip(*bare, strict=True))
        say(
            f"  bare npm install {install:.1f} s + bare start {start:.1f} s = {install + start:.1f} s on {where};"
            f" ratio {wall / (install + start):.2f} (aim 1.4)"
        )
        pairs = zip(deployed, bare, strict=True)
        say("    each: " + ", ".join(f"{ours[0]:.1f} against {both[0]:.1f} + {both[1]:.1f}" for ours, both in pairs))


def deploy_ours(host: lab.Host) -> tuple[float, float, dict[str, float]]:
    """Wall seconds, the controller's CPU seconds, and the seconds of each task and of the release's phases."""
    wall, cpu, run = timed_play(lab.inventory(folder(), {host.name: {}}))
    noted = json.loads(host.read(f"/opt/openclaw/releases/{lab.VERSION}/{MARKER}"))
    phases = seconds_by_task(run.output) | {f"  of the release: {part}": took for part, took in noted["phases"].items()}
    host.run(f"systemctl stop {lab.UNIT}")
    return wall, cpu, phases


def deploy_bare(host: lab.Host) -> tuple[float, float]:
    """Seconds of a bare npm install and of a bare start, on a host with the same Node.js."""
    begun = time.monotonic()
    host.run("npm install --prefix /opt/bare --no-audit --no-fund --loglevel=error openclaw@" + lab.VERSION)
    install = time.monotonic() - begun
    home = "/var/lib/bare"
    settings = {
        "gateway": {"mode": "local", "bind": "loopback", "port": 18789, "auth": {"mode": "token", "token": "0" * 64}}
    }
    host.run(f"id openclaw >/dev/null 2>&1 || useradd -r openclaw; install -d -o openclaw {home} {home}/state")
    host.run(
        f"echo '{json.dumps(settings)}' > {home}/openclaw.json; chown openclaw {home}/openclaw.json; chmod 600 {home}/openclaw.json"
    )
    begun = time.monotonic()
    start = AS_GATEWAY.format(home=home) + " node /opt/bare/node_modules/openclaw/dist/index.js gateway run"
    host.run(f"cd / && nohup {start} > /tmp/bare.log 2>&1 & echo started")
    host.run("timeout 300 bash -c 'until curl -sf -m 5 http://127.0.0.1:18789/startupz; do sleep 0.1; done'")
    started = time.monotonic() - begun
    host.run("pkill -u openclaw")
    return install, started


@functools.cache
def golden() -> str:
    """A host with a healthy gateway, as an image."""
    with hosts([GOLDEN]) as (host,):
        timed_play(lab.inventory(folder(), {host.name: {}}))
        host.run(f"systemctl stop {lab.UNIT}")
        lab.lab("snapshot", host.name, GOLDEN)
    return GOLDEN


@contextlib.contextmanager
def serving(*names: str) -> Iterator[list[lab.Host]]:
    """Hosts with a healthy gateway, removed after the block."""
    with hosts(names, golden()) as started:
        for host in started:
            host.run("timeout 600 bash -c 'until curl -sf -m 5 http://127.0.0.1:18789/startupz; do sleep 1; done'")
        yield started


def on_a_host(part: t.Callable[[lab.Host], None]) -> t.Callable[[], None]:
    """A part that gets one such host."""

    @functools.wraps(part)
    def whole() -> None:
        with serving(f"bench-{part.__name__}") as (host,):
            part(host)

    return whole


def unchanged() -> None:
    """The run that changes nothing, for 1 and 10 hosts; medians of 3.

    One host has all seven roles in use; ten have no engine, of which ten would be built on the lab's two cores.
    """
    walls: dict[int, float] = {}
    for count in FLEETS:
        names = [f"bench-{number}" for number in range(count)]
        with serving(*names) as fleet, hosts(["bench-control"]) as (other,):
            control = tailnet.Control(other)
            for host in fleet:
                control.trusted_by(host)
            where = lab.inventory(
                folder(),
                {name: {} for name in names},
                docker_state="present" if count == 1 else "unmanaged",
                mtls_state="present",
                tailscale_state="present",
                tailscale_login_server=control.url,
                tailscale_auth_key=control.key(words="--reusable"),
            )
            timed_play(where)
            measured = [timed_play(where) for _ in range(ROUNDS)]
        wall, cpu, run = sorted(measured, key=lambda each: each[0])[ROUNDS // 2]
        walls[count] = wall
        tasks = run.recap[names[0]]["ok"]
        changed = sum(run.changed(name) for name in names)
        say(
            f"nothing to change, {count:2} hosts: {wall:.1f} s wall, {cpu:.1f} s CPU of the controller, {tasks} tasks a host, changed={changed}"
        )
        if count == 1:
            for name, seconds in sorted(seconds_by_task(run.output).items(), key=lambda item: -item[1])[:12]:
                say(f"  {seconds:6.2f} s  {name}")
    slope = (walls[FLEETS[-1]] - walls[1]) / (FLEETS[-1] - 1)
    say(f"  each further host: {slope:.1f} s (aim 4 while the lab shares two cores with the controller)")


def added(roles: str, host: lab.Host, plain: lab.Host, words: t.Sequence[str], **variables: t.Any) -> None:
    """What two roles add to a run that changes nothing, in turns on two hosts; the words take them out of the second one's."""
    both = lab.inventory(folder(), {host.name: {}}, **variables)
    neither = lab.inventory(folder(), {plain.name: {}})
    timed_play(both)
    timed_play(neither, *words)
    walls: dict[str, list[float]] = {"both": [], "neither": []}
    tasks: dict[str, int] = {}
    for _ in range(ROUNDS):
        for kind, name, given in (("both", host.name, (both,)), ("neither", plain.name, (neither, *words))):
            wall, _, run = timed_play(*given)
            if run.changed(name):
                raise SystemExit(run.output)
            walls[kind].append(wall)
            tasks[kind] = run.recap[name]["ok"]
    with_them, less = (statistics.median(walls[kind]) for kind in ("both", "neither"))
    say(
        f"nothing to change, {roles} too: {with_them:.1f} s and {tasks['both']} tasks; without: {less:.1f} s, {tasks['neither']}"
    )
    say(
        f"  they add {with_them - less:.1f} s (aim 3), ratio {with_them / less:.2f}; medians of {ROUNDS} in turns, ranges {walls}"
    )


def roles() -> None:
    """What the roles docker and tuning add."""
    with serving("bench-roles", "bench-plain") as (host, plain):
        added("docker and tuning", host, plain, ["--skip-tags", "docker,tuning"], docker_state="present")


def access() -> None:
    """What the roles tailscale and mtls add, on a node that has joined."""
    with serving("bench-access", "bench-plain") as (host, plain), hosts(["bench-control"]) as (other,):
        control = tailnet.Control(other)
        control.trusted_by(host)
        joined = {
            "tailscale_state": "present",
            "tailscale_login_server": control.url,
            "tailscale_auth_key": control.key(),
        }
        added("tailscale and mtls", host, plain, [], mtls_state="present", **joined)


@on_a_host
def start(host: lab.Host) -> None:
    """Start-up of the gateway with and without the tuned drop-in, in turns on one host."""
    dropin = f"/etc/systemd/system/{lab.UNIT}.d/50-tuning.conf"
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(4):
        for name, move in (
            ("with", f"mv -f /root/tuning.conf {dropin} 2>/dev/null || true"),
            ("without", f"mv {dropin} /root/tuning.conf"),
        ):
            host.run(f"{move}; systemctl daemon-reload; systemctl stop {lab.UNIT}")
            begun = time.monotonic()
            host.run(
                f"systemctl start {lab.UNIT}; until curl -sf -m 5 http://127.0.0.1:18789/startupz >/dev/null; do sleep 0.1; done"
            )
            seconds[name].append(time.monotonic() - begun)
    # The first start with it fills the compile cache.
    tuned, plain = statistics.median(seconds["with"][1:]), statistics.median(seconds["without"][1:])
    say(
        f"start until /startupz: {tuned:.1f} s with the tuned drop-in, {plain:.1f} s without, ratio {tuned / plain:.2f}; all {seconds}"
    )


def keys(count: int, value: int) -> dict[str, t.Any]:
    """Settings that every release takes and that change nothing: models of a provider nobody calls."""
    return {
        "models": {
            "providers": {f"bench{n}": {"baseUrl": f"http://127.0.0.1:{value}/v1", "models": []} for n in range(count)}
        }
    }


@on_a_host
def settings(host: lab.Host) -> None:
    """50 keys by gateway_config, by 50 calls of `config set`, by one `config patch`, and the release's own validation alone."""

    def task(value: int) -> float:
        where = lab.inventory(
            folder(), {host.name: {}}, gateway_settings=keys(50, value), gateway_settings_readonly=False
        )
        return settings_task(timed_play(where, "--tags", "gateway")[2])

    task(4000)
    changed, stopped, same, validation = [], [], [], []
    nowhere = AS_GATEWAY.format(home="/nonexistent") + f" OPENCLAW_NO_RESPAWN=1 OPENCLAW_CONFIG_PATH={lab.SETTINGS}"
    for value in range(4001, 4001 + 2 * ROUNDS, 2):
        changed.append(task(value))
        host.run(f"systemctl stop {lab.UNIT}")
        # By the host's own clock: the way there and back would be taken from the module's share.
        validate = f"{nowhere} node {RELEASE}/dist/index.js config validate --json >/dev/null"
        validation.append(int(host.run(f"b=$(date +%s%N); {validate} && echo $(($(date +%s%N) - b))")) / 1e9)
        # Nobody is waited for: what is left beside an idle task and the validation is the module's own work.
        stopped.append(task(value + 1))
        same.append(task(value + 1))
    module, alone, idle, validated = map(statistics.median, (changed, stopped, same, validation))
    host.run(f"systemctl stop {lab.UNIT}")
    one = "openclaw config set models.providers.bench$n.baseUrl http://127.0.0.1:5002/v1"
    begun = time.monotonic()
    host.run(f"for n in $(seq 0 9); do {one}; done")
    ten = time.monotonic() - begun
    host.write("/tmp/patch.json5", json.dumps(keys(50, 5003)))
    begun = time.monotonic()
    host.run("openclaw config patch --file /tmp/patch.json5")
    patch = time.monotonic() - begun
    say(f"50 keys: gateway_config {module:.2f} s as a task, reload confirmed; medians of {ROUNDS} (aim 6)")
    say(f"  {idle:.2f} s  the same task where nothing changes, its reading and planning included")
    say(f"  {validated:.2f} s  the release's validation, alone")
    say(f"  {module - alone:.2f} s  the running gateway's taking of the change")
    say(f"  {alone - idle - validated:.2f} s  what is left, what the module does about a change (aim 0.2)")
    say(f"  50 x 'config set' {ten * 5:.0f} s (10 calls measured, times 5), ratio {ten * 5 / module:.0f}")
    say(f"  one 'config patch' {patch:.1f} s, ratio {patch / module:.1f}")


def settings_task(run: lab.Run) -> float:
    """How long the task of gateway_config took."""
    return next(seconds for name, seconds in seconds_by_task(run.output).items() if "secrets and settings" in name)


PROBE = """
import http.client, json, sys, time
seen = []
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    begun = time.monotonic()
    try:
        c = http.client.HTTPConnection("127.0.0.1", 18789, timeout=2); c.request("GET", "/healthz"); s = c.getresponse().status; c.close()
    except OSError:
        s = 0
    seen.append((begun, time.monotonic() - begun, s))
    time.sleep(max(0, 0.05 - (time.monotonic() - begun)))
bad = [p for p in seen if p[2] != 200]
print(json.dumps({"probes": len(seen), "missed": len(bad), "slowest_ms": round(max(p[1] for p in seen) * 1000)}))
"""


@on_a_host
def probes(host: lab.Host) -> None:
    """A hot change, with the gateway probed every 50 ms."""
    host.write("/root/probe.py", PROBE)
    where = lab.inventory(folder(), {host.name: {}}, gateway_settings=keys(1, 4100))
    host.run("nohup python3 /root/probe.py 45 > /root/probe.json 2>&1 & echo started")
    _, _, run = timed_play(where, "--tags", "gateway")
    module = settings_task(run)
    host.run("timeout 60 bash -c 'until [ -s /root/probe.json ]; do sleep 1; done'")
    seen = json.loads(host.read("/root/probe.json"))
    say(
        f"hot change: {module:.1f} s as a task; {seen['missed']} of {seen['probes']} probes missed, the slowest took {seen['slowest_ms']} ms"
    )


@on_a_host
def memory(host: lab.Host) -> None:
    """The most memory that a module of ours took on a host, over a run that changes settings."""
    watcher = (
        "import glob,json,time\npeaks={}\nend=time.monotonic()+60\nwhile time.monotonic()<end:\n"
        " for s in glob.glob('/proc/[0-9]*/status'):\n"
        "  try:\n   c=open(s.replace('status','cmdline')).read()\n   t=open(s).read()\n  except OSError: continue\n"
        "  if 'python' in c and 'watch.py' not in c and 'VmHWM' in t:\n"
        "   peaks[s]=max(peaks.get(s,0),int(t.split('VmHWM:')[1].split()[0]))\n time.sleep(0.02)\n"
        "print(json.dumps(sorted(peaks.values())))\n"
    )
    host.write("/root/watch.py", watcher)
    host.run("nohup python3 /root/watch.py > /root/watch.json 2>&1 & echo started")
    timed_play(lab.inventory(folder(), {host.name: {}}, gateway_settings=keys(50, 4200)))
    host.run("timeout 90 bash -c 'until [ -s /root/watch.json ]; do sleep 1; done'")
    peaks = json.loads(host.read("/root/watch.json"))
    say(
        f"module processes on the host: {len(peaks)} seen, median {statistics.median(peaks) / 1024:.0f} MB, most {max(peaks) / 1024:.0f} MB (bound 60)"
    )


def ab(host: lab.Host, words: str) -> tuple[float, float]:
    """Requests per second and the 99th percentile in ms, of ab from Apache's tools, with 8 connections that are kept."""
    told = host.run(f"ab -q -k -c 8 -n 5000 {words}/healthz 2>&1")
    rate, slow = re.search(r"Requests per second: +([\d.]+)", told), re.search(r"^ +99% +(\d+)", told, re.MULTILINE)
    if not rate or not slow or "Non-2xx" in told or not re.search(r"^Failed requests: +0$", told, re.MULTILINE):
        raise SystemExit(told)
    return float(rate.group(1)), float(slow.group(1))


@on_a_host
def mtls(host: lab.Host) -> None:
    """Through nginx with client certificates against loopback, in turns on one host."""
    both = lab.inventory(folder(), {host.name: {}}, mtls_state="present", mtls_requests_per_second=100000)
    timed_play(both)
    host.run("apt-get install -y -qq --no-install-recommends apache2-utils")
    host.run("cd /etc/openclaw/main/mtls/clients/health/current && cat cert.pem key.pem > /root/client.pem")
    address = host.run("hostname -i").split()[0]
    ways = {"loopback": "http://127.0.0.1:18789", "mtls": f"-E /root/client.pem https://{address}"}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, words in ways.items():
            found[name].append(ab(host, words))
    rates, slow = ({name: statistics.median(row[at] for row in rows) for name, rows in found.items()} for at in (0, 1))
    say(
        f"/healthz, 8 connections: {rates['mtls']:.0f} requests/s and p99 {slow['mtls']:.0f} ms through nginx with client certificates,"
        f" {rates['loopback']:.0f} and {slow['loopback']:.0f} ms on loopback; ratio {rates['mtls'] / rates['loopback']:.2f}; all {found}"
    )


SIZES_MB = (50, 200, 1024)
BACKUP = {
    "backup_state": "present",
    "backup_password": "opens-the-backups-of-a-throw-away-host",
    "backup_repositories": [{"name": "local", "url": "/srv/backup"}],
}
MEDIA = "/var/lib/openclaw/main/state/media/benchmark"


def timed(host: lab.Host, command: str) -> float:
    begun = time.monotonic()
    host.run(command)
    return time.monotonic() - begun


def backup() -> None:
    """Backup, restore and drill of 50 MB, 200 MB and 1 GB, against OpenClaw's own archive in the same run; ten backups with
    1 % churn; what the role adds to a run that changes nothing.
    """
    with serving("bench-backup", "bench-plain") as (host, plain):
        where = lab.inventory(folder(), {host.name: {}}, **BACKUP)
        added("backup", host, plain, [], **BACKUP)
        for size in SIZES_MB:
            backup_of(host, where, size)


def backup_of(host: lab.Host, where: Path, size: int) -> None:
    """One size: files of 1 MB that nothing compresses."""
    host.run(
        f"rm -rf {MEDIA} /srv/backup && mkdir {MEDIA} && rm -f /etc/openclaw/main/health.d/backup.json"
        f" && for n in $(seq {size}); do head -c 1M /dev/urandom > {MEDIA}/$n; done && chown -R openclaw: {MEDIA}"
    )
    alone = timed(
        host,
        "cd / && mkdir -m 777 /tmp/alone && openclaw backup create --output /tmp/alone --verify && rm -rf /tmp/alone",
    )
    first = timed(host, "systemctl start openclaw-backup@state")
    bytes_of_one = int(host.run("du -sb /srv/backup").split()[0])
    again = timed(host, "systemctl start openclaw-backup@state")
    say(
        f"{size} MB: OpenClaw's archive {alone:.1f} s; first backup {first:.1f} s, ratio {first / alone:.2f}; next {again:.1f} s"
    )
    if size == SIZES_MB[1]:
        for _ in range(9):
            host.run(f"for n in $(shuf -i 1-{size} -n {size // 100}); do head -c 1M /dev/urandom > {MEDIA}/$n; done")
            host.run("systemctl start openclaw-backup@state")
        ten = int(host.run("du -sb /srv/backup").split()[0])
        say(f"  ten backups with 1 % churn: {ten / 1e6:.0f} MB, {ten / bytes_of_one:.2f} of one (aim 1.3)")
    run = lab.play("restore", where)
    if run.status != 0:
        raise SystemExit(run.output)
    said = " ".join(run.output.split())
    say(f"  restore onto the same host: {', '.join(re.findall(r'RTO [0-9.]+ s', said))} (aim 60 s for 1 GB)")
    host.run("rm -rf /var/lib/openclaw/main.before-*")


PARTS = {
    part.__name__: part for part in (deploy, unchanged, roles, start, settings, probes, memory, mtls, access, backup)
}


def known_part(name: str) -> str:
    """In place of argparse's choices, which refuse a command line that names none."""
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"there is no part '{name}'. Name one or more of {', '.join(PARTS)}.")
    return name


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=described_parts(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", metavar="PART", nargs="*", type=known_part, help="what to measure; default: all parts")
    return parser.parse_args()


def described_parts() -> str:
    """The first paragraph of each part's docstring."""
    lines = ["parts:"]
    for name, part in PARTS.items():
        summary = " ".join(str(part.__doc__).partition("\n\n")[0].split())
        lines.append(textwrap.fill(summary, 100, initial_indent=f"  {name:<10} ", subsequent_indent=" " * 13))
    return "\n".join(lines)


def assert_room() -> None:
    """A measurement that fails for want of room does so after minutes."""
    with hosts(["bench-room"]) as (host,):
        free = int(host.run("df --output=avail --block-size=1M / | tail -n 1")) / 1024
    if free < NEEDED_GIB:
        raise SystemExit(
            f"The lab's disk: {free:.1f} GiB are free, and a benchmark takes up to {NEEDED_GIB}."
            " Remove hosts ('tests/lab/lab.sh list' names them) and snapshots, or all: 'make destroy'."
        )


def main() -> None:
    parts = arguments().parts or list(PARTS)
    subprocess.run([lab.LAB, "ready", "debian12"], check=True)
    assert_room()
    try:
        for part in parts:
            PARTS[part]()
    finally:
        lab.lab("forget", GOLDEN)


if __name__ == "__main__":
    main()
