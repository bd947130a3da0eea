# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many runs of ansible-playbook `make test` may spend on a subject, and how many it has spent.

A subject is a file of tests: ``test_tuning.py`` is the role tuning's. A role has four runs: it works, nothing changes or a
change is put back, a bad value is refused, it goes again. What needs more is marked ``full`` and runs in `make test-all`,
where nothing is counted against anybody.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

FOR_A_ROLE = 4
# The whole play, on the distributions of this run: a prediction, the deployment, again, a prediction again, the verdict,
# the end.
FOR = {"site": 6}
# The folder in which the processes of a run of tests count, a file for each subject. Unset where nothing is to be counted.
FOLDER = "CLAWOPS_RUNS"
# Set where the limit holds.
ENFORCED = "CLAWOPS_RUNS_ENFORCED"


class TooManyRunsError(AssertionError):
    """The gate has no more runs for a subject."""


def limit(subject: str) -> int:
    return FOR.get(subject, FOR_A_ROLE)


def subject() -> str:
    """Whose run it is, by the test that pytest says it is in; fixtures are their first test's."""
    file = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0]
    return Path(file).stem.removeprefix("test_")


def spend() -> None:
    """Count a run, and refuse it where there is none left."""
    folder, whose = os.environ.get(FOLDER), subject()
    if not folder or not whose:
        return
    with Path(folder, whose).open("a", encoding="utf-8") as file:
        file.write(os.environ["PYTEST_CURRENT_TEST"] + "\n")
    if os.environ.get(ENFORCED) and (spent := spent_in(Path(folder))[whose]) > limit(whose):
        raise TooManyRunsError(
            f"{whose}: this would be run {spent} of ansible-playbook in `make test`, which has {limit(whose)} for it."
            " Look at what an earlier run has done, show it in a unit test, or mark the test `full`."
        )


@contextlib.contextmanager
def uncounted() -> Iterator[None]:
    """What is made in the block serves all subjects, and is nobody's."""
    folder = os.environ.pop(FOLDER, None)
    try:
        yield
    finally:
        if folder is not None:
            os.environ[FOLDER] = folder


def spent_in(folder: Path) -> Counter[str]:
    """The runs of each subject."""
    return Counter({path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in folder.iterdir()})
