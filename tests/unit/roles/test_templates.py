# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A role reads only names that are its own, or that another role declares for others to read."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.visitor import NodeTransformer

ROOT = Path(__file__).parents[3]
ROLES = {path.parent.name: path.parent for path in sorted(ROOT.glob("roles/*/tasks"))}
TEMPLATES = sorted(ROOT.glob("roles/*/templates/**/*.j2"))
VARIABLES = sorted([*ROOT.glob("roles/*/vars/**/*.yml"), *ROOT.glob("roles/*/defaults/main.yml")])
TASKS = sorted(ROOT.glob("roles/*/tasks/*.yml"))
PLAYBOOKS = sorted(ROOT.glob("playbooks/**/*.yml"))
# Another role's name in a role's file: __common_x, but not __x_common_y.
PRIVATE = re.compile(rf"(?<!\w)__({'|'.join(ROLES)})(?![a-z])\w*")
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
    "ansible_run_tags",
    "ansible_skip_tags",
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
# Parts of a task that are expressions without braces.
EXPRESSIONS = {"when", "failed_when", "changed_when", "until", "that"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def role_of(path: Path) -> Path:
    return ROOT / Path(*path.relative_to(ROOT).parts[:2])


@functools.cache
def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.exists() else {}


def flatten(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks", "roles"):
            yield from flatten(task.get(part) or [])


def tasks(role: Path) -> list[dict[str, Any]]:
    return [task for path in role.glob("tasks/*.yml") for task in flatten(load(path) or [])]


def options(role: Path) -> set[str]:
    specification = load(role / "meta/argument_specs.yml")["argument_specs"]
    return {name for entry in specification.values() for name in entry.get("options", {})}


def derived(role: Path) -> set[str]:
    return {name for path in role.glob("vars/**/*.yml") for name in load(path)}


def kept(tasks: list[dict[str, Any]]) -> set[str]:
    """What tasks register, set, loop over, or give to a part of them."""
    names = set()
    for task in tasks:
        loop = task.get("loop_control") or {}
        names |= {task.get("register", ""), loop.get("loop_var", ""), *(task.get("vars") or {})}
        names |= {*(task.get("ansible.builtin.set_fact") or {})}
    return names


@functools.cache
def own(role: Path) -> set[str]:
    """All that a role may read without a question."""
    return {*options(role), *load(role / "defaults/main.yml"), *derived(role), *kept(tasks(role))}


@functools.cache
def given_by_others(role: Path) -> set[str]:
    """What roles declare for others: the variables of common, and public ones that are derived from a role's own."""
    common = ROLES["common"]
    public = {name for each in ROLES.values() if each != role for name in derived(each) if not name.startswith("__")}
    # As common_preflight, which its tasks register.
    registered = {name for name in kept(tasks(common)) if name.startswith("common_")}
    return public | options(common) | registered


# ---- what a template reads -----------------------------------------------------------------------------


class Anything(dict[str, Any]):
    """Filters and tests are Ansible's to know; Jinja only has to believe that they exist."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, lambda *_: default)


ENVIRONMENT = Environment(autoescape=True, extensions=["jinja2.ext.do"])
ENVIRONMENT.filters, ENVIRONMENT.tests = Anything(ENVIRONMENT.filters), Anything(ENVIRONMENT.tests)


def base(node: nodes.Node | None) -> nodes.Name | None:
    """The name in front of [...] and the like."""
    while isinstance(node, nodes.Getitem | nodes.Getattr):
        node = node.node
    return node if isinstance(node, nodes.Name) else None


def asked(node: nodes.Node) -> set[str]:
    """The names that an expression finds to be defined, where it is true."""
    if isinstance(node, nodes.And):
        return asked(node.left) | asked(node.right)
    name = base(node.node) if isinstance(node, nodes.Test) and node.name == "defined" else None
    return {name.name} if name else set()


class WithoutGuarded(NodeTransformer):
    """Leaves out names that may be undefined where they stand: x | default(…), x is defined and what hangs on that."""

    def __init__(self) -> None:
        self.known: list[set[str]] = []

    def visit_Name(self, node: nodes.Name) -> nodes.Node:
        return nodes.Const(None) if any(node.name in names for names in self.known) else node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        return self.without(node, node.name in ("default", "d"))

    def visit_Test(self, node: nodes.Test) -> nodes.Node:
        return self.without(node, node.name in ("defined", "undefined"))

    def without(self, node: nodes.Filter | nodes.Test, guarded: bool) -> nodes.Node:
        name = base(node.node) if guarded else None
        self.known.append({name.name} if name else set())
        if node.node is not None:
            node.node = self.visit(node.node)
        self.known.pop()
        node.args, node.kwargs = [self.visit(each) for each in node.args], [self.visit(each) for each in node.kwargs]
        return node

    def visit_And(self, node: nodes.And) -> nodes.Node:
        names = asked(node.left)
        node.left = self.visit(node.left)
        self.known.append(names)
        node.right = self.visit(node.right)
        self.known.pop()
        return node

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:
        self.known.append(asked(node.test))
        node.expr1 = self.visit(node.expr1)
        self.known.pop()
        node.test = self.visit(node.test)
        node.expr2 = self.visit(node.expr2) if node.expr2 else None
        return node


def read(text: str) -> set[str]:
    """The names that a template cannot do without."""
    return find_undeclared_variables(WithoutGuarded().visit(ENVIRONMENT.parse(text)))


def texts(value: Any, key: str = "") -> Iterator[str]:
    """Every string in a variable or a task, as Ansible templates it."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from texts(each, str(name))
    elif isinstance(value, list):
        for each in value:
            yield from texts(each, key)
    elif isinstance(value, str):
        yield f"{{{{ {value} }}}}" if key in EXPRESSIONS and "{{" not in value else value


def foreign(text: str, role: Path) -> set[str]:
    """The names that a role cannot do without, and nobody says that they are there."""
    return read(text) - own(role) - given_by_others(role) - GIVEN


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{{ a }}", {"a"}),
        ("{{ a | default(b) }}", {"b"}),
        ("{{ a['b'].c | d(1) }}", set()),
        ("{{ a[b] | default(1) }}", {"b"}),
        ("{{ (a | default({}))['b'] | default({}) }}", set()),
        ("{{ a | length | default(1) }}", {"a"}),
        ("{{ a is defined and a.b }}", set()),
        ("{{ a.b if a is defined else c }}", {"c"}),
        ("{{ a if b else c }}", {"a", "b", "c"}),
        ("{{ a or a is defined }}", {"a"}),
        ("{% for a in b %}{{ a }}{% endfor %}", {"b"}),
        ("{{ a | default(1) }}{{ a }}", {"a"}),
        ("{{ [{'x': a | default(1)}, a] | map('b') | c(d=e) }}", {"a", "e"}),
    ],
)
def test_what_a_template_cannot_do_without_is_told(text: str, names: set[str]) -> None:
    assert read(text) == names


