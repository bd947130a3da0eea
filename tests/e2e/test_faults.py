# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run leaves that is broken off anywhere: whole files, a gateway that serves, and work for the next run only."""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import shlex
import subprocess
import tempfile
import time
import typing as t
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import lab
from ansible_collections.clawops.openclaw.tests.e2e.conftest import Gateway

# The machine's two cores carry the hosts as well.
LANES = 2
JOURNAL = "/etc/openclaw/main/applied.json"
# What would show that something was left behind: candidates and temporaries, half releases, npm.
LEFTOVERS = r"""
find /var/lib/openclaw/main /etc/openclaw /opt/openclaw/releases -maxdepth 3 \
  \( -path '*/main/state' -o -path '*/node_modules' \) -prune -o \
  \( -name '.*.json.*' -o -name '*.candidate-*' -o -name '*.partial' -o -name '*.damaged*' \) -print
pgrep -a npm || true
"""
# Reads a file every 20 ms and keeps every version that it sees; runs on the host.
WATCHER = """
import base64, json, os, sys, time
path, out = sys.argv[1:]
seen = []
while not os.path.exists(out + ".stop"):
    try:
        with open(path, "rb") as file:
            content = base64.b64encode(file.read()).decode()
    except FileNotFoundError:
        content = None
    if content not in seen:
        seen.append(content)
        with open(out + ".new", "w") as file:
            json.dump(seen, file)
        os.rename(out + ".new", out)
    time.sleep(0.02)
os.rename(out + ".stop", out + ".done")
"""
# Runs on the host: in the moment in which a path becomes another file, kill the module's process with -9.
ASSASSIN = """
import glob, os, re, sys, time
pattern = sys.argv[1]

def there():
    return {os.lstat(path).st_ino for path in glob.glob(pattern)}

def modules():
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if re.fullmatch(rb"/usr/bin/python3[.0-9]*", file.read().split(b"\\0")[0]):
                    yield int(name)
        except OSError:
            pass

before, pids, looked, begun = there(), [], 0.0, time.monotonic()
while time.monotonic() < begun + 300:
    try:
        if there() - before:
            for pid in pids:
                os.kill(pid, 9)
            print(len(pids))
            break
    except FileNotFoundError:
        continue
    if time.monotonic() > looked + 0.2:
        pids, looked = list(modules()), time.monotonic()
"""


class Watch:
    """The versions of the settings file that stood on a host, seen every 20 ms."""

    def __init__(self, host: lab.Host) -> None:
        self.host = host
        self.notes = f"/var/tmp/watch-{time.monotonic_ns()}"
        host.begin("python3", "-c", WATCHER, lab.SETTINGS, self.notes)

    def end(self) -> list[bytes | None]:
        """Every version, in the order of their appearance; ``None`` for no file."""
        self.host.run(f"touch {self.notes}.stop")
        self.host.eventually(f"test -e {self.notes}.done")
        seen = json.loads(self.host.read(self.notes))
        return [None if version is None else base64.b64decode(version) for version in seen]


def site_broken_off(where: Path, after: float) -> float | None:
    """Start site.yml and, after so many seconds, kill all of the controller: workers and ssh masters too.

    A run that ended before that is one for nothing; its seconds are returned.
    """
    with tempfile.TemporaryDirectory(prefix="cp") as sockets:
        begun = time.monotonic()
        process = lab.start_play("site", where, ANSIBLE_SSH_CONTROL_PATH_DIR=sockets)
        try:
            process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            lab.kill_controller(process, sockets)
            return None
        return time.monotonic() - begun


def fractions(points: int) -> list[float]:
    """Moments of a run, spread evenly over it."""
    return [(number + 0.5) / points for number in range(points)]


def in_lanes(task: t.Callable[[int, float], str], moments: t.Sequence[float]) -> None:
    """Do all moments, a few at a time, and fail with the complaints of all."""
    with ThreadPoolExecutor(LANES) as pool:
        complaints = [each for each in pool.map(task, range(len(moments)), moments) if each]
    assert complaints == []


def settled(where: Path, host: lab.Host) -> list[str]:
    """Complaints about the next run, which has to finish the work, and about the one after it, which has none."""
    complaints = []
    converging = lab.play("site", where)
    if converging.status != 0:
        complaints.append(f"the next run fails:\n{converging.output}")
    elif not host.serves():
        complaints.append("the gateway does not serve after the next run")
    again = lab.play("site", where)
    if again.status != 0 or again.changed(host.name) != 0:
        complaints.append(f"the run after it is not without changes:\n{again.output}")
    if left := host.run(LEFTOVERS).strip():
        complaints.append(f"left behind: {left}")
    return complaints


def listed(moment: float, complaints: list[str]) -> str:
    return "\n".join(f"at {moment:.3f} of the run: {each}" for each in complaints)


