# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdicts over all hosts, as data and as a table."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.filter import gateway_fleet as module
from ansible_collections.clawops.openclaw.plugins.filter.gateway_fleet import gateway_fleet, gateway_table

HEALTHY = {"verdict": "healthy", "version": "2026.9.6", "reasons": [], "figures": {"uptime": 5}, "changed": False}


def test_the_filters_are_found_by_their_names() -> None:
    assert module.FilterModule().filters() == {"gateway_fleet": gateway_fleet, "gateway_table": gateway_table}


def test_what_each_host_said_is_gathered() -> None:
    hostvars: dict[str, dict[str, Any]] = {
        "a": {"gateway_verdict": HEALTHY, "gateway_label": "prod"},
        "b": {"mine": HEALTHY},
    }
    expected = {key: HEALTHY[key] for key in ("verdict", "version", "reasons", "figures")}
    assert gateway_fleet(hostvars, ["a"]) == {"a": {"label": "prod", **expected}}
    assert gateway_fleet(hostvars, ["b"], register="mine") == {"b": {"label": "", **expected}}


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"gateway_verdict": None}, id="null"),
        pytest.param({"gateway_verdict": {"skipped": True}}, id="a-skipped-task"),
        pytest.param({"gateway_verdict": {"unreachable": True, "msg": "x"}}, id="an-unreachable-host"),
    ],
)
def test_a_host_that_said_nothing_is_unreachable(variables: dict[str, Any]) -> None:
    [row] = gateway_fleet({"a": variables}, ["a"]).values()
    assert (row["verdict"], row["version"], row["figures"]) == ("unreachable", "", {})
    assert row["reasons"] == ["the host cannot be reached over ssh"]


def test_the_table_has_the_worst_first_in_straight_columns() -> None:
    def row(verdict: str, reasons: list[str], **more: str) -> dict[str, Any]:
        return {"label": "", "version": "", "figures": {}, **more, "verdict": verdict, "reasons": reasons}

    fleet = {
        "a-healthy-gateway": row("healthy", [], label="prod", version="2026.9.6"),
        "d": row("degraded", ["slow"]),
        "u": row("unhealthy", ["not ready", "wrong version"]),
        "z": row("unreachable", ["no answer"]),
        "b": row("unreachable", ["no answer"]),
    }
    assert gateway_table(fleet) == [
        "GATEWAY            LABEL  VERDICT      VERSION   REASONS",
        "b                  -      unreachable  -         no answer",
        "z                  -      unreachable  -         no answer",
        "u                  -      unhealthy    -         not ready; wrong version",
        "d                  -      degraded     -         slow",
        "a-healthy-gateway  prod   healthy      2026.9.6  -",
    ]


def test_the_table_of_no_host_is_its_heading() -> None:
    assert gateway_table({}) == ["GATEWAY  LABEL  VERDICT  VERSION  REASONS"]


def test_a_verdict_that_nobody_knows_is_none_that_is_well() -> None:
    fleet = gateway_fleet(
        {"vps1": {"gateway_verdict": {"verdict": "********reachable", "reasons": "********"}}}, ["vps1"]
    )
    assert (fleet["vps1"]["verdict"], fleet["vps1"]["reasons"]) == ("unhealthy", ["its verdict cannot be read"])
    assert len(gateway_table(fleet)) == 2
