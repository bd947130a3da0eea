# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module gateway_account through its real arguments, with real processes of an account that is made up."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _account
from ansible_collections.clawops.openclaw.plugins.modules import gateway_account

UID, NAME = 54322, "clawops-nobody"
Module = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a program under another account")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data of a gateway whose account exists, with a job for later."""
    entry = pwd.struct_passwd((NAME, "x", UID, UID, "", str(tmp_path / "data"), "/usr/sbin/nologin"))
    real = pwd.getpwnam
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entry if name == NAME else real(name))
    monkeypatch.setattr(_account, "_NAMED", (f"{tmp_path}/crontabs/{{}}",))
    monkeypatch.setattr(_account, "_SHARED", (str(tmp_path / "tmp"),))
    for folder in ("data", "crontabs", "tmp"):
        (tmp_path / folder).mkdir()
    (tmp_path / "data/openclaw.json").touch()
    (tmp_path / "crontabs" / NAME).write_text("@reboot touch /tmp/back\n")
    (tmp_path / "crontabs/root").touch()
    return tmp_path / "data"


@pytest.fixture
def run(run_module: Module, data: Path) -> Module:
    def run(**arguments: Any) -> dict[str, Any]:
        return run_module(
            gateway_account.main, name=NAME, **{"home": str(data), "paths": [str(data)], "purge": True, **arguments}
        )

    return run


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/usr/bin/sleep", "60"], user=UID, group=UID, extra_groups=[]) as process:
        while not _account.processes(_account.Owner(NAME, UID)):
            time.sleep(0.01)
        yield process
        process.kill()


def there(data: Path) -> set[str]:
    return {str(path.relative_to(data.parent)) for path in data.parent.rglob("*")}


def test_a_purge_is_predicted_then_made_and_a_second_one_changes_nothing(
    run: Module, data: Path, process: subprocess.Popen[bytes]
) -> None:
    before, gone = there(data), [str(data.parent / "crontabs" / NAME), str(data)]
    predicted = run(_ansible_check_mode=True)
    assert (predicted["changed"], predicted["ended"], predicted["removed"]) == (True, 1, gone)
    assert (there(data), process.poll()) == (before, None)

    made = run()
    assert (made["changed"], made["ended"], made["removed"], made["unmounted"]) == (True, 1, gone, [])
    assert process.wait() == -9
    assert there(data) == {"crontabs", "crontabs/root", "tmp"}

    again = run()
    assert (again["changed"], again["ended"], again["removed"]) == (False, 0, [])


def test_without_purge_processes_end_and_everything_stays(
    run: Module, data: Path, process: subprocess.Popen[bytes]
) -> None:
    before = there(data)
    assert run(purge=False)["ended"] == 1
    assert process.wait() == -9
    assert there(data) == before


def test_an_account_of_somebodys_own_is_left_alone(run: Module, data: Path, process: subprocess.Popen[bytes]) -> None:
    before = there(data)
    result = run(home="/var/lib/openclaw/main/state")
    assert f"{NAME}: is no gateway's account: its home is {data}. Keep it" in result["msg"]
    assert (there(data), process.poll()) == (before, None)


def test_data_of_an_account_that_is_gone_already_are_removed(
    run: Module, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pwd, "getpwnam", {}.__getitem__)
    assert run()["removed"] == [str(data)]
