# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Whether the host can run the gateway, and whether the release will take its settings."""

from __future__ import annotations

import json
import os
import pwd
import re
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import (
    _account,
    _apply,
    _files,
    _host,
    _merge,
    _settings,
    _versions,
)
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import _registry
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import Finding, OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host

Findings = tuple[list[OpenClawError], list[OpenClawError]]

_LEVELS = {
    "type": "dict",
    "required": True,
    "options": {name: {"type": "int", "required": True} for name in ("minimum", "recommended")},
}
OPTIONS: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    # What the controller has found: ready sentences.
    "problems": {"type": "list", "elements": "str", "default": []},
    # The desired release, exact, or "latest", which is resolved to an exact one.
    "version": {"type": "str", "required": True},
    # The oldest release that may be installed, and why.
    "minimum": {
        "type": "dict",
        "required": True,
        "options": {
            "version": {"type": "str", "required": True},
            "reasons": {"type": "list", "elements": "str", "required": True},
        },
    },
    # engines.node of releases known beforehand, by version.
    "known_engines": {"type": "dict", "default": {}},
    "port": {"type": "int", "required": True},
    "unit": {"type": "str", "required": True},
    "account": {
        "type": "dict",
        "required": True,
        "options": {
            name: {"type": kind, "required": True}
            for name, kind in (("name", "str"), ("home", "path"), ("shell", "path"))
        },
    },
    # The file of the unit, and a text that is in each unit of the role's.
    "unit_path": {"type": "path", "default": "/nonexistent"},
    "unit_mark": {"type": "str", "default": ""},
    "releases_path": {"type": "path", "required": True},
    # The link to the release that runs.
    "current_path": {"type": "path", "required": True},
    # Files that the running gateway must have been started after, or it needs a restart.
    "watched_paths": {"type": "list", "elements": "path", "default": []},
    # Directories that the unit lets the gateway write to. A gateway that misses one needs a restart.
    "writable_paths": {"type": "list", "elements": "path", "default": []},
    # Whether something installs Node.js before the release. Where nothing does, npm must be there.
    "nodejs_comes": {"type": "bool", "default": True},
    "instance": {"type": "str", "default": "main"},
    "label": {"type": "str", "default": ""},
    "environment": {"type": "dict", "default": {}},
    "releases_keep": {"type": "int", "default": 3},
    # Seconds.
    "start_timeout": {"type": "int", "default": 180},
    # URL of the npm registry; npm's own setting when empty.
    "registry": {"type": "str", "default": ""},
    # MiB in total, below which the gateway cannot work (minimum) and is slow (recommended).
    "memory": _LEVELS,
    # MiB that are free, which a new release needs and should have.
    "disk": _LEVELS,
    # Entries of file_set: the directories of the gateway.
    "directories": {"type": "list", "elements": "dict", "default": []},
    # Entries of file_set: what keeps the account from logging in by ssh.
    "ssh_files": {"type": "list", "elements": "dict", "default": []},
    # Paths to describe, so that the role can tell whether its files are in sync.
    "paths": {"type": "list", "elements": "path", "default": []},
    # Directories whose files are described too: drop-ins and files of variables.
    "folders": {"type": "list", "elements": "path", "default": []},
    # How to undo what an earlier run wrote beside the unit and did not prove.
    "journal_path": {"type": "path", "default": "/nonexistent"},
    # The arguments of gateway_config, without the release.
    "config": {"type": "dict", "options": _apply.OPTIONS},
}
# What is beside the directories of instances: /opt/openclaw/releases and /var/cache/openclaw/npm, from which root installs,
# and root's notes in /etc/openclaw.
_RESERVED = ("releases", "npm", "nginx", "brought")
# Longer than a process takes to end, whose sockets have no owner meanwhile.
_PAUSE = 1.0
# What would begin another line of a unit or of a file of variables, or does not belong into either.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


