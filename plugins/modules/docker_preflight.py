#!/usr/bin/python
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_preflight
short_description: Looks at a host before an engine for sandboxes is put on it, and refuses what cannot work
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Reads what the host has of Docker and of what a rootless engine needs, in one call, changes nothing and starts no process.
  - Fails, with every finding at once, where the wished engine cannot work on this host.
  - Computes what C(daemon.json) should hold, from what is wished, what was applied last, and what stands there.
attributes:
  check_mode:
    description: Can run in check mode and return what it would return otherwise.
    support: full
  diff_mode:
    description: Changes nothing, so has no difference to show.
    support: none
options:
  state:
    description:
      - Whether the engine is wished for. For one that is to go nothing is refused but a O(daemon_path) that cannot be read, since
        it has to be known what of it is somebody's.
    type: str
    choices: [present, absent]
    default: present
  account:
    description: Account that the gateway runs as, to which a rootless engine belongs.
    type: str
    required: true
  rootless:
    description: Whether the engine belongs to O(account) and runs without root.
    type: bool
    required: true
  socket:
    description: Where the engine listens.
    type: path
    required: true
  daemon_path:
    description: The engine's C(daemon.json); what was applied last stands beside it with the ending C(.applied).
    type: path
    required: true
  daemon_defaults:
    description: Keys that hold where neither O(daemon_options) nor somebody on the host says otherwise.
    type: dict
    default: {}
  daemon_options:
    description: Keys that are merged into the file; null removes one.
    type: dict
    default: {}
  data_path:
    description: Where the engine keeps its data.
    type: path
    required: true
  image:
    description: Name of the sandbox image.
    type: str
    required: true
  recipe:
    description: What the label C(clawops.recipe) of an image says that need not be built again.
    type: str
    required: true
  packages:
    description: The packages of the engine.
    type: list
    elements: str
    required: true
  conflicts:
    description: Packages of another source, which cannot be installed beside them.
    type: list
    elements: str
    default: []
  files:
    description: >-
      Entries of M(clawops.openclaw.file_set) beside O(daemon_path) that the engine and its gateway need, of root and readable by
      all where they do not say otherwise.
    type: list
    elements: dict
    default: []
  source_files:
    description: Entries of M(clawops.openclaw.file_set) that make the apt source, all of root and readable by all.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: preflight | Look at the engine
  clawops.openclaw.docker_preflight:
    account: openclaw
    rootless: true
    socket: /var/lib/openclaw/main/docker/docker.sock
    daemon_path: /etc/openclaw/main/docker/daemon.json
    data_path: /var/lib/openclaw/main/docker/data
    image: openclaw-sandbox:bookworm-slim
    recipe: 0123456789abcdef
    packages: [docker-ce]
  register: preflight
"""

RETURN = r"""
asked:
  description: What was asked for, in O(state), O(socket) and O(recipe).
  type: dict
  returned: always
account:
  description: Whether the account is there.
  type: bool
  returned: always
uid:
  description: The account's number; V(-1) where it is not there.
  type: int
  returned: always
subids:
  description: Whether the account has subordinate ids.
  type: bool
  returned: always
subid_range:
  description: The account's subordinate ids, or the first 65536 that are free, as V(300000-365535).
  type: str
  returned: always
linger:
  description: Whether the account's services run without a login.
  type: bool
  returned: always
engine:
  description: Whether the engine answers.
  type: bool
  returned: always
image:
  description: Whether the sandbox image is the wished one.
  type: bool
  returned: always
image_present:
  description: Whether there is a sandbox image, whatever it was built from.
  type: bool
  returned: always
installed:
  description: Those of O(packages) that are installed.
  type: list
  elements: str
  returned: always
files:
  description: Whether O(files), C(daemon.json) and what stands beside it are all as they should be.
  type: bool
  returned: always
source:
  description: Whether O(source_files) are all as they should be.
  type: bool
  returned: always
shared:
  description: Whether another account of the host has an engine of this kind, which needs the packages too.
  type: bool
  returned: always
