# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The map of paths to tests, and that every role and every file of tests has its place in it."""

from __future__ import annotations

import ast

import pytest

from ansible_collections.clawops.openclaw.tests import selection
from ansible_collections.clawops.openclaw.tests.selection import Selection, selected

EVERYTHING = Selection(selection.scenarios(), selection.files())
GATEWAY = ["attacks", "bad_input", "faults", "gateway", "hosts", "operations", "repair", "rotate"]

BUILT_ON_IT = ["backup", "mtls", "secrets", "site", "tuning"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(
            "roles/tuning/tasks/main.yml", Selection(["tuning"], ["secrets", "site", "tuning"]), id="a-role-alone"
        ),
        pytest.param(
            "roles/docker/meta/argument_specs.yml",
            Selection(["docker", "docker-distribution"], ["docker", "secrets", "site"]),
            id="a-role-with-a-variant",
        ),
        pytest.param(
            "plugins/module_utils/_checks/_mtls_plan.py",
            Selection(["mtls"], ["mtls", "secrets", "site"]),
            id="a-check-of-a-role",
        ),
        pytest.param(
            "molecule/tailscale/test_tailscale.py",
            Selection(["tailscale"], ["secrets", "site", "tailscale"]),
            id="a-scenario",
        ),
        pytest.param(
            "roles/gateway/tasks/run.yml",
            Selection(["backup", "gateway", "mtls", "tuning"], sorted([*GATEWAY, *BUILT_ON_IT])),
            id="a-role-that-others-build-on",
        ),
        pytest.param(
            "roles/nodejs/tasks/main.yml",
            Selection(["backup", "gateway", "mtls", "nodejs", "tuning"], sorted([*GATEWAY, *BUILT_ON_IT])),
            id="what-they-build-on",
        ),
        pytest.param("roles/common/tasks/apt_package.yml", EVERYTHING, id="common"),
        pytest.param("plugins/module_utils/_files.py", EVERYTHING, id="code-that-roles-share"),
        pytest.param("plugins/modules/file_set.py", EVERYTHING, id="a-module-that-roles-share"),
        pytest.param("playbooks/site.yml", EVERYTHING, id="a-playbook"),
        pytest.param("tests/e2e/lab.py", EVERYTHING, id="what-tests-share"),
        pytest.param("tests/lab/hosts.sh", EVERYTHING, id="the-lab"),
        pytest.param("requirements.txt", EVERYTHING, id="the-environment"),
        pytest.param("a-file-that-nobody-has-thought-of", EVERYTHING, id="what-is-unknown"),
        pytest.param("docs/tuning.md", Selection([], []), id="prose"),
        pytest.param("tests/unit/conftest.py", Selection([], []), id="unit-tests"),
    ],
)
def test_a_change_is_tried_by_what_it_could_break(path: str, expected: Selection) -> None:
    assert selected([path]) == expected


def test_several_changes_are_tried_by_all_that_each_could_break() -> None:
    both = selected(["roles/tuning/tasks/main.yml", "docs/tuning.md", "roles/tailscale/tasks/main.yml"])
    assert both == Selection(["tailscale", "tuning"], ["secrets", "site", "tailscale", "tuning"])


def test_every_role_has_a_scenario_and_end_to_end_tests() -> None:
    roles = set(selection.roles())
    assert {selection.role_of(name) for name in selection.scenarios()} == roles
    assert {role for role in roles if not selection.files_of(role)} == set(selection.WITHOUT_E2E)


def test_every_file_of_end_to_end_tests_is_a_roles_or_the_whole_plays_or_the_labs() -> None:
    known = {name for role in selection.roles() for name in selection.files_of(role)}
    assert set(selection.files()) == known | set(selection.ALWAYS) | set(selection.OF_THE_LAB)


@pytest.mark.parametrize(
    "name", [*selection.OF_THE_LAB, *(name for names in selection.RARE.values() for name in names)]
)
def test_a_second_file_of_a_role_is_for_the_full_matrix_only(name: str) -> None:
    """Runs of ansible-playbook are counted by file: a second file in `make test` would have a second budget."""
    tree = ast.parse((selection.ROOT / f"tests/e2e/test_{name}.py").read_text(encoding="utf-8"))
    marks = [
        ast.unparse(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    assert marks == ["pytest.mark.full"]
