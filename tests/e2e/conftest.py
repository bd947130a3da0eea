# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the end-to-end tests share. `make e2e` prepares the lab before pytest starts."""

from __future__ import annotations

import contextlib
import os
import tempfile
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import budget, image, lab

# The files that take longest.
LONGEST_FIRST = ("test_faults", "test_site", "test_tailscale", "test_gateway", "test_docker", "test_tuning")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count the runs of ansible-playbook; the processes that share the tests inherit where."""
    if not hasattr(config, "workerinput"):
        os.environ[budget.FOLDER] = tempfile.mkdtemp(prefix="clawops-runs-")
        if config.option.markexpr == "not full":
            os.environ[budget.ENFORCED] = "1"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if spent := budget.spent_in(Path(os.environ[budget.FOLDER])):
        terminalreporter.section("runs of ansible-playbook")
        of = (lambda subject: f" of {budget.limit(subject)}") if os.environ.get(budget.ENFORCED) else lambda _: ""
        for subject, count in sorted(spent.items()):
            terminalreporter.line(f"{subject:12} {count:3}{of(subject)}")
        terminalreporter.line(f"{'together':12} {spent.total():3}")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        folder = Path(os.environ.pop(budget.FOLDER))
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin the longest files first, so that the processes end together: a file is not divided among them."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def deployed_image() -> str:
    """An image of a host with a healthy gateway; whoever needs it first makes it, unless `make test` has."""
    return image.ready()


class Gateway(t.NamedTuple):
    """A host with a gateway that serves, and the inventory that made it so."""

    host: lab.Host
    where: Path


@contextlib.contextmanager
def gateways(from_image: str, folders: pytest.TempPathFactory) -> Iterator[t.Callable[..., Gateway]]:
    """Start hosts with a serving gateway; they are thrown away after the block."""
    names: list[str] = []

    def start(name: str, **variables: t.Any) -> Gateway:
        names.append(name)
        host = lab.up({name: from_image})[name]
        host.wait_until_serving()
        return Gateway(host, lab.inventory(folders.mktemp(name), {name: {}}, **variables))

    try:
        yield start
    finally:
        if names:
            lab.down(names)


@pytest.fixture
def start_gateway(deployed_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[t.Callable[..., Gateway]]:
    """Start hosts with a serving gateway: ``start_gateway("name")``; they are thrown away after the test."""
    with gateways(deployed_image, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared_gateway(
    deployed_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[t.Callable[..., Gateway]]:
    """The same for hosts that the tests of one module share."""
    with gateways(deployed_image, tmp_path_factory) as start:
        yield start
