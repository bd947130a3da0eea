# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Whether backups can work as they are asked for, and what of them is not on the host yet."""

from __future__ import annotations

import collections
import glob
import hashlib
import os
import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _files, _host
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host

Params = t.Mapping[str, t.Any]
Seen = t.Mapping[str, t.Any]

_SECRET_FILE = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str", "required": True, "no_log": True},
}
# An address may hold a password, and a variable a key. Names are for messages.
_REPOSITORY = {
    "name": {"type": "str"},
    "url": {"type": "str", "no_log": True},
    "append_only": {"type": "bool"},
    "environment": {"type": "dict", "no_log": True},
    "ssh_key": {"type": "str", "no_log": True},
    "ssh_known_hosts": {"type": "str"},
    "ca": {"type": "str"},
}
OPTIONS: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "required": True},
    # As the role's backup_repositories.
    "repositories": {"type": "list", "elements": "dict", "default": [], "options": _REPOSITORY, "no_log": False},
    "password": {"type": "str", "required": True, "no_log": True},
    "password_path": {"type": "path", "required": True, "no_log": False},
    # Whether the password is being changed in the repositories.
    "rotates_password": {"type": "bool", "default": False, "no_log": False},
    # By the name of the variable: five fields of cron's, or nothing.
    "crons": {"type": "dict", "required": True},
    "packages": {"type": "list", "elements": "str", "required": True},
    # The program's files, and the SHA-256 of all their text, one after the other.
    "program_paths": {"type": "list", "elements": "path", "required": True},
    "program_digest": {"type": "str", "required": True},
    # Entries of file_set, of root and readable by all, and those that only root may read.
    "files": {"type": "list", "elements": "dict", "required": True},
    "secret_files": {"type": "list", "elements": "dict", "options": _SECRET_FILE, "required": True, "no_log": False},
    "config_path": {"type": "path", "required": True},
    "folders": {"type": "list", "elements": "dict", "required": True},
    "folder": {"type": "path", "required": True},
    # Directories where no repository may lie.
    "forbidden": {"type": "list", "elements": "path", "default": []},
    "status_path": {"type": "path", "required": True},
    # Where a restore works, until it has ended.
    "restoring": {"type": "path", "required": True},
    # Whether this run restores.
    "restores": {"type": "bool", "default": False},
}

