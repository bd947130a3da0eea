# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rotation says to the operator."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.filter import gateway_rotation as module
from ansible_collections.clawops.openclaw.plugins.filter.gateway_rotation import TOKEN, gateway_rotation

SERVED = {"probes": 31, "probes_missed": 0, "slowest_probe_ms": 12.1}


def told(*, predicted: bool = False, **result: Any) -> list[str]:
    whole = {"changed_secrets": [], "kept_secrets": {}, "used_by": {}, "reload": "hot", "proof": SERVED, **result}
    return gateway_rotation(whole, host="first", secrets_path="/etc/s.json", predicted=predicted)


def test_the_filter_is_found_by_its_name() -> None:
    assert module.FilterModule().filters() == {"gateway_rotation": gateway_rotation}


def test_a_token_is_proven_and_handed_on() -> None:
    proof = {**SERVED, "old_token_refused": True, "old_token_refused_after_ms": 870}
    assert told(changed_secrets=[TOKEN], used_by={TOKEN: ["gateway.auth.token"]}, proof=proof) == [
        f"first: {TOKEN} rotated, without a restart.",
        f"{TOKEN} is proven: the gateway accepts the new one and refuses the old one, 870 ms after the writing began.",
        "Served meanwhile: 0 of 31 probes missed, the slowest took 12.1 ms.",
        f"To do: give the new token, {TOKEN} in /etc/s.json, to whoever uses the gateway from elsewhere.",
    ]


@pytest.mark.parametrize(
    ("used_by", "where"),
    [
        pytest.param(["models.providers.acme.apiKey"], " (acme)", id="provider"),
        pytest.param(["channels.telegram.botToken"], " (telegram)", id="channel"),
        pytest.param(["models.providers.b.apiKey", "models.providers.a.apiKey"], " (a, b)", id="several"),
        pytest.param([], "", id="nobody"),
    ],
)
def test_a_key_is_to_be_revoked_where_it_was_issued(used_by: list[str], where: str) -> None:
    lines = told(changed_secrets=["KEY"], used_by={"KEY": used_by})
    assert lines[-1] == f"To do: revoke the old KEY where it was issued{where}; it is valid there still."
    assert ("there was nothing to prove" in lines[1]) == (not used_by)


def test_what_is_kept_is_told_with_its_reason() -> None:
    assert told(kept_secrets={"KEY": "the inventory gives no new value"}) == [
        "first: nothing was rotated.",
        "KEY keeps its value: the inventory gives no new value.",
    ]


def test_a_restart_and_the_devices_that_were_ended_are_told() -> None:
    proof = {**SERVED, "devices_removed": 2, "device_requests_rejected": 1}
    lines = told(changed_secrets=[TOKEN], used_by={TOKEN: []}, reload="restart", proof=proof)
    assert lines[0] == f"first: {TOKEN} rotated, with a restart."
    assert any(line.startswith("Ended: 2 paired devices, 1 requests to become one") for line in lines)


def test_a_prediction_promises_no_proof() -> None:
    assert told(changed_secrets=[TOKEN], used_by={TOKEN: []}, proof={}, predicted=True) == [
        f"first: {TOKEN} would be rotated, without a restart."
    ]
