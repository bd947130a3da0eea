# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""restic, and what its words mean: 0.14 and 0.16 answer 1 to everything, and no release tells a full disk from a broken connection."""

from __future__ import annotations

import datetime
import json
import os
import re
import shlex
import subprocess
import time
import typing as t
import urllib.parse

from ansible_collections.clawops.openclaw.plugins.module_utils import _bounded
from ansible_collections.clawops.openclaw.plugins.module_utils import _store as store
from ansible_collections.clawops.openclaw.plugins.module_utils._backup.settings import Remote, Settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._text import parse_json, printable

_MOST_WORDS = 64 << 20
# Seconds for a first answer: restic itself tries for fifteen minutes.
_ANSWER = 60
_LOCKED_PAUSE = 10
_LOCKED_TRIES = 12
# Letters: what is shorter is a region or a flag.
_SHORTEST_SECRET = 12
# What restic and its backends say, in the order of asking: (pattern, kind, what it means, what to do).
_MEANINGS = (
    (r"wrong password|no key found", "password", "the password is wrong", "Give the repository's backup_password."),
    (
        r"ciphertext verification failed|invalid data returned|pack .*(damaged|missing|does not exist)|hash mismatch|"
        r"repository contains errors|tree .* not found",
        "damaged",
        "the repository is damaged",
        "Run 'restic check --read-data' there; a new repository beside it is the safe way on.",
    ),
    (
        r"no space left|disk quota exceeded|not enough space|XMinioStorageFull|507 Insufficient",
        "full",
        "no space is left in the repository",
        "Free some, or keep fewer snapshots.",
    ),
    (
        r"already locked",
        "locked",
        "another run has it locked",
        "Wait for it; 'restic unlock' removes a lock whose owner is gone.",
    ),
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION|401 Unauthorized|unauthorized|Permission denied \(|"
        r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|Access Denied",
        "refused",
        "the server refuses the credentials",
        "Correct user, password, key or known host of backup_repositories.",
    ),
    (
        r"connection refused|no such host|i/o timeout|network is unreachable|no route to host|TLS handshake|x509:|HTTP response \(5\d\d\)|"
        r"Could not resolve|Connection (refused|timed out|closed|reset)|server response unexpected|context deadline|EOF",
        "unreachable",
        "the server does not answer",
        "Check the address, the server and the network; the next run tries again.",
    ),
    (r"403 Forbidden|405 Method", "append_only", "the server refuses to delete", "Set append_only: true for it."),
    (
        r"Is there a repository|does not exist|no such file or directory|NoSuchBucket|404 Not Found|The specified key does not",
        "missing",
        "there is no repository",
        "Check its address, and whether its volume is mounted; 'restic init' makes a new, empty one.",
    ),
)


class RepositoryError(OpenClawError):
    """What restic could not do, by its kind."""

    def __init__(self, remote: str, kind: str, reason: str, remedy: str) -> None:
        self.kind = kind
        super().__init__(f"repository {remote}", reason, remedy)


class Snapshot(t.NamedTuple):
    """One backup of a gateway."""

    id: str
    # Seconds since 1970.
    time: float
    kind: str
    host: str


