# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""nginx as far as it can be seen without asking it: whether it runs with what there is, its sites, and who has its ports."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import pathlib
import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _host
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import _mtls_store as stores
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host

UNIT = "nginx.service"
# Says that nginx came with this collection, and may go with the last mTLS proxy.
MARKER = "/etc/openclaw/nginx"
# nginx is told after the files are written; the kernel counts a process's beginning in whole seconds from a boot that it
# knows to a second.
_SLACK = 2.0
# Files that nginx.conf may include, directly or not, before we give up.
_INCLUDED = 200

Params = t.Mapping[str, t.Any]


class Site(t.NamedTuple):
    """One of nginx's other files, without its comments."""

    path: str
    text: str

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


def look(host: Host, params: Params, sites: t.Sequence[Site]) -> dict[str, bool]:
    """How nginx is: C(running), C(stale) with older files than there are, C(ours) to remove, C(shared) with other sites."""
    running = bool(host.main_process(UNIT))
    return {
        "running": running,
        "stale": running and written(params) > begun(host) + _SLACK,
        "ours": "nginx" not in host.packages or os.path.exists(MARKER),
        "shared": any(site.name != "nginx.conf" for site in sites),
    }


def begun(host: Host) -> float:
    """When nginx began its youngest process: the workers are as old as what it was told last."""
    boot, ticks = host.text("/proc/stat"), os.sysconf("SC_CLK_TCK")
    stats = [text for pid in host.processes_of(UNIT) if (text := host.text(f"/proc/{pid}/stat"))]
    return max((_host.started_at(text, boot, ticks) for text in stats), default=0.0)


def written(params: Params) -> float:
    """When the youngest of the files was written that nginx reads."""
    names = (stores.TRUSTED, stores.LISTS, "server/current")
    paths = [params["site"], *(os.path.join(params["directory"], name) for name in names)]
    return max((os.lstat(path).st_mtime for path in paths if os.path.lexists(path)), default=0.0)


def other_sites(host: Host, params: Params) -> list[Site]:
    """The other files of nginx in which a site may be."""
    etc = pathlib.Path(params["site"]).parent.parent
    paths = [str(path) for where in ("nginx.conf", "conf.d/*.conf", "sites-enabled/*") for path in etc.glob(where)]
    return [Site(path, re.sub(r"#.*", "", host.text(path))) for path in sorted(paths) if path != params["site"]]


def unread(host: Host, params: Params) -> str:
    """nginx.conf, where it is there and reads no file in the place of ours; empty otherwise.

    What ``nginx -T`` would show, without a process, which an nginx with a broken configuration would not even begin with.
    """
    etc = pathlib.Path(params["site"]).parent.parent
    main = str(etc / "nginx.conf")
    waiting, read = [main], set[str]()
    while waiting and len(read) < _INCLUDED:
        path = waiting.pop()
        if path in read:
            continue
        read.add(path)
        text = re.sub(r"#.*", "", host.text(path))
        if path == main and not text.strip():
            return ""
        for words in re.findall(r"^\s*include\s+([^;]+);", text, re.MULTILINE):
            pattern = os.path.join(etc, words.strip("\"' "))
            if fnmatch.fnmatch(params["site"], pattern):
                return ""
            waiting += glob.glob(pattern)
    return main


def other_listeners(host: Host, params: Params) -> dict[int, str]:
    """What has a port of the mTLS proxy and is not nginx, in words, by port."""
    sockets = [each for each in host.listeners if each.port in params["ports"]]
    ours = set().union(*(sockets_of(pid) for pid in host.processes_of(UNIT))) if sockets else set()
    found: dict[int, str] = {}
    for socket in sockets:
        if socket.port in found or socket.inode in ours:
            continue
        pid, name = _host.owner_of(socket.inode)
        if name == "nginx":
            continue
        unit = _host.unit_of(host.text(f"/proc/{pid}/cgroup"))
        words = ", ".join(filter(None, [f"process {pid}", unit]))
        found[socket.port] = f"{name} ({words})" if pid else "another program"
    return found


def sockets_of(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    folder, found = f"/proc/{pid}/fd", set()
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):  # it has closed this one meanwhile
                found.add(os.readlink(f"{folder}/{name}").removeprefix("socket:[").removesuffix("]"))
    return found


__all__ = ("MARKER", "UNIT", "Site", "look", "other_listeners", "other_sites", "unread")