daemon:
  description: The text that C(daemon.json) should hold.
  type: str
  returned: always
applied:
  description: The text that should stand beside it.
  type: str
  returned: always
disk_free_mb:
  description: Free space for the engine's data, in MiB.
  type: int
  returned: always
"""

import glob
import os
import pwd
import re
import typing as t
import urllib.parse

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _engine, _files, _host, _merge
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

_SUBIDS = 65536
# Measured: the engine's packages take 420 MB, the image and its layers 600 MB, and as much again while it is built.
_DISK_MB = 1600


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


def account_id(name: str) -> int:
    """The account's number, -1 where there is no such account."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return -1


def daemon_defaults(params: t.Mapping[str, t.Any], applied: _merge.Settings, live: _merge.Settings) -> _merge.Settings:
    """The defaults that make sense beside what is said already."""
    defaults = dict(params["daemon_defaults"])
    theirs = {key: value for key, value in live.items() if key not in applied or not _merge.same(value, applied[key])}
    said = {**theirs, **params["daemon_options"]}
    if said.get("log-driver", defaults.get("log-driver")) != defaults.get("log-driver"):
        defaults.pop("log-opts", None)  # another driver has other options, and refuses these
    pools = applied.get("default-address-pools")
    if "default-address-pools" not in params["daemon_options"] and live.get("default-address-pools") in (None, pools):
        taken = _engine.taken_networks(_host.read_text("/proc/net/route"))
        defaults["default-address-pools"] = (
            pools if pools and not _engine.collides(pools, taken) else _engine.free_pool(taken)
        )
    return defaults


def untouched(was: t.Any, live: t.Any) -> t.Any:
    """What of the last wish still stands as it was set; the rest is somebody's by now."""
    if isinstance(was, dict) and was and isinstance(live, dict):
        rest = {key: untouched(item, live.get(key, _merge.MISSING)) for key, item in was.items()}
        return {key: item for key, item in rest.items() if item is not _merge.MISSING} or _merge.MISSING
    return was if _merge.same(was, live) else _merge.MISSING


