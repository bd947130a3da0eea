# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab itself: what a run makes, it removes."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import lab

pytestmark = pytest.mark.full
TAG = "e2e-snapshot"


def images() -> list[t.Any]:
    """The snapshots of this test, those without a name too."""
    return t.cast(list[t.Any], lab.engine().images.list(filters={"label": f"{lab.LAB_NAME}.snapshot={TAG}"}))


def test_a_snapshot_replaces_the_former_one_and_goes_with_its_last_host() -> None:
    names = ["lab-source", "lab-copy"]
    try:
        source = lab.up({"lab-source": "debian12"})["lab-source"]
        for _ in range(2):
            lab.lab("snapshot", "lab-source", TAG)
            assert len(images()) == 1
        copy = lab.up({"lab-copy": TAG})["lab-copy"]
        lab.lab("snapshot", "lab-source", TAG)
        assert len(images()) == 2, "a host runs on the former one"
        lab.lab("forget", TAG)
        assert len(images()) == 1
        copy.reboot()
        volumes = {each["Name"] for host in (source, copy) for each in host.container.attrs["Mounts"] if "Name" in each}
        assert volumes
    finally:
        lab.down(names)
        lab.lab("forget", TAG)
    assert images() == []
    assert volumes & {each.name for each in lab.engine().volumes.list()} == set()


@pytest.mark.parametrize("command", ["ready", "up"])
def test_a_vendor_that_the_mirror_does_not_know_is_refused(command: str) -> None:
    with pytest.raises(AssertionError, match=r"vendor nobody: the mirror has no recipe of that name\."):
        lab.lab(command, "--vendors", "docker,nobody", "lab-source", "debian12")
