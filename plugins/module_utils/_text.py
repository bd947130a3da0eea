# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What others have said: text for a terminal, and JSON that cannot be used against its reader.

A file of the gateway's account, a server or the name of a process may hold anything: colours, a window's title, a line
end; brackets without end, numbers of a million digits.
"""

from __future__ import annotations

import json
import typing as t

# Letters: a sentence of OpenClaw's, and not the whole of a terminal.
_LIMIT = 500
# Levels of objects and lists: more than settings and answers have, and a quarter of what our own functions can follow.
_DEPTH = 100
# Digits: what a floating-point number, which JSON's are for everybody else, can hold at all.
_DIGITS = 308


def printable(value: object, limit: int = _LIMIT) -> str:
    """Text of others as it may reach a message: on one line, without control characters, short."""
    text = str(value)
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:limit])
    return shown if len(text) <= limit else f"{shown}…"


def parse_json(text: str | bytes) -> t.Any:
    """The value in a JSON text of others.

    :raises ValueError: it is no JSON, or none that the rest of this collection could walk through; the words say why.
    """
    try:
        value = json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise ValueError(f"it has more than {_DEPTH} levels") from None
    level = [value]
    for _ in range(_DEPTH):
        level = [
            item
            for each in level
            if isinstance(each, (dict, list))
            for item in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return value
    raise ValueError(f"it has more than {_DEPTH} levels")


def _whole_number(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number in it has more than {_DIGITS} digits")
    return int(digits)


def parse_object(text: str | bytes) -> dict[str, t.Any]:
    """The object in a JSON text of others.

    :raises ValueError: as :func:`parse_json`, or it holds something else.
    """
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("it holds no object")
    return value


__all__ = ("parse_json", "parse_object", "printable")
