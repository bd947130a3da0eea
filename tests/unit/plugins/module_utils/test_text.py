# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text and JSON of others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.clawops.openclaw.plugins.module_utils import _text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("gateway", "gateway", id="plain"),
        pytest.param("Über 日本 😀", "Über 日本 😀", id="letters-of-the-world"),
        pytest.param("a\nb\r\tc", "a b  c", id="line-ends"),
        pytest.param("\x1b[31mred\x1b]0;title\x07", " [31mred ]0;title ", id="escapes"),
        pytest.param("\x9b31m\x7f", " 31m ", id="escapes-of-one-byte"),
        pytest.param("a\u202eb\u200bc\u2028d", "a b c d", id="direction-and-nothing"),
        pytest.param("\ud800", " ", id="half-a-letter"),
        pytest.param("x" * 501, "x" * 500 + "…", id="long"),
        pytest.param("x" * 500, "x" * 500, id="not-too-long"),
    ],
)
def test_text_of_others_is_made_printable_and_short(text: str, shown: str) -> None:
    assert _text.printable(text) == shown


@given(st.text())
def test_whatever_it_was_it_can_be_printed(text: str) -> None:
    assert _text.printable(text, 20).isprintable()
    assert len(_text.printable(text, 20)) <= 21


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("text", [nested(101), nested(900), nested(100_000), "[" * 200_000, '{"a":' * 200_000])
def test_what_is_nested_too_deep_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"100 levels|Expecting"):
        _text.parse_json(text)


@pytest.mark.parametrize("text", [nested(100), "1", '"x"', "null", '{"a": [{}, {"b": [1.5]}]}', "9" * 308])
def test_what_is_not_is_read_as_it_is(text: str) -> None:
    assert _text.parse_json(text) == json.loads(text)


@pytest.mark.parametrize("digits", [309, 5000, 1_000_000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_that_has_no_end_is_refused(sign: str, digits: int) -> None:
    with pytest.raises(ValueError, match="a number in it has more than 308 digits"):
        _text.parse_json(f'{{"a": {sign}{"9" * digits}}}')


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_json_comes_back(value: Any) -> None:
    assert _text.parse_json(json.dumps(value)) == value


@pytest.mark.parametrize("text", ["[]", "1", "null", '"x"', ""])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"it holds no object|Expecting"):
        _text.parse_object(text)
