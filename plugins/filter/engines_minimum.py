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

import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._release import satisfies


def engines_minimum(engines: str, major: int) -> str:
    """The oldest version of *major* that satisfies *engines*."""
    # The oldest is the beginning of the major, a version that the range names, or the one after it.
    candidates = {(major, 0, 0)}
    for numbers in re.findall(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", engines):
        first, minor, patch = (int(number or 0) for number in numbers)
        candidates |= {(first, minor, patch), (first, minor, patch + 1), (first, minor + 1, 0)}
    versions = (".".join(map(str, candidate)) for candidate in sorted(candidates) if candidate[0] == major)
    return next((version for version in versions if satisfies(version, engines)), "")


class FilterModule:
    """Filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"engines_minimum": engines_minimum}
