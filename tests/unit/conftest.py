# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What unit tests share: how many random examples to try, and how to run a module."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from hypothesis import settings

# `make test-all` tries what `make test` samples. A slow machine must not fail a test; `print_blob` lets anyone repeat what
# was found.
FULL = os.environ.get("CLAWOPS_EXAMPLES") == "full"
settings.register_profile("usual", max_examples=1_000 if FULL else 200, deadline=None, print_blob=True)
settings.load_profile("usual")
# The laws of merging are what everything else stands on.
settings.register_profile("laws", max_examples=10_000 if FULL else 2_000)

RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str]) -> RunModule:
    """Run a module's own ``main()`` through its real argument handling.

    ``run_module(gateway_health.main, url="…", _ansible_check_mode=True)`` returns the JSON that
    Ansible would read; ``failed`` in it says whether the module exited with an error.
    """

    def run(main: Callable[[], None], **arguments: Any) -> dict[str, Any]:
        with patch_module_args(arguments), pytest.raises(SystemExit) as exit_:
            main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert bool(exit_.value.code) == result.get("failed", False), result
        return result

    return run
