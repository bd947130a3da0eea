# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: template
short_description: The text of a template, without a copy of all variables
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Renders a file of the role's C(templates) with the variables of the task, as P(ansible.builtin.template#lookup) does.
  - That one copies every variable for each file, and all of them a second time as they stand in RV(ignore:vars).
  - It has neither the options of the other one, nor its C(template_*) variables, nor C(include).
options:
  _terms:
    description: Paths of templates, relative to the role's C(templates).
    type: list
    elements: str
    required: true
  role:
    description:
      - The role of this collection whose template it is; that of the task where it is left out.
      - For variables of one role that another one templates, such as what the gateway is to run with.
    type: str
    default: ""
seealso:
  - plugin: ansible.builtin.template
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: run | Write the command
  clawops.openclaw.file_set:
    entries:
      - path: /usr/local/bin/openclaw
        mode: "0755"
        content: "{{ lookup('clawops.openclaw.template', 'usr/local/bin/openclaw.j2', role='gateway') }}"
"""

RETURN = r"""
_raw:
  description: The texts.
  type: list
  elements: str
"""

import os
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template

_ROLES = os.path.join(os.path.dirname(__file__), os.pardir, os.pardir, "roles")


class LookupModule(LookupBase):
    def run(self, terms: t.Sequence[str], variables: dict[str, t.Any] | None = None, **options: t.Any) -> list[str]:
        self.set_options(var_options=variables, direct=options)
        # As Ansible has it where nobody says otherwise.
        given = {"ansible_managed": "Ansible managed", **(variables or {})}
        templar = self._templar.copy_with_new_env(available_variables=given)
        return [templar.template(self.read(term, variables), escape_backslashes=False) for term in terms]

    def read(self, term: str, variables: dict[str, t.Any] | None) -> str:
        role = self.get_option("role")
        own = os.path.normpath(os.path.join(_ROLES, role, "templates", term))
        path = own if role else self.find_file_in_search_path(variables, "templates", term)
        if not path or not os.path.isfile(path):
            raise AnsibleError(f"The template {term} is not among those of the role {role}".rstrip() + ".")
        text: str = trust_as_template(self._loader.get_text_file_contents(path))
        return text
