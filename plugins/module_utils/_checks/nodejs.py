# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Whether the Node.js of the chosen major version runs the release, and whether it is installed."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _files, _versions
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host

OPTIONS: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "major": {"type": "int", "required": True},
    # The range of versions to satisfy, as engines.node of a package. Empty for that of the gateway's release.
    "engines": {"type": "str", "default": ""},
    # Entries of file_set that make the apt source, of root and readable by all.
    "source_files": {"type": "list", "elements": "dict", "default": []},
}


def look(host: Host, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The package, its source, and the range of versions that has to be satisfied."""
    gateway = host.found.get("gateway", {})
    engines = params["engines"] or gateway.get("engines", "")
    return {
        "installed": host.packages.get("nodejs", ""),
        "source": _files.in_sync(params["source_files"]),
        # The oldest version of the major that satisfies the range; empty where none does.
        "minimum": _versions.engines_minimum(engines, params["major"]),
        "_engines": engines,
        "_release": f"OpenClaw {gateway['version']}" if gateway and not params["engines"] else "What runs on it",
    }


def judge(
    params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]
) -> tuple[list[OpenClawError], list[OpenClawError]]:
    """An error for a major version that the release cannot run on."""
    if params["state"] == "absent" or seen["minimum"]:
        return [], []
    reason = f"{seen['_release']} needs Node.js {seen['_engines']}"
    remedy = "Set nodejs_major to a version of that range, or choose another gateway_version."
    return [OpenClawError(f"nodejs_major {params['major']}", reason, remedy)], []


def due(params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Whether anything has to be installed or removed."""
    if params["state"] == "absent":
        return {"phases": ["install"]}
    numbers = [int(number) for number in re.findall(r"\d+", seen["installed"].partition("-")[0])]
    least = [int(number) for number in seen["minimum"].split(".")]
    fits = numbers[:1] == [params["major"]] and numbers >= least
    return {"fits": fits, "phases": [] if fits and seen["source"] else ["install"]}


__all__ = ("OPTIONS", "due", "judge", "look")
