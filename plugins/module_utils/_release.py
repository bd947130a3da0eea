# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What we know about installed releases and npm's failures: pure functions.

And, at the end, the one that is not: how npm is run so that it cannot outlive us.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import subprocess
import time
import typing as t
from pathlib import Path

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._versions import nearest, newest_first

PACKAGE = "openclaw"
# Written last inside a release: a directory without it is not a release, whatever else is in it.
MARKER = ".clawops-release.json"
PARTIAL_SUFFIX = ".partial"
_PRINTED = re.compile(r"(?<![\w.-])v?(\d+\.\d+\.\d+(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)", re.ASCII)

# ---- a release on the disk ---------------------------------------------------------------------------


def printed_version(output: str) -> str | None:
    """The version in what ``openclaw --version`` or ``node --version`` prints."""
    match = _PRINTED.search(output)
    return match[1] if match else None


def read_object(text: str | bytes | None) -> dict[str, t.Any]:
    """A JSON object, or an empty one where there is none: a torn file says as little as a missing one."""
    try:
        value = json.loads(text or b"")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def is_finished(version: str, marker: t.Mapping[str, t.Any], package: t.Mapping[str, t.Any]) -> bool:
    """Whether marker and package.json both say that this very version stands here."""
    return marker.get("version") == version and package.get("version") == version


def is_whole(release: str) -> bool:
    """Whether the file that starts a release is there: a release that somebody took apart is installed again."""
    return os.path.isfile(os.path.join(release, "node_modules", PACKAGE, "dist/index.js"))


def node_engines(package: t.Mapping[str, t.Any]) -> str | None:
    """The range of Node versions that a package.json demands."""
    engines = package.get("engines")
    value = engines.get("node") if isinstance(engines, dict) else None
    return value if isinstance(value, str) else None


def to_prune(installed: t.Iterable[str], *, wanted: str, keep: int | None, linked: t.Iterable[str]) -> list[str]:
    """The releases that may go, newest first: beyond the ``keep`` newest, not wanted, not linked."""
    if keep is None:
        return []
    protected = {wanted, *linked}
    ordered = newest_first([*installed, wanted])
    return [version for version in ordered[keep:] if version not in protected]


def clean_environment(environ: t.Mapping[str, str], *, home: str, path: str, registry: str | None) -> dict[str, str]:
    """What npm gets to see: the way to the registry, and nothing else of the caller's environment."""
    kept = {
        name: value
        for name, value in environ.items()
        if name in ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR")
        or name.lower() in ("http_proxy", "https_proxy", "no_proxy")
        or name.lower().startswith("npm_config_")
    }
    given = {name.lower() for name in kept}
    # npm's own pause before a second try is 10 s, then 60 s: an unreachable registry would take over a minute.
    ours = {"npm_config_fetch_retry_mintimeout": "1000", "npm_config_fetch_retry_maxtimeout": "8000"}
    kept.update({name: value for name, value in ours.items() if name not in given})
    if registry is not None:
        kept = {name: value for name, value in kept.items() if name.lower() != "npm_config_registry"}
        kept["npm_config_registry"] = registry
    return {
        **kept,
        "HOME": home,
        "PATH": path,
        "LC_ALL": "C.UTF-8",
        "npm_config_cache": home,
        # Nothing of this belongs in a shared /tmp, and a release's tree must not carry a cache.
        "NODE_DISABLE_COMPILE_CACHE": "1",
        "OPENCLAW_NO_AUTO_UPDATE": "1",
    }


# ---- npm's failures ----------------------------------------------------------------------------------

_NETWORK = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT|EHOSTUNREACH|ENETUNREACH)\b"
)
_CERTIFICATE = re.compile(
    r"\b(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_GET_ISSUER_CERT(?:_LOCALLY)?"
    r"|UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_HAS_EXPIRED|ERR_TLS_CERT_ALTNAME_INVALID)\b"
)
_MISSING = re.compile(r"\b(ETARGET|E404|ENOVERSIONS)\b")
_DENIED = re.compile(r"\b(EACCES|EPERM|EROFS)\b")
_REFUSED = re.compile(r"\b(E401|E403|ENEEDAUTH)\b")
_FULL = re.compile(r"\b(ENOSPC|EDQUOT)\b")
_NEEDS_NODE = re.compile(r"requires Node (.+?)\.?\s*$.*?detected Node (\S+)", re.MULTILINE | re.DOTALL)
_NOISE = re.compile(r"A complete log of this run|^npm (?:error|ERR!)\s*$|-debug-\d+\.log")


def last_words(output: str, lines: int = 4) -> str:
    """The end of what npm said, without its prefixes and without the name of its log file."""
    useful = [re.sub(r"^npm (?:error|ERR!)\s*", "", line).strip() for line in output.splitlines() if line.strip()]
    return " · ".join([line for line in useful if line and not _NOISE.search(line)][-lines:])


def is_missing(output: str) -> bool:
    """Whether npm says that the registry does not have the package or the version."""
    return _MISSING.search(output) is not None and (f"{PACKAGE}@" in output or f"/{PACKAGE}" in output)


def missing_version(version: str, known: t.Iterable[str]) -> OpenClawError:
    """The version that nobody published, and those near it that somebody did."""
    near = nearest(known, version)
    return OpenClawError(
        f"OpenClaw {version}",
        "the npm registry does not have this version",
        f"Choose one that it has, such as {', '.join(near)}." if near else "Look at 'npm view openclaw versions'.",
    )


