# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: gateway_rotation
short_description: Says what a rotation of secrets has done, and what is left to do elsewhere
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Turns the result of M(clawops.openclaw.gateway_config) with C(state=rotated) into sentences.
options:
  _input:
    description: That result.
    type: dict
    required: true
  host:
    description: The inventory host.
    type: str
    required: true
  secrets_path:
    description: The gateway's secrets file on the host.
    type: str
    required: true
  predicted:
    description: Whether it was a dry run.
    type: bool
    default: false
"""

EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ __rotation | clawops.openclaw.gateway_rotation(host=inventory_hostname, secrets_path=common_secrets_path) }}"
"""

RETURN = r"""
_value:
  description: The sentences.
  type: list
  elements: str
"""

import typing as t

TOKEN = "OPENCLAW_GATEWAY_TOKEN"  # noqa: S105 - a name, no token
Result = t.Mapping[str, t.Any]


def gateway_rotation(result: Result, *, host: str, secrets_path: str, predicted: bool = False) -> list[str]:
    names, kept = result["changed_secrets"], result["kept_secrets"]
    lines = [f"{host}: {_headline(names, result['reload'], predicted=predicted)}"]
    if names and not predicted:
        lines += _proven(names, result)
    lines += [f"{name} keeps its value: {reason}." for name, reason in kept.items()]
    if names and not predicted:
        lines += _elsewhere(names, result["used_by"], secrets_path)
    return lines


def _headline(names: t.Sequence[str], reload: str, *, predicted: bool) -> str:
    if not names:
        return "nothing was rotated."
    how = "with a restart" if reload == "restart" else "without a restart"
    return f"{', '.join(names)} {'would be ' if predicted else ''}rotated, {how}."


def _proven(names: t.Sequence[str], result: Result) -> list[str]:
    proof, lines = result["proof"], []
    if proof.get("old_token_refused"):
        when = proof.get("old_token_refused_after_ms")
        after = f", {when} ms after the writing began" if when is not None else ""
        lines.append(f"{TOKEN} is proven: the gateway accepts the new one and refuses the old one{after}.")
    for name in names:
        if name != TOKEN and (used_by := result["used_by"][name]):
            lines.append(f"{name} is in force: the gateway has read it for {', '.join(used_by)}.")
        elif name != TOKEN:
            lines.append(f"{name} is on the host, but no setting refers to it: there was nothing to prove.")
    lines.append(
        f"Served meanwhile: {proof['probes_missed']} of {proof['probes']} probes missed, the slowest took {proof['slowest_probe_ms']} ms."
    )
    if "devices_removed" in proof:
        lines.append(
            f"Ended: {proof['devices_removed']} paired devices, {proof['device_requests_rejected']} requests to become one."
        )
    return lines


def _elsewhere(names: t.Sequence[str], used_by: t.Mapping[str, t.Sequence[str]], secrets_path: str) -> list[str]:
    lines = [
        f"To do: revoke the old {name} where it was issued{_provider(used_by[name])}; it is valid there still."
        for name in names
        if name != TOKEN
    ]
    if TOKEN in names:
        lines.append(
            f"To do: give the new token, {TOKEN} in {secrets_path}, to whoever uses the gateway from elsewhere."
        )
    return lines


def _provider(paths: t.Sequence[str]) -> str:
    """Who has issued a credential, as far as the settings that refer to it tell."""
    parts = (path.split(".") for path in paths)
    named = {part[2] if part[:2] == ["models", "providers"] else part[1] for part in parts if len(part) > 2}
    return f" ({', '.join(sorted(named))})" if named else ""


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"gateway_rotation": gateway_rotation}
