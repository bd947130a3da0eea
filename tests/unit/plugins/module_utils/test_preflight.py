# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks of several roles over one look at the host."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _checks, _preflight
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import Finding, OpenClawError, Several
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host

SECRET = "swordfish-97531"
OPTIONS: dict[str, Any] = {
    "size": {"type": "int", "default": 1},
    "errors": {"type": "list", "elements": "str", "default": []},
    "warnings": {"type": "list", "elements": "str", "default": []},
    "raises": {"type": "list", "elements": "str", "default": []},
    "token": {"type": "str", "no_log": True},
    "inner": {
        "type": "dict",
        "options": {"secrets": {"type": "dict", "no_log": True}, "mode": {"choices": ["a", "b"]}},
    },
}
Add = Callable[..., types.SimpleNamespace]


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Add:
    """Add a role with a check that finds what its parameters say; parts of it may be given."""
    roles: dict[str, Any] = {}
    monkeypatch.setattr(_checks, "ROLES", roles)

    def add(name: str, **parts: Any) -> types.SimpleNamespace:
        def look(_host: Host, params: dict[str, Any]) -> dict[str, Any]:
            errors = [OpenClawError(text, "it is raised", "Do.") for text in params["raises"]]
            if len(errors) > 1:
                raise Several("Several", "are raised", "Do:", errors)
            for error in errors:
                raise error
            return {"size": params["size"], "_kept": SECRET}

        def judge(params: dict[str, Any], seen: dict[str, Any]) -> tuple[list[OpenClawError], list[OpenClawError]]:
            assert seen["_kept"] == SECRET
            return [*map(Finding, params["errors"])], [*map(Finding, params["warnings"])]

        usual = {"OPTIONS": OPTIONS, "look": look, "judge": judge, "due": lambda _params, seen: {"size": seen["size"]}}
        roles[name] = types.SimpleNamespace(**{**usual, **parts})
        check: types.SimpleNamespace = roles[name]
        return check

    return add


def test_what_cannot_be_looked_at_is_a_finding_and_hides_nothing_of_other_roles(add: Add) -> None:
    def look(_host: Host, _params: dict[str, Any]) -> dict[str, Any]:
        raise PermissionError(13, "Permission denied", "/var/lib/openclaw/main/workspace")

    add("one", look=look)
    add("two")
    answer = _preflight.run({"one": {}, "two": {"errors": ["b: is wrong. Do."]}}, Host())
    assert answer.errors == [
        "/var/lib/openclaw/main/workspace: cannot be looked at: Permission denied."
        " Where something is mounted there, take it away: umount --lazy /var/lib/openclaw/main/workspace",
        "b: is wrong. Do.",
    ]


def test_what_roles_find_is_told_by_their_names_with_what_is_due(add: Add) -> None:
    for name in ("one", "two", "three"):
        add(name)
    answer = _preflight.run({"two": {}, "one": {"size": "5"}}, Host())
    assert list(answer.found) == ["one", "two"], "not in the order of the roles"
    assert answer == ({"one": {"size": 5, "due": {"size": 5}}, "two": {"size": 1, "due": {"size": 1}}}, [], [])


def test_a_finding_of_one_role_hides_none_of_another(add: Add) -> None:
    for name in ("raising", "several", "judging", "wrong", "fine"):
        add(name)
    answer = _preflight.run(
        {
            "fine": {"warnings": ["slow: it is. Wait."]},
            "wrong": {"size": "big", "errors": ["not: asked. For."]},
            "judging": {"errors": ["a: b. C.", "d: e. F."], "warnings": ["g: h. I."]},
            "several": {"raises": ["x", "y"]},
            "raising": {"raises": ["z"]},
            "nobody": {},
        },
        Host(),
    )
    wrong, *errors = answer.errors[1:]
    assert answer.errors[0] == "nobody: no role with checks has this name. Correct the name in the playbook."
    assert wrong.startswith("wrong: argument 'size' is of type ")
    raised = [f"{name}: it is raised. Do." for name in ("z", "x", "y")]
    assert errors == [*raised, "a: b. C.", "d: e. F."]
    assert answer.warnings == ["g: h. I.", "slow: it is. Wait."]
    assert {name: "due" in found for name, found in answer.found.items()} == {"judging": False, "fine": True}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": "big"}, "argument 'size' is of type str and we were unable to convert to int"),
        ({"inner": {"mode": "c"}}, "value of mode must be one of: a, b, got: c found in inner"),
        ({"unheard": 1}, "unheard. Supported parameters include: errors, inner, raises"),
    ],
    ids=["type", "choice", "name"],
)
def test_parameters_of_another_form_are_told_by_role(add: Add, given: dict[str, Any], words: str) -> None:
    add("one", look=lambda *_: pytest.fail("it looked all the same"))
    [error] = _preflight.run({"one": given}, Host()).errors
    assert error.startswith("one: ")
    assert words in error.replace("<class 'str'>", "str").replace("<class 'int'>", "int")
    assert error.endswith(".")


