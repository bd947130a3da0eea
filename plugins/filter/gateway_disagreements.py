# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: gateway_disagreements
short_description: Finds variables of the host on which gateways of one host disagree
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Inventory hosts that stand for gateways on the same host have to give the same values to the variables that concern the
    host as a whole. This finds those that differ.
  - The values themselves are not shown.
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  hosts:
    description: The inventory hosts that share a host.
    type: list
    elements: str
    required: true
  variables:
    description: The variables to compare, with the value that each has on an inventory host that does not set it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: preflight | Look at the host
  clawops.openclaw.preflight_info:
    checks:
      tuning:
        problems: "{{ hostvars | clawops.openclaw.gateway_disagreements(['vps1', 'vps1-blue'], {'tuning_swap_mb': 0}) }}"
"""

RETURN = r"""
_value:
  description: A sentence for each variable with different values; empty where all agree.
  type: list
  elements: str
"""

import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError


def gateway_disagreements(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]], hosts: t.Iterable[str], variables: t.Mapping[str, t.Any]
) -> list[str]:
    """A sentence for each variable that these hosts do not have in common."""
    names = list(hosts)
    findings = []
    for variable, default in variables.items():
        values = [hostvars[host].get(variable, default) for host in names]
        if all(same(value, values[0]) for value in values[1:]):
            continue
        subject = f"{variable} of the inventory hosts {', '.join(names[:-1])} and {names[-1]}"
        reason = "they share one host and have different values"
        findings.append(str(OpenClawError(subject, reason, f"Give all of them the same {variable}.")))
    return findings


def same(one: t.Any, other: t.Any) -> bool:
    """Whether two values mean the same. What comes from a command line or a template is text."""
    return bool(one == other) or str(one) == str(other)


class FilterModule:
    """Filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"gateway_disagreements": gateway_disagreements}
