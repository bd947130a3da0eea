# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What the host has of Docker and of what a rootless engine needs, and what its daemon.json is to hold."""

from __future__ import annotations

import fnmatch
import glob
import os
import pwd
import re
import typing as t
import urllib.parse

from ansible_collections.clawops.openclaw.plugins.module_utils import _apt, _engine, _files, _host, _merge, _store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host

OPTIONS: dict[str, t.Any] = {
    # For an engine that is to be removed nothing is refused but a daemon.json that cannot be read: only our keys of it go.
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    # The distribution's name without a version.
    "distribution": {"type": "str", "required": True},
    "package_source": {"type": "str", "choices": ["vendor", "distribution"], "required": True},
    # Account that the gateway runs as, to which a rootless engine belongs.
    "account": {"type": "str", "required": True},
    "rootless": {"type": "bool", "required": True},
    # Where the engine listens.
    "socket": {"type": "path", "required": True},
    # What was applied last stands beside it with the ending .applied.
    "daemon_path": {"type": "path", "required": True},
    # Keys that hold where neither daemon_options nor the host says otherwise.
    "daemon_defaults": {"type": "dict", "default": {}},
    # Keys that are merged into the file; null removes one.
    "daemon_options": {"type": "dict", "default": {}},
    "data_path": {"type": "path", "required": True},
    # Name of the sandbox image, and its label clawops.recipe.
    "image": {"type": "str", "required": True},
    "recipe": {"type": "str", "required": True},
    # The engine's packages as apt takes them, name or name=version, the engine itself first.
    "packages": {"type": "list", "elements": "str", "required": True},
    # Packages of another source, which cannot be installed beside them.
    "conflicts": {"type": "list", "elements": "str", "default": []},
    # Entries of file_set that make the apt source, and those that the engine needs beside daemon.json. Of root and readable by
    # all where they do not say otherwise.
    "source_files": {"type": "list", "elements": "dict", "default": []},
    "engine_files": {"type": "list", "elements": "dict", "default": []},
    # Paths to describe, so that the role can tell whether what it gives to the gateway is in sync.
    "paths": {"type": "list", "elements": "path", "default": []},
}

# By their names in /proc/sys: with 0, an account cannot have user namespaces.
_NAMESPACES = ("kernel/unprivileged_userns_clone", "user/max_user_namespaces")
_SUBIDS = 65536
# Measured: the engine's packages take 420 MB, the image and its layers 600 MB, and as much again while it is built.
_DISK_MB = 1600

Params = t.Mapping[str, t.Any]
Seen = t.Mapping[str, t.Any]


def look(host: Host, params: Params) -> dict[str, t.Any]:
    """What this host has of the engine, and what daemon.json is to hold."""
    account, path = params["account"], params["daemon_path"]
    uid = account_id(account)
    subids, subid_range = subordinate_ids(host.text("/etc/subuid"), host.text("/etc/subgid"), account)
    texts = desired_daemon(host, params)
    daemon = [{"path": path, "content": texts["daemon"]}, {"path": f"{path}.applied", "content": texts["applied"]}]
    # Whatever stands in the place of its socket, a link to another account's among it, is reached with its own rights.
    owner = _store.find_account(account) if params["rootless"] else None
    ping, _ = _engine.ask(params["socket"], "/_ping", account=owner)
    # What has kept us waiting once is not asked again.
    image = image_state(params["socket"], params["image"], params["recipe"], owner) if ping else {}
    units = {os.path.basename(each) for each in glob.glob("/etc/systemd/user/openclaw*-docker.service")}
    return {
        "account": uid >= 0,
        "uid": uid,
        "subids": subids,
        "subid_range": subid_range,
        "linger": os.path.exists(f"/var/lib/systemd/linger/{account}"),
        "engine": ping == 200,
        "image": False,
        "image_present": False,
        **image,
        "installed": [name for spec in params["packages"] if (name := spec.partition("=")[0]) in host.packages],
        "source": _apt.source_ready(params["source_files"]),
        # Whether another account of the host has an engine of this kind, which needs the packages too.
        "shared": bool(units - {f"{account}-docker.service"}),
        **texts,
        "files": [_files.describe(each) for each in params["paths"]],
        "_packages_in_sync": all(is_installed(spec, host.packages) for spec in params["packages"]),
        "_files_in_sync": _files.in_sync([*params["engine_files"], *daemon]),
        "_held": _apt.held_errors(host, not_in_sync(params["packages"], host.packages)),
        "_conflicts": [name for name in params["conflicts"] if name in host.packages],
        "_disk_free_mb": _host.free_mb(params["data_path"]),
        "_namespaces_off": [name for name in _NAMESPACES if host.text(f"/proc/sys/{name}").strip() == "0"],
        "_control_groups": 2 if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else 1,
    }


