# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab and the playbooks, as the end-to-end tests use them."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import signal
import socket
import subprocess
import tarfile
import threading
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
import testinfra
import yaml
from docker.utils.socket import consume_socket_output, demux_adaptor, frames_iter

from ansible_collections.clawops.openclaw.tests.e2e import budget

ROOT = Path(__file__).parents[2]
LAB = ROOT / "tests/lab/lab.sh"
LAB_NAME = os.environ.get("CLAWOPS_LAB_NAME", "clawops-lab")
CACHE = Path(
    os.environ.get("CLAWOPS_LAB_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clawops-lab"
)
# Those of this run: `make test` chooses two.
DISTRIBUTIONS = tuple(
    os.environ.get("CLAWOPS_DISTRIBUTIONS", "debian12 debian13 ubuntu2404 ubuntu2604").replace(",", " ").split()
)
# Where the lab's hosts find what the vendors have: the lab's mirror, as inventories/lab says it too.
LAB_VARIABLES = {
    "ansible_ssh_common_args": f"-F {CACHE}/ssh_config",
    "nodejs_repository_url": "http://mirror.lab/nodesource/node_{{ nodejs_major }}.x",
    "nodejs_repository_key": "http://mirror.lab/nodesource/gpgkey/nodesource-repo.gpg.key",
    # Most tests are not about sandboxes, and an engine for them takes a minute to come.
    "docker_state": "unmanaged",
    "docker_repository_url": "http://mirror.lab/docker/linux/{{ ansible_facts['distribution'] | lower }}",
    "docker_repository_key": "http://mirror.lab/docker/linux/{{ ansible_facts['distribution'] | lower }}/gpg",
    "docker_sandbox_base_archive": "http://mirror.lab/base-image/bookworm-slim.tar.gz",
    "tailscale_repository_url": "http://mirror.lab/tailscale/stable/{{ ansible_facts['distribution'] | lower }}",
    "tailscale_repository_key": (
        "http://mirror.lab/tailscale/stable/{{ ansible_facts['distribution'] | lower }}"
        "/{{ ansible_facts['distribution_release'] }}.asc"
    ),
}
SETTINGS = "/var/lib/openclaw/main/openclaw.json"
SECRETS = "/etc/openclaw/main/secrets/secrets.json"
UNIT = "openclaw-gateway.service"
VERSION = "2026.9.6"


class Run(t.NamedTuple):
    """A playbook that ended: its exit status, all it printed, and the recap by host."""

    status: int
    output: str
    recap: dict[str, dict[str, int]]

    def changed(self, host: str) -> int:
        return self.recap[host]["changed"]


def recap_of(output: str) -> dict[str, dict[str, int]]:
    """The figures of the last PLAY RECAP."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    rows = re.findall(r"^(\S+)\s+: (ok=.*)$", plain.rpartition("PLAY RECAP")[2], re.MULTILINE)
    return {host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", figures)} for host, figures in rows}


T = t.TypeVar("T")
# A client each: its connections are not made for use by several threads at once.
LOCAL = threading.local()


def engine() -> docker.DockerClient:
    """The engine that the lab's hosts run in."""
    if not hasattr(LOCAL, "client"):
        LOCAL.client = docker.from_env(timeout=300)
    return t.cast(docker.DockerClient, LOCAL.client)


def eventually(
    look: Callable[[], T], accepts: Callable[[T], t.Any] = bool, *, seconds: float = 60, every: float = 0.2
) -> T:
    """What a look gives, once it is accepted; fails with the last one when the seconds are over.

    For everything that another program reaches in its own time: a service that starts, a log that is written, a server
    that notices. A test never sleeps for such a thing, and never takes the first look for the last.
    """
    deadline = time.monotonic() + seconds
    while not accepts(seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s; seen last: {seen!r}")
        time.sleep(every)
    return seen


class Host:
    """One throw-away host."""

    def __init__(self, name: str) -> None:
        self.name = name

    @functools.cached_property
    def system(self) -> t.Any:
        """The host as testinfra shows it: ``file``, ``service``, ``socket``, ``process``, ``package`` …"""
        return testinfra.get_host(f"docker://{self.name}")

    @property
    def container(self) -> t.Any:
        return engine().containers.get(self.name)

    def run(self, command: str, *, check: bool = True, stdin: str = "") -> str:
        """The output of a shell command, run as root on the host."""
        status, output, errors = self.execute(command, stdin)
        if check and status != 0:
            raise AssertionError(f"{self.name}: {command}: exit {status}\n{output}{errors}")
        return output

    def execute(self, command: str, stdin: str = "") -> tuple[int, str, str]:
        """Exit status, output and errors of a shell command that reads this text."""
        api = engine().api
        started = api.exec_create(self.name, ["timeout", "300", "bash", "-c", command], stdin=True)["Id"]
        stream = api.exec_start(started, socket=True)
        try:
            # The client has no end of input of its own: its socket has.
            connection: socket.socket = getattr(stream, "_sock", stream)
            connection.sendall(stdin.encode())
            connection.shutdown(socket.SHUT_WR)
            frames = (demux_adaptor(*frame) for frame in frames_iter(stream, tty=False))
            output, errors = (part or b"" for part in consume_socket_output(frames, demux=True))
        finally:
            stream.close()
        return api.exec_inspect(started)["ExitCode"], output.decode(errors="replace"), errors.decode(errors="replace")

    def begin(self, *command: str) -> None:
        """Start a program that is left to itself."""
        self.container.exec_run(list(command), detach=True)

    def eventually(self, command: str, *, seconds: float = 60) -> str:
        """The output of a shell command once it succeeds."""
        _, output, _ = eventually(lambda: self.execute(command), lambda done: done[0] == 0, seconds=seconds)
        return output

    def read(self, path: str) -> str:
        return self.run(f"cat '{path}'")

    def write(self, path: str, content: str) -> None:
        """Overwrite a file in place: owner and mode stay."""
        self.run(f"cat > '{path}'", stdin=content)

    def put(self, folder: str, files: Path) -> None:
        """Copy what is in a folder of this machine into one on the host."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(files, arcname=".")
        self.run(f"mkdir -p {folder}")
        assert self.container.put_archive(folder, archive.getvalue())

    def settings(self) -> dict[str, t.Any]:
        return t.cast(dict[str, t.Any], json.loads(self.read(SETTINGS)))

    def token(self) -> str:
        return str(json.loads(self.read(SECRETS))["OPENCLAW_GATEWAY_TOKEN"])

    def startup(self, port: int = 18789) -> dict[str, t.Any]:
        """The body of /startupz, empty where nothing answers."""
        text = self.run(f"curl -s -m 5 http://127.0.0.1:{port}/startupz", check=False)
        try:
            return t.cast(dict[str, t.Any], json.loads(text))
        except ValueError:
            return {}

    def serves(self, port: int = 18789) -> bool:
        return self.startup(port).get("status") == "started"

    def wait_until_serving(self, port: int = 18789, seconds: float = 240) -> None:
        """Wait until the gateway has started."""
        eventually(lambda: self.startup(port), lambda body: body.get("status") == "started", seconds=seconds)

    def process(self) -> int:
        """The gateway's process, 0 where none runs."""
        return int(self.run(f"systemctl show -p MainPID --value {UNIT}").strip() or 0)

    def packages(self) -> str:
        """Every installed package with its version."""
        return self.run("dpkg-query -W -f '${Package} ${Version} ${Status}\\n'")

    def accepts(self, token: str, port: int = 18789) -> bool:
        """Whether the gateway answers an authenticated call; the token travels in no argument."""
        call = f"curl -s -m 15 -o /dev/null -w '%{{http_code}}' -K - http://127.0.0.1:{port}/tools/invoke"
        desired = json.dumps({"tool": "sessions_list", "args": {}})
        header = f'header = "Authorization: Bearer {token}"\nheader = "Content-Type: application/json"\n'
        return self.run(call, stdin=f"{header}data = {json.dumps(desired)}\n").strip() == "200"

    def reboot(self) -> None:
        """Stop the machine in order and start it again, under another address maybe; wait until ssh answers."""
        image = self.container.labels[f"{LAB_NAME}.host"]
        self.container.restart(timeout=60)
        lab("up", self.name, image)

    def digest(self) -> str:
        """All that the collection owns on the host, by line: content, owner and mode, not what programs write at run time."""
        paths = (
            "/etc/openclaw /opt/openclaw/main /var/lib/openclaw/main /etc/systemd/system /usr/local/bin /etc/apt"
            " /etc/security /etc/sysctl.d /var/openclaw_swap /etc/nginx"
        )
        return self.run(
            f"find {paths} -path '/var/lib/openclaw/main/[swd]*' -type d -prune"
            " -o -printf '%p %u %g %m %l\\n' -type f -exec sha256sum {} + 2>/dev/null | sort;"
            " ls -A /opt/openclaw/releases 2>/dev/null || true"
        )


def lab(*words: str) -> str:
    """Run the lab's own command."""
    done = subprocess.run([LAB, *words], capture_output=True, text=True, check=False, timeout=900)
    if done.returncode != 0:
        raise AssertionError(f"lab.sh {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def up(images: t.Mapping[str, str]) -> dict[str, Host]:
    """Start hosts, by name, from images; a host of an earlier run under that name is thrown away."""
    down(images)
    lab("up", *(word for pair in images.items() for word in pair))
    return {name: Host(name) for name in images}


def down(names: t.Iterable[str]) -> None:
    lab("down", *names)


def inventory(folder: Path, hosts: t.Mapping[str, t.Mapping[str, t.Any]], **variables: t.Any) -> Path:
    """Write an inventory of lab hosts with variables for all of them, and for each."""
    content = {
        "gateways": {"hosts": {name: dict(own) for name, own in hosts.items()}, "vars": {**LAB_VARIABLES, **variables}}
    }
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def start_play(playbook: str, where: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """A playbook that runs on, in a process group of its own."""
    budget.spend()
    return subprocess.Popen(
        ["ansible-playbook", "-i", str(where), f"playbooks/{playbook}.yml", *words],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill_controller(process: subprocess.Popen[str], sockets: str) -> None:
    """Kill a play with its workers and the masters of ssh.

    All of them know the folder ``sockets``, which the play got as ANSIBLE_SSH_CONTROL_PATH_DIR: from their environment, or
    ssh's master from the socket that it shows.
    """
    os.killpg(process.pid, signal.SIGKILL)
    while victims := processes_that_know(sockets):
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    process.communicate()


def processes_that_know(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if word.encode() in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def play(playbook: str, where: Path, *words: str, timeout: float = 1200, **environment: str) -> Run:
    """Run a playbook to its end."""
    process = start_play(playbook, where, *words, **environment)
    try:
        output, _ = process.communicate(timeout=timeout)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return Run(process.returncode, output, recap_of(output))


def sampled(rows: t.Iterable[t.Any], *kept: str) -> list[t.Any]:
    """Rows of a table, of which `make test` tries those with these ids and `make test-all` every one."""
    given = {row.id: row for row in rows}
    assert set(kept) <= set(given), kept
    return [
        row if name in kept else pytest.param(*row.values, id=name, marks=[*row.marks, pytest.mark.full])
        for name, row in given.items()
    ]


def message(run: Run, kind: str = "ERROR") -> str:
    """What the run said in its errors or warnings, without the white space that the width of a terminal brings."""
    told = re.findall(
        rf"^\[{kind}\]: (.*?)(?=^Origin: |^fatal: |^\[|^TASK |^PLAY |\Z)", run.output, re.MULTILINE | re.DOTALL
    )
    return squeezed(" ".join(told))


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def assert_refused(run: Run, words: t.Iterable[str]) -> None:
    assert run.status != 0, run.output
    told = message(run)
    assert [each for each in words if squeezed(each) not in told] == [], run.output


@contextlib.contextmanager
def untouched(host: Host) -> Iterator[None]:
    """Whatever happens in the block, the host is afterwards as it was, and its gateway, if any, has gone on."""
    packages, digest, process, uptime = (
        host.packages(),
        host.digest(),
        host.process(),
        host.startup().get("uptimeMs", 0),
    )
    yield
    assert host.digest() == digest
    assert host.packages() == packages
    assert host.process() == process
    if process:
        now = host.startup()
        assert now["status"] == "started"
        assert now["uptimeMs"] > uptime
