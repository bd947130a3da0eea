# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: secret_ref
short_description: Refers to a secret of the gateway by its name
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Gives the SecretRef that stands in the settings in place of a secret. OpenClaw reads the value from the gateway's
    secrets file, where the role puts what C(gateway_secrets) holds under that name.
options:
  _input:
    description: A name of capitals, digits and underscores that begins with a capital.
    type: str
    required: true
"""

EXAMPLES = r"""
gateway_settings:
  models:
    providers:
      anthropic:
        apiKey: "{{ 'ANTHROPIC_API_KEY' | clawops.openclaw.secret_ref }}"
"""

RETURN = r"""
_value:
  description: The SecretRef.
  type: dict
  sample: {source: file, provider: clawops, id: /ANTHROPIC_API_KEY}
"""

import re
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.clawops.openclaw.plugins.module_utils._settings import secret_ref


def checked_secret_ref(name: t.Any) -> dict[str, str]:
    """The SecretRef of a name that can be one."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Z][A-Z0-9_]{0,127}", name):
        raise AnsibleFilterError(
            f"secret_ref: {name!r} cannot be the name of a secret. Use capitals, digits and underscores, as in ANTHROPIC_API_KEY."
        )
    return secret_ref(name)


class FilterModule:
    """Filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"secret_ref": checked_secret_ref}
