# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Whether the Node.js of the chosen major version runs the release, and whether it is installed."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _apt, _versions
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
        "source": _apt.source_ready(params["source_files"]),
        # The operator's own source of the same repository, which is used then.
        "others_source": _apt.others_source(params["source_files"]),
        # Whether it is there, in whatever version.
        "present": ["nodejs"] if "nodejs" in host.packages else [],
        # The oldest version of the major that satisfies the range; empty where none does.
        "minimum": _versions.engines_minimum(engines, params["major"]),
        "_held": _apt.held_errors(host, ["nodejs"]),
        "_engines": engines,
        "_release": f"OpenClaw {gateway['version']}" if gateway and not params["engines"] else "What runs on it",
    }


def judge(
    params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]
) -> tuple[list[OpenClawError], list[OpenClawError]]:
    """An error for a major version that the release cannot run on."""
    if params["state"] == "absent":
        return [], []
    if seen["minimum"]:
        return [] if is_fit(params, seen) else seen["_held"], []
    reason = f"{seen['_release']} needs Node.js {seen['_engines']}"
    remedy = "Set nodejs_major to a version of that range, or choose another gateway_version."
    return [OpenClawError(f"nodejs_major {params['major']}", reason, remedy)], []


def due(params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Whether anything has to be installed or removed."""
    if params["state"] == "absent":
        return {"phases": ["install"]}
    fits = is_fit(params, seen)
    return {"fits": fits, "phases": [] if fits and seen["source"] else ["install"]}


def is_fit(params: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]) -> bool:
    """Whether the version that is installed is one of the desired major, and not too old."""
    numbers = [int(number) for number in re.findall(r"\d+", seen["installed"].partition("-")[0])]
    least = [int(number) for number in seen["minimum"].split(".")]
    return numbers[:1] == [params["major"]] and numbers >= least


__all__ = ("OPTIONS", "due", "judge", "look")
