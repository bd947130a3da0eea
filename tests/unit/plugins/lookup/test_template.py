# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup template, held against the one of ansible-core."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]
OWN, CORE = "clawops.openclaw.template", "ansible.builtin.template"
# In a process of its own, because Ansible's loader takes the import of collections over.
LOOK = """
import json, sys
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
root, plugin, path, variables, options = sys.argv[1:]
init_plugin_loader([root + "/.ansible/collections"])
variables = {
    name: trust_as_template(value) if isinstance(value, str) else value for name, value in json.loads(variables).items()
}
given = dict(variables)
try:
    text = Templar(loader=DataLoader(), variables=variables).template(
        trust_as_template("{{ lookup('" + plugin + "', '" + path + "'" + options + ") }}")
    )
except AnsibleError as error:
    text = None
    print(error, file=sys.stderr)
print(json.dumps([text, variables == given]))
"""
Look = Callable[..., tuple[str | None, str]]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """What a lookup makes of a template, and its complaint."""

    def look(
        plugin: str, template: str | None, name: str = "", options: str = "", **variables: Any
    ) -> tuple[str | None, str]:
        path = name or tmp_path / "a.conf.j2"
        if template is not None:
            Path(path).write_text(template, encoding="utf-8")
        told = subprocess.run(
            [sys.executable, "-c", LOOK, str(ROOT), plugin, str(path), json.dumps(variables), options],
            capture_output=True,
            text=True,
            check=True,
        )
        text, are_kept = json.loads(told.stdout)
        assert are_kept, "it changed the variables of the task"
        return text, told.stderr

    return look


@pytest.mark.parametrize(
    ("template", "variables"),
    [
        pytest.param("{{ ansible_managed | comment }}\n[Unit]\n", {}, id="the-header"),
        pytest.param(
            "{{ ansible_managed | comment }}\n", {"ansible_managed": "{{ us }}", "us": "Us"}, id="our-own-header"
        ),
        pytest.param(
            "{% for n in names %}\n  {{ n }}={{ a }}\n{% endfor %}\n\nend", {"names": [1, 2], "a": "b"}, id="a-loop"
        ),
        pytest.param("{{ outer }}\n", {"outer": "<{{ inner }}>", "inner": "x"}, id="derived-variables"),
        pytest.param(r"{{ x | regex_replace('^(a)$', '\\1\\1') }} \d \\ " + "\n", {"x": "a"}, id="backslashes"),
        pytest.param("Grüße {{ x }}\n\n", {"x": "→"}, id="other-letters-and-two-line-feeds"),
        pytest.param("{# not in the text #}{{ x }}", {"x": "{{ '{' }}{ y }}"}, id="a-value-that-looks-like-a-template"),
    ],
)
def test_a_template_gives_the_same_text_as_with_ansible_cores_lookup(
    look: Look, template: str, variables: dict[str, Any]
) -> None:
    text, _ = look(OWN, template, **variables)
    assert text == look(CORE, template, **variables)[0]
    assert text


def test_a_variable_that_is_not_there_is_named(look: Look) -> None:
    text, complaint = look(OWN, "{{ gone }}\n")
    assert text is None
    assert "'gone' is undefined" in complaint


def test_a_template_that_is_not_there_is_named(look: Look) -> None:
    text, complaint = look(OWN, None)
    assert text is None
    assert "a.conf.j2 is not among those of the role" in complaint


def test_a_template_of_another_role_is_found_wherever_the_variable_is_templated(look: Look) -> None:
    name = "etc/systemd/system/user-delegate.conf.j2"
    text, _ = look(OWN, None, name, ", role='docker'")
    assert text
    assert text.endswith("Delegate=cpu cpuset io memory pids\n")
    text, complaint = look(OWN, None, name, ", role='nodejs'")
    assert text is None
    assert f"{name} is not among those of the role nodejs." in complaint
