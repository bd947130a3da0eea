#!/usr/bin/env python3
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image of a host with a healthy gateway, for tests whose subject is not the installation; prints its name.

Its name has a hash of what it is made by, so it is made again when a role, a module or a playbook has changed, and not
otherwise. With ``--new`` it is made in any case. There is never more than one.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / ".ansible/collections"))

import filelock

from ansible_collections.clawops.openclaw.tests.e2e import budget, lab

MADE_BY = ("playbooks", "plugins", "roles", "tests/lab/image")
HOST = "e2e-deployed"


def name() -> str:
    """What the image is called now."""
    files = (path for folder in MADE_BY for path in (lab.ROOT / folder).rglob("*") if path.is_file())
    known = hashlib.sha256()
    for path in sorted(file for file in files if "__pycache__" not in file.parts):
        known.update(f"{path.relative_to(lab.ROOT)}\n".encode() + path.read_bytes())
    return f"deployed-{known.hexdigest()[:12]}"


def others(wanted: str) -> list[str]:
    """The images of earlier states, by name."""
    tags = (tag for image in lab.engine().images.list(lab.LAB_NAME) for tag in image.tags)
    names = (tag.rpartition(":")[2] for tag in tags)
    return [each for each in names if each.startswith("deployed-") and each != wanted]


def ready(*, new: bool = False) -> str:
    """The image's name; it is there."""
    wanted = name()
    with filelock.FileLock(lab.CACHE / "locks/deployed-image"):
        if new or not lab.engine().images.list(f"{lab.LAB_NAME}:{wanted}"):
            make(wanted)
        if former := others(wanted):
            lab.lab("forget", *former)
    return wanted


def make(wanted: str) -> None:
    try:
        host = lab.up({HOST: "debian12"})[HOST]
        with budget.uncounted(), tempfile.TemporaryDirectory() as folder:
            run = lab.play("site", lab.inventory(Path(folder), {HOST: {}}))
        assert run.status == 0, run.output
        # Stopped in order, so that its databases are whole; it starts by itself with each new host.
        host.run(f"systemctl stop {lab.UNIT}")
        lab.lab("snapshot", HOST, wanted)
    finally:
        lab.down([HOST])


if __name__ == "__main__":
    print(ready(new="--new" in sys.argv))
