#!/usr/bin/python
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ensure that one release of OpenClaw stands beside the others."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_release
short_description: Ensure that one release of OpenClaw is installed beside the others
version_added: 1.0.0
description:
  - Installs an exact version of OpenClaw from the npm registry into a directory of its own, and proves that it starts.
  - A release appears under its name only when it is complete. What an interrupted run leaves is removed by the next.
  - When the release is there already, no process is started.
  - One installation at a time. Another one is waited for.
  - What runs is decided elsewhere, by a link that points to one of the releases. Links are never changed here.
author:
  - clawops (@clawops)
attributes:
  check_mode:
    support: full
    description: Predicts the change without asking the registry.
  diff_mode:
    support: full
    description: Shows the installed releases.
options:
  version:
    description: Exact version of OpenClaw, such as V(2026.9.6).
    type: str
    required: true
  state:
    description:
      - V(present) ensures that the release is installed.
      - V(absent) removes it. A release that a C(current) link points to is not removed.
    type: str
    choices: [present, absent]
    default: present
  path:
    description:
      - Directory that holds the releases, one directory for each.
      - C(current) links are looked for beside it, one level below its parent.
    type: path
    default: /opt/openclaw/releases
  cache:
    description:
      - Directory for npm's cache and its other files. A C(.npmrc) in it is read.
      - It can be deleted at any time. The next installation then downloads everything again.
    type: path
    default: /var/cache/openclaw/npm
  registry:
    description: Address of an npm registry. The default is npm's own.
    type: str
  keep:
    description:
      - With O(state=present), the number of newest releases to keep. Older ones are removed.
      - The release in O(version) and those that a C(current) link points to always stay.
      - At least V(2), if the previous release is to survive a change of the link.
    type: int
  npm:
    description: Path of npm. The default is the first in the search path.
    type: path
  node:
    description:
      - Path of the Node that will run the release. The file must be named C(node).
      - The default is the first in the search path.
    type: path
  timeout:
    description: Seconds after which the installation is given up, waiting for another one included.
    type: int
    default: 900
notes:
  - An installation takes half a minute and more. Run it with C(async) and C(poll), with more time than O(timeout).
  - While it runs, and after a failure, C(.<version>.log) in O(path) tells how far it came.
"""

EXAMPLES = r"""
- name: Ensure the release is installed, and two older ones at most
  clawops.openclaw.gateway_release:
    version: 2026.9.6
    keep: 3
  async: 1200
  poll: 5

- name: Ensure the release comes from the mirror
  clawops.openclaw.gateway_release:
    version: 2026.9.6
    registry: https://npm.example.com/

- name: Ensure an old release is gone
  clawops.openclaw.gateway_release:
    version: 2026.8.1
    state: absent
"""

RETURN = r"""
version:
  description: The version that was asked for.
  type: str
  returned: success
  sample: 2026.9.6
path:
  description: Directory of the release.
  type: str
  returned: success
  sample: /opt/openclaw/releases/2026.9.6
node_engines:
  description: Versions of Node that the release demands, in npm's notation. Null when it is not installed.
  type: str
  returned: success
  sample: '>=24.16.0 <25 || >=26.1.0'
size_mb:
  description: Disk space of the release. Null when it is not installed.
  type: int
  returned: success
  sample: 647
seconds:
  description: Time that the module took.
  type: float
  returned: success
  sample: 31.2
phases:
  description: Seconds that each part of an installation took. Empty when nothing was installed.
  type: dict
  returned: success
  sample: {wait: 0.0, npm: 29.4, verify: 0.4, settle: 0.6, sync: 0.8}
releases:
  description: Versions that are installed afterwards, newest first.
  type: list
  elements: str
  returned: success
  sample: ['2026.9.6', '2026.9.5']
pruned:
  description: Versions that were removed because of O(keep).
  type: list
  elements: str
  returned: success
  sample: ['2026.8.1']
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import shutil
import signal
import time
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _release, _versions
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# npm writes less than this between two looks at the disk, where the disk is slow enough to matter.
FULL_BELOW = 8 << 20
LIBC = ctypes.CDLL(None, use_errno=True)


