# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the end-to-end tests share. `make e2e` prepares the lab before pytest starts."""

from __future__ import annotations

import contextlib
import os
import typing as t
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest

from ansible_collections.clawops.openclaw.tests.e2e import lab

# The files that take longest, the full matrix taken.
LONGEST_FIRST = ("test_faults", "test_site")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin the longest files first, so that the processes end together: a file is not divided among them."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def deployed_image(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> str:
    """An image of a host with a healthy gateway, for tests whose subject is not the installation.

    Of the processes that share a run's tests, the first one makes it. Whoever writes a test saves the minutes of this with
    an image of an earlier run: CLAWOPS_E2E_IMAGE=e2e-golden.
    """
    if kept := os.environ.get("CLAWOPS_E2E_IMAGE"):
        return kept
    made = tmp_path_factory.getbasetemp().parent / f"e2e-golden-{testrun_uid}"
    with filelock.FileLock(f"{made}.lock"):
        if not made.exists():
            make_image("e2e-golden", tmp_path_factory.mktemp("golden"))
            made.touch()
    return "e2e-golden"


def make_image(name: str, folder: Path) -> None:
    lab.up({name: "debian12"})
    where = lab.inventory(folder, {name: {}})
    run = lab.play("site", where)
    assert run.status == 0, run.output
    # Stopped in order, so that its databases are whole; it starts by itself with each new host.
    lab.Host(name).run(f"systemctl stop {lab.UNIT}")
    lab.lab("snapshot", name, name)
    lab.down([name])


class Gateway(t.NamedTuple):
    """A host with a gateway that serves, and the inventory that made it so."""

    host: lab.Host
    where: t.Any


def wait_until_serving(host: lab.Host, seconds: int = 240) -> None:
    """Wait until the gateway has started."""
    host.run(f"timeout {seconds} bash -c 'until curl -sf -m 5 http://127.0.0.1:18789/startupz; do sleep 0.5; done'")


@contextlib.contextmanager
def gateways(image: str, folders: pytest.TempPathFactory) -> Iterator[t.Callable[..., Gateway]]:
    """Start hosts with a serving gateway; they are thrown away after the block."""
    names: list[str] = []

    def start(name: str, **variables: t.Any) -> Gateway:
        names.append(name)
        host = lab.up({name: image})[name]
        wait_until_serving(host)
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
