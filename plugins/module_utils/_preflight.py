# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""The checks of all roles over one look at the host."""

from __future__ import annotations

import types
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.clawops.openclaw.plugins.module_utils import _checks, _settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host


class Look:
    """One role's check on its way."""

    def __init__(self, check: types.ModuleType, params: dict[str, t.Any], secrets: list[str]) -> None:
        self.check, self.params, self.secrets = check, params, secrets
        self.seen: dict[str, t.Any] | None = None
        self.errors: list[OpenClawError] = []


class Answer(t.NamedTuple):
    """What the roles found, and the findings in words."""

    found: dict[str, dict[str, t.Any]]
    errors: list[str]
    warnings: list[str]


def run(checks: t.Mapping[str, t.Mapping[str, t.Any]], host: Host) -> Answer:
    """Run the checks of these roles; what is wrong with one hides nothing of another.

    :param checks: the parameters of each role's check, by its name.
    """
    errors: list[str] = []
    warnings: list[str] = []
    looks: dict[str, Look] = {}
    for role in sorted(checks.keys() - _checks.ROLES.keys()):
        errors.append(f"{role}: no role with checks has this name. Correct the name in the playbook.")
    for role, check in _checks.ROLES.items():
        if role in checks:
            params, problems, secrets = validated(role, check, checks[role])
            errors += problems
            if not problems:
                looks[role] = Look(check, params, secrets)
    for role, look in looks.items():
        take(host, role, look)
    for role, look in looks.items():
        found, noted = conclude(host, role, look)
        errors += [_settings.scrub(str(error), look.secrets) for error in found]
        warnings += [_settings.scrub(str(warning), look.secrets) for warning in noted]
    return Answer(host.found, errors, warnings)


def validated(
    role: str, check: types.ModuleType, given: t.Mapping[str, t.Any]
) -> tuple[dict[str, t.Any], list[str], list[str]]:
    """The parameters with their types and defaults, what is wrong with them, and the texts that must not be shown."""
    result = ArgumentSpecValidator(check.OPTIONS).validate(dict(given))
    secrets = sorted(map(str, result._no_log_values))
    problems = [f"{role}: {_settings.scrub(text, secrets)}." for text in result.error_messages]
    return result.validated_parameters, problems, secrets


def take(host: Host, role: str, look: Look) -> None:
    """Look at the host for one role, and keep what other roles may read in ``host.found``."""
    try:
        look.seen = look.check.look(host, look.params)
    except OpenClawError as error:
        look.errors = error.parts
    except OSError as error:
        # A file system of the gateway's account (FUSE) lets nobody else in, not even root.
        reason = f"cannot be looked at: {error.strerror}"
        remedy = f"Where something is mounted there, take it away: umount --lazy {error.filename}"
        look.errors = [OpenClawError(str(error.filename), reason, remedy)]
    else:
        host.found[role] = {name: value for name, value in look.seen.items() if not name.startswith("_")}


def conclude(host: Host, role: str, look: Look) -> tuple[list[OpenClawError], list[OpenClawError]]:
    """Judge what one role has seen, now that all have looked, and note what is due."""
    if look.seen is None:
        return look.errors, []
    if hasattr(look.check, "conclude"):
        look.check.conclude(host, look.params, look.seen)
    errors, warnings = look.check.judge(look.params, look.seen)
    host.found[role] = {name: value for name, value in look.seen.items() if not name.startswith("_")}
    if not errors:
        host.found[role]["due"] = look.check.due(look.params, look.seen)
    return errors, warnings


__all__ = ("Answer", "run")
