# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that print without end, do not end, or leave others behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _bounded


def run(program: str, text: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    return _bounded.run([sys.executable, "-c", program], text, **{"seconds": 20, "limit": 1000, **options})


def test_what_a_program_reads_prints_and_ends_with_is_told() -> None:
    done = run("import sys; t = sys.stdin.read(); print(t.upper()); print('e', file=sys.stderr); sys.exit(3)", "aä")
    assert (done.returncode, done.stdout, done.stderr) == (3, "AÄ\n", "e\n")


def test_a_long_text_is_read_by_a_program_that_prints_first() -> None:
    program = "import sys; print('x' * 300000); print(len(sys.stdin.read()), file=sys.stderr)"
    assert run(program, "y" * 300000).stderr == "300000\n"


def test_what_is_printed_without_end_is_dropped() -> None:
    done = run("import sys; [sys.stdout.write('x' * 100000) for _ in range(300)]; sys.exit(4)")
    assert (len(done.stdout), done.returncode) == (1000, 4)


def test_a_program_that_prints_for_ever_is_ended() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run("while True: print('x' * 1000)", seconds=0.5)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("import time; time.sleep(60)", id="waits"),
        pytest.param("import os, time; os.close(1); os.close(2); time.sleep(60)", id="closes-its-output-and-waits"),
        pytest.param("import os, time; os.fork() or time.sleep(60)", id="leaves-another-that-keeps-its-output"),
        pytest.param(
            "import os, time; os.fork() or (os.setsid(), time.sleep(60))", id="leaves-one-that-changed-its-session"
        ),
    ],
)
def test_nothing_keeps_the_caller_waiting(program: str) -> None:
    begun = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        run(program, seconds=0.5)
    assert time.monotonic() - begun < 10


def test_what_a_program_has_started_ends_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = f"""
import os, subprocess, sys
child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
open({str(note)!r}, "w").write(str(child.pid))
"""
    assert run(program).returncode == 0
    pid = int(note.read_text())
    for _ in range(100):
        # Where nobody asks for it, its number stays, and nothing of it runs.
        if not os.path.exists(f"/proc/{pid}") or "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]:
            return
        time.sleep(0.05)
    pytest.fail("it goes on")


def test_a_program_has_no_terminal() -> None:
    assert run("import os; print(os.getsid(0) == os.getpid())").stdout == "True\n"
