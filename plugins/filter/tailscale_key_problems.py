# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: tailscale_key_problems
short_description: Tells what is wrong with the key to a tailnet, without showing it
version_added: 1.0.0
author: clawops (@clawops)
description:
  - What a key may be mistaken for is told apart by its beginning. Nothing of a key is in what it returns.
  - It runs on the controller, so that a key travels to a host only to join with.
options:
  _input:
    description: >-
      The values of the role's options without their prefix, C(state), C(auth_key), C(oauth_secret), C(tags), C(login_server) and
      C(join_timeout). Where C(state) is not V(present) nothing is wrong.
    type: dict
    required: true
"""

EXAMPLES = r"""
problems: "{{ {'state': 'present', 'auth_key': vault_key, 'join_timeout': 20} | clawops.openclaw.tailscale_key_problems }}"
"""

RETURN = r"""
_value:
  description: A sentence for each problem; empty where there is none.
  type: list
  elements: str
"""

import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

API = "tskey-api-"
CLIENT = "tskey-client-"


class Given(t.NamedTuple):
    """What the inventory says, keys without the white space around them."""

    auth_key: str
    oauth_secret: str
    tags: t.Sequence[str]
    login_server: str
    join_timeout: int


class Test(t.NamedTuple):
    """When something is wrong, and what is told then."""

    fails: t.Callable[[Given], bool]
    subject: str
    reason: str
    remedy: str


TESTS = (
    Test(
        lambda given: bool(given.auth_key and given.oauth_secret),
        "tailscale_auth_key and tailscale_oauth_secret",
        "both are given, and one is enough",
        "Remove one of them.",
    ),
    Test(
        lambda given: given.auth_key.startswith(API),
        "tailscale_auth_key",
        "it is a token for the API, which joins nothing",
        "Make an auth key (tskey-auth-…).",
    ),
    Test(
        lambda given: given.auth_key.startswith(CLIENT),
        "tailscale_auth_key",
        "it is the secret of an OAuth client",
        "Give it as tailscale_oauth_secret, with tailscale_tags.",
    ),
    Test(
        lambda given: len(given.auth_key.split()) > 1,
        "tailscale_auth_key",
        "there is white space in it",
        "Give the key alone.",
    ),
    Test(
        lambda given: bool(given.oauth_secret) and not given.oauth_secret.startswith(CLIENT),
        "tailscale_oauth_secret",
        f"it is no secret of an OAuth client, which begins with {CLIENT}",
        "Correct it.",
    ),
    Test(
        lambda given: bool(given.oauth_secret) and not given.tags,
        "tailscale_tags",
        "an OAuth client joins only nodes with tags, and none is given",
        "Name them.",
    ),
    Test(
        lambda given: bool(given.oauth_secret and given.login_server),
        "tailscale_oauth_secret",
        "only the server of Tailscale knows OAuth clients",
        "Give tailscale_auth_key, or no tailscale_login_server.",
    ),
    Test(
        lambda given: not 1 <= given.join_timeout <= 30,
        "tailscale_join_timeout",
        "it is not between 1 and 30 seconds",
        "Correct it.",
    ),
)


def tailscale_key_problems(given: t.Mapping[str, t.Any]) -> list[str]:
    """A sentence for each problem."""
    if given.get("state") != "present":
        return []
    key, secret = (str(given.get(name) or "").strip() for name in ("auth_key", "oauth_secret"))
    tags, server = given.get("tags") or [], str(given.get("login_server") or "")
    values = Given(key, secret, tags, server, int(given.get("join_timeout", 20)))
    return [str(OpenClawError(test.subject, test.reason, test.remedy)) for test in TESTS if test.fails(values)]


class FilterModule:
    """Filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"tailscale_key_problems": tailscale_key_problems}
