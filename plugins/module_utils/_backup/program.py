# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""The commands. cron and systemd run ``scheduled``, ``scheduled-full`` and ``drill``; plays run the others."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import random
import signal
import sys
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _store as store
from ansible_collections.clawops.openclaw.plugins.module_utils._backup import backup, drill, password, restore, status
from ansible_collections.clawops.openclaw.plugins.module_utils._backup import settings as written
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

# Seconds to wait for a run that is under way, and after which a restore that was never finished holds backups up no more.
_PATIENCE = 900
_RESTORE = 7200


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    os.umask(0o077)
    given = parser().parse_args(arguments)
    # systemd ends a unit so that took too long: what is half-done goes, and the status says so.
    signal.signal(signal.SIGTERM, _end)
    try:
        settings = written.load(given.instance)
        with alone(settings):
            return run(settings, given)
    except BaseException as raised:
        error = status.problem(raised)
        if error is None:
            raise
        print(json.dumps({"error": str(error)}) if given.json else f"error: {error}", flush=True)
        return 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="openclaw-backup", description="Backups of an OpenClaw gateway.")
    found.add_argument("--instance", required=True)
    found.add_argument("--json", action="store_true", help="one JSON object in place of lines")
    commands = found.add_subparsers(dest="command", required=True)
    for name in ("state", "full", "scheduled", "scheduled-full", "drill", "place", "back", "done", "rotate-password"):
        commands.add_parser(name)
    commands.choices["place"].add_argument("--secrets", action="store_true", help="also those of the snapshot")
    for name in ("choose", "fetch"):
        command = commands.add_parser(name)
        command.add_argument("--snapshot", default="latest")
        command.add_argument("--host", default="")
        command.add_argument("--repository", default="")
        command.add_argument("--archive", default="")
    choose = commands.choices["choose"]
    choose.add_argument("--hold", action="store_true", help="and keep cron's runs from backing up")
    choose.add_argument("--bare", action="store_true", help="until a restore has succeeded: there is no gateway yet")
    commands.choices["done"].add_argument("--failed", action="store_true", help="the restore was given up")
    return found


def _end(number: int, frame: t.Any) -> t.NoReturn:
    del frame
    # Once: clearing up is not to be ended, too.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise status.Ended(f"signal {number}")


@contextlib.contextmanager
def alone(settings: written.Settings) -> t.Iterator[None]:
    """Have the gateway's backups to oneself. A lock of the kernel's, which ends with its process."""
    os.makedirs(settings.folder, mode=0o711, exist_ok=True)
    handle = os.open(settings.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + _PATIENCE
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    remedy = "See 'systemctl list-units openclaw-backup*'."
                    raise OpenClawError("another run", f"it has been under way for {_PATIENCE} s", remedy) from None
                time.sleep(0.5)
        yield
    finally:
        os.close(handle)


def run(settings: written.Settings, given: argparse.Namespace) -> int:
    """Do what the command says."""
    command = given.command
    if command in ("state", "full", "scheduled", "scheduled-full", "drill"):
        if command.startswith("scheduled") and restore_is_under_way(settings):
            print("a restore is under way; this run is left out", flush=True)
            return 0
        refuse_during_restore(settings)
    if command.startswith("scheduled"):
        time.sleep(random.uniform(0, settings.delay))  # noqa: S311, it only spreads the load
    if command in ("state", "full", "scheduled", "scheduled-full"):
        return 0 if backup.run(settings, "full" if command.endswith("full") else "state", say) else 1
    result: t.Any = {}
    if command == "drill":
        result = drill.run(settings, say)
    elif command == "choose":
        result = chosen(settings, given)
    elif command == "fetch":
        found = (
            None
            if given.archive
            else restore.choose(settings, given.snapshot, given.host, given.repository, settings.timeout)
        )
        result = restore.fetch(settings, found, given.archive)
        if os.path.lexists(settings.marker):
            # However long it has taken, nothing is to hold the lock while the gateway is stopped.
            os.utime(settings.marker)
    elif command == "place":
        result = restore.place(settings, secrets=given.secrets)
    elif command == "back":
        result = {"changed": restore.back(settings)}
    elif command == "done":
        restore.done(settings, failed=given.failed)
    elif command == "rotate-password":
        result = password.rotate(settings)
    print(json.dumps(result), flush=True)
    return 0


def chosen(settings: written.Settings, given: argparse.Namespace) -> dict[str, t.Any]:
    """Which snapshot a restore takes. From now on cron's runs are held up: they would back up what is about to go."""
    found = None
    if not given.archive:
        found = restore.choose(settings, given.snapshot, given.host, given.repository, 120)
    if given.hold:
        store.write(settings.marker, b"", None)
    if given.hold and given.bare:
        store.write(settings.bare, b"", None)
    if found is None:
        return {}
    return {
        "snapshot": found.snapshot.id,
        "time": int(found.snapshot.time),
        "kind": found.snapshot.kind,
        "repository": found.repository.remote.name,
    }


def restore_is_under_way(settings: written.Settings) -> bool:
    """Whether the data is being exchanged, which no backup should see."""
    try:
        # A mark of the future is of a clock that was wrong.
        return abs(time.time() - os.stat(settings.marker).st_mtime) < _RESTORE
    except FileNotFoundError:
        return False


def refuse_during_restore(settings: written.Settings) -> None:
    """Have nothing hold the lock while a restore waits for it, nor take an empty gateway for the newest data."""
    if restore_is_under_way(settings):
        remedy = f"Wait for its end. One that was killed is forgotten after {_RESTORE // 3600} hours."
        raise OpenClawError("a restore", "it is under way on this host", remedy)
    if os.path.lexists(settings.bare):
        error = OpenClawError(
            "a restore",
            "this host was bare, and its data has not come yet: a backup of it would be the newest one",
            f"Run restore.yml again; where the gateway is to begin anew, remove {settings.bare}.",
        )
        status.note(settings, error=str(error))
        raise error


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())

__all__ = ("main",)
