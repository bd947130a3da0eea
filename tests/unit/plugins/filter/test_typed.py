# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists and dictionaries as ``-e``, inventories in INI format and surveys give them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.clawops.openclaw.plugins.filter.typed import FilterModule

typed = FilterModule().filters()["typed"]


@pytest.mark.parametrize(
    ("value", "kind", "read"),
    [
        pytest.param("laptop", "list", ["laptop"], id="one-word-is-one-item"),
        pytest.param("laptop, phone,,", "list", ["laptop", "phone"], id="commas"),
        pytest.param("laptop\nold phone\n", "list", ["laptop", "old phone"], id="lines-of-a-text-area"),
        pytest.param('["a,b", 1]', "list", ["a,b", 1], id="json-list"),
        pytest.param(["laptop"], "list", ["laptop"], id="list"),
        pytest.param("", "list", [], id="empty-answer"),
        pytest.param(" ", "dict", {}, id="blank-answer"),
        pytest.param(None, "list", [], id="null"),
        pytest.param(
            '{"channels": {"telegram": {"enabled": false}}}',
            "dict",
            {"channels": {"telegram": {"enabled": False}}},
            id="json-of-ini",
        ),
        pytest.param("a=1, b=two", "dict", {"a": "1", "b": "two"}, id="pairs"),
        pytest.param({"a": 1}, "dict", {"a": 1}, id="dictionary"),
    ],
)
def test_it_is_read(value: Any, kind: str, read: Any) -> None:
    assert typed(value, kind) == read


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        pytest.param("[laptop", "list", id="torn-json"),
        pytest.param({"a": 1}, "list", id="dictionary-for-a-list"),
        pytest.param(5, "list", id="number-for-a-list"),
        pytest.param("s3cret", "dict", id="word-for-a-dictionary"),
        pytest.param('["s3cret"]', "dict", id="list-for-a-dictionary"),
        pytest.param(["s3cret"], "dict", id="true-list-for-a-dictionary"),
    ],
)
def test_it_is_refused_without_its_value(value: Any, kind: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"is no {kind}: write it as YAML, or as JSON") as refused:
        typed(value, kind)
    assert "s3cret" not in str(refused.value)
