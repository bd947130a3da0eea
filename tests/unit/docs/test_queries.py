# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The questions to the verdicts that docs/operations.md shows, asked by the filter that it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.community.general.plugins.filter.json_query import json_query

PAGE = (Path(__file__).parents[3] / "docs/operations.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("| which gateways | QUERY |\n|---|---|\n")[2].partition("\n\n")[0]
QUERIES = dict(re.findall(r"^\| (.+?) \| `+(.+?)`+ \|$", TABLE, re.MULTILINE))
GATEWAYS: dict[str, Any] = {
    "a": {
        "label": "",
        "verdict": "healthy",
        "version": "2026.9.6",
        "reasons": [],
        "figures": {"startupz_latency_ms": 3, "certificate_days_left": 12},
    },
    "b": {
        "label": "",
        "verdict": "degraded",
        "version": "2026.9.5",
        "reasons": ["slow", "old"],
        "figures": {"startupz_latency_ms": 40},
    },
    "c": {"label": "", "verdict": "unreachable", "version": "", "reasons": ["no answer"], "figures": {}},
}
ANSWERS: dict[str, Any] = {
    "are not healthy": ["b", "c"],
    "run another version than 2026.9.6": ["b", "c"],
    "have a certificate that ends within 30 days": ["a"],
    "is the slowest to answer": "b",
    "say what, each": [
        {"host": "a", "verdict": "healthy", "why": ""},
        {"host": "b", "verdict": "degraded", "why": "slow; old"},
        {"host": "c", "verdict": "unreachable", "why": "no answer"},
    ],
}


def test_every_question_of_the_page_is_asked_here() -> None:
    assert QUERIES.keys() == ANSWERS.keys()


@pytest.mark.parametrize("question", ANSWERS)
def test_a_question_is_answered_as_the_page_says(question: str) -> None:
    items = [{"key": name, "value": verdict} for name, verdict in GATEWAYS.items()]
    assert json_query(items, QUERIES[question]) == ANSWERS[question]