class Job(t.NamedTuple):
    """One installation: what, from where, to where, until when."""

    version: str
    store: Path
    cache: Path
    npm: str
    node: str
    environment: dict[str, str]
    deadline: float

    @property
    def partial(self) -> Path:
        return self.store / f"{self.version}{_release.PARTIAL_SUFFIX}"

    @property
    def log(self) -> Path:
        return log_of(self.store, self.version)


def log_of(store: Path, version: str) -> Path:
    """Where an installation tells how far it is."""
    return store / f".{version}.log"


# ---- what is there -----------------------------------------------------------------------------------


def read_text(path: Path) -> str | None:
    """The text of a file, or None when there is no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_package(release: Path) -> dict[str, t.Any]:
    """OpenClaw's own package.json in a release."""
    return _release.read_object(read_text(release / "node_modules" / _release.PACKAGE / "package.json"))


def read_marker(store: Path, version: str) -> dict[str, t.Any] | None:
    """What was noted when the release was finished; None when no finished release stands there."""
    release = store / version
    marker = _release.read_object(read_text(release / _release.MARKER))
    finished = _release.is_finished(version, marker, read_package(release)) and _release.is_whole(str(release))
    return marker if finished else None


def installed_releases(store: Path) -> list[str]:
    """The releases with a marker, newest first."""
    names = [entry.parent.name for entry in store.glob(f"*/{_release.MARKER}")]
    return _versions.newest_first(names)


def linked_releases(store: Path) -> dict[str, str]:
    """Releases that a ``current`` link points to, and which link that is."""
    links: dict[str, str] = {}
    for link in sorted(store.parent.glob("*/current")):
        with contextlib.suppress(ValueError, IndexError):
            links[link.resolve().relative_to(store.resolve()).parts[0]] = str(link)
    return links


# ---- one at a time -----------------------------------------------------------------------------------


class HeldLock(OpenClawError):
    """Another process has the lock, and keeps it."""


