# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: mtls_cas
short_description: Checks the CAs whose keys the controller has
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Reads CAs from a folder of the controller, each as C(NAME.pem) with C(NAME.key), the one that began last first; or takes
    them from the inventory. Checks that keys open and belong to their certificates. No key leaves the controller, and none is in
    what it returns.
options:
  _input:
    description: C(path) of a folder; or C(certificate), C(key) and C(previous), a list of certificates; and C(passphrase).
    type: dict
    required: true
"""

EXAMPLES = r"""
known: "{{ {'path': '/etc/pki/openclaw', 'passphrase': vault_passphrase} | clawops.openclaw.mtls_cas }}"
"""

RETURN = r"""
_value:
  description:
    - C(cas), the first of which signs, each with C(name), C(certificate) and whether it C(has_key); and C(problems), ready sentences.
  type: dict
"""

import pathlib
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError


def from_inventory(given: t.Mapping[str, t.Any]) -> list[dict[str, str]]:
    """The CAs that the inventory has, as texts."""
    absent = [name for name in ("certificate", "key") if not given.get(name)]
    if absent:
        reason = "it is empty, and mtls_ca_source is inventory"
        remedy = "Give certificate and key, from a vault; or set mtls_ca_source to host, which creates a CA."
        raise OpenClawError(f"mtls_ca_{absent[0]}", reason, remedy)
    entries = [{"name": "mtls_ca_certificate", "certificate": given["certificate"], "key": given["key"]}]
    for number, text in enumerate(given.get("previous") or []):
        entries.append({"name": f"mtls_ca_previous[{number}]", "certificate": text, "key": ""})
    return [{**entry, "key_name": "mtls_ca_key", "cross": ""} for entry in entries]


def folder(path: str) -> str:
    """The folder of the controller in which CAs are."""
    if not path:
        reason = "it is empty, and mtls_ca_source is controller"
        raise OpenClawError(
            "mtls_ca_path", reason, "Name the folder on the controller in which the CA is, or is to be."
        )
    return str(pathlib.Path(path).expanduser())


def mtls_cas(given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The CAs, and what is wrong with them."""
    # Only here: Ansible loads every filter of a collection in each process that uses one, and cryptography is slow to load.
    from ansible_collections.clawops.openclaw.plugins.module_utils import _pki

    if not _pki.HAS_CRYPTOGRAPHY:
        raise AnsibleFilterError("The controller needs the Python package cryptography to look at CAs.")
    path = given.get("path")
    try:
        entries = from_inventory(given) if path is None else _pki.read_folder(folder(path))
        found, errors = _pki.cas(entries, given.get("passphrase"))
    except OSError as error:
        found, errors = [], [OpenClawError("mtls_ca_path", f"{path} cannot be read: {error.strerror}", "Correct it.")]
    except OpenClawError as error:
        found, errors = [], [error]
    if path is None:
        # A previous CA of the inventory does not sign, however young it is.
        found.sort(key=lambda each: not each.has_key)
    return {
        "cas": [
            {
                "name": each.name,
                "certificate": each.certificate.pem,
                "has_key": each.has_key,
                "key_name": each.key_name,
                "cross": each.cross,
            }
            for each in found
        ],
        "problems": [str(error) for error in errors],
    }


class FilterModule:
    """Filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mtls_cas": mtls_cas}
