#!/usr/bin/python
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_info
short_description: Looks at a host once for all roles, and refuses what cannot work there
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Runs the checks of every role in use over one look at the host. Each file, table of sockets and list of processes is read once.
  - Fails, with the findings of all roles in one message, where something cannot work. Otherwise it returns, for each role,
    what is there and what is due.
  - Changes nothing. On a host where nothing is due it starts no process.
  - Internal to this collection. The options of each role's check stand in C(plugins/module_utils/_checks/<role>.py), their values
    in C(roles/<role>/vars/main/preflight.yml).
notes:
  - The parameters may hold secrets, so neither the result nor the host's log repeats them.
attributes:
  check_mode:
    description: Can run in check mode and return what it would return otherwise.
    support: full
  diff_mode:
    description: Changes nothing, so has no difference to show.
    support: none
options:
  checks:
    description: The parameters of each role's check, by the role's name.
    type: dict
    required: true
  known:
    description: What an earlier call has returned in RV(found). It is returned too, for roles that are not looked at again.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: preflight | Look at the host
  clawops.openclaw.preflight_info:
    checks:
      common:
        host: "{{ inventory_hostname }}"
        distribution: Debian 13
        service_manager: systemd
        supported: [Debian 13]
  register: common_preflight
"""

RETURN = r"""
found:
  description: What is there, by the role's name. The key C(due) of each says what the role has to do.
  type: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _preflight
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host


class PreflightModule(AnsibleModule):
    """Keeps its arguments out of journal and answer: settings and passphrases are among them."""

    def _log_invocation(self) -> None:
        self.log(f"Invoked for the roles {', '.join(self.params['checks'])}; their parameters are not logged")

    def exit_json(self, **kwargs: t.Any) -> None:
        super().exit_json(**{"invocation": {"module_args": {}}, **kwargs})

    def fail_json(self, msg: str, **kwargs: t.Any) -> None:
        super().fail_json(msg, **{"invocation": {"module_args": {}}, **kwargs})


def main() -> None:
    module = PreflightModule(
        argument_spec={"checks": {"type": "dict", "required": True}, "known": {"type": "dict", "default": {}}},
        supports_check_mode=True,
    )
    answer = _preflight.run(module.params["checks"], Host(module, module.params["known"]))
    for warning in answer.warnings:
        module.warn(warning)
    if answer.errors:
        module.fail_json(msg="\n".join(answer.errors))
    module.exit_json(changed=False, found=answer.found)


if __name__ == "__main__":
    main()
