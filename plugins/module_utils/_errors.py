# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""The one exception that modules of this collection raise and catch."""

from __future__ import annotations

import typing as t


class OpenClawError(Exception):
    """What is wrong, why, and what to do about it.

    :param subject: the thing that is wrong: a file, a setting, a host (``str``).
    :param reason: why it is wrong (``str``).
    :param remedy: what the operator can do (``str``).
    """

    def __init__(self, subject: str, reason: str, remedy: str) -> None:
        # Names and words of others reach a terminal by it.
        self.subject = _on_one_line(subject)
        self.reason = _on_one_line(reason)
        self.remedy = remedy
        super().__init__(f"{self.subject}: {self.reason.rstrip('.')}. {remedy}")

    @property
    def parts(self) -> list[OpenClawError]:
        """The single errors that it stands for; itself, where it stands for no other."""
        return [self]


def _on_one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


class Several(OpenClawError):
    """Several errors in one.

    :param errors: two or more of them (``list`` of ``OpenClawError``).
    """

    def __init__(self, subject: str, reason: str, remedy: str, errors: t.Sequence[OpenClawError]) -> None:
        listed = "\n".join(f"  {number}. {error}" for number, error in enumerate(errors, 1))
        super().__init__(subject, reason, f"{remedy}\n{listed}")
        self.errors = [*errors]

    @property
    def parts(self) -> list[OpenClawError]:
        return self.errors


class Finding(OpenClawError):
    """An error that the controller has found and put into words already.

    :param text: subject, reason and remedy in one (``str``).
    """

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)


__all__ = ("Finding", "OpenClawError", "Several")