def meaning(remote: str, words: str) -> RepositoryError:
    """The error that restic's words stand for."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if not line.startswith("{")), lines[-1] if lines else "")
    for pattern, kind, reason, remedy in _MEANINGS:
        if found := re.search(rf"^.*({pattern}).*$", words, re.IGNORECASE | re.MULTILINE):
            return RepositoryError(
                remote, kind, f"{reason} ({printable(_without_url(found.group(0).strip()), 200)})", remedy
            )
    said = f"restic says: {printable(_without_url(last), 200)}" if last else "restic ended without a word"
    return RepositoryError(remote, "other", said, "See the journal; the next run tries again.")


def _without_url(text: str) -> str:
    """Text without the passwords that an address may hold."""
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1", text)


class Repository:
    """One repository, with the words and limits with which restic is asked."""

    def __init__(self, settings: Settings, remote: Remote, deadline: float) -> None:
        self.settings, self.remote, self.deadline = settings, remote, deadline
        self.tag = f"openclaw-{settings.instance}"

    def run(self, *words: str, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run restic. Neither password nor address is in its arguments."""
        left = max(1.0, self.deadline - time.monotonic())
        try:
            return _bounded.run(
                ["restic", *self.options(), *words],
                "",
                seconds=min(left, seconds or left),
                limit=_MOST_WORDS,
                env=self.environment(),
            )
        except subprocess.TimeoutExpired as expired:
            reason = f"restic {words[0]} has not ended within {expired.timeout:.0f} s"
            kind = "unreachable" if words[0] == "cat" else "slow"
            remedy = "Check the server and the network, or raise backup_timeout; the next run tries again."
            raise RepositoryError(self.remote.name, kind, reason, remedy) from None
        except FileNotFoundError:
            raise OpenClawError("restic", "it is not installed", "Run site.yml.") from None

    def environment(self) -> dict[str, str]:
        """What restic needs to know, of which others see nothing."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": self.settings.folder,
            "TMPDIR": self.settings.folder,
            "LC_ALL": "C.UTF-8",
            "RESTIC_REPOSITORY": self.remote.url,
            "RESTIC_PASSWORD_FILE": self.settings.password_file,
            "RESTIC_CACHE_DIR": self.settings.cache,
            # Sixty times a second otherwise, which in an hour is more than is read of it: the end would be missing.
            "RESTIC_PROGRESS_FPS": "0.1",
            **self.remote.environment,
        }

    def options(self) -> list[str]:
        """Options for TLS and ssh."""
        options = ["--cacert", self.remote.ca] if self.remote.ca else []
        if self.remote.url.startswith("sftp:"):
            options += ["-o", f"sftp.command={shlex.join(self.ssh())}"]
        return options

    def ssh(self) -> list[str]:
        """The command that speaks sftp with the server: it asks nobody, and trusts the host keys of the inventory only."""
        target, port = ssh_target(self.remote.url)
        known, key = self.remote.ssh_known_hosts, self.remote.ssh_key
        return [
            "ssh",
            *("-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15"),
            *(("-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes") if known else ()),
            *(("-o", "IdentitiesOnly=yes", "-i", key) if key else ()),
            *(("-p", port) if port else ()),
            *(target, "-s", "sftp"),
        ]

    def ask(self, *words: str, **options: t.Any) -> str:
        """What restic prints, where it has done what it was asked."""
        tries = 0
        while True:
            done = self.run(*words, **options)
            if done.returncode == 0:
                return done.stdout
            error = meaning(self.remote.name, self.without_secrets(done.stderr or done.stdout))
            if error.kind != "locked" or tries >= _LOCKED_TRIES or words[0] == "unlock":
                raise error
            # It removes the locks of processes that are gone, and no others.
            self.run("unlock", seconds=_ANSWER)
            if tries:
                time.sleep(_LOCKED_PAUSE)
            tries += 1

    def without_secrets(self, words: str) -> str:
        """Words of restic's, which repeats an address that it cannot take: with / or @ in its password it looks like none."""
        login = self.remote.url.partition("://")[2].rpartition("@")[0]
        password = login.partition(":")[2]
        secrets = {login if password else "", password, urllib.parse.unquote(password)}
        secrets |= {value for value in map(str, self.remote.environment.values()) if len(value) >= _SHORTEST_SECRET}
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            words = words.replace(secret, "***")
        return words

    def ready(self, *, make: bool) -> bool:
        """Whether the repository is there and opens; whether it was made now.

        :param make: make it, where it is missing.
        """
        try:
            self.ask("cat", "config", seconds=_ANSWER)
        except RepositoryError as error:
            if error.kind != "missing" or not make:
                raise
            self.ask("init", seconds=_ANSWER)
            return True
        return False

    def backup(self, folder: str, kind: str) -> dict[str, t.Any]:
        """Make a snapshot of a folder; what restic says of it."""
        said = self.ask("backup", "--json", "--host", self.settings.host, "--tag", f"{self.tag},{kind}", folder)
        for line in reversed(said.splitlines()):
            try:
                summary = parse_json(line)
            except ValueError:
                continue
            if isinstance(summary, dict) and summary.get("message_type") == "summary":
                return {
                    "snapshot": str(summary.get("snapshot_id", "")),
                    "bytes": int(summary.get("total_bytes_processed", 0)),
                    "added_bytes": int(summary.get("data_added_packed") or summary.get("data_added") or 0),
                }
        raise RepositoryError(self.remote.name, "other", "restic told of no snapshot", "Run it again.")

    def snapshots(self, host: str = "") -> list[Snapshot]:
        """The gateway's snapshots, the oldest first."""
        listed = parse_json(self.ask("snapshots", "--json", "--host", host or self.settings.host, "--tag", self.tag))
        found = [
            Snapshot(
                row["id"],
                parse_time(row["time"]),
                "full" if "full" in row.get("tags", ()) else "state",
                row["hostname"],
            )
            for row in listed or ()
        ]
        return sorted(found, key=lambda each: each.time)

    def forget(self) -> int:
        """Remove the snapshots that are not to be kept, and their data. How many there are then."""
        keep = [word for name, count in self.settings.keep.items() if count for word in (f"--keep-{name}", str(count))]
        before = len(self.snapshots())
        said = self.ask(
            *(
                "forget",
                "--prune",
                "--json",
                "--group-by",
                "host,tags",
                "--host",
                self.settings.host,
                "--tag",
                self.tag,
                *keep,
            )
        )
        after = len(self.snapshots())
        # restic 0.18 says "removed" where the server has refused it.
        if (expected := before - removed(said)) < after:
            reason = (
                f"{after - expected} snapshots that restic has removed are still there: the server refuses to delete"
            )
            raise RepositoryError(self.remote.name, "append_only", reason, "Set append_only: true for it.")
        return after

    def check(self, day: int) -> None:
        """Read a part of the data through, another one each day."""
        parts = self.settings.check_parts
        if parts:
            self.ask("check", f"--read-data-subset={day % parts + 1}/{parts}")

    def fetch(self, snapshot: str, folder: str) -> None:
        """Bring a snapshot's files into a folder."""
        self.ask("restore", snapshot, "--target", folder)


