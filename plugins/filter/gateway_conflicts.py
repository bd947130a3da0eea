# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: gateway_conflicts
short_description: Finds inventory hosts that claim the same gateway
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Two inventory hosts may stand for two gateways on one address, with different instances and ports, those of their mTLS proxies
    among them. This finds those that stand for the same one.
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  hosts:
    description: The inventory hosts to compare.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: preflight | Check that no two inventory hosts claim the same gateway
  ansible.builtin.assert:
    that: hostvars | clawops.openclaw.gateway_conflicts(groups["gateways"]) | length == 0
"""

RETURN = r"""
_value:
  description: A sentence for each conflict; empty where there is none.
  type: list
  elements: str
"""

import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

# The defaults of the roles gateway and mtls, which hostvars do not know.
_GATEWAY = {"gateway_instance": "main", "gateway_port": 18789}
_MTLS = {"mtls_port": 443, "mtls_http_port": 80}


def gateway_conflicts(hostvars: t.Mapping[str, t.Mapping[str, t.Any]], hosts: t.Iterable[str]) -> list[str]:
    """A sentence for each two hosts with one address that share an instance or a port, 0 being none."""
    claimed: dict[tuple[t.Any, ...], str] = {}
    conflicts = []
    for host in hosts:
        address = hostvars[host].get("ansible_host", host)
        proxy = _MTLS if hostvars[host].get("mtls_state") == "present" else {}
        for name, default in {**_GATEWAY, **proxy}.items():
            value = hostvars[host].get(name, default)
            if str(value) == "0":
                continue
            first = claimed.setdefault((address, name, str(value)), host)
            if first != host:
                reason = f"both stand for {address} with {name} {value}"
                conflicts.append(
                    str(
                        OpenClawError(
                            f"The inventory hosts {first} and {host}", reason, f"Give one of them another {name}."
                        )
                    )
                )
    return conflicts


class FilterModule:
    """Filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"gateway_conflicts": gateway_conflicts}
