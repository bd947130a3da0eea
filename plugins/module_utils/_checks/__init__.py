# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What each role checks of a host before anything is touched: one module a role.

Each has four names:

* ``OPTIONS``: its parameters, as Ansible specifies arguments (``dict``). The role gives their values in
  ``vars/main/preflight.yml``.
* ``look(host, params)``: everything that it reads of the host, once (``dict``). It changes nothing. Keys that begin with
  an underscore stay on the host, all others are the role's to read.
* ``judge(params, seen)``: what cannot work here, and what the operator should know (two lists of ``OpenClawError``).
* ``due(params, seen)``: what the role has to do (``dict``).

Only ``look`` touches the host; the other two are pure. A new role adds its module here and in ``ROLES``.

What a role needs of the gateway's settings it returns from ``look`` under the key ``gateway_settings`` (``dict``). The check of
the gateway judges these with its own: it has a function ``conclude(host, params, seen)``, which is called when all roles have
looked and before they judge.
"""

from __future__ import annotations

import types

from ansible_collections.clawops.openclaw.plugins.module_utils._checks import (
    backup,
    common,
    docker,
    gateway,
    mtls,
    nodejs,
    tailscale,
    tuning,
)

# In the order in which they look: a later one may read what an earlier one has found (``host.found``).
ROLES: dict[str, types.ModuleType] = {
    "common": common,
    "gateway": gateway,
    "nodejs": nodejs,
    "docker": docker,
    "tuning": tuning,
    "tailscale": tailscale,
    "mtls": mtls,
    "backup": backup,
}

__all__ = ("ROLES",)
