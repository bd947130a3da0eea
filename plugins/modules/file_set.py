#!/usr/bin/python
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: file_set
short_description: Ensures a set of files, directories and links in one call
version_added: 1.0.0
author: clawops (@clawops)
description:
  - A task costs over ssh the same however little it does. A role that owns many small files ensures them all with one.
  - Everything is looked at before anything is touched. Files and links are replaced as a whole, and never written through
    a link that stands in their place. What a run left unfinished that was killed is removed by the next.
  - Not for secrets. What is written appears in diffs, in RV(undo) and in the host's log.
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed (or possibly needs changing in check_mode), entry by entry.
    support: full
options:
  entries:
    description: What should be there or not, in the order in which it is made; what is absent is removed in reverse order.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path. Its parent exists or is an earlier entry.
        type: path
        required: true
      state:
        description: What should stand there.
        type: str
        choices: [file, directory, link, absent]
        default: file
      content:
        description:
          - The whole content of a file.
          - Without it, the file only has to be there; where it is not, it is listed in RV(missing).
        type: str
      src:
        description: What a link points to.
        type: str
      owner:
        description: Name of the owner; O(owner) where it is left out.
        type: str
      group:
        description: Name of the group; O(group) where it is left out.
        type: str
      mode:
        description: Octal mode as a quoted text; O(mode) where it is left out.
        type: raw
  owner:
    description: Owner of the entries that name none; C(root) makes sense, empty leaves it.
    type: str
  group:
    description: Group of the entries that name none; empty leaves it.
    type: str
  mode:
    description: Octal mode, as a quoted text, of the files that name none; directories then have V(0755).
    type: raw
    default: "0644"
  journal:
    description:
      - Where to keep how to undo the changes, from before the first of them until the caller removes the file. Its directory exists.
      - Where such a file is there already, of a run that was interrupted before it proved what it had written, RV(undo) goes back
        to what was there before that run.
    type: path
"""

EXAMPLES = r"""
- name: configure | Ensure directory, file and link
  clawops.openclaw.file_set:
    owner: root
    group: root
    entries:
      - {path: /etc/example, state: directory}
      - {path: /etc/example/example.conf, content: "answer = 42\n"}
      - {path: /etc/example/current, state: link, src: example.conf}
"""

RETURN = r"""
changed_paths:
  description: The paths that changed, or would.
  type: list
  elements: str
  returned: always
missing:
  description: Files that should be there and whose content was not given.
  type: list
  elements: str
  returned: always
undo:
  description: Entries that put back what the changed entries were before.
  type: list
  elements: dict
  returned: always
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _files
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError


def report(
    desired: t.Sequence[_files.Entry], changes: t.Sequence[_files.Change], earlier: t.Sequence[dict[str, t.Any]]
) -> dict[str, t.Any]:
    """The module's result after these changes, and after those that are in the journal."""
    return {
        "changed": bool(changes),
        "changed_paths": [change.desired.path for change in changes],
        "missing": _files.missing(desired),
        "undo": _files.joined(earlier, _files.undo(changes)),
        "diff": [_files.difference(change) for change in changes],
    }


ENTRY: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["file", "directory", "link", "absent"], "default": "file"},
    "content": {"type": "str"},
    "src": {"type": "str"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "raw"},
}
OPTIONS: dict[str, t.Any] = {
    "entries": {"type": "list", "elements": "dict", "required": True, "options": ENTRY},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "raw", "default": "0644"},
    "journal": {"type": "path"},
}


def ensure(params: t.Mapping[str, t.Any], *, check_mode: bool) -> dict[str, t.Any]:
    """Make everything as desired. Where that fails, ``error`` says why, and ``undo`` how to go back from what is done already."""
    journal = params["journal"]
    done: list[_files.Change] = []
    desired: list[_files.Entry] = []
    earlier: list[dict[str, t.Any]] = []
    try:
        earlier = _files.read_journal(journal) if journal else []
        desired = [_files.desired_entry(entry, params) for entry in params["entries"]]
        if not check_mode:
            _files.sweep(desired)
        changes = _files.plan(desired, strict=not check_mode)
        if journal and changes and not check_mode:
            _files.write_journal(journal, _files.joined(earlier, _files.undo(changes)))
        for change in changes:
            if not check_mode:
                _files.carry_out(change)
            done.append(change)
    except OpenClawError as error:
        return {"error": str(error), **report(desired, done, earlier)}
    return report(desired, done, earlier)


def main() -> None:
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    result = ensure(module.params, check_mode=module.check_mode)
    if "error" in result:
        module.fail_json(msg=result.pop("error"), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
