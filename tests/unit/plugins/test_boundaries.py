# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which module may open files, and whose: what belongs to a gateway's account is opened by ``_store`` alone.

A module that needs a file of the account's asks ``_store``. One that needs a file of root's asks ``_host.read_text``, or is
in the list below with the reason why what it opens is root's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[3] / "plugins"
# What opens a file, or connects to what a file is, by the last name of the call.
OPENERS = {"open", "fdopen", "read_text", "read_bytes", "write_text", "write_bytes", "connect"}
ALLOWED = {
    "_store": "it has the account's rights when it opens",
    "_apt": "locks of apt's, in directories of root's",
    "_host": "/proc, /etc and dpkg's own; the paths are given by roles and lie in directories of root's",
    "_files": "entries of file_set: no link followed, no pipe waited for",
    "_install": "/opt/openclaw is root's",
    "_lock": "/opt/openclaw is root's",
    "_pki": "the CA's directory on the controller",
    "_health_directory": "it refuses what others than root can write; its socket sends nothing",
    "archive": "the account's archive with its rights, and otherwise /var/backups/openclaw, which is root's",
    "program": "its own lock in /var/backups/openclaw, which is root's",
    "restore": "a directory of root's, where the account has been nowhere yet",
    "_http": "the Unix socket of a daemon, with the rights of the caller's choice",
}
# They are the functions for files of root's.
NO_FILES = {("_host", "read_text"), ("_host", "write_text")}


def calls(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """What is called, as ``(of what, name, line)``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield "", node.func.id, node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield ast.unparse(node.func.value), node.func.attr, node.lineno


def offences(source: str, module: str) -> list[str]:
    """Calls that open a file where none may be opened."""
    return [
        f"{module}:{line}: {of}.{name}()"
        for of, name, line in calls(ast.parse(source))
        if name in OPENERS and (of, name) not in NO_FILES and module not in ALLOWED
    ]


SOURCES = sorted(PLUGINS.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_other_module_opens_a_file(path: Path) -> None:
    assert offences(path.read_text(), path.stem) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_database_is_opened_in_one_place(path: Path) -> None:
    assert path.stem == "_store" or "sqlite3" not in path.read_text()


def test_the_list_names_only_modules_that_open_something() -> None:
    opening = {path.stem for path in SOURCES if offences(path.read_text(), "") != []}
    assert opening == set(ALLOWED)


@pytest.mark.parametrize(
    "source",
    [
        "open(path)",
        "with open(path) as f: pass",
        "import os; os.open(path, 0)",
        "import io; io.open(path)",
        "Path(path).read_text()",
        "pathlib.Path(path).read_bytes()",
        "Path(path).open()",
        "sqlite3.connect(path)",
        "socket.socket().connect(path)",
    ],
)
def test_the_lint_finds(source: str) -> None:
    assert len(offences(source, "_new")) == 1