# A run that ends sooner than the measured one did, as the machine has less else to do, is the measure of the next one,
# which may be faster still.
TRIES = 4
FASTER = 0.9
TOO_FAST = "every run ended before it could be broken off"

# Of a deployment and of a change. Each rename of each module is a point of the modules' unit tests; these are for all that
# lies between modules.
POINTS = 8
pytestmark = pytest.mark.full


# ---- a first deployment ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare_image(deployed_image: str) -> Iterator[str]:
    """A bare host whose npm cache is filled, as a fleet behind a slow line would be given: saves a download per point."""
    names = {"fault-source": deployed_image, "fault-cached": "debian12"}
    try:
        lab.up(names)
        source, cached = (lab.Host(name) for name in names)
        cached.run("install -d -m 0755 /var/cache/openclaw")
        archive, _ = source.container.get_archive("/var/cache/openclaw/npm")
        assert cached.container.put_archive("/var/cache/openclaw", archive)
        lab.lab("snapshot", "fault-cached", "e2e-bare-cached")
    finally:
        lab.down(names)
    yield "e2e-bare-cached"
    lab.lab("forget", "e2e-bare-cached")


def test_a_deployment_that_is_broken_off_anywhere_is_finished_by_the_next_run(bare_image: str, tmp_path: Path) -> None:
    def where(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return lab.inventory(folder, {name: {}})

    def undisturbed(name: str) -> float:
        with host_of(name, bare_image):
            begun = time.monotonic()
            run = lab.play("site", where(name))
            assert run.status == 0, run.output
            return time.monotonic() - begun

    with ThreadPoolExecutor(LANES) as pool:
        duration = min(pool.map(undisturbed, [f"fault-{lane}" for lane in range(LANES)]))

    def break_off(number: int, moment: float) -> str:
        name, seconds = f"fault-{number}", duration
        for _ in range(TRIES):
            with host_of(name, bare_image) as host:
                watch = Watch(host)
                if (ended := site_broken_off(where(name), seconds * moment)) is not None:
                    seconds = ended * FASTER
                    continue
                complaints = settled(where(name), host)
                versions = watch.end()
                # Where no run has got as far as the settings, the complaints say why.
                if not complaints and set(versions) != {None, host.read(lab.SETTINGS).encode()}:
                    complaints.append(f"the settings file was not whole: {versions}")
                return listed(moment, complaints)
        return listed(moment, [TOO_FAST])

    in_lanes(break_off, fractions(POINTS))


@contextlib.contextmanager
def host_of(name: str, image: str) -> Iterator[lab.Host]:
    try:
        yield lab.up({name: image})[name]
    finally:
        lab.down([name])


def test_a_source_that_apt_had_not_read_when_a_run_was_broken_off_is_read_by_the_next_one(
    start_gateway: t.Callable[..., Gateway],
) -> None:
    started = start_gateway("fault-lists")
    started.host.run("rm /var/lib/apt/lists/*nodesource*; dpkg --purge --force-depends nodejs")
    complaints = settled(started.where, started.host)
    assert complaints == [], "\n".join(complaints)


# ---- a change of settings -----------------------------------------------------------------------------------


def hot(generation: int) -> dict[str, t.Any]:
    """Settings that the running gateway takes over."""
    return {"logging": {"redactPatterns": [f"generation-{generation}"]}}


def restarting(generation: int) -> dict[str, t.Any]:
    """Settings that make the gateway restart itself."""
    return {"gateway": {"controlUi": {"basePath": f"/generation-{generation}"}}}


Kind = t.Callable[[int], dict[str, t.Any]]


class Changing:
    """A gateway whose settings are changed again and again."""

    def __init__(self, started: Gateway, folder: Path) -> None:
        self.host, self.folder = started.host, folder
        self.generation = 0
        self.desired = {**hot(0), **restarting(0)}
        self.durations: dict[Kind, float] = {}

    def next(self, kind: Kind) -> Path:
        """An inventory with another change of a kind."""
        self.generation += 1
        self.desired = {**self.desired, **kind(self.generation)}
        return lab.inventory(self.folder, {self.host.name: {}}, gateway_settings=self.desired)

    def measure(self) -> None:
        """How long an undisturbed run of each kind takes."""
        for kind in (restarting, hot):
            where, begun = self.next(kind), time.monotonic()
            run = lab.play("site", where)
            assert run.status == 0, run.output
            self.durations[kind] = time.monotonic() - begun

    def disturbed(self, kind: Kind, disturb: t.Callable[[Path], list[str]]) -> list[str]:
        """Complaints about a change that *disturb* begins and breaks off, and about what follows it."""
        before, process, watch = self.host.read(lab.SETTINGS), self.host.process(), Watch(self.host)
        where = self.next(kind)
        complaints = disturb(where)
        # No new run yet: what was begun must not keep the gateway down.
        self.host.wait_until_serving()
        complaints += settled(where, self.host)
        versions, after = watch.end(), self.host.read(lab.SETTINGS)
        if not set(versions) <= {before.encode(), after.encode()} or f"generation-{self.generation}" not in after:
            complaints.append(f"the settings file was not at every moment one of two whole versions: {versions}")
        if kind is hot and self.host.process() != process:
            complaints.append("a change that needs no restart has restarted the gateway")
        return complaints

    def break_off(self, kind: Kind, moment: float) -> list[str]:
        ended: float | None = None

        def disturb(where: Path) -> list[str]:
            nonlocal ended
            ended = site_broken_off(where, self.durations[kind] * moment)
            return []

        for _ in range(TRIES):
            complaints = self.disturbed(kind, disturb)
            if complaints or ended is None:
                return complaints
            self.durations[kind] = ended * FASTER
        return [TOO_FAST]


@pytest.fixture(scope="module")
def changing(start_shared_gateway: t.Callable[..., Gateway], tmp_path_factory: pytest.TempPathFactory) -> Changing:
    """One such gateway, whose undisturbed changes have been measured."""
    one = Changing(start_shared_gateway("fault-change"), tmp_path_factory.mktemp("change"))
    one.measure()
    return one


def test_a_change_that_is_broken_off_anywhere_is_finished_by_the_next_run(
    changing: Changing, start_gateway: t.Callable[..., Gateway], tmp_path: Path
) -> None:
    other = Changing(start_gateway("fault-change-2"), tmp_path)
    other.measure()
    free: queue.SimpleQueue[Changing] = queue.SimpleQueue()
    for one in (changing, other):
        free.put(one)

    def break_off(number: int, moment: float) -> str:
        one = free.get()
        try:
            return listed(moment, one.break_off((hot, restarting)[number % 2], moment))
        finally:
            free.put(one)

    in_lanes(break_off, fractions(POINTS))


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(f"{Path(lab.SETTINGS).parent}/.openclaw.json.candidate-*", id="validating"),
        pytest.param(JOURNAL, id="journal-written"),
        pytest.param(lab.SECRETS, id="secrets-written"),
        pytest.param(lab.SETTINGS, id="settings-written"),
    ],
)
def test_a_module_that_is_killed_between_two_writes_leaves_whole_files(changing: Changing, moment: str) -> None:
    def disturb(where: Path) -> list[str]:
        command = f"timeout 330 python3 - {shlex.quote(moment)}"
        with ThreadPoolExecutor(1) as pool:
            assassin = pool.submit(changing.host.execute, command, ASSASSIN)
            run = lab.play("site", where)
            killed = assassin.result()[1].strip()
        complaints = [] if killed == "1" else [f"{killed or 'no'} modules were killed"]
        return complaints if run.status != 0 else [*complaints, f"the run did not notice:\n{run.output}"]

    complaints = changing.disturbed(hot, disturb)
    assert complaints == [], "\n".join(complaints)


