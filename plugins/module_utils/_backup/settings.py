# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What the role has written for the program, and the paths that follow from it."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _store as store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

CONFIG = "/etc/openclaw/{}/backup/backup.json"


class Remote(t.NamedTuple):
    """One repository of restic's."""

    name: str
    # As restic takes it: a path, ``sftp:…``, ``rest:…``, ``s3:…``. It may hold a password.
    url: str
    # Whether the server refuses to delete; then retention is somebody else's.
    append_only: bool
    # Variables for restic, as ``AWS_ACCESS_KEY_ID``.
    environment: dict[str, str]
    # Files for ssh and TLS; empty where there is none.
    ssh_key: str
    ssh_known_hosts: str
    ca: str


class Settings(t.NamedTuple):
    """One gateway's backups."""

    instance: str
    # The name that its snapshots carry, and that a restore looks for.
    host: str
    account: str
    unit: str
    # The command that runs the release as the account, and the release's directory.
    command: str
    release: str
    # The account's directory in /var/lib/openclaw, and what is in it.
    home: str
    state: str
    settings: str
    workspace: str
    # The gateway's directory in /etc/openclaw.
    etc: str
    # The program's own directory: root's, with little in it between two runs.
    folder: str
    status: str
    password_file: str
    # Files and directories of root's that belong to a backup.
    host_files: list[str]
    remotes: list[Remote]
    # How many snapshots to keep: hourly, daily, weekly, monthly.
    keep: dict[str, int]
    workspaces: bool
    # Patterns of names that are left out of workspaces.
    excludes: list[str]
    # Seconds, at most, by which a run of cron's is put off.
    delay: int
    # Seconds, at most, for all of a run.
    timeout: int
    # MiB, at most, that the unpacked data may take.
    max_mb: int
    # In how many parts the repository is read through, one a day; 0 for never.
    check_parts: int
    # After how many minutes without a backup, and days without a drill, the gateway is degraded; 0 for never.
    max_age_minutes: int
    drill_max_age_days: int

    @property
    def incoming(self) -> str:
        """Where the account puts its archive."""
        return os.path.join(self.folder, "incoming")

    @property
    def staging(self) -> str:
        """What restic reads."""
        return os.path.join(self.folder, "staging")

    @property
    def cache(self) -> str:
        """What restic keeps to be fast."""
        return os.path.join(self.folder, "cache")

    @property
    def drill(self) -> str:
        """Where a drill works."""
        return os.path.join(self.folder, "drill")

    @property
    def bare(self) -> str:
        """Is there from the beginning of a restore onto a bare host until one has succeeded: a backup would be of nothing."""
        return os.path.join(self.folder, "bare")

    @property
    def lock(self) -> str:
        return os.path.join(self.folder, "lock")

    @property
    def marker(self) -> str:
        """Holds cron's runs up while it is there: the data is about to be exchanged."""
        return os.path.join(self.folder, "restoring")

    @property
    def restoring(self) -> str:
        """A restore works there; beside the account's directory, so that the two can be exchanged by their names."""
        return os.path.join(os.path.dirname(self.home), f".restore-{self.instance}")


def load(instance: str, path: str = "") -> Settings:
    """What the role has written.

    :raises OpenClawError: there is nothing, or not all of it.
    """
    path = path or CONFIG.format(instance)
    try:
        values = store.read_object(path, None, 1 << 20, "Run site.yml again.")
        if not values:
            raise OpenClawError(path, "is not there", "Run site.yml with backup_state: present.")
        remotes = [Remote(**each) for each in values.pop("remotes")]
        return Settings(remotes=remotes, **values)
    except (ValueError, TypeError, KeyError, OSError) as error:
        # Without the content, which may hold a password.
        raise OpenClawError(path, f"cannot be used ({type(error).__name__})", "Run site.yml again.") from None


__all__ = ("Remote", "Settings", "load")
