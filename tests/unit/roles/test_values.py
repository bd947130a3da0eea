# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text in place of a number, a truth value, a list or a dictionary means what it says, wherever a role reads the variable.

``-e name=value``, inventories in INI format and the surveys of AWX give text. Ansible checks it by the specification of the
role, but what it has converted for that is dropped: each use converts for itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.tests.unit.roles.test_interface import ROLES, ROOT, options

CONVERSIONS = {
    "int": r"int\b",
    "float": r"float\b",
    "bool": r"bool\b",
    "list": r"clawops\.openclaw\.typed\('list'\)",
    "dict": r"clawops\.openclaw\.typed\('dict'\)",
}
# Of what type the specification says, by the name. What roles give each other is no text.
TYPES = {
    name: option["type"]
    for role in ROLES
    for name, option in options(role).items()
    if option.get("type", "str") in CONVERSIONS and role.name != "common" and name != "gateway_files_of_roles"
}
FILES = sorted(
    path
    for pattern in ("roles/*/tasks/*.yml", "roles/*/vars/**/*.yml", "roles/*/templates/**/*.j2")
    for path in ROOT.glob(pattern)
)
# What is templated: between braces, or the value of a keyword that is an expression.
EXPRESSION = re.compile(
    r"\{\{.*?\}\}|\{%.*?%\}|^ *(?:- )?(?:when|that|failed_when|changed_when|until):.*?$", re.DOTALL | re.MULTILINE
)
NAME = re.compile(r"""(?<![\w'".])([a-z]+_\w+)\b""")
# Where a value goes as it is to a module, which converts it: a task's argument, or a check's.
ARGUMENT = re.compile(r" *[\w.]+: \"\{\{ \w+ \}\}\"")


def unconverted(text: str, *, arguments: bool = True) -> Iterator[str]:
    """Uses of variables that would take text for what the specification says.

    :param arguments: whether what is an argument of its own goes to a module.
    """
    for expression in EXPRESSION.finditer(text):
        # What is in quotes is a text of its own.
        words = re.sub(
            r"'[^'\n]*'",
            lambda quoted: quoted[0] if "list" in quoted[0] or "dict" in quoted[0] else "''",
            expression[0],
        )
        for use in NAME.finditer(words):
            kind = TYPES.get(use[1])
            if kind is None or re.match(rf"\s*(\| default\([^)]*\)\s*)?\| {CONVERSIONS[kind]}", words[use.end() :]):
                continue
            start = text.rfind("\n", 0, expression.start()) + 1
            line = text[start:].partition("\n")[0]
            if arguments and kind in ("int", "float", "bool") and ARGUMENT.fullmatch(line):
                continue
            if not line.lstrip().startswith("#"):
                yield f"{use[1]} ({kind}): {line.strip()}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "roles")))
def test_every_use_of_a_variable_converts_it(path: Path) -> None:
    # A variable of a role goes on to templates; only those of its checks are arguments.
    arguments = "/tasks/" in str(path) or path.name == "preflight.yml"
    assert list(unconverted(path.read_text(encoding="utf-8"), arguments=arguments)) == []


def test_the_specifications_name_variables_of_each_kind() -> None:
    assert {*TYPES.values()} >= {"int", "bool", "list", "dict"}


@pytest.mark.parametrize(
    "text",
    [
        "burst={{ mtls_requests_per_second * 10 }}",
        "{% if mtls_http_port %}",
        "{% for name in mtls_revoked %}",
        'loop: "{{ mtls_clients | product([1]) }}"',
        "  when: mtls_purge",
        '  revoked: "{{ mtls_revoked }}"',
        "{{ '' if mtls_port == 443 else 'x' }}",
        "{{ gateway_settings | default({}) | combine({}) }}",
    ],
)
def test_a_use_that_does_not_is_found(text: str) -> None:
    assert len(list(unconverted(text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "burst={{ mtls_requests_per_second | int * 10 }}",
        '  port: "{{ gateway_port }}"',
        "# {{ gateway_port }} is told",
        "{{ gateway_settings | default({}) | clawops.openclaw.typed('dict') }}",
        "{{ 'mtls_revoked' }}",
        "Correct docker_daemon_options and run again.",
    ],
)
def test_a_use_that_does_is_left_alone(text: str) -> None:
    assert list(unconverted(text)) == []
