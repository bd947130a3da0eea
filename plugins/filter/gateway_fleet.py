# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: gateway_fleet
short_description: Gathers the verdicts over all gateways
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Joins what M(clawops.openclaw.gateway_health) said of each host into one dictionary. A host that ssh could not reach has
    said nothing and counts as unreachable.
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  hosts:
    description: The inventory hosts to gather.
    type: list
    elements: str
    required: true
  register:
    description: The variable that holds the module's result on each host.
    type: str
    default: gateway_verdict
"""

EXAMPLES = r"""
fleet: "{{ hostvars | clawops.openclaw.gateway_fleet(ansible_play_hosts_all) }}"
"""

RETURN = r"""
_value:
  description: By host, C(label), C(verdict), C(version), C(reasons) and C(figures).
  type: dict
"""

import typing as t

_ORDER = ("unreachable", "unhealthy", "degraded", "healthy")
_UNREACHABLE: dict[str, t.Any] = {
    "verdict": "unreachable",
    "version": "",
    "reasons": ["the host cannot be reached over ssh"],
    "figures": {},
}


def gateway_fleet(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]], hosts: t.Iterable[str], register: str = "gateway_verdict"
) -> dict[str, dict[str, t.Any]]:
    """The verdict on each host, by its name."""
    fleet = {}
    for host in hosts:
        answer = hostvars[host].get(register) or {}
        if "verdict" not in answer:
            answer = _UNREACHABLE
        elif answer["verdict"] not in _ORDER:
            # As where a secret is a part of the word, and was masked.
            answer = {**_UNREACHABLE, "verdict": "unhealthy", "reasons": ["its verdict cannot be read"]}
        fleet[host] = {
            "label": hostvars[host].get("gateway_label", ""),
            **{key: answer.get(key) for key in _UNREACHABLE},
        }
    return fleet


def gateway_table(fleet: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    """One line a gateway, the worst first, under a line of headings."""
    rows = [("GATEWAY", "LABEL", "VERDICT", "VERSION", "REASONS")]
    for host in sorted(fleet, key=lambda name: (_ORDER.index(fleet[name]["verdict"]), name)):
        row = fleet[host]
        rows.append(
            (host, row["label"] or "-", row["verdict"], row["version"] or "-", "; ".join(row["reasons"]) or "-")
        )
    widths = [max(len(str(row[column])) for row in rows) for column in range(4)]
    return [
        "  ".join([*(str(cell).ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    ]


class FilterModule:
    """Filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"gateway_fleet": gateway_fleet, "gateway_table": gateway_table}
