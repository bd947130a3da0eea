# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A role's interface is written once, in its specification; everything else agrees with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
ROLES = sorted(path.parent for path in ROOT.glob("roles/*/tasks"))
README_ROW = re.compile(r"^\| `(?P<name>\w+)` \|", re.MULTILINE)

Options = dict[str, dict[str, Any]]

every_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def entry_points(role: Path) -> dict[str, dict[str, Any]]:
    specification: dict[str, dict[str, Any]] = load(role / "meta/argument_specs.yml")["argument_specs"]
    return specification


def options(role: Path) -> Options:
    return {name: option for entry in entry_points(role).values() for name, option in entry.get("options", {}).items()}


def nested(options_: Options) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in options_.items():
        yield name, option
        yield from nested(option.get("options", {}))


def yaml_files() -> list[Path]:
    return sorted(path for folder in ("roles", "playbooks", "molecule") for path in (ROOT / folder).rglob("*.yml"))


def test_there_are_roles_to_look_at() -> None:
    assert ROLES


@every_role
def test_every_task_file_that_a_specification_names_exists(role: Path) -> None:
    assert [name for name in entry_points(role) if not (role / "tasks" / f"{name}.yml").is_file()] == []


@every_role
def test_every_entry_point_is_described(role: Path) -> None:
    for name, entry in entry_points(role).items():
        assert entry.get("short_description"), name
        assert entry.get("description"), name


@every_role
def test_every_option_has_the_prefix_of_its_role(role: Path) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role.name}_")] == []


@every_role
def test_every_option_and_key_has_a_type_and_a_description(role: Path) -> None:
    incomplete = [name for name, option in nested(options(role)) if not {"type", "description"} <= option.keys()]
    assert incomplete == []


@every_role
def test_every_list_says_what_it_is_a_list_of(role: Path) -> None:
    silent = [name for name, option in nested(options(role)) if option["type"] == "list" and "elements" not in option]
    assert silent == []


@every_role
def test_every_option_either_has_a_default_or_is_required(role: Path) -> None:
    undecided = [
        name for name, option in options(role).items() if ("default" in option) == option.get("required", False)
    ]
    assert undecided == []


@every_role
def test_defaults_are_those_of_the_specification(role: Path) -> None:
    specified = {name: option["default"] for name, option in options(role).items() if "default" in option}
    path = role / "defaults/main.yml"
    assert (load(path) if path.exists() else {}) == specified, "run `make docs`"


@every_role
def test_an_option_that_two_entry_points_share_has_one_default(role: Path) -> None:
    defaults: dict[str, Any] = {}
    for entry in entry_points(role).values():
        for name, option in entry.get("options", {}).items():
            assert defaults.setdefault(name, option.get("default")) == option.get("default"), name


@every_role
def test_the_readme_lists_exactly_the_options_and_their_keys(role: Path) -> None:
    listed = README_ROW.findall((role / "README.md").read_text(encoding="utf-8"))
    specified = [name for entry in entry_points(role).values() for name, _ in nested(entry.get("options", {}))]
    assert sorted(listed) == sorted(specified), "run `make docs`"


@every_role
def test_private_variables_carry_two_underscores_and_the_role(role: Path) -> None:
    names = [name for path in role.glob("vars/**/*.yml") for name in load(path)]
    assert [name for name in names if not name.startswith(f"__{role.name}_")] == []


@every_role
def test_the_metadata_is_complete(role: Path) -> None:
    metadata = load(role / "meta/main.yml")
    information = metadata["galaxy_info"]
    missing = {"author", "description", "license", "min_ansible_version", "platforms"} - information.keys()
    assert missing == set()
    assert {platform["name"] for platform in information["platforms"]} == {"Debian", "Ubuntu"}
    assert metadata["dependencies"] == []


@pytest.mark.parametrize("path", yaml_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_entry_points_are_called_by_bare_name(path: Path) -> None:
    # With the extension Ansible runs the same file, but never validates its arguments.
    calls = re.findall(r"tasks_from:\s*\S+\.ya?ml\b", path.read_text(encoding="utf-8"))
    assert calls == []


def test_what_site_yml_does_not_validate_with_a_role_its_preflight_has_validated() -> None:
    (play,) = load(ROOT / "playbooks/site.yml")
    imports = [
        task.get("ansible.builtin.import_role") or task.get("ansible.builtin.include_role")
        for task in play["pre_tasks"] + play["tasks"]
    ]
    looked_at = {each["name"] for each in imports if each.get("tasks_from") == "preflight"}
    trusted = {each["name"] for each in imports if not each.get("rolespec_validate", True)}
    assert trusted
    assert trusted <= looked_at
    for name in trusted:
        entries = entry_points(ROOT / "roles" / name.rpartition(".")[2])
        assert entries["main"]["options"] == entries["preflight"]["options"], name
