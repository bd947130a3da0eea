# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: typed
short_description: Reads a list or a dictionary that may come as text
version_added: 1.0.0
author: clawops (@clawops)
description:
  - C(-e name=value), an inventory in INI format and the surveys of AWX give text where a role wants a list or a dictionary. A
    loop over the text V(laptop) would take it letter by letter.
  - A list as text is JSON, or its items between commas or line ends; a dictionary is JSON, or C(key=value) between commas. Nothing
    at all is an empty one.
  - For numbers and truth values there are the filters P(ansible.builtin.int#filter) and P(ansible.builtin.bool#filter).
positional: type
options:
  _input:
    description: The value of a variable.
    type: raw
    required: true
  type:
    description: What it is to be.
    type: str
    choices: [list, dict]
    required: true
"""

EXAMPLES = r"""
- name: Show who may not connect any more, also with -e mtls_revoked=laptop,phone
  ansible.builtin.debug:
    msg: "{{ mtls_revoked | clawops.openclaw.typed('list') | join(' and ') }}"
"""

RETURN = r"""
_value:
  description: The list or dictionary.
  type: raw
"""

import json
import re
import typing as t

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.validation import check_type_dict

_KINDS: dict[str, type] = {"list": list, "dict": dict}


def typed(value: t.Any, kind: str) -> t.Any:
    """The value as a list or dictionary.

    :raises AnsibleFilterError: it is neither one nor text that can be read as one.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return _KINDS[kind]()
    if isinstance(value, _KINDS[kind]):
        return value
    if isinstance(value, str):
        read = _list(value.strip()) if kind == "list" else _dictionary(value.strip())
        if read is not None:
            return read
    # The value is not repeated: it may hold secrets.
    raise AnsibleFilterError(
        f"{type(value).__name__} is no {kind}: write it as YAML, or as JSON: -e '{{\"name\": …}}'."
    )


def _list(text: str) -> list[t.Any] | None:
    if not text.startswith("["):
        return [item for part in re.split("[,\n]", text) if (item := part.strip())]
    try:
        read: list[t.Any] = json.loads(text)
    except ValueError:
        return None
    return read


def _dictionary(text: str) -> dict[str, t.Any] | None:
    try:
        read: dict[str, t.Any] = check_type_dict(text)
    except TypeError:
        return None
    return read


class FilterModule:
    """Filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"typed": typed}
