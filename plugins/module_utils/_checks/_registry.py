# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Which release is meant, whether it is installed, and what the npm registry knows of it."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _host, _release, _versions
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def desired_release(module: AnsibleModule | None, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The exact release (``version``), whether it is ``installed``, and the range of Node.js that it needs (``engines``).

    Asks the registry, through ``npm view``, only for a release that is neither installed nor known beforehand.
    """
    version, known = params["version"], params["known_engines"]
    if version != "latest":
        _versions.parse_version(version)
        package = installed_package(params["releases_path"], version)
        if package:
            return {"version": version, "installed": True, "engines": _release.node_engines(package) or ""}
        # One that will be refused is not asked for: whether the registry still has it changes nothing.
        if version in known or is_too_old(params, version):
            return {"version": version, "installed": False, "engines": known.get(version, "")}
    npm = module.get_bin_path("npm") if module else None
    if module is None or npm is None:
        return {"version": version, "installed": False, "engines": ""}
    answer = ask_registry(module, params["registry"], npm, f"openclaw@{version}", "version", "engines")
    if not answer:
        raise unknown_version(version, ask_registry(module, params["registry"], npm, "openclaw", "versions"))
    # npm answers with the bare value where it has one of the fields only.
    manifest: dict[str, t.Any] = answer if isinstance(answer, dict) else {"version": answer}
    exact = manifest.get("version", version)
    installed = bool(installed_package(params["releases_path"], exact))
    return {"version": exact, "installed": installed, "engines": manifest.get("engines", {}).get("node", "")}


def installed_package(releases: str, version: str) -> dict[str, t.Any]:
    """The package.json of an installed release; empty where there is none, or one that must be installed again."""
    release = os.path.join(releases, version)
    package, marker = (
        _release.read_object(_host.read_text(os.path.join(release, name)))
        for name in ("node_modules/openclaw/package.json", _release.MARKER)
    )
    return package if _release.is_finished(version, marker, package) and _release.is_whole(release) else {}


def is_too_old(params: t.Mapping[str, t.Any], version: str) -> bool:
    """Whether the release is one that this collection does not install."""
    return _versions.is_older(version, params["minimum"]["version"])


def ask_registry(module: AnsibleModule, registry: str, npm: str, *words: str) -> t.Any:
    """What the npm registry knows of a package; an empty object where it knows no such thing."""
    environment = {"npm_config_registry": registry} if registry else {}
    environment.update(npm_config_fetch_retries="1", npm_config_update_notifier="false", NODE_NO_WARNINGS="1")
    # Node.js would run compiled code that it finds in a shared /tmp, whoever has put it there.
    environment["NODE_DISABLE_COMPILE_CACHE"] = "1"
    rc, out, err = module.run_command([npm, "view", "--json", *words], environ_update=environment, cwd="/")
    if rc != 0 and "E404" not in err + out and "ETARGET" not in err + out:
        reason = next((line for line in err.splitlines() if "npm error" in line and "code" not in line), err.strip())
        raise OpenClawError(
            "The npm registry",
            f"does not answer: {reason}",
            "Check the host's network, or set gateway_npm_registry to a mirror.",
        )
    return json.loads(out) if rc == 0 and out.strip() else {}


def unknown_version(version: str, versions: list[str]) -> OpenClawError:
    near = ", ".join(_versions.nearest(list(versions), version, 5)) or "none"
    return OpenClawError(
        f"gateway_version {version}", "the npm registry has no such release of openclaw", f"Nearest: {near}."
    )


__all__ = ("desired_release", "is_too_old")