def test_what_an_earlier_look_found_is_kept_and_replaced_by_role(add: Add) -> None:
    for name in ("one", "two"):
        add(name)
    known = {"one": {"size": 7, "due": {"size": 7}}, "two": {"size": 8, "more": True, "due": {}}}
    found = _preflight.run({"two": {"size": 9}}, Host(found=known)).found
    assert found == {"one": {"size": 7, "due": {"size": 7}}, "two": {"size": 9, "due": {"size": 9}}}
    assert known["two"] == {"size": 8, "more": True, "due": {}}, "it is the caller's"
    assert list(found) == ["one", "two"]


def test_a_later_role_reads_what_an_earlier_one_has_found(add: Add) -> None:
    add("one")
    add("two", look=lambda host, _params: {"of_one": host.found["one"], "_kept": SECRET}, due=lambda *_: {})
    found = _preflight.run({"two": {}, "one": {"size": 3}}, Host()).found
    assert found["two"]["of_one"] == {"size": 3}, "all that does not stay on the host, before anything is judged"


def test_a_role_concludes_when_all_have_looked_and_before_it_judges(add: Add) -> None:
    order = []

    def conclude(host: Host, params: dict[str, Any], seen: dict[str, Any]) -> None:
        order.append("conclude")
        seen["size"] += host.found["two"]["size"] + params["size"]
        seen["_private"] = SECRET

    def judge(_params: dict[str, Any], seen: dict[str, Any]) -> tuple[list[OpenClawError], list[OpenClawError]]:
        order.append(f"judge {seen['size']}")
        return [], []

    add("one", conclude=conclude, judge=judge)
    add("two")
    found = _preflight.run({"one": {"size": 1}, "two": {"size": 40}}, Host()).found
    assert (found["one"], order) == ({"size": 42, "due": {"size": 42}}, ["conclude", "judge 42"])


def test_a_role_that_could_not_look_concludes_nothing(add: Add) -> None:
    add("one", conclude=lambda *_: pytest.fail("it concluded"))
    assert _preflight.run({"one": {"raises": ["x"]}}, Host()).errors == ["x: it is raised. Do."]


def test_what_is_private_to_a_check_stays_on_the_host(add: Add) -> None:
    add("one")
    for params in ({}, {"errors": ["a: b. C."]}):
        assert SECRET not in str(_preflight.run({"one": params}, Host()))


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"token": SECRET}, id="a-text"),
        pytest.param({"inner": {"secrets": {"NAME": SECRET}}}, id="below"),
        pytest.param({"inner": {"secrets": SECRET}}, id="of-another-type"),
        pytest.param({"token": SECRET, "size": SECRET}, id="in-another-parameter-too"),
        pytest.param({"token": "pw1", "inner": {"mode": "pw1"}}, id="a-short-one"),
    ],
)
def test_what_is_not_to_be_logged_is_in_no_finding(add: Add, given: dict[str, Any]) -> None:
    add("one")
    words = [f"{secret}: it is {secret}. Take {secret} away." for secret in (SECRET, "pw1") if secret in str(given)]
    answer = _preflight.run({"one": {**given, "errors": words, "warnings": words}}, Host())
    told = [*answer.errors, *answer.warnings]
    assert told
    assert not any(secret in text for text in told for secret in (SECRET, "pw1"))


def test_the_secrets_of_one_role_mask_nothing_of_another(add: Add) -> None:
    add("one")
    add("two")
    answer = _preflight.run({"one": {"token": "vps1"}, "two": {"errors": ["vps1: it is full. Clean."]}}, Host())
    assert answer.errors == ["vps1: it is full. Clean."]


def test_every_check_has_what_a_check_has() -> None:
    for name, check in _checks.ROLES.items():
        assert isinstance(check.OPTIONS, dict), name
        for function in ("look", "judge", "due"):
            assert callable(getattr(check, function)), (name, function)
