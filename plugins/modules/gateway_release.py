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
import os
import shutil
import time
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _install, _lock, _release, _versions
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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


def prepare_job(module: AnsibleModule, deadline: float) -> _install.Job:
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
    return _install.Job(
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
    links = _install.linked_releases(store)
    if module.params["state"] == "present":
        installed, keep = _install.installed_releases(store), module.params["keep"]
        going = _release.to_prune(installed, wanted=version, keep=keep, linked=links)
        if keep is not None:
            # Without a marker it is no release: _install.set_aside() was killed while it removed one that cannot be renamed.
            named = _versions.newest_first(entry.name for entry in store.glob("*"))
            going += [each for each in named if each not in {version, *installed, *links}]
        return _install.read_marker(store, version) is None, going
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
    _install.require_own_directory(store)
    phases: dict[str, float] = {}
    with _lock.interruptible(), _lock.exclusive(store, deadline) as lock:
        waited = round(time.monotonic() - began, 2)
        missing, going = plan(module)
        _install.remove_leftovers(store)
        if job and missing:
            _install.require_own_directory(job.cache)
            phases = {"wait": waited, **_install.install(job, lock)}
        for version in going:
            doomed = store / f"{version}{_release.PARTIAL_SUFFIX}"
            with contextlib.suppress(FileNotFoundError):
                _install.set_aside(store / version, doomed)
            _install.remove_tree(doomed)
            _install.log_of(store, version).unlink(missing_ok=True)
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
    before = _install.installed_releases(store)
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
                _install.tidy(store, version)
        except OSError as error:
            raise _release.explain_os_error(version, error) from error
        after = _install.installed_releases(store)
    marker = (_install.read_marker(store, version) or {}) if version in after else {}
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


OPTIONS: dict[str, t.Any] = {
    "version": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "path": {"type": "path", "default": "/opt/openclaw/releases"},
    "cache": {"type": "path", "default": "/var/cache/openclaw/npm"},
    "registry": {"type": "str"},
    "keep": {"type": "int"},
    "npm": {"type": "path"},
    "node": {"type": "path"},
    "timeout": {"type": "int", "default": 900},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=OPTIONS,
        supports_check_mode=True,
    )
    try:
        result = ensure(module)
    except OpenClawError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
