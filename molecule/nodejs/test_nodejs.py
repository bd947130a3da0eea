# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role nodejs."""

from __future__ import annotations

import re
from typing import Any


def test_the_version_satisfies_the_engines(host: Any) -> None:
    version = [int(part) for part in host.check_output("node --version").removeprefix("v").split(".")]
    assert [24, 16, 0] <= version < [25]


def test_npm_came_with_it(host: Any) -> None:
    assert re.match(r"\d+\.", host.check_output("npm --version"))
