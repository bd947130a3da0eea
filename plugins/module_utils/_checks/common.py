# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Whether this collection supports the host at all."""

from __future__ import annotations

import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _apt
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host

OPTIONS: dict[str, t.Any] = {
    "host": {"type": "str", "required": True},
    "distribution": {"type": "str", "required": True},
    "service_manager": {"type": "str", "required": True},
    "supported": {"type": "list", "elements": "str", "required": True},
}


def look(host: Host, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The packages that roles have installed here; the rest Ansible has gathered."""
    return {"brought": _apt.brought()}


def judge(
    params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]
) -> tuple[list[OpenClawError], list[OpenClawError]]:
    """An error for a distribution or an init system that no role is tested on."""
    if params["distribution"] in params["supported"] and params["service_manager"] == "systemd":
        return [], []
    reason = f"it runs {params['distribution']} with {params['service_manager']}, which is not supported"
    remedy = f"Use a host with systemd and one of {', '.join(params['supported'])}."
    return [OpenClawError(params["host"], reason, remedy)], []


def due(params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Nothing."""
    return {}


__all__ = ("OPTIONS", "due", "judge", "look")
