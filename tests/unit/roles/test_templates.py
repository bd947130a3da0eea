# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A template or derived variable uses only names that its role declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment
from jinja2.meta import find_undeclared_variables

ROOT = Path(__file__).parents[3]
TEMPLATES = sorted(ROOT.glob("roles/*/templates/**/*.j2"))
# They report to other roles: common through what it registers, nodejs that it has replaced what others run on, tailscale
# that there is a node, and how the gateway is reached by it, mtls that there is a door with which nothing is to be done.
REPORTING = (ROOT / "roles/common", ROOT / "roles/nodejs", ROOT / "roles/tailscale", ROOT / "roles/mtls")
VARIABLES = sorted([*ROOT.glob("roles/*/vars/**/*.yml"), *ROOT.glob("roles/*/defaults/main.yml")])
# What Ansible itself gives to every template.
GIVEN = {
    "ansible_check_mode",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_failed_result",
    "ansible_host",
    "ansible_managed",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_port",
    "ansible_ssh_common_args",
    "ansible_ssh_private_key_file",
    "ansible_user",
    "groups",
    "hostvars",
    "inventory_hostname",
    "lookup",
    "omit",
    "query",
    "role_path",
}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.exists() else {}


def declared(role: Path) -> set[str]:
    """Options, derived variables, and what tasks of the role register or set."""
    names = {name for folder in ("vars", "defaults") for path in role.glob(f"{folder}/**/*.yml") for name in load(path)}
    for entry in load(role / "meta/argument_specs.yml")["argument_specs"].values():
        names |= entry.get("options", {}).keys()
    for task in tasks(role):
        names |= {task.get("register", ""), *task.get("vars", {}), *task.get("ansible.builtin.set_fact", {})}
    return names


def tasks(role: Path) -> list[dict[str, Any]]:
    return [
        task
        for path in role.glob("tasks/*.yml")
        for task in flatten(yaml.safe_load(path.read_text(encoding="utf-8")) or [])
    ]


def imported(role: Path) -> set[str]:
    """What a role sees of those of which it imports an entry point: Ansible shares their variables with the play."""
    roles = {
        task["ansible.builtin.import_role"]["name"] for task in tasks(role) if "ansible.builtin.import_role" in task
    }
    return {name for each in roles for name in declared(ROOT / "roles" / each.rpartition(".")[2])}


def texts(value: Any) -> list[str]:
    """Every string in a variable, as Ansible templates it."""
    if isinstance(value, dict | list):
        return [text for item in (value.values() if isinstance(value, dict) else value) for text in texts(item)]
    return [value] if isinstance(value, str) else []


def flatten(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    nested = [task.get(part, []) for task in tasks for part in ("block", "rescue", "always")]
    return tasks + [task for part in nested for task in flatten(part)]


class Anything(dict[str, Any]):
    """Filters and tests are Ansible's to know; Jinja only has to believe that they exist."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, lambda *_: default)


def undeclared(text: str, role: Path) -> set[str]:
    environment = Environment(autoescape=True, extensions=["jinja2.ext.do"])
    environment.filters, environment.tests = Anything(environment.filters), Anything(environment.tests)
    reported = {name for each in REPORTING for name in declared(each)}
    return find_undeclared_variables(environment.parse(text)) - declared(role) - imported(role) - reported - GIVEN


@pytest.mark.parametrize("path", TEMPLATES, ids=relative)
def test_a_template_uses_only_declared_names(path: Path) -> None:
    role = ROOT / Path(*path.relative_to(ROOT).parts[:2])
    assert undeclared(path.read_text(encoding="utf-8"), role) == set()


@pytest.mark.parametrize("path", VARIABLES, ids=relative)
def test_a_variable_is_derived_only_from_declared_names(path: Path) -> None:
    role = ROOT / Path(*path.relative_to(ROOT).parts[:2])
    assert undeclared("\n".join(texts(load(path))), role) == set()
