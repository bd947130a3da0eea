# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: gateways_on_same_host
short_description: Finds the inventory hosts that stand for gateways of one machine
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Two gateways on one machine are two inventory hosts with one C(ansible_host). This finds those that share the machine
    of one of them, itself included.
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  hosts:
    description: The inventory hosts to look at.
    type: list
    elements: str
    required: true
  host:
    description: The inventory host whose machine it is.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: preflight | Show how many gateways share the machine
  ansible.builtin.debug:
    msg: "{{ hostvars | clawops.openclaw.gateways_on_same_host(groups['gateways'], inventory_hostname) | length }}"
"""

RETURN = r"""
_value:
  description: Names of inventory hosts, in their order; one that should be absent is none of them.
  type: list
  elements: str
"""

import typing as t


def gateways_on_same_host(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]], hosts: t.Iterable[str], host: str
) -> list[str]:
    """The hosts with the address of this one, itself included."""
    address = hostvars[host].get("ansible_host", host)
    return [
        each
        for each in dict.fromkeys([*hosts, host])
        if each == host
        or (
            hostvars[each].get("ansible_host", each) == address
            and hostvars[each].get("gateway_state", "present") != "absent"
        )
    ]


class FilterModule:
    """Filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"gateways_on_same_host": gateways_on_same_host}