def look(host: Host, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What the host has of the gateway, and what it offers one."""
    current = os.path.basename(os.readlink(params["current_path"])) if os.path.islink(params["current_path"]) else ""
    pid = host.main_process(params["unit"])
    unknown: list[OpenClawError] = []
    known = host.found.get("gateway", {})
    if params["version"] == "latest" and known.get("version", "latest") != "latest":
        # Resolved once a run: this is a second look.
        params = {**params, "version": known["version"], "known_engines": {known["version"]: known["engines"]}}
    try:
        release = _registry.desired_release(host.module, params)
    except OpenClawError as error:
        # What else is wrong is told all the same.
        release, unknown = {"version": params["version"], "installed": False, "engines": ""}, error.parts
    return {
        **release,
        "current": current,
        "running": bool(pid),
        "enabled": os.path.islink(f"/etc/systemd/system/multi-user.target.wants/{params['unit']}"),
        "account": account_in_sync(params["account"]),
        # Files that do not yet keep the account out of cron and at.
        "deny_files": _account.deny_files(params["account"]["name"]),
        "directories": _files.in_sync(params["directories"]),
        "ssh_denied": ssh_denied(params["ssh_files"]),
        "missing": _host.missing_directories(pid, params["writable_paths"]) if pid else [],
        "npm": bool(host.module and host.module.get_bin_path("npm")),
        "stale": stale(pid, [params["current_path"], *params["watched_paths"]]) if pid else [],
        "unproven": os.path.lexists(params["journal_path"]),
        "files": [_files.describe(path) for path in [*params["paths"], *files_in(params["folders"])]],
        "memory_mb": host.memory_mb,
        "disk_free_mb": _host.free_mb(params["releases_path"]),
        "_others_home": others_home(params["account"]),
        "_others_unit": is_others_unit(host.text(params["unit_path"]), params["unit_mark"]),
        "_unknown_release": unknown,
        "_port_owners": port_owners(host, params) if params["state"] == "present" else [],
    }


def conclude(host: Host, params: t.Mapping[str, t.Any], seen: dict[str, t.Any]) -> None:
    """Judge the settings, with what other roles need of them. Starts the release only where they would change."""
    roles: dict[str, t.Any] = {}
    for found in host.found.values():
        roles = union(roles, found.get("gateway_settings") or {})
    seen["settings"] = {"due": True, "of_roles": roles}
    if params["state"] == "absent" or params["config"] is None:
        return
    # A release that is unknown is not installed either: what can be judged without it is.
    config = {**params["config"], "release": os.path.join(params["releases_path"], seen["version"])}
    secrets = _apply.known_secrets(config)
    config["settings"] = union(config["settings"], roles)
    try:
        answer = _apply.preview(
            config, reader=os.path.join(params["releases_path"], seen["current"] or seen["version"])
        )
    except OpenClawError as error:
        seen["_settings_errors"] = [Finding(_settings.scrub(str(part), secrets)) for part in error.parts]
        return
    seen["settings"]["due"] = answer["due"]
    seen["_settings_notes"] = [Finding(_settings.scrub(note, secrets)) for note in answer["notes"]]


def union(settings: _merge.Settings, more: _merge.Settings) -> _merge.Settings:
    """Settings with those of a role: the role's win, but lists are joined, as the role gateway combines them."""
    merged = dict(settings)
    for key, value in more.items():
        there = merged.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            merged[key] = union(there, value)
        elif isinstance(value, list) and isinstance(there, list):
            merged[key] = [item for item in there if item not in value] + value
        else:
            merged[key] = value
    return merged


def files_in(folders: t.Iterable[str]) -> list[str]:
    """What is in these directories of root's, where they are there."""
    return [entry.path for folder in folders if os.path.isdir(folder) for entry in os.scandir(folder)]


def ssh_denied(files: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
    """Whether the account is kept from logging in by ssh, or the host's sshd reads no files where that would be said."""
    readable = [entry for entry in files if os.path.isdir(os.path.dirname(entry["path"]))]
    return _files.in_sync(readable)


def others_home(desired: t.Mapping[str, str]) -> str:
    """The home of an account of the gateway's name that is not the gateway's; empty where there is none."""
    try:
        home = pwd.getpwnam(desired["name"]).pw_dir
    except KeyError:
        return ""
    return "" if home == desired["home"] else home


def is_others_unit(text: str, mark: str) -> bool:
    """Whether a unit is there that the role has not written."""
    return bool(text.strip()) and mark not in text


def account_in_sync(desired: t.Mapping[str, str]) -> bool:
    """Whether the account is there, with the desired home and shell."""
    try:
        found = pwd.getpwnam(desired["name"])
    except KeyError:
        return False
    return (found.pw_dir, found.pw_shell) == (desired["home"], desired["shell"])


def stale(pid: int, paths: t.Iterable[str]) -> list[str]:
    """What has changed under a process since it was started; both times are good to one second."""
    try:
        begun = _host.started_at(
            _host.read_text(f"/proc/{pid}/stat"), _host.read_text("/proc/stat"), os.sysconf("SC_CLK_TCK")
        )
        executable = os.readlink(f"/proc/{pid}/exe")
    except (OSError, IndexError):
        return []  # it has ended meanwhile
    changed = [path for path in paths if os.path.lexists(path) and os.lstat(path).st_mtime > begun + 1]
    return changed + ([executable] if executable.endswith(" (deleted)") else [])


def port_owners(host: Host, params: t.Mapping[str, t.Any]) -> list[str]:
    """What listens on the gateway's port and is not the gateway."""
    first = other_listeners(host.listeners, params)
    if not first:
        return []
    # The sockets of a process that ends have no owner for a moment: look again after this.
    time.sleep(_PAUSE)
    there = other_listeners(Host().listeners, params)
    return [owner for inode, owner in there.items() if inode in first]


def other_listeners(listeners: t.Iterable[_host.Listener], params: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The owners of other sockets on the gateway's port, by the number of the socket."""
    found = {}
    for listener in listeners:
        if listener.port != params["port"] or listener.address == "other":
            continue
        pid, name = _host.owner_of(listener.inode)
        if _host.unit_of(_host.read_text(f"/proc/{pid}/cgroup")) != params["unit"]:
            found[listener.inode] = f"{name} (process {pid})" if pid else "another process"
    return found


def judge(params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]) -> Findings:
    """What makes the gateway impossible here, and what the operator should know."""
    others = judge_owner(params, seen)
    if params["state"] == "absent":
        return others, []
    errors, warnings = judge_host(params, seen)
    port = f"gateway_port {params['port']}"
    remedy = "Choose another gateway_port, or stop that process."
    taken = [OpenClawError(port, f"{owner} listens on it", remedy) for owner in seen["_port_owners"][:1]]
    errors = [
        *others,
        *map(Finding, params["problems"]),
        *judge_variables(params),
        *seen["_unknown_release"],
        *errors,
        *taken,
    ]
    return errors + seen.get("_settings_errors", []), warnings + seen.get("_settings_notes", [])


def judge_owner(params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]) -> list[OpenClawError]:
    """An account or a unit of the gateway's name that somebody else has made: neither changed nor removed."""
    name, home, others = params["account"]["name"], params["account"]["home"], seen["_others_home"]
    remedy = "Choose another gateway_instance, and this one stays as it is."
    errors = []
    if others:
        by_hand = (
            f"Or take it over by hand: stop what it runs, rename it ('usermod --login {name}-before {name}'), run site.yml,"
            f" stop {params['unit']}, copy {others}/.openclaw into {home} as {name}, start it."
        )
        reason = f"is somebody's own: its home is {others}, where a gateway's is {home}"
        errors.append(OpenClawError(f"The account {name}", reason, f"{remedy} {by_hand}"))
    if seen["_others_unit"]:
        by_hand = f"Or stop it with 'systemctl disable --now {params['unit']}' and move the file away."
        reason = "is a unit that this collection has not written"
        errors.append(OpenClawError(params["unit_path"], reason, f"{remedy} {by_hand}"))
    return errors


def judge_variables(params: t.Mapping[str, t.Any]) -> list[OpenClawError]:
    """What the inventory says and no gateway can be."""
    errors = [
        OpenClawError(f"{name} {value}", reason, remedy)
        for name, value, fits, reason, remedy in (
            (
                "gateway_instance",
                repr(params["instance"]),
                re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,22}", params["instance"]),
                "cannot be part of the name of an account and of a unit",
                "Use lower-case letters, digits, - and _, 23 at most.",
            ),
            (
                "gateway_instance",
                repr(params["instance"]),
                params["instance"] not in _RESERVED,
                "is the name of a directory that all gateways of a host share",
                "Choose another one.",
            ),
            (
                "gateway_label",
                repr(params["label"]),
                not _CONTROL.search(params["label"]),
                "does not fit on one line of the unit",
                "Remove line ends and other control characters.",
            ),
            ("gateway_port", params["port"], 0 < params["port"] < 65536, "is no TCP port", "Choose one of 1 to 65535."),
            (
                "gateway_releases_keep",
                params["releases_keep"],
                params["releases_keep"] >= 1,
                "would remove the release that runs",
                "Keep 1 release or more; 2 for a way back.",
            ),
            (
                "gateway_start_timeout",
                params["start_timeout"],
                params["start_timeout"] >= 1,
                "leaves a gateway no time to start",
                "Give it seconds; a first start takes 15 and more.",
            ),
        )
        if not fits
    ]
    for name, value in params["environment"].items():
        subject = f"gateway_environment {name!s}"
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name)):
            errors.append(OpenClawError(subject, "is no name of a variable", "Use letters, digits and _."))
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            errors.append(
                OpenClawError(subject, f"is {json.dumps(value)}, not text", "Put it in quotes, or remove it.")
            )
        elif _CONTROL.search(str(value)):
            errors.append(OpenClawError(subject, "does not fit on one line", "Remove line ends and the like from it."))
    return errors


