# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""The one exception that modules of this collection raise and catch."""

from __future__ import annotations


class OpenClawError(Exception):
    """What is wrong, why, and what to do about it.

    :param subject: the thing that is wrong: a file, a setting, a host (``str``).
    :param reason: why it is wrong (``str``).
    :param remedy: what the operator can do (``str``).
    """

    def __init__(self, subject: str, reason: str, remedy: str) -> None:
        self.subject = subject
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{subject}: {reason.rstrip('.')}. {remedy}")


__all__ = ("OpenClawError",)
