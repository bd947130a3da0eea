# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: engines_minimum
short_description: Gives the oldest version of a major version that lies in a range
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Reads a range as C(engines.node) of an npm package says it.
options:
  _input:
    description: The range; empty for every version.
    type: str
    required: true
  major:
    description: The major version.
    type: int
    required: true
"""

EXAMPLES = r"""
minimum: "{{ '>=24.16.0 <25 || >=26.1.0' | clawops.openclaw.engines_minimum(24) }}"  # 24.16.0
"""

RETURN = r"""
_value:
  description: The oldest version, or an empty string where none of that major lies in the range.
  type: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.clawops.openclaw.plugins.module_utils._release import satisfies


def engines_minimum(engines: str, major: int) -> str:
    """The oldest version of *major* that satisfies *engines*."""
    # A lower bound is either named in the range or the beginning of the major.
    named = [word.lstrip("<>=^~v") for word in engines.replace("||", " ").split()]
    exact = [
        version for version in named if version.count(".") == 2 and all(part.isdigit() for part in version.split("."))
    ]
    candidates = sorted({f"{major}.0.0", *exact}, key=lambda version: [int(part) for part in version.split(".")])
    try:
        return next(
            (v for v in candidates if v.split(".")[0] == str(major) and (not engines or satisfies(v, engines))), ""
        )
    except ValueError as error:
        raise AnsibleFilterError(f"engines_minimum: {engines!r} is not a range of versions: {error}.") from error


class FilterModule:
    """Filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"engines_minimum": engines_minimum}