def judge_host(params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]) -> Findings:
    """What of the host and the release speaks against the gateway."""
    errors: list[OpenClawError] = []
    warnings: list[OpenClawError] = []
    oldest = params["minimum"]
    known = seen["version"] != "latest" and not seen["_unknown_release"]
    if known and _versions.is_older(seen["version"], oldest["version"]):
        reason = f"is too old: {'; '.join(oldest['reasons'])}"
        remedy = f"Use {oldest['version']} or newer."
        errors.append(OpenClawError(f"gateway_version {seen['version']}", reason, remedy))
    if seen["memory_mb"] < params["memory"]["recommended"]:
        short = seen["memory_mb"] < params["memory"]["minimum"]
        reason = f"{seen['memory_mb']} MiB; an idle gateway takes about 950 MiB, {params['memory']['recommended']} MiB is the least to run one well"
        ending = (
            "the kernel would kill it while it starts"
            if short
            else "it will be slow, and may be killed when agents work"
        )
        finding = OpenClawError(
            "The host's memory", f"{reason}: {ending}", "Give the host more memory (2 GiB or more) or move the gateway."
        )
        (errors if short else warnings).append(finding)
    if not (seen["installed"] or seen["npm"] or params["nodejs_comes"]):
        errors.append(
            OpenClawError(
                "npm",
                "there is no such program on this host, and nothing in this run installs it",
                "Run the role nodejs too (site.yml without tags, or with nodejs,gateway), or install Node.js with npm.",
            )
        )
    if not seen["installed"] and seen["disk_free_mb"] < params["disk"]["recommended"]:
        short = seen["disk_free_mb"] < params["disk"]["minimum"]
        reason = f"{seen['disk_free_mb']} MiB are free; a release takes about 800 MiB, and as much again while it is installed"
        ending = "the installation would fail" if short else "there is little left for state, logs and the next release"
        finding = OpenClawError(
            f"The disk of {params['releases_path']}", f"{reason}: {ending}", "Free some space or use a larger disk."
        )
        (errors if short else warnings).append(finding)
    return errors, warnings


def due(params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What the role has to do; whether the files beside the unit are in sync is for the role to tell."""
    return {
        "release": not seen["installed"],
        "install": bool(seen["deny_files"])
        or not all(seen[name] for name in ("installed", "account", "directories", "ssh_denied")),
        "configure": seen["settings"]["due"],
        # A file that decides how the gateway runs has changed since it was started, a directory was removed under it, or
        # an earlier run did not get to prove what it wrote.
        "restart": bool(seen["stale"] or seen["missing"] or seen["unproven"]),
        "service": not (seen["running"] and seen["enabled"]),
    }


__all__ = ("OPTIONS", "conclude", "due", "judge", "look", "union")
