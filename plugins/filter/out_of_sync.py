# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: out_of_sync
short_description: Finds the files that have to be written
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Compares entries of M(clawops.openclaw.file_set) with what M(clawops.openclaw.preflight_info) has found at their paths, so that
    a role starts M(clawops.openclaw.file_set) only where it has something to do.
options:
  _input:
    description: The entries. Owner and group are C(root), the mode V(0644), of a directory V(0755), where they do not say otherwise.
    type: list
    elements: dict
    required: true
  found:
    description: What is at the paths. A path that is not among them counts as out of sync.
    type: list
    elements: dict
    required: true
  folders:
    description: Directories of which all files are in O(found). What is not among them there is absent.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
due: "{{ __tuning_entries | clawops.openclaw.out_of_sync(common_preflight['found']['tuning']['files']) | length > 0 }}"
"""

RETURN = r"""
_value:
  description: The entries that are not in sync, in their order.
  type: list
  elements: dict
"""

import os
import typing as t

Entry = t.Mapping[str, t.Any]


def out_of_sync(entries: t.Iterable[Entry], found: t.Iterable[Entry], folders: t.Collection[str] = ()) -> list[Entry]:
    """The entries that what is found does not fulfil."""
    there = {entry["path"]: entry for entry in found}

    def known(path: str) -> Entry:
        return there.get(path, {"path": path, "state": "absent"} if os.path.dirname(path) in folders else {})

    return [entry for entry in entries if differs(entry, known(entry["path"]))]


def differs(entry: Entry, found: Entry) -> bool:
    """Whether anything that the entry asks for is otherwise."""
    state = entry.get("state") or "file"
    if state != found.get("state"):
        return True
    if state == "absent":
        return False
    ordinary = {"owner": "root", "group": "root", "mode": "0755" if state == "directory" else "0644"}
    asked = {name: entry.get(name) or ordinary[name] for name in ordinary}
    if state == "link":
        del asked["mode"]
    is_ = {**ordinary, **found}
    asked |= {name: entry[name] for name in ("content", "src") if entry.get(name) is not None}
    return any(value != is_.get(name) for name, value in asked.items())


class FilterModule:
    """Filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"out_of_sync": out_of_sync}
