#!/usr/bin/python
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_lock_info
short_description: Tells who has the locks of apt and dpkg
version_added: 1.0.0
author: clawops (@clawops)
description:
  - A fresh machine updates itself for some minutes, and M(ansible.builtin.apt) waits for one of apt's four locks only. With
    C(until) this module waits for all of them, visibly, and names the holder.
  - Changes nothing.
attributes:
  check_mode:
    description: Can run in check mode and return what it would return otherwise.
    support: full
  diff_mode:
    description: Changes nothing, so has no difference to show.
    support: none
"""

EXAMPLES = r"""
- name: Wait until apt is free
  clawops.openclaw.apt_lock_info:
  register: __lock
  until: not __lock.held
  retries: 60
  delay: 5
"""

RETURN = r"""
held:
  description: Whether another process has one of the locks.
  returned: always
  type: bool
  sample: true
msg:
  description: Which process has which lock, and what to do when it does not end; empty where none is held.
  returned: always
  type: str
  sample: "apt: unattended-upgr (process 812) has /var/lib/dpkg/lock-frontend. Wait until it has ended, then run again."
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _apt
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError


def main() -> None:
    module = AnsibleModule({}, supports_check_mode=True)
    for path in _apt.LOCKS:
        pid, name = _apt.holder(path)
        if pid:
            reason = f"{name} (process {pid}) has {path}"
            module.exit_json(
                held=True, msg=str(OpenClawError("apt", reason, "Wait until it has ended, then run again."))
            )
    module.exit_json(held=False, msg="")


if __name__ == "__main__":
    main()