def removed(said: str) -> int:
    """How many snapshots restic says it has removed, after whatever else it has printed."""
    total = 0
    for line in said.splitlines():
        try:
            groups = json.loads(line)
        except ValueError:
            continue
        if isinstance(groups, list):
            total += sum(len(group.get("remove") or ()) for group in groups)
    return total


def ssh_target(url: str) -> tuple[str, str]:
    """User and host, and the port, of an address as ``sftp:user@host:/path`` or ``sftp://user@host:2222/path``."""
    rest = url.removeprefix("sftp:")
    if not rest.startswith("//"):
        return rest.partition(":")[0], ""
    found = urllib.parse.urlsplit(f"sftp:{rest}")
    user = f"{found.username}@" if found.username else ""
    return f"{user}{found.hostname}", str(found.port or "")


def parse_time(text: str) -> float:
    """Seconds since 1970 of a time as RFC 3339 has it, with as many digits of a second as there are."""
    text = re.sub(r"(\.\d{6})\d+", r"\1", text.replace("Z", "+00:00"))
    when = datetime.datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=datetime.UTC)).timestamp()


def read_json(path: str) -> t.Any:
    """The value in a JSON file of root's; ``None`` where there is none."""
    try:
        return parse_json(store.read(path, None, _MOST_WORDS) or b"")
    except (OpenClawError, ValueError):
        return None


def is_local(remote: Remote) -> bool:
    """Whether the repository is a directory of this host."""
    return os.path.isabs(remote.url) or remote.url.startswith("local:")


__all__ = (
    "Repository",
    "RepositoryError",
    "Snapshot",
    "is_local",
    "meaning",
    "parse_time",
    "read_json",
    "removed",
    "ssh_target",
)
