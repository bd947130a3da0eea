# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is no key to a tailnet is told apart without being shown."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.filter import tailscale_key_problems as module
from ansible_collections.clawops.openclaw.plugins.filter.tailscale_key_problems import tailscale_key_problems

GIVEN: dict[str, Any] = {
    "state": "present",
    "auth_key": "",
    "oauth_secret": "",
    "tags": [],
    "login_server": "",
    "join_timeout": 20,
}
SECRET, TAGS = "tskey-client-k1-abc", ["tag:gateway"]


def test_the_filter_is_found_by_its_name() -> None:
    assert module.FilterModule().filters() == {"tailscale_key_problems": tailscale_key_problems}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="none"),
        pytest.param({"auth_key": "tskey-auth-k1-abc"}, id="a-key"),
        pytest.param({"auth_key": "hskey-auth-k1-abc", "login_server": "https://control"}, id="a-key-of-headscale"),
        pytest.param({"auth_key": " tskey-auth-k1-abc\n"}, id="white-space-around-it"),
        pytest.param({"auth_key": None, "oauth_secret": None, "tags": None}, id="null"),
        pytest.param({"auth_key": 12345}, id="a-number"),
        pytest.param({"oauth_secret": f" {SECRET}?ephemeral=false\n", "tags": TAGS}, id="an-oauth-client"),
        pytest.param({"join_timeout": 1}, id="the-shortest-time"),
        pytest.param({"join_timeout": "30"}, id="the-longest-time"),
        pytest.param(
            {"state": "absent", "auth_key": "tskey-api-k1-abc", "join_timeout": 99}, id="a-node-that-is-to-go"
        ),
    ],
)
def test_what_can_work_is_no_problem(changes: dict[str, Any]) -> None:
    assert tailscale_key_problems({**GIVEN, **changes}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"auth_key": "tskey-auth-k1-abc", "oauth_secret": SECRET, "tags": TAGS},
            "tailscale_auth_key and tailscale_oauth_secret: both are given",
            id="both",
        ),
        pytest.param(
            {"auth_key": "\n tskey-api-k1-abc"},
            "tailscale_auth_key: it is a token for the API",
            id="a-token-for-the-api",
        ),
        pytest.param(
            {"auth_key": " tskey-client-k1-abc"},
            "tailscale_auth_key: it is the secret of an OAuth client",
            id="the-secret-of-an-oauth-client",
        ),
        pytest.param(
            {"auth_key": "tskey-auth-k1-abc\ttskey-auth-k2-def"},
            "tailscale_auth_key: there is white space in it",
            id="two-keys",
        ),
        pytest.param(
            {"oauth_secret": "tskey-auth-k1-abc", "tags": TAGS},
            "tailscale_oauth_secret: it is no secret of an OAuth client",
            id="a-key-for-a-secret",
        ),
        pytest.param({"oauth_secret": SECRET}, "tailscale_tags: an OAuth client joins only nodes", id="no-tags"),
        pytest.param(
            {"oauth_secret": SECRET, "tags": TAGS, "login_server": "https://control"},
            "tailscale_oauth_secret: only the server of Tailscale knows",
            id="another-server",
        ),
        pytest.param({"join_timeout": 0}, "tailscale_join_timeout: it is not between 1 and 30", id="no-time"),
        pytest.param({"join_timeout": 31}, "tailscale_join_timeout: it is not between 1 and 30", id="too-much-time"),
    ],
)
def test_what_cannot_work_is_told_and_no_key_is_shown(changes: dict[str, Any], words: str) -> None:
    [told] = tailscale_key_problems({**GIVEN, **changes})
    assert told.startswith(words)
    assert "k1" not in told


def test_all_problems_are_told_at_once() -> None:
    told = tailscale_key_problems({**GIVEN, "auth_key": "tskey-api-k1 x", "oauth_secret": "y", "join_timeout": 0})
    assert len(told) == 6
