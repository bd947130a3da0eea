# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A role's interface is written once, in its specification; everything else agrees with it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.clawops.openclaw.plugins.module_utils import _checks

ROOT = Path(__file__).parents[3]
ROLES = sorted(path.parent for path in ROOT.glob("roles/*/tasks"))
NAMES = [role.name for role in ROLES]
# All but the one that has no life of its own.
USED = [role for role in ROLES if role.name != "common"]
COMMON = ROOT / "roles/common"
SITE = ROOT / "playbooks/site.yml"
# What a role may have to do on a host, in this order.
PHASES = ("install", "issue", "join", "configure", "kernel", "swap", "image", "run", "check", "remove", "hand_over")
README_ROW = re.compile(r"^\| `(?P<name>\w+)` \|", re.MULTILINE)

Options = dict[str, dict[str, Any]]

every_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
every_used_role = pytest.mark.parametrize("role", USED, ids=lambda role: role.name)


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


def variables(role: Path) -> dict[str, Any]:
    return {name: value for path in sorted(role.glob("vars/**/*.yml")) for name, value in load(path).items()}


def is_of(name: str, role: Path) -> bool:
    """Whether a name is one of this role's, private or public."""
    return re.fullmatch(rf"(__)?{role.name}_\w+", name) is not None


def flatten(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from flatten(task.get(part) or [])


def tasks(role: Path) -> list[dict[str, Any]]:
    return [task for path in sorted(role.glob("tasks/*.yml")) for task in flatten(load(path) or [])]


def included(task: dict[str, Any]) -> dict[str, Any]:
    """What a task takes of another role, or of its own."""
    return task.get("ansible.builtin.import_role") or task.get("ansible.builtin.include_role") or {}


def short(name: str) -> str:
    return name.rpartition(".")[2]


def test_there_are_roles_to_look_at() -> None:
    assert len(USED) > 5
    # Other roles are found by the endings of their variables' names: ^[a-z]+_summary$ and the like.
    assert [name for name in NAMES if not re.fullmatch("[a-z]+", name)] == []


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
def test_derived_variables_carry_the_role_and_private_ones_two_underscores(role: Path) -> None:
    assert [name for name in variables(role) if not is_of(name, role)] == []
    assert [name for name in variables(role) if name in options(role) and role != COMMON] == [], "an option, too"


@every_role
def test_whatever_a_task_keeps_carries_the_role(role: Path) -> None:
    kept = [
        name
        for task in tasks(role)
        for name in (
            task.get("register"),
            (task.get("loop_control") or {}).get("loop_var"),
            *(task.get("ansible.builtin.set_fact") or {}),
        )
        if name and name != "cacheable"
    ]
    assert [name for name in kept if not is_of(name, role)] == []


@every_role
def test_what_a_task_is_given_is_the_roles_own_or_that_of_the_role_that_it_calls(role: Path) -> None:
    for task in tasks(role):
        called = ROOT / "roles" / short(included(task).get("name", role.name))
        strange = [name for name in task.get("vars") or {} if not is_of(name, role) and name not in options(called)]
        assert strange == [], task["name"]


@every_used_role
def test_the_readme_tells_what_the_role_gives_to_others(role: Path) -> None:
    text = (role / "README.md").read_text(encoding="utf-8")
    given = [name for name in variables(role) if not name.startswith("__")]
    assert f"{role.name}_checks" in given
    assert [name for name in given if f"`{name}`" not in text] == []


def test_the_variables_of_common_are_specified() -> None:
    public = {name for name in variables(COMMON) if not name.startswith("__")}
    assert public - options(COMMON).keys() == {"common_checks"}


@every_role
def test_every_entry_point_does_something(role: Path) -> None:
    assert [name for name in entry_points(role) if not load(role / f"tasks/{name}.yml")] == []


@every_role
def test_the_metadata_is_complete(role: Path) -> None:
    metadata = load(role / "meta/main.yml")
    information = metadata["galaxy_info"]
    missing = {"author", "description", "license", "min_ansible_version", "platforms"} - information.keys()
    assert missing == set()
    assert {platform["name"] for platform in information["platforms"]} == {"Debian", "Ubuntu"}
    # Names that several roles use are variables of that one.
    dependencies = [] if role == COMMON else [{"role": "clawops.openclaw.common"}]
    assert metadata["dependencies"] == dependencies


def test_the_role_that_others_depend_on_does_nothing_by_itself() -> None:
    assert not (COMMON / "tasks/main.yml").exists()


# ---- one face ------------------------------------------------------------------------------------------

FACE = """\
---
- name: Preflight
  ansible.builtin.include_role:
    name: clawops.openclaw.common
    tasks_from: preflight
  vars: {{common_preflight_roles: [{role}]}}
  when: not common_preflight_done | bool
# Ansible forks for every task, even a skipped one: a role with nothing to do costs one for all its phases, and one phase no other.
- name: {name}
  ansible.builtin.include_tasks:
    file: "{{{{ {phases}[0] if {phases} | length == 1 else 'phases' }}}}.yml"
  when: {phases} | length > 0
"""


@every_used_role
def test_every_role_has_the_same_face(role: Path) -> None:
    text = (role / "tasks/main.yml").read_text(encoding="utf-8")
    name = load(role / "tasks/main.yml")[-1]["name"]
    # Where nothing is to be added to what the check says, it is read as it is.
    phases = [f"__{role.name}_phases", f"__{role.name}_found['due']['phases']"]
    assert text in [FACE.format(role=role.name, name=name, phases=each) for each in phases]


@every_used_role
def test_the_phases_of_a_role_are_included_one_by_one_in_the_order_of_all_roles(role: Path) -> None:
    # Not in a loop over the phases of a host: Ansible includes in the order in which the first host of the play names them.
    tasks = load(role / "tasks/phases.yml")
    files = [task["ansible.builtin.include_tasks"] for task in tasks]
    assert files == [f"{phase}.yml" for phase in PHASES if (role / f"tasks/{phase}.yml").exists()]
    for task, file in zip(tasks, files, strict=True):
        phase = file.removesuffix(".yml")
        phases = [f"__{role.name}_phases", f"__{role.name}_found['due']['phases']"]
        assert task["when"] in [f"'{phase}' in {each}" for each in phases]
        assert "loop" not in task


def check_sources(role: Path) -> list[ast.Module]:
    """The Python files of a role's check."""
    folder = ROOT / "plugins/module_utils/_checks"
    paths = [folder / f"{role.name}.py", *folder.glob(f"_{role.name}_*.py")]
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def phases_named(role: Path) -> set[str]:
    """The phases that the role's check or its variables name, in lists and tuples."""
    named = set()
    for source in check_sources(role):
        for node in ast.walk(source):
            if isinstance(node, ast.List | ast.Tuple):
                named |= {each.value for each in node.elts if isinstance(each, ast.Constant)}
    expressions = [str(value) for name, value in variables(role).items() if name.startswith(f"__{role.name}_phases")]
    for each in expressions:
        named |= {word for words in re.findall(r"\[([^\]]*)\]", each) for word in re.findall(r"'(\w+)'", words)}
    return {name for name in named if isinstance(name, str) and name in PHASES}


@every_used_role
def test_every_phase_has_its_task_file_and_no_file_of_a_phase_is_left_over(role: Path) -> None:
    there = {path.stem for path in role.glob("tasks/*.yml")}
    assert phases_named(role) == there & {*PHASES}
    # A second level that opens it all again.
    assert there & {"manage", "present", "preflight", "names"} == set()


# ---- between roles -------------------------------------------------------------------------------------


def test_the_gateway_names_no_other_role() -> None:
    others = [role for role in USED if role.name != "gateway"]
    names = {name for role in others for name in (*options(role), *variables(role), f"clawops.openclaw.{role.name}")}
    paths = [
        path for folder in ("tasks", "vars", "templates") for path in (ROOT / "roles/gateway" / folder).rglob("*.*")
    ]
    words = {word for path in paths for word in re.findall(r"[\w.]+", path.read_text(encoding="utf-8"))}
    assert words & names == set()


def test_no_option_is_given_by_two_roles() -> None:
    # One specification is made of all of them.
    mains = [entry_points(role)["main"].get("options", {}).keys() for role in USED]
    assert len({name for names in mains for name in names}) == sum(map(len, mains))


@pytest.mark.parametrize("path", yaml_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_entry_points_are_called_by_bare_name(path: Path) -> None:
    # With the extension Ansible runs the same file, but never validates its arguments.
    calls = re.findall(r"tasks_from:\s*\S+\.ya?ml\b", path.read_text(encoding="utf-8"))
    assert calls == []


# ---- site.yml ------------------------------------------------------------------------------------------


def site_tasks(*parts: str) -> list[dict[str, Any]]:
    (play,) = load(SITE)
    return list(
        flatten([task for part in parts or ("pre_tasks", "tasks", "post_tasks") for task in play.get(part, [])])
    )


def checked_by_site() -> list[str]:
    """The roles whose checks run before the first role."""
    [preflight] = [task for task in site_tasks("pre_tasks") if included(task).get("tasks_from") == "preflight"]
    assert included(preflight)["name"] == "clawops.openclaw.common"
    roles: list[str] = preflight["vars"]["common_preflight_roles"]
    return roles


def imported_by_site() -> list[str]:
    return list(dict.fromkeys(short(included(task)["name"]) for task in site_tasks("tasks") if included(task)))


def test_site_yml_fits_a_screen() -> None:
    assert len(SITE.read_text(encoding="utf-8").splitlines()) <= 60


def test_site_yml_checks_each_role_that_it_imports_before_the_first_of_them() -> None:
    assert sorted(checked_by_site()) == sorted(imported_by_site())
    (play,) = load(SITE)
    assert play["vars"]["common_preflight_done"] is True
    assert included(play["pre_tasks"][0])["tasks_from"] == "preflight"
    assert play["pre_tasks"][0]["tags"] == ["always"]


def test_site_yml_has_every_role_under_the_tag_of_its_name() -> None:
    assert sorted(imported_by_site()) == [role.name for role in USED]
    for task in site_tasks("tasks"):
        assert task["tags"] == [short(included(task)["name"])]


def test_what_site_yml_does_not_validate_with_a_role_its_preflight_has_validated() -> None:
    trusted = {
        short(included(task)["name"]) for task in site_tasks() if not included(task).get("rolespec_validate", True)
    }
    assert trusted
    assert trusted - {"common"} <= {*checked_by_site()}
    # That of a single role is validated by Ansible itself.
    assert len(checked_by_site()) > 1
    assert all("main" in entry_points(ROOT / "roles" / name) for name in checked_by_site())


def parameters(role: Path) -> dict[str, Any]:
    """What a role gives to its check, where it has one to run."""
    derived = variables(role)
    given = derived[f"{role.name}_checks"]
    while isinstance(given, str):
        [name] = {*re.findall(rf"__{role.name}_\w+", given)} & derived.keys()
        given = derived[name]
    values: dict[str, Any] = given
    return values


def test_every_role_has_a_check_and_every_check_a_role() -> None:
    assert sorted(_checks.ROLES) == NAMES


@every_role
def test_a_check_is_given_its_own_options_and_all_that_it_requires(role: Path) -> None:
    taken = _checks.ROLES[role.name].OPTIONS
    given = parameters(role).keys()
    assert given - taken.keys() == set()
    assert {name for name, option in taken.items() if option.get("required")} - given == set()


@every_used_role
def test_a_role_that_is_not_managed_is_not_looked_at(role: Path) -> None:
    unmanaged = "unmanaged" in options(role)[f"{role.name}_state"].get("choices", [])
    given = variables(role)[f"{role.name}_checks"]
    # An expression that is empty then; elsewhere the parameters themselves.
    assert isinstance(given, str) is unmanaged
    if unmanaged:
        assert "{}" in given
        assert f"{role.name}_state" in given
