#!/usr/bin/python
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_account
short_description: End what a gateway's account runs, and remove what it leaves behind
version_added: 1.0.0
author: clawops (@clawops)
description:
  - An agent of the gateway may have been talked into working against its host. Whatever its account runs outside the gateway's
    unit goes on when the unit is stopped; a job for later (cron, at) outlives even the account, and runs under the next one of its
    name or number.
  - This module ends every process of the account, those of its ranges in C(/etc/subuid) too. With O(purge) it also takes away
    mounts below O(paths), the paths themselves, the account's jobs of cron and at, its mail, its lingering, its files in the
    directories where everybody may write, and its shared memory. File systems that the account serves itself (FUSE) go in
    either case. The account stays, for M(ansible.builtin.user) to remove.
  - Nothing of the account's is followed or executed. Directories are removed however deep they are.
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed (or possibly needs changing in check_mode).
    support: full
options:
  name:
    description: Name of the account.
    type: str
    required: true
  home:
    description:
      - The account's home, as the gateway's role made it.
      - An account of this name with another home is somebody's own. Nothing of it is ended or removed, and the module fails.
    type: path
    required: true
  paths:
    description: Absolute paths of the gateway's data, removed with O(purge).
    type: list
    elements: path
    default: []
  purge:
    description: Whether what the account has on disk goes too.
    type: bool
    default: false
seealso:
  - module: ansible.builtin.user
"""

EXAMPLES = r"""
- name: End what the account still runs
  clawops.openclaw.gateway_account:
    name: openclaw
    home: /var/lib/openclaw/main/state

- name: Remove all of the gateway's data
  clawops.openclaw.gateway_account:
    name: openclaw
    home: /var/lib/openclaw/main/state
    paths: [/var/lib/openclaw/main, /etc/openclaw/main]
    purge: true
"""

RETURN = r"""
ended:
  description: How many processes the account had.
  returned: success
  type: int
  sample: 2
unmounted:
  description: Mounts that were taken away.
  returned: success
  type: list
  elements: str
  sample: [/var/lib/openclaw/main/workspace/mnt]
removed:
  description: Paths that were removed.
  returned: success
  type: list
  elements: str
  sample: [/var/spool/cron/crontabs/openclaw, /var/lib/openclaw/main]
"""

import pwd
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _account as account
from ansible_collections.clawops.openclaw.plugins.module_utils import _host
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._text import printable

MOUNTS = "/proc/self/mountinfo"
ARGUMENTS: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "home": {"type": "path", "required": True},
    "paths": {"type": "list", "elements": "path", "default": []},
    "purge": {"type": "bool", "default": False},
}


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """End and remove what is there, or say what would be."""
    name, purge = module.params["name"], module.params["purge"]
    owner = account.find(name, _host.read_text("/etc/subuid"))
    if owner and (home := pwd.getpwnam(name).pw_dir) != module.params["home"]:
        remedy = f"Keep it: name another gateway_instance. Or remove it yourself: userdel {name}"
        raise OpenClawError(name, f"is no gateway's account: its home is {home}", remedy)
    paths = [path for path in module.params["paths"] if purge and account.is_there(path)]
    kept = account.remains(owner) if owner and purge else []
    mounts = mounted(owner, paths)
    ended = len(account.processes(owner)) if owner else 0
    if module.check_mode:
        return result(ended, mounts, [*kept, *paths])
    ipc: list[str] = []
    if owner:
        # First, since a process that waits for a file system of its own cannot be ended.
        account.release(account.own_mounts(owner, _host.read_text(MOUNTS)))
        ended = account.end_processes(owner)
        account.release(account.own_mounts(owner, _host.read_text(MOUNTS)))
    account.unmount(account.mounts_below(paths, _host.read_text(MOUNTS)))
    if owner and purge:
        # A process may have put something there before it was ended.
        kept, ipc = account.remove_remains(owner), account.remove_ipc(owner)
        paths = [path for path in module.params["paths"] if account.is_there(path)]
    account.remove_trees(paths)
    return result(ended, mounts, [*kept, *paths, *ipc])


def mounted(owner: account.Owner | None, paths: t.Sequence[str]) -> list[str]:
    """Where the account serves a file system, or something is mounted at or below its paths."""
    table = _host.read_text(MOUNTS)
    own = [mount.point for mount in account.own_mounts(owner, table)] if owner else []
    return [*own, *(point for point in account.mounts_below(paths, table) if point not in own)]


def result(ended: int, mounts: t.Iterable[str], removed: t.Iterable[str]) -> dict[str, t.Any]:
    """What was done, or would be, in names that are fit for a terminal."""
    return {
        "ended": ended,
        "unmounted": [printable(path) for path in mounts],
        "removed": [printable(path) for path in removed],
    }


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    try:
        done = run(module)
    except OpenClawError as error:
        module.fail_json(msg=str(error))
    before = "".join(f"{path}\n" for path in [*done["unmounted"], *done["removed"]])
    module.exit_json(changed=any(done.values()), diff={"before": before, "after": ""}, **done)


if __name__ == "__main__":
    main()