@contextlib.contextmanager
def interruptible() -> t.Iterator[None]:
    """Turn the signals that end a process into an error, so that what was begun is cleaned up."""
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def interrupt(number: int, _frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise OpenClawError(
            "the installation of OpenClaw",
            f"it was interrupted by {signal.Signals(number).name}, and the incomplete release was removed",
            "Run it again; what npm has downloaded is still in its cache.",
        )

    previous = {each: signal.signal(each, interrupt) for each in signals}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def exclusive(store: Path, deadline: float) -> t.Iterator[int]:
    """Hold the lock of the releases; gives its descriptor.

    Processes that inherit the descriptor hold the lock too: an npm that outlived its module keeps others out.
    """
    lock = store / ".lock"
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise held(lock, os.pread(descriptor, 64, 0)) from None
                time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def held(lock: Path, content: bytes) -> HeldLock:
    """The lock is somebody else's, and stays so."""
    holder = content.decode(errors="replace").strip()
    holder = holder if holder.isdecimal() else "unknown"
    alive = "" if Path("/proc", holder).exists() else ", which has ended; a child of it still runs"
    return HeldLock(
        str(lock),
        f"another installation holds it: process {holder}{alive}",
        f"Wait until it is done and run again, or find it with 'fuser {lock}' and end it.",
    )


# ---- processes ---------------------------------------------------------------------------------------


def run(
    job: Job, command: t.Sequence[str], lock: int, progress: t.Callable[[], None] = lambda: None
) -> tuple[int, str]:
    """Run a command in the clean environment, until the deadline at most; gives its status and what it printed."""
    return _release.run_bounded(
        command,
        environment=job.environment,
        cwd=str(job.store),
        deadline=job.deadline,
        keep_open=lock,
        progress=progress,
    )


def note(job: Job, text: str) -> None:
    """Tell in the log how far it is; a full disk must not make that an error of its own."""
    with contextlib.suppress(OSError), job.log.open("a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n")


def npm_progress(job: Job) -> t.Callable[[], None]:
    """Notes every five seconds how much has been written, and ends npm when the disk is full."""
    began = time.monotonic()
    noted = began
    free_before = shutil.disk_usage(job.store).free

    def progress() -> None:
        nonlocal noted
        now = time.monotonic()
        # On a full disk npm goes on for minutes, and leaves files that are too short without a word about it.
        if is_full(job.store) or is_full(job.cache):
            raise _release.disk_full(job.version, str(job.store), str(job.cache))
        if now - noted >= 5:
            noted = now
            written = max(free_before - shutil.disk_usage(job.store).free, 0) >> 20
            note(job, f"npm has run for {now - began:.0f} s, and about {written} MB have been written")

    return progress


def is_full(path: Path) -> bool:
    """Whether a file system has no space left, or no room for more files."""
    status = os.statvfs(path)
    # Some file systems do not count files, and say 0 of 0.
    return status.f_bavail * status.f_frsize < FULL_BELOW or (status.f_files > 0 and status.f_favail < 100)


# ---- installing --------------------------------------------------------------------------------------


def require_own_directory(path: Path) -> None:
    """Ensure a directory in which nobody else can put something in our way."""
    path.mkdir(parents=True, exist_ok=True)
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        raise OpenClawError(
            str(path),
            "others than root may write there, and what stands there runs as root",
            f"Give it to root: chown root: {path}; chmod 0755 {path}",
        )


def remove_tree(path: Path) -> None:
    """Remove a directory with everything in it, or nothing at all."""
    for attempt in range(5):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            if not path.exists():
                return
        except OSError as error:
            # A killed child of npm may have written its last file meanwhile.
            if attempt == 4 or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            time.sleep(0.1)
        else:
            return


def settle(tree: Path) -> int:
    """Make everything root's, readable by all and writable by root only; gives the bytes on the disk."""
    owner, group, size = os.geteuid(), os.getegid(), 0
    todo = [str(tree)]
    while todo:
        directory = todo.pop()
        with os.scandir(directory) as entries:
            for entry in [*entries]:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                size += settle_one(entry.path, entry.stat(follow_symlinks=False), owner, group)
    return size + settle_one(str(tree), tree.lstat(), owner, group)


def settle_one(path: str, status: os.stat_result, owner: int, group: int) -> int:
    """Correct one owner and mode, where they need it."""
    if (status.st_uid, status.st_gid) != (owner, group):
        os.lchown(path, owner, group)
    kind, mode = status.st_mode & 0o170000, status.st_mode & 0o7777
    if kind != 0o120000:
        wanted = (mode | (0o555 if kind == 0o040000 or mode & 0o100 else 0o444)) & 0o755
        if mode != wanted:
            Path(path).chmod(wanted)
    return status.st_blocks * 512


def sync_to_disk(path: Path) -> None:
    """Flush a directory, and with it the file system that it is on."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if LIBC.syncfs(descriptor) != 0:
            os.sync()
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def install_with_npm(job: Job, lock: int) -> None:
    """Let npm unpack the release into the partial directory."""
    job.partial.mkdir(mode=0o755)
    command = [
        job.npm,
        "install",
        f"--prefix={job.partial}",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--loglevel=error",
        "--save-exact",
        f"{_release.PACKAGE}@{job.version}",
    ]
    note(job, " ".join(command))
    status, output = run(job, command, lock, npm_progress(job))
    note(job, f"npm ended with status {status}\n{output.rstrip()}".rstrip())
    if is_full(job.store) or is_full(job.cache):
        raise _release.disk_full(job.version, str(job.store), str(job.cache))
    if status == 0:
        return
    if _release.is_missing(output):
        known = run(job, [job.npm, "view", _release.PACKAGE, "versions", "--json", "--loglevel=silent"], lock)[1]
        versions = json.loads(known) if known.lstrip().startswith("[") else []
        job.log.unlink(missing_ok=True)
        raise _release.missing_version(job.version, [each for each in versions if isinstance(each, str)])
    raise _release.explain_failure(job.version, output, status=status, path=str(job.store), cache=str(job.cache))


def verify(job: Job, lock: int, node_version: str) -> None:
    """Prove that the release is the one that was wanted and that this host's Node starts it."""
    package = job.partial / "node_modules" / _release.PACKAGE
    engines = _release.node_engines(read_package(job.partial))
    if not _versions.satisfies(node_version, engines):
        raise _release.wrong_node(job.version, node_version, engines or "")
    # The first start also does what is left of the installation where npm ran no install scripts;
    # as root, and now, because the gateway's own user may not write here.
    starts = [package / "dist" / "index.js"]
    pending = package / ".openclaw-lifecycle-pending"
    for start in starts:
        status, output = run(job, [job.node, str(start), "--version"], lock)
        printed = _release.printed_version(output)
        if status != 0 or printed != job.version:
            raise OpenClawError(
                f"OpenClaw {job.version}",
                f"the installed release does not start: {_release.last_words(output) or f'status {status}'}",
                f"See {job.log}; then run it again, or choose another release.",
            )
        if pending.exists() and len(starts) == 1:
            starts.append(package / "openclaw.mjs")
    if pending.exists():
        raise OpenClawError(
            f"OpenClaw {job.version}",
            "its installation scripts did not run",
            "Let npm run them: remove ignore-scripts from its configuration.",
        )


def set_aside(release: Path, aside: Path) -> None:
    """Take a release out of the way in one step, so that no half of it is ever taken for one."""
    try:
        release.rename(aside)
    except OSError as error:
        # What came with a container's image cannot be renamed; without its marker it is no release either.
        if error.errno != errno.EXDEV:
            raise
        (release / _release.MARKER).unlink(missing_ok=True)
        remove_tree(release)


def put_in_place(job: Job) -> None:
    """Give the finished release its name; a damaged one of that name goes."""
    target = job.store / job.version
    damaged = job.store / f".{job.version}.damaged{_release.PARTIAL_SUFFIX}"
    if target.is_symlink() or target.exists():
        set_aside(target, damaged)
    job.partial.rename(target)
    sync_to_disk(job.store)
    remove_tree(damaged) if damaged.is_dir() else damaged.unlink(missing_ok=True)


def remove_leftovers(store: Path) -> None:
    """Remove what runs left that were killed; call it with the lock held."""
    for leftover in store.glob(f"*{_release.PARTIAL_SUFFIX}"):
        remove_tree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()


def tidy(store: Path, version: str) -> None:
    """Remove leftovers where nothing else is to be done; an installation that is under way has removed them itself."""
    log = log_of(store, version)
    if not log.exists() and not any(store.glob(f"*{_release.PARTIAL_SUFFIX}")):
        return
    with contextlib.suppress(HeldLock), exclusive(store, deadline=0):
        remove_leftovers(store)
        log.unlink(missing_ok=True)


def install(job: Job, lock: int) -> dict[str, float]:
    """Install one release; gives the seconds that each phase took."""
    phases: dict[str, float] = {}
    began = time.monotonic()

    def done(phase: str) -> None:
        nonlocal began
        now = time.monotonic()
        phases[phase] = round(now - began, 2)
        began = now
        note(job, f"{phase} done")

    job.log.unlink(missing_ok=True)
    try:
        node_version = run(job, [job.node, "--version"], lock)[1].strip()
        install_with_npm(job, lock)
        done("npm")
        verify(job, lock, node_version)
        done("verify")
        size_mb = settle(job.partial) >> 20
        done("settle")
        noted = {
            "version": job.version,
            "node_engines": _release.node_engines(read_package(job.partial)),
            "node": node_version,
            "size_mb": size_mb,
            "phases": phases,
        }
        marker = job.partial / _release.MARKER
        marker.write_text(json.dumps(noted, indent=2) + "\n", encoding="utf-8")
        marker.chmod(0o644)
        # A marker must not outlive, over a power cut, the files that it speaks of.
        sync_to_disk(job.partial)
        put_in_place(job)
        done("sync")
        job.log.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _release.disk_full(job.version, str(job.store), str(job.cache)) from error
        raise
    finally:
        remove_tree(job.partial)
    return phases


# ---- the module --------------------------------------------------------------------------------------


def find_program(module: AnsibleModule, name: str) -> str:
    """The path of npm or node."""
    given = module.params[name]
    found = given if given and os.access(given, os.X_OK) else None if given else shutil.which(name, path=STANDARD_PATH)
    found = found or (None if given else shutil.which(name))
    if not found:
        raise OpenClawError(
            given or name,
            "there is no such program on this host",
            f"Install Node.js with npm (role nodejs), or say where {name} is.",
        )
    return str(found)


def prepare_job(module: AnsibleModule, deadline: float) -> Job:
    """Everything an installation needs, and a clean environment."""
    registry = module.params["registry"]
    if registry and "@" in registry.partition("://")[2].partition("/")[0]:
        raise OpenClawError(
            "the option registry",
            "it holds a credential, and would be logged",
            f"Put the credential into {module.params['cache']}/.npmrc and name the registry without it.",
        )
    npm, node = find_program(module, "npm"), find_program(module, "node")
    search = ":".join(dict.fromkeys([str(Path(node).parent), str(Path(npm).parent), STANDARD_PATH]))
    cache = Path(module.params["cache"])
    return Job(
        version=module.params["version"],
        store=Path(module.params["path"]),
        cache=cache,
        npm=npm,
        node=node,
        environment=_release.clean_environment(os.environ, home=str(cache), path=search, registry=registry),
        deadline=deadline,
    )


def plan(module: AnsibleModule) -> tuple[bool, list[str]]:
    """Whether the release must be installed, and which releases go."""
    version, store = module.params["version"], Path(module.params["path"])
    links = linked_releases(store)
    if module.params["state"] == "present":
        installed, keep = installed_releases(store), module.params["keep"]
        going = _release.to_prune(installed, wanted=version, keep=keep, linked=links)
        if keep is not None:
            # Without a marker it is no release: set_aside() was killed while it removed one that cannot be renamed.
            named = _versions.newest_first(entry.name for entry in store.glob("*"))
            going += [each for each in named if each not in {version, *installed, *links}]
        return read_marker(store, version) is None, going
    if version in links:
        raise OpenClawError(
            str(store / version),
            f"this release is in use: {links[version]} points to it",
            "Let the link point to another release first, or remove the link.",
        )
    names = (version, f"{version}{_release.PARTIAL_SUFFIX}")
    return False, [version] if any((store / name).exists() for name in names) else []


def carry_out(module: AnsibleModule, deadline: float) -> tuple[bool, list[str], dict[str, float]]:
    """Install and remove under the lock, after a second look at what is there; gives what was done."""
    store, present = Path(module.params["path"]), module.params["state"] == "present"
    began = time.monotonic()
    job = prepare_job(module, deadline) if present else None
    os.umask(0o022)
    require_own_directory(store)
    phases: dict[str, float] = {}
    with interruptible(), exclusive(store, deadline) as lock:
        waited = round(time.monotonic() - began, 2)
        missing, going = plan(module)
        remove_leftovers(store)
        if job and missing:
            require_own_directory(job.cache)
            phases = {"wait": waited, **install(job, lock)}
        for version in going:
            doomed = store / f"{version}{_release.PARTIAL_SUFFIX}"
            with contextlib.suppress(FileNotFoundError):
                set_aside(store / version, doomed)
            remove_tree(doomed)
            log_of(store, version).unlink(missing_ok=True)
    return missing, going, phases


def ensure(module: AnsibleModule) -> dict[str, t.Any]:
    """Bring about the wanted state; gives the module's result."""
    began = time.monotonic()
    version, store = module.params["version"], Path(module.params["path"])
    _versions.parse_version(version)
    if module.params["keep"] is not None and module.params["keep"] < 1:
        raise OpenClawError(
            "the option keep", f"it is {module.params['keep']}", "Keep 1 release or more; 2 for a way back."
        )
    before = installed_releases(store)
    missing, going = plan(module)
    phases: dict[str, float] = {}
    after = before
    if module.check_mode:
        after = _versions.newest_first([*before, version] if missing else before)
        after = [each for each in after if each not in going]
    else:
        try:
            if missing or going:
                missing, going, phases = carry_out(module, began + module.params["timeout"])
            else:
                tidy(store, version)
        except OSError as error:
            raise _release.explain_os_error(version, error) from error
        after = installed_releases(store)
    marker = (read_marker(store, version) or {}) if version in after else {}
    return {
        "changed": missing or bool(going),
        "version": version,
        "path": str(store / version),
        "node_engines": marker.get("node_engines"),
        "size_mb": marker.get("size_mb"),
        "seconds": round(time.monotonic() - began, 1),
        "phases": phases,
        "releases": after,
        "pruned": going if module.params["state"] == "present" else [],
        "diff": {"before": {"releases": before}, "after": {"releases": after}},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "path": {"type": "path", "default": "/opt/openclaw/releases"},
            "cache": {"type": "path", "default": "/var/cache/openclaw/npm"},
            "registry": {"type": "str"},
            "keep": {"type": "int"},
            "npm": {"type": "path"},
            "node": {"type": "path"},
            "timeout": {"type": "int", "default": 900},
        },
        supports_check_mode=True,
    )
    try:
        result = ensure(module)
    except OpenClawError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
