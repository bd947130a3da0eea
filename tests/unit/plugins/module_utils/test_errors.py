# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an error says is fit for a terminal, whoever has named what it is about."""

from __future__ import annotations

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError, Several


def test_names_and_words_of_others_stay_on_their_line_and_without_colours() -> None:
    error = OpenClawError(
        "a\x1b]0;title\x07", "the secret '\n fatal: [all]: ok\u2028' is not given", "Do this.\nOr that."
    )
    assert str(error) == "a ]0;title : the secret '  fatal: [all]: ok ' is not given. Do this.\nOr that."
    both = Several("2 settings", "cannot be applied", "Correct each:", [error, error])
    assert str(both).count("\n") == 4