def not_in_sync(specs: t.Iterable[str], packages: t.Mapping[str, str]) -> list[str]:
    """The names of packages that are not there in the desired version."""
    return [spec.partition("=")[0] for spec in specs if not is_installed(spec, packages)]


def is_installed(spec: str, packages: t.Mapping[str, str]) -> bool:
    """Whether a package is installed in the version that is named, if one is; patterns as apt's module takes them."""
    name, _, version = spec.partition("=")
    return name in packages and fnmatch.fnmatch(packages[name], version or "*")


def account_id(name: str) -> int:
    """The account's number, -1 where there is no such account."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return -1


def subordinate_ids(users: str, groups: str, account: str) -> tuple[bool, str]:
    """Whether an account has subordinate ids in the texts of ``/etc/subuid`` and ``/etc/subgid``, and which.

    Where it lacks one of the two: the first ids that are free in both.
    """
    tables = [re.findall(r"^([^:#\n]+):(\d+):(\d+)$", text, re.MULTILINE) for text in (users, groups)]
    own = [[(int(first), int(count)) for name, first, count in rows if name == account] for rows in tables]
    enough = [[(first, first + count - 1) for first, count in rows if count >= _SUBIDS] for rows in own]
    if all(enough):
        return True, "{}-{}".format(*enough[0][0])
    ranges = [row for rows in tables for row in rows]
    # useradd gives them from 100000 on; further up, it is not in the way of accounts to come.
    beginning = max([300000, *(int(first) + int(count) for _, first, count in ranges)])
    return False, f"{beginning}-{beginning + _SUBIDS - 1}"


def image_state(socket: str, image: str, recipe: str, owner: _store.Account | None = None) -> dict[str, bool]:
    """Whether there is a sandbox image, and whether it is made by this recipe."""
    status, body = _engine.ask(socket, f"/images/{urllib.parse.quote(image, safe='/:')}/json", account=owner)
    labels = body
    for key in ("Config", "Labels"):
        labels = labels.get(key) if isinstance(labels, dict) else None
    made_by = labels.get("clawops.recipe") if isinstance(labels, dict) else None
    return {"image": made_by == recipe, "image_present": status == 200}


def desired_daemon(host: Host, params: Params) -> dict[str, str]:
    """The texts of daemon.json and of what stands beside it."""
    path = params["daemon_path"]
    text, applied_text = host.text(path), host.text(f"{path}.applied")
    live, applied = _engine.parse(path, text), _engine.parse(f"{path}.applied", applied_text)
    defaults, options = {}, {}
    if params["state"] == "present":
        defaults, options = daemon_defaults(host, params, applied, live), params["daemon_options"]
    known = dict(applied)
    # A default that makes no sense beside what the operator wrote takes only itself away, not what they wrote.
    for key in {*params["daemon_defaults"], "default-address-pools"} - {*defaults, *options}:
        if params["state"] == "present" and key in known:
            known[key] = unedited(known[key], live.get(key, _merge.MISSING))
            if known[key] is _merge.MISSING:
                del known[key]
    desired, merged = _engine.daemon_settings(defaults=defaults, options=options, applied=known, live=live)
    return {
        # A file that is in sync stays as the operator wrote it, to the last blank.
        "daemon": text if live and _merge.same(merged, live) else _engine.render(merged),
        "applied": applied_text if applied and _merge.same(desired, applied) else _engine.render(desired),
    }


def daemon_defaults(host: Host, params: Params, applied: _merge.Settings, live: _merge.Settings) -> _merge.Settings:
    """The defaults that make sense beside what is set already."""
    defaults = dict(params["daemon_defaults"])
    theirs = {key: value for key, value in live.items() if key not in applied or not _merge.same(value, applied[key])}
    said = {**theirs, **params["daemon_options"]}
    if said.get("log-driver", defaults.get("log-driver")) != defaults.get("log-driver"):
        defaults.pop("log-opts", None)  # another driver has other options, and refuses these
    pools = applied.get("default-address-pools")
    if "default-address-pools" not in params["daemon_options"] and live.get("default-address-pools") in (None, pools):
        taken = _engine.taken_networks(host.text("/proc/net/route"))
        defaults["default-address-pools"] = (
            pools if pools and not _engine.collides(pools, taken) else _engine.free_pool(taken)
        )
    return defaults


def unedited(was: t.Any, live: t.Any) -> t.Any:
    """What of the value that was applied last is still as it was set; the rest is the operator's by now."""
    if isinstance(was, dict) and was and isinstance(live, dict):
        rest = {key: unedited(item, live.get(key, _merge.MISSING)) for key, item in was.items()}
        return {key: item for key, item in rest.items() if item is not _merge.MISSING} or _merge.MISSING
    return was if _merge.same(was, live) else _merge.MISSING


