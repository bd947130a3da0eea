# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A reference to a secret can only be made to a name that can be one."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.clawops.openclaw.plugins.filter import secret_ref
from ansible_collections.clawops.openclaw.plugins.module_utils import _settings


def test_the_filter_is_found_by_its_name() -> None:
    assert secret_ref.FilterModule().filters() == {"secret_ref": secret_ref.checked_secret_ref}


@pytest.mark.parametrize("name", ["TOKEN", "A", "A_1", "A" * 128])
def test_a_name_becomes_a_reference_that_the_settings_know(name: str) -> None:
    reference = secret_ref.checked_secret_ref(name)
    assert reference == {"source": "file", "provider": "clawops", "id": f"/{name}"}
    assert _settings.is_secret_ref(reference)
    assert _settings.undefined_secrets({"a": reference}, [name]) == []


@pytest.mark.parametrize(
    "name", ["", "token", "1TOKEN", "_TOKEN", "A-B", "A/B", "A~B", "TOKEN\n", " TOKEN", "Ü", "A" * 129, None, 5, ["A"]]
)
def test_any_other_name_is_refused_with_an_example(name: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=r"cannot be the name of a secret.*as in ANTHROPIC_API_KEY"):
        secret_ref.checked_secret_ref(name)
