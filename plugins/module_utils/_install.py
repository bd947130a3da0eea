# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""How a release is installed: under the lock, under another name until it has shown that it runs."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import shutil
import time
import typing as t
from pathlib import Path

from ansible_collections.clawops.openclaw.plugins.module_utils import _release, _versions
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._lock import HeldLock, exclusive

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


__all__ = (
    "Job",
    "install",
    "installed_releases",
    "linked_releases",
    "log_of",
    "read_marker",
    "remove_leftovers",
    "remove_tree",
    "require_own_directory",
    "set_aside",
    "tidy",
)