def judge(params: Params, seen: Seen) -> tuple[list[OpenClawError], list[OpenClawError]]:
    """What makes the engine impossible here, and what the operator should know."""
    if params["state"] == "absent":
        return [], []
    errors = judge_packages(params, seen) + judge_disk(params, seen)
    if not params["rootless"]:
        return errors, []
    errors += [
        OpenClawError(
            f"The kernel setting {name.replace('/', '.', 1)}",
            "it is 0, and an engine without root needs user namespaces",
            "Raise it with sysctl, or give the gateway root on the host with docker_grant_gateway_root_on_host.",
        )
        for name in seen["_namespaces_off"]
    ]
    if seen["_control_groups"] > 1:
        return errors, []
    reason = "the host has control groups of the first version, where an engine without root cannot set limits"
    warning = OpenClawError(
        "Memory and CPU of sandboxes",
        f"{reason}: they are not enforced",
        "Boot it with systemd.unified_cgroup_hierarchy=1.",
    )
    return errors, [warning]


def judge_packages(params: Params, seen: Seen) -> list[OpenClawError]:
    """Packages that lack something, and packages that are in the way."""
    errors: list[OpenClawError] = [*seen["_held"]]
    if params["package_source"] == "distribution" and params["rootless"] and params["distribution"] != "Debian":
        reason = f"docker.io of {params['distribution']} has no script that starts a rootless engine"
        remedy = (
            "Use docker_source vendor, or give the gateway root on the host with docker_grant_gateway_root_on_host."
        )
        errors.append(OpenClawError("docker_source distribution", reason, remedy))
    engine = params["packages"][0].partition("=")[0]
    for name in seen["_conflicts"]:
        reason = f"it is installed, and cannot be beside {engine}"
        remedy = "Remove it, choose the other docker_source, or leave the engine that is there as it is with docker_state: unmanaged."
        errors.append(OpenClawError(f"The package {name}", reason, remedy))
    return errors


def judge_disk(params: Params, seen: Seen) -> list[OpenClawError]:
    """Too little space for engine and image."""
    free = seen["_disk_free_mb"]
    if seen["image"] or free >= _DISK_MB:
        return []
    reason = f"{free} MiB are free; engine and sandbox image take about {_DISK_MB} MiB"
    return [OpenClawError(f"The disk of {params['data_path']}", reason, "Free some space or use a larger disk.")]


def due(params: Params, seen: Seen) -> dict[str, t.Any]:
    """The phases, and whether the engine has to be started whatever they change."""
    if params["state"] == "absent":
        return {"phases": ["remove"], "restart": False}
    install = not (seen["source"] and seen["account"] and seen["_packages_in_sync"])
    ready = seen["engine"] and (not params["rootless"] or (seen["subids"] and seen["linger"]))
    phases = (
        ("install", install),
        # New programs need another start of the engine.
        ("configure", install or not ready or not seen["_files_in_sync"]),
        ("image", not seen["image"]),
    )
    return {"phases": [phase for phase, is_due in phases if is_due], "restart": not ready}


__all__ = ("OPTIONS", "due", "judge", "look")
