# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The budget of runs of ansible-playbook: counted by file of tests, and enforced where the gate runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import budget

Spend = Callable[..., None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of tests that counts and enforces."""
    monkeypatch.setenv(budget.FOLDER, str(tmp_path))
    monkeypatch.setenv(budget.ENFORCED, "1")
    return tmp_path


@pytest.fixture
def spend(monkeypatch: pytest.MonkeyPatch) -> Spend:
    """Runs of a test in this file; pytest itself sets the variable anew for each step of a test."""

    def spend(name: str, runs: int = 1) -> None:
        monkeypatch.setenv("PYTEST_CURRENT_TEST", f"tests/e2e/test_{name}.py::test_of_a_limit (call)")
        for _ in range(runs):
            budget.spend()

    return spend


def test_a_role_has_four_runs_and_the_fifth_fails_the_test_that_makes_it(spend: Spend) -> None:
    spend("tuning", 4)
    with pytest.raises(budget.TooManyRunsError, match=r"tuning: this would be run 5 .* which has 4 for it"):
        spend("tuning")


def test_each_file_of_tests_has_a_budget_of_its_own(folder: Path, spend: Spend) -> None:
    spend("tuning", 4)
    spend("site")
    assert budget.spent_in(folder) == {"tuning": 4, "site": 1}


def test_the_full_matrix_is_counted_and_not_limited(
    folder: Path, spend: Spend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(budget.ENFORCED)
    spend("tuning", 9)
    assert budget.spent_in(folder) == {"tuning": 9}


def test_what_serves_all_subjects_is_nobodys(folder: Path) -> None:
    with budget.uncounted():
        budget.spend()
    assert budget.spent_in(folder) == {}


def test_nothing_is_counted_where_nobody_asked_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(budget.FOLDER)
    budget.spend()
    assert list(folder.iterdir()) == []


def test_only_the_whole_play_has_more_than_a_role() -> None:
    assert {name: count for name, count in budget.FOR.items() if count > budget.FOR_A_ROLE} == {"site": 6}
