#!/usr/bin/python
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_preflight
short_description: Looks at a host before a gateway is put on it, and refuses what cannot work
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Reads what the host is and what runs on it, in one call, and changes nothing.
  - Fails, with every finding at once, where the wished gateway cannot work on this host.
  - Starts no process, except C(npm view) for a release that is neither installed nor in O(known_engines).
attributes:
  check_mode:
    description: Can run in check mode and return what it would return otherwise.
    support: full
  diff_mode:
    description: Changes nothing, so has no difference to show.
    support: none
options:
  version:
    description: The wished OpenClaw release, exact, or V(latest), which is resolved to an exact one.
    type: str
    required: true
  minimum_safe:
    description: The oldest release that may be installed, and why.
    type: dict
    required: true
    suboptions:
      version:
        description: An exact release.
        type: str
        required: true
      reasons:
        description: What is wrong with older ones.
        type: list
        elements: str
        required: true
  allow_unsafe_version:
    description: Only warn about a release below O(minimum_safe).
    type: bool
    default: false
  known_engines:
    description: For releases known beforehand, the range of Node.js versions that they demand (C(engines.node)).
    type: dict
    default: {}
  port:
    description: The TCP port of the gateway.
    type: int
    required: true
  unit:
    description: The gateway's systemd unit; what it runs is not in its own way.
    type: str
    required: true
  account:
    description: The gateway's account.
    type: dict
    required: true
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      home:
        description: Its home.
        type: path
        required: true
      shell:
        description: Its shell.
        type: path
        required: true
  releases_path:
    description: The directory of the installed releases.
    type: path
    required: true
  current_path:
    description: The link to the release that runs.
    type: path
    required: true
  watched_paths:
    description: Files that the running gateway must have been started after, or it needs a restart.
    type: list
    elements: path
    default: []
  writable_paths:
    description: Directories that the unit lets the gateway write to. A gateway that has lost one needs a restart.
    type: list
    elements: path
    default: []
  nodejs_comes:
    description: Whether something installs Node.js before the release. Where nothing does, npm must be there.
    type: bool
    default: true
  instance:
    description: The gateway's name on its host, to be judged.
    type: str
    default: main
  label:
    description: What the environment is called, to be judged.
    type: str
    default: ""
  environment:
    description: Environment variables of the gateway, to be judged.
    type: dict
    default: {}
  releases_keep:
    description: How many releases stay on the host, to be judged.
    type: int
    default: 3
  start_timeout:
    description: Seconds that the gateway has until it is ready, to be judged.
    type: int
    default: 180
  registry:
    description: URL of the npm registry; npm's own setting when empty.
    type: str
    default: ""
  memory:
    description: Total memory of the host in MiB, below which it cannot work (V(minimum)) and will be slow (V(recommended)).
    type: dict
    required: true
    suboptions:
      minimum:
        description: In MiB.
        type: int
        required: true
      recommended:
        description: In MiB.
        type: int
        required: true
  disk:
    description: Free space in MiB that a new release needs (V(minimum)) and should have (V(recommended)).
    type: dict
    required: true
    suboptions:
      minimum:
        description: In MiB.
        type: int
        required: true
      recommended:
        description: In MiB.
        type: int
        required: true
  source_files:
    description: Entries of M(clawops.openclaw.file_set) that make the apt source of Node.js, all of root and readable by all.
    type: list
    elements: dict
    default: []
  paths:
    description: Paths to describe, so that a caller can tell whether they are as wished.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: preflight | Look at the host
  clawops.openclaw.gateway_preflight:
    version: 2026.9.6
    minimum_safe: {version: 2026.1.29, reasons: [CVE-2026-25253]}
    port: 18789
    unit: openclaw-gateway.service
    account: {name: openclaw, home: /var/lib/openclaw/main/state, shell: /usr/sbin/nologin}
    releases_path: /opt/openclaw/releases
    current_path: /opt/openclaw/main/current
    memory: {minimum: 1400, recommended: 1900}
    disk: {minimum: 1500, recommended: 4000}
  register: preflight
"""

RETURN = r"""
version:
  description: The exact release, or V(latest) where it cannot be resolved before Node.js is installed.
  type: str
  returned: always
engines:
  description: The range of Node.js versions that the release demands; empty where it cannot be known yet.
  type: str
  returned: always
current:
  description: The release that the link points to; empty on a host without a gateway.
  type: str
  returned: always
installed:
  description: Whether the wished release is installed.
  type: bool
  returned: always
running:
  description: Whether the unit has a process.
  type: bool
  returned: always
enabled:
  description: Whether the unit starts with the host.
  type: bool
  returned: always
account:
  description: Whether the account is there, with the wished home and shell.
  type: bool
  returned: always
asked:
  description: What was asked for, in O(version), O(unit) and O(port).
  type: dict
  returned: always
stale:
  description: What has changed since the running gateway was started.
  type: list
  elements: str
  returned: always
lost:
  description: Directories that the running gateway was to write to and cannot any more, since they were removed under it.
  type: list
  elements: str
  returned: always
