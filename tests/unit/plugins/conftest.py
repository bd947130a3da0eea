# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A directory that stands for a host, and stand-ins for the two programs that work on it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import pwd
import re
import resource
import select
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _apply, _runtime, _store, _text

SECRET_PROVIDER = {"source": "file", "mode": "json"}


class StandInRelease:
    """Stands in for an installed OpenClaw release: notes what it is shown, and finds what it is told to find."""

    installed: ClassVar[bool] = True
    seen: ClassVar[list[bytes]] = []
    issues: ClassVar[list[dict[str, Any]]] = []
    warnings: ClassVar[list[str]] = []

    def __init__(self, path: str, account: _store.Account | None, environment: dict[str, str]) -> None:
        self.path, self.account, self.environment = path, account, environment

    @property
    def version(self) -> str:
        return os.path.basename(self.path)

    def validate(self, candidate: str) -> tuple[list[dict[str, Any]], list[str]]:
        self.seen.append(Path(candidate).read_bytes())
        return list(self.issues), list(self.warnings)

    def clear_devices(self) -> dict[str, int]:
        return {"devices_removed": 2, "device_requests_rejected": 1}

    def parse_json5(self, content: bytes) -> Any:
        """JSON with comments, which is as much of JSON5 as these tests need."""
        return _text.parse_json(re.sub(rb"//[^\n]*", b"", content))


class StandInGateway:
    """Stands in for a gateway that serves: takes what it is told to take."""

    serves: ClassVar[bool] = False
    refuses: ClassVar[str] = ""
    # What stood in the two files whenever it was asked to take a change, or was stopped or started.
    seen: ClassVar[list[tuple[str, Any, Any]]] = []
    secrets_path: ClassVar[str] = ""

    def __init__(self, **given: Any) -> None:
        self.given, self.port = given, given["port"]
        self.notes: list[str] = []

    def note(self, event: str) -> None:
        settings, secrets = Path(self.given["settings_path"]), Path(self.secrets_path)
        self.seen.append((event, json.loads(settings.read_bytes()), json.loads(secrets.read_bytes())))

    def settle_down(self, timeout: float) -> bool:
        return self.serves

    def take(self, content: bytes, *, port: int, restart: bool, timeout: float, anew: bool = False) -> str:
        assert content == Path(self.given["settings_path"]).read_bytes()
        self.note("take")
        if self.refuses:
            raise _runtime.Rejected(self.refuses)
        self.notes.append("what the operator should know")
        return "restart" if restart or anew else "hot"

    def stop_unless_serving(self, content: bytes) -> bool:
        self.stop()
        return True

    def stop(self) -> None:
        self.note("stop")

    def start(self, timeout: float) -> bool:
        self.note("start")
        return True


class Host:
    """The files of one gateway, and the run of the module over them."""

    release = StandInRelease
    gateway = StandInGateway

    def __init__(self, root: Path, owner: str | None = None) -> None:
        self.root = root
        self.owner = owner
        self.settings = root / "lib" / "openclaw.json"
        self.secrets = root / "etc" / "secrets.json"
        self.journal = root / "applied.json"
        self.previous = root / "lib" / "openclaw.json.previous"
        self.last_good = root / "lib" / "openclaw.json.last-good"
        for path in (self.settings, self.secrets):
            path.parent.mkdir(mode=0o700)

    def parameters(self, **asked: Any) -> dict[str, Any]:
        owned = {"secrets": {"providers": {"clawops": {**SECRET_PROVIDER, "path": str(self.secrets)}}}}
        return {
            "path": str(self.settings),
            "state": "present",
            "owner": self.owner,
            "settings": {},
            "defaults": {},
            "owned": owned,
            "secrets": {},
            "secrets_path": str(self.secrets),
            "journal_path": str(self.journal),
            "generate": [],
            "rotate": [],
            "end_devices": False,
            "environment_variables": {"OPENCLAW_STATE_DIR": str(self.root / "state")},
            "release": str(self.root / "releases" / "2026.9.6"),
            "unit": "clawops-stand-in.service",
            "drift": "revert",
            "recover": "none",
            "confirm": True,
            "hold": False,
            "timeout": 5,
            **asked,
        }

    def run(self, *, check_mode: bool = False, **asked: Any) -> dict[str, Any]:
        return _apply.run(self.parameters(**asked), check_mode=check_mode)

    def deploy(self, **asked: Any) -> None:
        """What the role does on a host where nothing runs: write, start, note that it works."""
        self.run(**asked)
        self.run(state="confirmed")

    def read(self, path: Path | None = None) -> Any:
        return json.loads((path or self.settings).read_bytes())

    def write(self, settings: Any) -> None:
        """Write the settings as a person would, in place."""
        self.settings.write_text(json.dumps(settings) if not isinstance(settings, str) else settings)
        self.settings.chmod(0o600)

    def tree(self) -> dict[str, tuple[int, bytes]]:
        """Every file with its mode and content."""
        return {
            str(path.relative_to(self.root)): (stat.S_IMODE(path.lstat().st_mode), path.read_bytes())
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }


@pytest.fixture(autouse=True)
def locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Locks of a test of its own, for tests that are not root's too, and for those that undo what they have patched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_store, "LOCKS", str(tmp_path_factory.getbasetemp() / "locks"))
        yield


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-ins in the place of the release and of the gateway, as new."""
    release: dict[str, Any] = {"installed": True, "seen": [], "issues": [], "warnings": []}
    gateway: dict[str, Any] = {"serves": False, "refuses": "", "seen": []}
    for stand_in, fresh in ((StandInRelease, release), (StandInGateway, gateway)):
        for name, value in fresh.items():
            monkeypatch.setattr(stand_in, name, value)
    monkeypatch.setattr(_runtime, "Release", StandInRelease)
    monkeypatch.setattr(_runtime, "Gateway", StandInGateway)


@pytest.fixture
def release(programs: None) -> type[StandInRelease]:
    """What stands in for every release."""
    return StandInRelease


@pytest.fixture
def host(tmp_path: Path, programs: None, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host without settings; the gateway does not run."""
    host = Host(tmp_path)
    monkeypatch.setattr(StandInGateway, "secrets_path", str(host.secrets))
    return host


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory: to wait for a disk ten thousand times takes minutes."""
    with tempfile.TemporaryDirectory(prefix="clawops-unit-", dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.fixture
def host_in_memory(memory: Path, programs: None, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The same with its files in memory."""
    host = Host(memory)
    monkeypatch.setattr(StandInGateway, "secrets_path", str(host.secrets))
    return host


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every account can reach, which pytest's own is not."""
    directory = Path(tempfile.mkdtemp(prefix="clawops-unit-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def host_without_account(open_directory: Path, programs: None, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A fresh host, where there is no release and no account either."""
    monkeypatch.setattr(StandInRelease, "installed", False)
    host = Host(open_directory, owner="no-such-account")
    for path in (host.settings.parent, host.secrets.parent):
        path.rmdir()
    return host


@pytest.fixture
def listen() -> Iterator[Callable[[str], int]]:
    """Listen on an address until the test ends; the port is given back."""
    with contextlib.ExitStack() as open_sockets:

        def on(address: str) -> int:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = open_sockets.enter_context(socket.socket(family, socket.SOCK_STREAM))
            try:
                listener.bind((address, 0))
            except OSError as error:
                pytest.skip(f"this host cannot listen on {address}: {error.strerror}")
            listener.listen()
            port: int = listener.getsockname()[1]
            return port

        yield on


@pytest.fixture
def another_account() -> _store.Account:
    """A real account that is not root's."""
    if os.geteuid() != 0:
        pytest.skip("only root can work with another account's rights")
    entry = pwd.getpwnam("nobody")
    return _store.Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


Within = Callable[..., Any]


@pytest.fixture
def within() -> Within:
    """Do something in a process of its own that may take only so long and only so much memory, and give back its result.

    ``within(5, action)``; an error of its is raised here, with its name and words.
    """

    def run(seconds: float, action: Callable[[], Any], memory_mb: int = 300) -> Any:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            answer: tuple[bool, Any]
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + (memory_mb << 20)
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            try:
                answer = (True, action())
            except BaseException as error:  # a child that fails must not go on as a second test run
                answer = (False, f"{type(error).__name__}: {str(error)[:1000]}")
            os.write(writing, pickle.dumps(answer))
            os._exit(0)
        os.close(writing)
        try:
            ready, _, _ = select.select([reading], [], [], seconds)
            content = b""
            while ready and (piece := os.read(reading, 1 << 16)):
                content += piece
        finally:
            os.close(reading)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert content, f"it took more than {seconds} s, or was killed"
        done, result = pickle.loads(content)  # noqa: S301 - from the child that this test has forked, over a pipe of its own
        assert done, result
        return result

    return run


Killed = Callable[..., bool]


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Killed:
    """Do something in a process of its own, which the kernel kills just before or after its n-th step.

    A step is a call of one of the functions of ``os`` named in *steps*, one that fails included. Returns whether it came
    that far.
    """

    def run(action: Callable[[], object], n: int, *, after: bool, steps: Sequence[str] = ("rename",)) -> bool:
        child = os.fork()
        if child == 0:
            count = 0

            def or_die(step: Callable[..., Any]) -> Callable[..., Any]:
                def call(*arguments: Any, **options: Any) -> Any:
                    nonlocal count
                    count += 1
                    last = count == n
                    if last and not after:
                        os.kill(os.getpid(), signal.SIGKILL)
                    try:
                        return step(*arguments, **options)
                    finally:
                        if last:
                            os.kill(os.getpid(), signal.SIGKILL)

                return call

            for step in steps:
                monkeypatch.setattr(os, step, or_die(getattr(os, step)))
            try:
                action()
            except BaseException:  # a child that fails must not go on as a second test run
                os._exit(1)
            os._exit(0)
        _pid, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "it failed before it was killed"
        return os.WIFSIGNALED(status)

    return run
