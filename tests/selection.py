#!/usr/bin/env python3
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which scenarios and end-to-end tests a change has to pass: the map of paths to tests.

`selection.py scenarios` and `selection.py e2e` print them, for everything; with a revision, for what has changed since it.
A change of one role is tried by that role's scenario and file of tests, by those of the roles that build on it, and by the
tests of the whole play and of secrets; a change of anything that several roles use, by everything. Lint and unit tests are
not chosen: they always run whole.
"""

from __future__ import annotations

import re
import subprocess
import sys
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
# Tried whatever role has changed.
ALWAYS = ("site", "secrets")
# Roles without end-to-end tests of their own: both are in every run of site.yml.
WITHOUT_E2E = ("common", "nodejs")
# Of the lab itself; nothing but what several roles use decides about it.
OF_THE_LAB = ("lab",)
# Files of a role beside the one that has its name: all of them `full`.
RARE = {"gateway": ("attacks", "bad_input", "faults", "hosts", "operations", "repair")}
# Files of a role beside that one of which `make test` runs a part: each about a playbook of its own.
OF_PLAYBOOKS = {"gateway": ("rotate",)}
# What a role has, by the beginning of the path; {} is its name.
OF_A_ROLE = (
    "roles/{}/",
    "molecule/{}/",
    "molecule/{}-",
    "plugins/modules/{}_",
    "plugins/module_utils/_checks/{}.",
    "plugins/module_utils/_checks/_{}_",
)
# Read by people, by lint and by unit tests only.
OF_NO_HOST = re.compile(
    r"(docs|changelogs|meta)/|inventories/(development|staging|production)/|tests/(unit|benchmarks)/|tests/(docs|sanity)\.sh$"
    r"|tests/selection\.py$|[^/]+\.md$|LICENSE$|galaxy\.yml$|execution-environment\.yml$|\.(gitignore|yamllint|ansible-lint|aar_doc\.yml)$"
)


class Selection(t.NamedTuple):
    """Names of scenarios, and of files of end-to-end tests without ``test_``."""

    scenarios: list[str]
    e2e: list[str]


def roles() -> list[str]:
    return sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def scenarios() -> list[str]:
    return sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))


def role_of(scenario: str) -> str:
    """The role that a scenario tests: "docker-distribution" is a variant of "docker"."""
    return scenario.partition("-")[0]


def files() -> list[str]:
    return sorted(path.stem.removeprefix("test_") for path in (ROOT / "tests/e2e").glob("test_*.py"))


def files_of(role: str) -> list[str]:
    """The role's files of end-to-end tests."""
    return [name for name in files() if name in (role, *RARE.get(role, ()), *OF_PLAYBOOKS.get(role, ()))]


def needs(scenario: str) -> list[str]:
    """The roles that a scenario's role builds on."""
    content = yaml.safe_load((ROOT / "molecule" / scenario / "molecule.yml").read_text(encoding="utf-8"))
    return list(content["provisioner"]["inventory"]["group_vars"]["all"].get("scenario_needs", []))


def role_in(path: str) -> str | None:
    """The role that alone has a path; None where several use it."""
    for role in roles():
        own = {f"tests/e2e/test_{name}.py" for name in files_of(role)}
        if path in own or path.startswith(tuple(beginning.format(role) for beginning in OF_A_ROLE)):
            return role
    return None


def selected(paths: t.Iterable[str]) -> Selection:
    """What a change of these paths has to pass."""
    touched = {role_in(path) for path in paths if not OF_NO_HOST.match(path)}
    if not touched:
        return Selection([], [])
    # "common" is what the name says.
    if None in touched or "common" in touched:
        return Selection(scenarios(), files())
    wanted = [name for name in scenarios() if touched & {role_of(name), *needs(name)}]
    tried = {name for role in (role_of(scenario) for scenario in wanted) for name in files_of(role)}
    return Selection(wanted, [name for name in files() if name in tried or name in ALWAYS])


def changed_since(revision: str) -> list[str]:
    """The paths that are not what they were at a revision, committed or not."""

    def git(*words: str) -> list[str]:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=True, cwd=ROOT)
        return done.stdout.splitlines()

    return git("diff", "--name-only", "--no-renames", revision) + git("ls-files", "--others", "--exclude-standard")


def main(kind: str, revision: str = "") -> None:
    chosen = selected(changed_since(revision)) if revision else Selection(scenarios(), files())
    if kind == "scenarios":
        print(*chosen.scenarios)
    else:
        print(*(f"tests/e2e/test_{name}.py" for name in chosen.e2e))


if __name__ == "__main__":
    main(*sys.argv[1:])