npm:
  description: Whether npm is on the host.
  type: bool
  returned: always
node_version:
  description: Version of the installed Debian package nodejs; empty without one.
  type: str
  returned: always
source:
  description: Whether O(source_files) are all as they should be.
  type: bool
  returned: always
found:
  description:
    - What stands at each of O(paths), as an entry of M(clawops.openclaw.file_set) that would make it so.
    - Owner C(root), group C(root) and mode C(0644), of a directory C(0755), are left out.
  type: list
  elements: dict
  returned: success
memory_mb:
  description: Total memory of the host, in MiB.
  type: int
  returned: always
disk_free_mb:
  description: Free space for releases, in MiB.
  type: int
  returned: always
"""

import json
import os
import pwd
import re
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _files, _host, _release
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

# Longer than a process takes to end, whose sockets nobody owns meanwhile.
_PAUSE = 1.0
# What would begin another line of a unit or of a file of variables, or does not belong into either.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


def observe(module: AnsibleModule) -> dict[str, t.Any]:
    """What this host is and what runs on it."""
    params = module.params
    current = os.path.basename(os.readlink(params["current_path"])) if os.path.islink(params["current_path"]) else ""
    pid = _host.main_process(params["unit"])
    return {
        "asked": {name: params[name] for name in ("version", "unit", "port")},
        **wished_release(module),
        "current": current,
        "running": bool(pid),
        "enabled": os.path.islink(f"/etc/systemd/system/multi-user.target.wants/{params['unit']}"),
        "account": account_is_as_wished(params["account"]),
        "lost": _host.lost(pid, params["writable_paths"]) if pid else [],
        "npm": bool(module.get_bin_path("npm")),
        "stale": stale(pid, [params["current_path"], *params["watched_paths"]]) if pid else [],
        "node_version": _host.package_version(_host.read_text("/var/lib/dpkg/status"), "nodejs"),
        "source": _files.as_wished(params["source_files"]),
        "found": [_files.describe(path) for path in params["paths"]],
        "memory_mb": _host.memory_mb(_host.read_text("/proc/meminfo")),
        "disk_free_mb": _host.free_mb(params["releases_path"]),
    }


def account_is_as_wished(wished: t.Mapping[str, str]) -> bool:
    """Whether the account is there, with the wished home and shell."""
    try:
        found = pwd.getpwnam(wished["name"])
    except KeyError:
        return False
    return (found.pw_dir, found.pw_shell) == (wished["home"], wished["shell"])


def wished_release(module: AnsibleModule) -> dict[str, t.Any]:
    """The exact release, whether it is installed, and the Node.js that it demands."""
    version, known = module.params["version"], module.params["known_engines"]
    if version != "latest":
        _release.parse_version(version)
        package = installed_package(module.params["releases_path"], version)
        if package:
            return {"version": version, "installed": True, "engines": _release.node_engines(package) or ""}
        # One that will be refused is not asked for: whether the registry still has it changes nothing.
        if version in known or is_unsafe(module.params, version):
            return {"version": version, "installed": False, "engines": known.get(version, "")}
    npm = module.get_bin_path("npm")
    if npm is None:
        return {"version": version, "installed": False, "engines": ""}
    answer = ask_registry(module, npm, f"openclaw@{version}", "version", "engines")
    if not answer:
        raise unknown_version(version, ask_registry(module, npm, "openclaw", "versions"))
    # npm answers with the bare value where it has one of the fields only.
    manifest: dict[str, t.Any] = answer if isinstance(answer, dict) else {"version": answer}
    exact = manifest.get("version", version)
    installed = bool(installed_package(module.params["releases_path"], exact))
    return {"version": exact, "installed": installed, "engines": manifest.get("engines", {}).get("node", "")}


def installed_package(releases: str, version: str) -> dict[str, t.Any]:
    """The package.json of an installed release; empty where there is none, or one that must be installed again."""
    release = os.path.join(releases, version)
    package, marker = (
        _release.read_object(_host.read_text(os.path.join(release, name)))
        for name in ("node_modules/openclaw/package.json", _release.MARKER)
    )
    return package if _release.is_finished(version, marker, package) and _release.is_whole(release) else {}


def is_unsafe(params: t.Mapping[str, t.Any], version: str) -> bool:
    """Whether the release is known not to be safe, and the operator has not insisted on it."""
    return not params["allow_unsafe_version"] and _release.is_older(version, params["minimum_safe"]["version"])


def ask_registry(module: AnsibleModule, npm: str, *words: str) -> t.Any:
    """What the npm registry knows of a package, or an empty object where it knows no such thing."""
    registry = module.params["registry"]
    environment = {"npm_config_registry": registry} if registry else {}
    environment.update(npm_config_fetch_retries="1", npm_config_update_notifier="false", NODE_NO_WARNINGS="1")
    rc, out, err = module.run_command([npm, "view", "--json", *words], environ_update=environment, cwd="/")
    if rc != 0 and "E404" not in err + out and "ETARGET" not in err + out:
        reason = next((line for line in err.splitlines() if "npm error" in line and "code" not in line), err.strip())
        raise OpenClawError(
            "The npm registry",
            f"does not answer: {reason}",
            "Check the host's network, or set gateway_npm_registry to a mirror.",
        )
    return json.loads(out) if rc == 0 and out.strip() else {}


def unknown_version(version: str, versions: list[str]) -> OpenClawError:
    near = ", ".join(_release.nearest(list(versions), version, 5)) or "none"
    return OpenClawError(
        f"gateway_version {version}", "the npm registry has no such release of openclaw", f"Nearest: {near}."
    )


def stale(pid: int, paths: t.Iterable[str]) -> list[str]:
    """What has changed under a process since it began; both times are good to one second."""
    try:
        begun = _host.started_at(
            _host.read_text(f"/proc/{pid}/stat"), _host.read_text("/proc/stat"), os.sysconf("SC_CLK_TCK")
        )
        executable = os.readlink(f"/proc/{pid}/exe")
    except (OSError, IndexError):
        return []  # it has ended meanwhile
    changed = [path for path in paths if os.path.lexists(path) and os.lstat(path).st_mtime > begun + 1]
    return changed + ([executable] if executable.endswith(" (deleted)") else [])


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


def judge(
    params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]
) -> tuple[list[OpenClawError], list[OpenClawError]]:
    """What makes the gateway impossible here, and what the operator should know."""
    errors: list[OpenClawError] = []
    warnings: list[OpenClawError] = []
    safe = params["minimum_safe"]
    if seen["version"] != "latest" and _release.is_older(seen["version"], safe["version"]):
        remedy = f"Use {safe['version']} or newer; gateway_allow_unsafe_version: true installs it all the same."
        finding = OpenClawError(
            f"gateway_version {seen['version']}", f"is not safe: {'; '.join(safe['reasons'])}", remedy
        )
        (warnings if params["allow_unsafe_version"] else errors).append(finding)
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


def strangers(params: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Who else listens on the gateway's port, by the number of the socket."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for listener in _host.listeners(_host.read_text(table)):
            if listener.port != params["port"] or listener.address == "other":
                continue
            pid, name = _host.owner_of(listener.inode)
            if _host.unit_of(_host.read_text(f"/proc/{pid}/cgroup")) != params["unit"]:
                found[listener.inode] = f"{name} (process {pid})" if pid else "another process"
    return found


def port_taken(params: t.Mapping[str, t.Any]) -> list[OpenClawError]:
    """An error where something that is not this gateway listens on its port."""
    first = strangers(params)
    if not first:
        return []
    # A gateway that ends between a look at its socket and one at its owner, as one that restarts itself, is no stranger.
    time.sleep(_PAUSE)
    stay = [owner for inode, owner in strangers(params).items() if inode in first]
    remedy = "Choose another gateway_port, or stop that process."
    return [OpenClawError(f"gateway_port {params['port']}", f"{owner} listens on it", remedy) for owner in stay[:1]]


def main() -> None:
    levels = {
        "type": "dict",
        "required": True,
        "options": {name: {"type": "int", "required": True} for name in ("minimum", "recommended")},
    }
    account = {
        name: {"type": kind, "required": True} for name, kind in (("name", "str"), ("home", "path"), ("shell", "path"))
    }
    safe = {
        "version": {"type": "str", "required": True},
        "reasons": {"type": "list", "elements": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "minimum_safe": {"type": "dict", "required": True, "options": safe},
            "allow_unsafe_version": {"type": "bool", "default": False},
            "known_engines": {"type": "dict", "default": {}},
            "port": {"type": "int", "required": True},
            "unit": {"type": "str", "required": True},
            "account": {"type": "dict", "required": True, "options": account},
            "releases_path": {"type": "path", "required": True},
            "current_path": {"type": "path", "required": True},
            "watched_paths": {"type": "list", "elements": "path", "default": []},
            "writable_paths": {"type": "list", "elements": "path", "default": []},
            "nodejs_comes": {"type": "bool", "default": True},
            "instance": {"type": "str", "default": "main"},
            "label": {"type": "str", "default": ""},
            "environment": {"type": "dict", "default": {}},
            "releases_keep": {"type": "int", "default": 3},
            "start_timeout": {"type": "int", "default": 180},
            "registry": {"type": "str", "default": ""},
            "memory": levels,
            "disk": levels,
            "source_files": {"type": "list", "elements": "dict", "default": []},
            "paths": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        seen = observe(module)
        errors, warnings = judge(module.params, seen)
        errors = judge_variables(module.params) + errors + port_taken(module.params)
    except OpenClawError as error:
        module.fail_json(msg=str(error))
    for warning in warnings:
        module.warn(str(warning))
    if errors:
        del seen["found"]  # whole files, which would bury the message
        module.fail_json(msg="\n".join(map(str, errors)), **seen)
    module.exit_json(changed=False, **seen)


if __name__ == "__main__":
    main()