def when_the_settings_change(host: lab.Host, command: str) -> str:
    """A shell command for the host that waits until the settings file is another one, and then does something."""
    inode = f"$(stat -c %i {lab.SETTINGS})"
    return f'before={inode}; until [ "{inode}" != "$before" ]; do sleep 0.02; done; {command}'


@pytest.mark.parametrize("kind", [hot, restarting])
def test_a_gateway_that_is_killed_during_a_change_comes_back_by_itself(changing: Changing, kind: Kind) -> None:
    host = changing.host

    def disturb(where: Path) -> list[str]:
        kill = when_the_settings_change(host, f"sleep 0.3; systemctl kill -s KILL {lab.UNIT}")
        with ThreadPoolExecutor(1) as pool:
            killer = pool.submit(host.execute, kill)
            # Whether this run takes the change or puts the former settings back, it has to leave a gateway that serves.
            lab.play("site", where)
        return [] if killer.result()[0] == 0 else ["the gateway was not killed"]

    complaints = [each for each in changing.disturbed(kind, disturb) if "needs no restart" not in each]
    assert complaints == [], "\n".join(complaints)


@pytest.mark.parametrize("kind", [hot, restarting])
def test_a_host_that_reboots_during_a_change_comes_back_with_whole_settings(changing: Changing, kind: Kind) -> None:
    host = changing.host
    before, where = host.read(lab.SETTINGS), changing.next(kind)
    process = lab.start_play("site", where)
    host.run(when_the_settings_change(host, "true"))
    host.reboot()
    process.communicate(timeout=600)
    assert process.returncode != 0
    host.wait_until_serving()
    between = host.read(lab.SETTINGS)
    complaints = settled(where, host)
    assert complaints == [], "\n".join(complaints)
    assert between in (before, host.read(lab.SETTINGS))
