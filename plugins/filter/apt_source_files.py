# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: apt_source_files
short_description: The files that make an apt source
version_added: 1.0.0
author: clawops (@clawops)
description:
  - A vendor's repository is a key, a source, the list that apt has read of it, and a pin where one is asked for. These are
    their entries of M(clawops.openclaw.file_set).
  - A file without C(content) only has to be there. Such are the list, and a key that is fetched.
options:
  _input:
    description: The repository with the keys C(name), C(uri), C(suite), C(key), and C(component) where it is not C(main); may be empty.
    type: dict
    required: true
  pin:
    description: Which version apt prefers, with the keys C(package) and C(version); empty for no pin.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: install | Configure the source
  clawops.openclaw.file_set:
    entries: "{{ repository | clawops.openclaw.apt_source_files({'package': 'nodejs', 'version': '24.*'}) }}"
"""

RETURN = r"""
_value:
  description: Entries of M(clawops.openclaw.file_set); none for an empty repository.
  type: list
  elements: dict
"""

import hashlib
import re
import typing as t

Entry = dict[str, t.Any]

_SOURCE = """\
X-Repolib-Name: {name}
Types: deb
URIs: {uri}
Suites: {suite}
Components: {component}
Signed-By: {key_path}
"""
_PIN = """\
Package: {package}
Pin: version {version}
Pin-Priority: 1001
"""
# The characters that apt spells otherwise in a file name, as far as addresses have them. With any other, the list is only
# read more often.
_SPELLED = (("%", "%25"), ("_", "%5f"), ("~", "%7e"), ("=", "%3d"), ("/", "_"))


def key_path(repository: t.Mapping[str, t.Any]) -> str:
    """Where the key is kept. Another key or URL is another file, so that a source never refers to an old key."""
    digest = hashlib.sha256(str(repository["key"]).encode()).hexdigest()[:8]
    return f"/etc/apt/keyrings/{repository['name']}-{digest}.asc"


def list_path(repository: t.Mapping[str, t.Any]) -> str:
    """What apt has read of the source. apt writes it last: it is missing after a run that was interrupted before."""
    address = re.sub("^[a-z+]+://([^/]*@)?|/+$", "", str(repository["uri"]))
    name = f"{address}/dists/{repository['suite']}/InRelease"
    for character, spelled in _SPELLED:
        name = name.replace(character, spelled)
    return f"/var/lib/apt/lists/{name}"


def apt_source_files(repository: t.Mapping[str, t.Any], pin: t.Mapping[str, t.Any] | None = None) -> list[Entry]:
    """The entries of file_set in the order in which they are made."""
    if not repository:
        return []
    key = str(repository["key"])
    fetched = re.match("https?://", key)
    names = {**repository, "component": repository.get("component", "main"), "key_path": key_path(repository)}
    pin_path = f"/etc/apt/preferences.d/{repository['name']}"
    return [
        {"path": "/etc/apt/keyrings", "state": "directory", "mode": "0755"},
        {"path": names["key_path"], "state": "file"} | ({} if fetched else {"content": key}),
        {
            "path": f"/etc/apt/sources.list.d/{repository['name']}.sources",
            "state": "file",
            "content": _SOURCE.format(**names),
        },
        {"path": list_path(repository), "state": "file"},
        {"path": pin_path, "state": "file", "content": _PIN.format(**pin)}
        if pin
        else {"path": pin_path, "state": "absent"},
    ]


class FilterModule:
    """Filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"apt_source_files": apt_source_files}
