# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The entry points of role common: a package from a vendor's repository, pinned."""

from __future__ import annotations

from typing import Any


def test_the_pin_chose_the_version(host: Any) -> None:
    assert host.check_output("node --version").startswith("v22.")