CONFIGS = "/etc/openclaw/*/backup/backup.json"
SHORTEST_PASSWORD = 16
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}\Z")
_URL = re.compile(r"(/|local:/|sftp:|rest:https?://|s3:|b2:|azure:|gs:|swift:|rclone:)\S")
# What cron takes in each of its fields; one wrong number, and it passes over the whole file.
_CRON = (
    (0, 59, ""),
    (0, 23, ""),
    (1, 31, ""),
    (1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"),
    (0, 7, "sunmontuewedthufrisat"),
)
_CRON_PART = re.compile(r"(?:\*|([0-9]+|[A-Za-z]{3})(?:-([0-9]+|[A-Za-z]{3}))?)(?:/([0-9]+))?\Z")
# Places of the system's: a repository's directory is closed to everybody else.
_SYSTEMS = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr")
_SHARED = ("/", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/var")  # noqa: S108, it is refused
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*\Z")


def look(host: Host, params: Params) -> dict[str, t.Any]:
    """Packages, the program, its files, and whether there has been a backup. No program is run."""
    secrets = [{"mode": "0600", **entry} for entry in params["secret_files"]]
    return {
        "installed": sorted(set(params["packages"]) & set(host.packages)),
        "program": digest(params["program_paths"]) == params["program_digest"],
        "files": _files.in_sync([*params["folders"], *params["files"], *secrets]),
        # Whether anything of the role's is there to be removed.
        "there": os.path.lexists(params["folder"]) or any(os.path.lexists(entry["path"]) for entry in params["files"]),
        "tried": os.path.exists(params["status_path"]),
        # Whether restic serves no other gateway of the host.
        "alone": not set(glob.glob(CONFIGS)) - {params["config_path"]},
        # Whether a restore has exchanged the data, and neither proven nor put back.
        "interrupted": '"placed": true' in _host.read_text(os.path.join(params["restoring"], "note.json")),
        "password_is_known": _host.read_text(params["password_path"]) == params["password"],
        # Whether the one before it may still open a repository.
        "rotation_is_unfinished": os.path.lexists(f"{params['password_path']}.former.json"),
        "_password": _host.read_text(params["password_path"]),
    }


def digest(paths: t.Iterable[str]) -> str:
    """SHA-256 of the text of all these files, one after the other."""
    return hashlib.sha256("".join(_host.read_text(path) for path in paths).encode()).hexdigest()


def judge(params: Params, seen: Seen) -> tuple[list[OpenClawError], list[OpenClawError]]:
    """What cannot work, and what the operator should know."""
    repositories = params["repositories"]
    # Nor is the way back taken away.
    if seen["interrupted"] and not params["restores"]:
        reason = "a restore was interrupted after it had exchanged the data"
        return [
            OpenClawError(params["restoring"], reason, "Run restore.yml again: it first puts back what was there.")
        ], []
    if params["state"] == "absent":
        return [], []
    errors = [*unnamed(repositories), *judge_password(params, seen), *judge_crons(params)]
    for repository in repositories:
        errors += judge_repository(repository, params["forbidden"])
    warnings = []
    if repositories and not errors and all(local_path(each) for each in repositories):
        reason = "every repository is on the host itself, and goes with it"
        warnings.append(OpenClawError("backup_repositories", reason, "Add one that is elsewhere."))
    return errors, warnings


def unnamed(repositories: t.Sequence[t.Mapping[str, t.Any]]) -> list[OpenClawError]:
    """No repository at all, and names that cannot tell them apart."""
    if not repositories:
        remedy = "Name one, as {name: offsite, url: 'sftp:backup@host:/gateway'}, or set backup_state: unmanaged."
        return [OpenClawError("backup_repositories", "it is empty: there is nowhere to keep a backup", remedy)]
    counted = collections.Counter(str(each.get("name")) for each in repositories)
    return [
        OpenClawError(f"backup_repositories {name}", f"{count} of them have this name", "Give each its own.")
        for name, count in counted.items()
        if count > 1
    ]


def judge_password(params: Params, seen: Seen) -> list[OpenClawError]:
    """A password that protects nothing, or that would lock the repositories."""
    password, known = params["password"], seen["_password"]
    if len(password) < SHORTEST_PASSWORD or password != password.strip() or not password.isprintable():
        reason = f"it is empty, shorter than {SHORTEST_PASSWORD} letters, or begins or ends with white space"
        remedy = "Make one with 'openssl rand -base64 24', and keep it in a vault and apart from the host."
        return [OpenClawError("backup_password", reason, remedy)]
    if known and known != password and not params["rotates_password"]:
        reason = "it is not the one that opens the repositories now"
        return [
            OpenClawError(
                "backup_password", reason, "Run rotate.yml -e rotate=backup_password, which gives them the new one."
            )
        ]
    return []


def judge_crons(params: Params) -> list[OpenClawError]:
    """Times that cron would not take."""
    reason = "it is not five fields as cron has them"
    return [
        OpenClawError(f"{name} {text!r}", reason, "Write it as '*/15 * * * *' (minute, hour, day, month, weekday).")
        for name, text in params["crons"].items()
        if (text or name != "backup_cron_drill") and not is_cron(str(text))
    ]


def is_cron(text: str) -> bool:
    """Whether cron takes the five fields."""
    fields = text.split()
    return (
        len(fields) == len(_CRON)
        and not re.search(r"[^\S \t]", text)
        and all(
            is_cron_part(part, *known) for field, known in zip(fields, _CRON, strict=True) for part in field.split(",")
        )
    )


def is_cron_part(part: str, least: int, most: int, names: str) -> bool:
    """Whether cron takes one of a field's parts, as 1-5 or */15."""
    found = _CRON_PART.match(part)
    if not found:
        return False
    numbers = []
    for word in filter(None, found.groups()[:2]):
        place = names.find(word.lower()) if word.isalpha() else -1
        if word.isalpha() and (place < 0 or place % 3):
            return False
        numbers.append(place // 3 + least if word.isalpha() else int(word))
    step = found[3]
    # A step belongs to a range.
    return (
        all(least <= number <= most for number in numbers)
        and numbers == sorted(numbers)
        and (step is None or (int(step) > 0 and len(numbers) != 1))
    )


def judge_repository(repository: t.Mapping[str, t.Any], forbidden: t.Iterable[str]) -> list[OpenClawError]:
    """What of one repository cannot work. Its address is not repeated: it may hold a password."""
    name, url = str(repository.get("name") or ""), str(repository.get("url") or "")
    subject = f"backup_repositories {name}"
    problems = []
    if not _NAME.match(name):
        problems.append(("its name is not of small letters, digits, - and _", "Call it as 'offsite'."))
    if not _URL.match(url):
        problems.append(
            ("its url is none of restic's", "Write it as /path, sftp:user@host:/path, rest:https://… or s3:https://…")
        )
    if url.startswith("sftp:") and not str(repository.get("ssh_known_hosts") or "").strip():
        problems.append(
            (
                "the server's key is not known, and nobody is there to be asked",
                "Give ssh_known_hosts ('ssh-keyscan host').",
            )
        )
    path = local_path(repository)
    if path and not re.fullmatch(r"[A-Za-z0-9/._@+:=,-]+", path):
        problems.append(("its path has letters that systemd does not take", "Use a path as /srv/backup."))
    if path in _SHARED or any((folder + "/").startswith(path + "/") for folder in forbidden if path):
        problems.append(
            ("others are at home there, and it is closed to them", f"Use one below, as {path.rstrip('/')}/backup.")
        )
    for folder in (*forbidden, *_SYSTEMS):
        if path and (path + "/").startswith(folder + "/"):
            problems.append(
                (
                    f"it lies in {folder}, where the gateway could remove it or it is out of reach",
                    "Use a path as /srv/backup.",
                )
            )
            break
    wrong = [key for key in repository.get("environment") or {} if not _VARIABLE.match(str(key))]
    problems += [
        (f"{key} in its environment is no name of a variable", "Write it as AWS_ACCESS_KEY_ID.") for key in wrong
    ]
    return [OpenClawError(subject, reason, remedy) for reason, remedy in problems]


def local_path(repository: t.Mapping[str, t.Any]) -> str:
    """The directory of a repository on the host itself; empty for one that is elsewhere."""
    url = str(repository.get("url") or "").removeprefix("local:")
    return os.path.normpath(f"/{url.lstrip('/')}") if url.startswith("/") else ""


def due(params: Params, seen: Seen) -> dict[str, t.Any]:
    """The phases."""
    if params["state"] == "absent":
        return {"phases": ["remove"] if seen["there"] else []}
    missing = [name for name in params["packages"] if name not in seen["installed"]]
    phases = (
        ("install", bool(missing)),
        ("configure", not (seen["program"] and seen["files"])),
        # The first backup.
        ("run", not seen["tried"]),
    )
    return {"phases": [phase for phase, is_due in phases if is_due]}


__all__ = ("OPTIONS", "due", "judge", "look")
