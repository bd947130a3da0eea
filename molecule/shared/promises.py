# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of all scenarios share: the promises of the scenario that runs, and a prediction by Ansible."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

SHARED = Path(__file__).parent
# Only Molecule says which scenario runs.
SCENARIO = Path(os.environ.get("MOLECULE_SCENARIO_DIRECTORY", SHARED.parent / "nodejs"))


def promised(kind: str) -> list[Any]:
    """A kind of things that the role leaves on the host by expected.yml, as parameters of a test; none is none."""
    rows = yaml.safe_load((SCENARIO / "expected.yml").read_text(encoding="utf-8")).get(kind, [])
    none = pytest.param(None, id="none", marks=pytest.mark.skip(f"{SCENARIO.name} promises no {kind}"))
    return [pytest.param(row, id=row["path"] if isinstance(row, dict) else row) for row in rows] or [none]


def predicted_changes(playbook: str) -> list[int]:
    """How many changes each host would have by a playbook in check mode."""
    inventory = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
    done = subprocess.run(
        ["ansible-playbook", "--check", "--diff", f"--inventory={inventory}", str(SHARED / playbook)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [int(count) for count in re.findall(r"changed=(\d+)", done.stdout)]
