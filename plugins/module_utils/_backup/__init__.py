# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Backs a gateway up and brings it back, on its host and without Ansible: the role backup installs this package there.

It is run by cron through a systemd unit, as root. All that it needs besides Python is restic and the release itself.

* ``program``: the commands.
* ``settings``: what the role has written for it.
* ``archive``: OpenClaw's own backup of the state, unpacked into a folder of root's.
* ``host_files``: what OpenClaw leaves out: secrets, unit, certificates.
* ``repository``: restic, and what its words mean.
* ``backup``, ``restore``, ``drill``: the three things that it does.
* ``password``: another one for the repositories.
* ``status``: what became of it, for the verdict over the gateway.
"""