@pytest.mark.parametrize("path", TEMPLATES, ids=relative)
def test_a_template_uses_only_declared_names(path: Path) -> None:
    assert foreign(path.read_text(encoding="utf-8"), role_of(path)) == set()


@pytest.mark.parametrize("path", VARIABLES, ids=relative)
def test_a_variable_is_derived_only_from_declared_names(path: Path) -> None:
    assert foreign("\n".join(texts(load(path))), role_of(path)) == set()


@pytest.mark.parametrize("path", TASKS, ids=relative)
def test_a_task_uses_only_declared_names(path: Path) -> None:
    assert foreign("\n".join(texts(load(path))), role_of(path)) == set()


@pytest.mark.parametrize("path", PLAYBOOKS, ids=relative)
def test_a_playbook_reads_what_roles_declare(path: Path) -> None:
    plays = load(path)
    private = {name for play in plays for name in play.get("vars") or {}} | kept(list(flatten(plays)))
    public = {name for role in ROLES.values() for name in options(role) | derived(role) if not name.startswith("__")}
    registered = {name for name in kept(tasks(ROLES["common"])) if name.startswith("common_")}
    named = read("\n".join(texts(plays))) - private - public - registered - GIVEN
    # As -e rotate=… and -e retire_purge=… are the playbook's own.
    assert {name for name in named if not name.startswith(path.stem)} == set()


# ---- what is private to a role -------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*TASKS, *VARIABLES, *TEMPLATES, *PLAYBOOKS], ids=relative)
def test_nobody_reads_what_is_private_to_another_role(path: Path) -> None:
    reader = role_of(path).name if path.is_relative_to(ROOT / "roles") else ""
    text = path.read_text(encoding="utf-8")
    assert [match[0] for match in PRIVATE.finditer(text) if match[1] != reader] == []


def test_what_is_private_to_a_role_is_told_apart() -> None:
    text = "{{ __docker_a }} __x__docker_b docker__gateway_c __gatewayd __gateway '__gateway_e'"
    assert [match[0] for match in PRIVATE.finditer(text)] == ["__docker_a", "__gateway", "__gateway_e"]