def explain_failure(version: str, output: str, *, status: int, path: str, cache: str) -> OpenClawError:
    """What npm's failure means to an operator.

    :param output: what npm printed.
    :param status: its exit status, negative for the signal that ended it.
    """
    subject = f"npm install {PACKAGE}@{version}"
    network, certificate = _NETWORK.search(output), _CERTIFICATE.search(output)
    if _FULL.search(output):
        return disk_full(version, path, cache)
    if certificate:
        return OpenClawError(
            subject,
            f"the registry's certificate is not trusted on this host ({certificate[1]})",
            "Name the file of your certificate authority in NODE_EXTRA_CA_CERTS (in the environment of the task).",
        )
    if network:
        return OpenClawError(
            subject,
            f"the npm registry cannot be reached from this host ({network[1]})",
            "Check DNS, proxy (https_proxy) and firewall, or name a mirror in the option registry.",
        )
    if _REFUSED.search(output):
        return OpenClawError(
            subject,
            f"the npm registry refuses this host: {last_words(output)}",
            f"Put the registry's credential into {cache}/.npmrc (root, mode 0600).",
        )
    node = _NEEDS_NODE.search(output)
    if node:
        return wrong_node(version, node[2], node[1])
    if _DENIED.search(output):
        return OpenClawError(
            subject,
            f"npm may not write: {last_words(output)}",
            f"Check that {path} and {cache} are writable for root.",
        )
    if status < 0:
        return OpenClawError(
            subject,
            f"npm was ended by signal {-status}",
            "If that is 9, the host ran out of memory: look at the kernel's log and give it 2 GB.",
        )
    return OpenClawError(
        subject,
        f"npm failed with status {status}: {last_words(output) or 'it said nothing'}",
        f"npm's own log is in {cache}/_logs.",
    )


def disk_full(version: str, path: str, cache: str) -> OpenClawError:
    """No space left while a release was being installed."""
    return OpenClawError(
        f"OpenClaw {version}",
        "the disk is full; the incomplete release is removed again",
        f"A release needs up to 900 MB in {path}, and npm's cache 250 MB in {cache}: free some, or prune with keep.",
    )


def explain_os_error(version: str, error: OSError) -> OpenClawError:
    """What the system refused while a release was being installed or removed."""
    return OpenClawError(
        str(error.filename or f"OpenClaw {version}"),
        error.strerror or str(error),
        "The module must run as root, and the file system must be writable.",
    )


def wrong_node(version: str, node_version: str, engines: str) -> OpenClawError:
    """The release and the Node that would run it do not fit."""
    return OpenClawError(
        f"OpenClaw {version}",
        f"it needs Node {engines}, and this host has {node_version}",
        "Install a Node of that range (role nodejs), or choose another release.",
    )


# ---- running npm -------------------------------------------------------------------------------------

_PR_SET_PDEATHSIG = 1
# More than the list of all versions, less than what would hurt.
_OUTPUT_LIMIT = 1 << 20


def _follow_parent(parent: int) -> t.Callable[[], None]:
    """What a child does before it becomes npm: die with its parent, however that one dies."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def run_bounded(
    command: t.Sequence[str],
    *,
    environment: t.Mapping[str, str],
    cwd: str,
    deadline: float,
    keep_open: int,
    progress: t.Callable[[], None] = lambda: None,
) -> tuple[int, str]:
    """Run a command that ends when this process does; gives its status and what it printed.

    :param deadline: the moment of ``time.monotonic()`` at which the command is ended with all its children.
    :param keep_open: a descriptor that the command inherits.
    :param progress: called twice a second.
    """
    output = bytearray()
    process = subprocess.Popen(
        command,
        env=dict(environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=(keep_open,),
        umask=0o022,
        preexec_fn=_follow_parent(os.getpid()),
    )
    with t.cast("t.IO[bytes]", process.stdout) as pipe:
        try:
            while True:
                ready = select.select([pipe], [], [], 0.5)[0]
                chunk = os.read(pipe.fileno(), 65536) if ready else b""
                output += chunk
                del output[:-_OUTPUT_LIMIT]
                if not chunk and (ready or process.poll() is not None):
                    break
                if time.monotonic() > deadline:
                    raise _too_slow(command, output.decode(errors="replace"))
                progress()
            process.wait(max(deadline - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            raise _too_slow(command, output.decode(errors="replace")) from None
        finally:
            if process.poll() is None:
                # Its children too: npm starts the packages' own scripts.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return process.returncode, output.decode(errors="replace")


def _too_slow(command: t.Sequence[str], output: str) -> OpenClawError:
    return OpenClawError(
        f"'{Path(command[0]).name} {command[1]}'",
        f"it was not done in time: {last_words(output) or 'it said nothing'}",
        "Run it again (npm's cache keeps what was downloaded), with a longer timeout if the line is slow.",
    )


__all__ = (
    "MARKER",
    "PACKAGE",
    "PARTIAL_SUFFIX",
    "clean_environment",
    "disk_full",
    "explain_failure",
    "explain_os_error",
    "is_finished",
    "is_missing",
    "last_words",
    "missing_version",
    "node_engines",
    "printed_version",
    "read_object",
    "run_bounded",
    "to_prune",
    "wrong_node",
)