def wished_daemon(params: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The texts of daemon.json and of what stands beside it."""
    path = params["daemon_path"]
    text = _host.read_text(path)
    live = _engine.parse(path, text)
    applied = _engine.parse(f"{path}.applied", _host.read_text(f"{path}.applied"))
    defaults, options = {}, {}
    if params["state"] == "present":
        defaults, options = daemon_defaults(params, applied, live), params["daemon_options"]
    known = dict(applied)
    # A default that makes no sense beside what somebody wrote takes only itself away, not what they wrote.
    for key in {*params["daemon_defaults"], "default-address-pools"} - {*defaults, *options}:
        if params["state"] == "present" and key in known:
            known[key] = untouched(known[key], live.get(key, _merge.MISSING))
            if known[key] is _merge.MISSING:
                del known[key]
    wish, merged = _engine.settle(defaults=defaults, options=options, applied=known, live=live)
    return {
        # A file that is as wished stays as somebody wrote it, to the last blank.
        "daemon": text if live and _merge.same(merged, live) else _engine.render(merged),
        "applied": _host.read_text(f"{path}.applied")
        if applied and _merge.same(wish, applied)
        else _engine.render(wish),
    }


def image_state(socket: str, image: str, recipe: str) -> dict[str, bool]:
    """Whether there is a sandbox image, and whether it is the wished one."""
    status, body = _engine.ask(socket, f"/images/{urllib.parse.quote(image, safe='/:')}/json")
    config = body.get("Config") if isinstance(body, dict) else None
    labels = (config or {}).get("Labels") or {}
    return {"image": labels.get("clawops.recipe") == recipe, "image_present": status == 200}


def observe(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What this host has."""
    account, unit = params["account"], f"{params['account']}-docker.service"
    uid = account_id(account)
    subids, subid_range = subordinate_ids(_host.read_text("/etc/subuid"), _host.read_text("/etc/subgid"), account)
    packages = _host.read_text("/var/lib/dpkg/status")
    texts = wished_daemon(params)
    daemon = [
        {"path": params["daemon_path"], "content": texts["daemon"]},
        {"path": f"{params['daemon_path']}.applied", "content": texts["applied"]},
    ]
    units = {os.path.basename(path) for path in glob.glob("/etc/systemd/user/openclaw*-docker.service")}
    return {
        "asked": {name: params[name] for name in ("socket", "recipe", "state")},
        "account": uid >= 0,
        "uid": uid,
        "subids": subids,
        "subid_range": subid_range,
        "linger": os.path.exists(f"/var/lib/systemd/linger/{account}"),
        "engine": _engine.ask(params["socket"], "/_ping")[0] == 200,
        **image_state(params["socket"], params["image"], params["recipe"]),
        "installed": [name for name in params["packages"] if _host.package_version(packages, name)],
        "files": _files.as_wished([*params["files"], *daemon]),
        "source": _files.as_wished(params["source_files"]),
        "shared": bool(units - {unit}),
        **texts,
        "disk_free_mb": _host.free_mb(params["data_path"]),
    }


def judge(
    params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]
) -> tuple[list[OpenClawError], list[OpenClawError]]:
    """What makes the engine impossible here, and what the operator should know."""
    errors: list[OpenClawError] = []
    warnings: list[OpenClawError] = []
    packages = _host.read_text("/var/lib/dpkg/status")
    for name in params["conflicts"]:
        if _host.package_version(packages, name):
            reason = f"it is installed, and cannot be beside {params['packages'][0]}"
            errors.append(OpenClawError(f"The package {name}", reason, "Remove it, or choose the other docker_source."))
    if not seen["image"] and seen["disk_free_mb"] < _DISK_MB:
        reason = f"{seen['disk_free_mb']} MiB are free; engine and sandbox image take about {_DISK_MB} MiB"
        errors.append(
            OpenClawError(f"The disk of {params['data_path']}", reason, "Free some space or use a larger disk.")
        )
    if params["rootless"]:
        errors += kernel_findings(_host.read_text)
        if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
            reason = "the host has control groups of the first version, where an engine without root cannot set limits"
            warnings.append(
                OpenClawError(
                    "Memory and CPU of sandboxes",
                    f"{reason}: they are not enforced",
                    "Boot it with systemd.unified_cgroup_hierarchy=1.",
                )
            )
    return errors, warnings


def kernel_findings(read: t.Callable[[str], str]) -> list[OpenClawError]:
    """What in the kernel's settings keeps an account from having user namespaces."""
    forbidden = [
        name
        for name, bad in (("kernel/unprivileged_userns_clone", "0"), ("user/max_user_namespaces", "0"))
        if read(f"/proc/sys/{name}").strip() == bad
    ]
    return [
        OpenClawError(
            f"The kernel setting {name.replace('/', '.', 1)}",
            "it is 0, and an engine without root needs user namespaces",
            "Raise it with sysctl, or give the gateway root on the host with docker_grant_gateway_root_on_host.",
        )
        for name in forbidden
    ]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "account": {"type": "str", "required": True},
            "rootless": {"type": "bool", "required": True},
            "socket": {"type": "path", "required": True},
            "daemon_path": {"type": "path", "required": True},
            "daemon_defaults": {"type": "dict", "default": {}},
            "daemon_options": {"type": "dict", "default": {}},
            "data_path": {"type": "path", "required": True},
            "image": {"type": "str", "required": True},
            "recipe": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "required": True},
            "conflicts": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "list", "elements": "dict", "default": []},
            "source_files": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        seen = observe(module.params)
    except OpenClawError as error:
        module.fail_json(msg=str(error))
    if module.params["state"] == "present":
        errors, warnings = judge(module.params, seen)
        for warning in warnings:
            module.warn(str(warning))
        if errors:
            module.fail_json(msg="\n".join(map(str, errors)), **seen)
    module.exit_json(changed=False, **seen)


if __name__ == "__main__":
    main()
