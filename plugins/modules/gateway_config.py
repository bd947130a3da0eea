#!/usr/bin/python
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_config
short_description: Ensures the settings and the secrets of an OpenClaw gateway
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Merges what the inventory desires into C(openclaw.json) with a three-way merge, of what was applied last, what is desired
    now and what is in the file. A desired key is set, a key that was set last time and is no longer desired is removed,
    every other key stays. Lists are values and are replaced whole. V(null) removes a key.
  - Has the result validated by the OpenClaw release that will run it, before anything is written.
  - Replaces the file as a whole, keeps the previous version beside it as C(openclaw.json.previous), and waits until the
    running gateway has taken the change. If it does not, the previous settings and secrets come back and the module fails
    with the gateway's own words.
  - Restarts a gateway that does not read its changed file within 30 seconds, or that C(gateway.reload.mode=off) keeps from
    acting on it.
  - Starts no process where there is nothing to change.
  - Reads JSON5 and writes plain JSON. Works in the gateway's directories with the rights of the gateway's account.
notes:
  - What was applied last is kept in O(journal_path), with mode 0600.
  - Secrets are never part of a result, a diff or a log line. Values whose key has the name of a secret are masked.
attributes:
  check_mode:
    description: Can run in check mode and predicts the change; validates it too where the release is installed.
    support: full
  diff_mode:
    description: Shows the keys that the inventory speaks about, before and after, with secrets masked.
    support: full
options:
  path:
    description: The settings file.
    type: path
    required: true
  state:
    description:
      - V(present) brings the settings in sync.
      - V(rotated) gives the secrets in O(rotate) new values, and nothing else, while the gateway serves. Real calls then prove
        that the gateway accepts its new token and refuses the old one; where they do not, the old values come back and the module fails.
      - V(confirmed) notes that a gateway that was started after an unconfirmed change works with it. Settings that its start has
        taken back, as OpenClaw does where they are much smaller than the last good ones, are written again, and the gateway takes them.
      - V(rolled_back) puts the previous settings and secrets back after an unconfirmed change.
    type: str
    choices: [present, rotated, confirmed, rolled_back]
    default: present
  owner:
    description: The gateway's account. Where it does not exist yet, in check mode, nothing of it is looked at.
    type: str
  settings:
    description: The desired keys, in OpenClaw's own vocabulary.
    type: dict
    default: {}
  defaults:
    description: Keys that O(settings) may override.
    type: dict
    default: {}
  owned:
    description: Keys that O(settings) must not set to anything else.
    type: dict
    default: {}
  secrets:
    description: Secrets by name.
    type: dict
    default: {}
  secrets_path:
    description: The gateway's secrets file.
    type: path
    required: true
  journal_path:
    description:
      - Path of a file in a directory where only the caller can write, such as C(/etc/openclaw/main/applied.json). By what was applied
        last the module tells a change of somebody else's from its own; the gateway's account could hide its own by it.
    type: path
    required: true
  generate:
    description: Names of secrets to make, once, where O(secrets) has none.
    type: list
    elements: str
    default: []
  rotate:
    description:
      - Names of secrets to rotate with O(state=rotated), V(all) for every one. The new value is that of O(secrets); one of O(generate)
        that is not given is made. A secret for which there is no other value than the host's is kept, and told.
    type: list
    elements: str
    default: []
  end_devices:
    description:
      - Whether a rotation of the gateway's token that was proven also ends every paired device and every request to become one,
        which have credentials of their own. By its documentation OpenClaw itself ends connections that were opened with the old token.
    type: bool
    default: false
  environment_variables:
    description: The gateway's environment; C(OPENCLAW_STATE_DIR) is needed.
    type: dict
    default: {}
  release:
    description: The directory of the release that will run the settings, named after its version.
    type: path
  unit:
    description: The gateway's systemd unit.
    type: str
    default: openclaw-gateway.service
  drift:
    description: What happens to a desired key that somebody has changed on the host since. It is reported in any case.
    type: str
    choices: [revert, keep]
    default: revert
  recover:
    description:
      - What to start from where the file is broken. The broken file is kept beside it.
      - V(repair) starts from the newer of what was applied last (O(journal_path)) and the copy that OpenClaw keeps of the last settings
        that it ran with. It also repairs a file that is missing, and one that the release refuses although it took the file that this
        module applied last; of such a file the keys that are sound stay. A file that cannot be read, and was never applied by
        this module, is left, and the module fails and tells what there is.
      - V(none) fails wherever the file cannot be read. V(last_good) is OpenClaw's copy, V(previous) the version before
        the last change of this module, V(discard) nothing but the desired keys.
    type: str
    choices: [repair, none, last_good, previous, discard]
    default: repair
  confirm:
    description: Wait until a running gateway has taken the change.
    type: bool
    default: true
  hold:
    description:
      - Whether a change that the running gateway has taken waits for O(state=confirmed) all the same, so that
        O(state=rolled_back) can take it back until then, for whoever has more to prove.
    type: bool
    default: false
  timeout:
    description: How long the gateway may take for that, in seconds.
    type: int
    default: 180
"""

EXAMPLES = r"""
- name: configure | Ensure the gateway's settings
  clawops.openclaw.gateway_config:
    path: /var/lib/openclaw/main/openclaw.json
    owner: openclaw
    secrets_path: /etc/openclaw/main/secrets/secrets.json
    journal_path: /etc/openclaw/main/applied.json
    release: /opt/openclaw/releases/2026.9.6
    environment_variables:
      OPENCLAW_STATE_DIR: /var/lib/openclaw/main/state
    settings:
      gateway: {mode: local, port: 18789}
      secrets:
        providers:
          clawops: {source: file, mode: json, path: /etc/openclaw/main/secrets/secrets.json}
      models:
        providers:
          anthropic:
            apiKey: "{{ 'ANTHROPIC_API_KEY' | clawops.openclaw.secret_ref }}"
    secrets:
      ANTHROPIC_API_KEY: "{{ vault_anthropic_api_key }}"
"""

RETURN = r"""
changed_keys:
  description: The paths whose value changed, or would.
  type: list
  elements: str
  returned: state is present
  sample: [gateway.port]
changed_secrets:
  description: The names of the secrets that changed, or would.
  type: list
  elements: str
  returned: state is present or rotated
kept_secrets:
  description: Why a secret that was to be rotated was not, by name.
  type: dict
  returned: state is rotated
  sample: {TELEGRAM_TOKEN: the inventory gives no new value}
used_by:
  description: The settings that refer to each of these secrets, by name.
  type: dict
  returned: state is rotated
  sample: {ANTHROPIC_API_KEY: [models.providers.anthropic.apiKey]}
proof:
  description:
    - What real calls have shown, and figures of it. C(old_token_refused_after_ms) is from the begin of the writing to the call that
      was refused; C(probes) were made every 50 ms meanwhile, and one is missed that is not answered well within 5 s.
  type: dict
  returned: state is rotated
  sample:
    token_accepted: true
    old_token_refused: true
    old_token_refused_after_ms: 870
    probes: 31
    probes_missed: 0
    slowest_probe_ms: 12.1
drift:
  description: Paths of ours that somebody had changed on the host.
  type: list
  elements: str
  returned: state is present
reload:
  description: What the gateway did about the change, or would do, V(none), V(hot) or V(restart).
  type: str
  returned: state is present or rotated
pending:
  description: Whether the change waits to be confirmed, as no running gateway has taken it yet, or O(hold) says so.
  type: bool
  returned: always
validated:
  description: Whether the release judged the settings in this call.
  type: bool
  returned: state is present
repaired:
  description:
    - Empty unless the file was broken and is repaired, or would be. C(copy) says what from.
    - Of the host's own keys, by path, C(saved) are there as they were, C(former) with the value of the copy, C(lost) are in the
      broken file or in the copy only.
  type: dict
  returned: state is present
  sample:
    copy: what was applied last
    saved: [session.dmScope]
    former: []
    lost: [nonsense.a]
plain_secrets:
  description: Paths of secrets that stand in the settings themselves, where a reference should be.
  type: list
  elements: str
  returned: state is present
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _apply, _settings
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError


def masked_invocation(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The arguments as they may be shown: the settings too may hold secrets that the operator put there."""
    known = (
        _apply.known_secrets(params)
        if all(isinstance(params.get(key), dict) for key in ("settings", "secrets"))
        else []
    )
    shown = {key: _settings.redact(value, known) for key, value in params.items()}
    secrets = params.get("secrets")
    return {**shown, "secrets": dict.fromkeys(secrets, _settings.MASK) if isinstance(secrets, dict) else _settings.MASK}


class ConfigModule(AnsibleModule):
    """Keeps its arguments out of journal and answer: operators put secrets into settings, too."""

    def _log_invocation(self) -> None:
        self.log(
            f"Invoked for {self.params['path']}, state {self.params['state']}; settings and secrets are not logged"
        )

    def exit_json(self, **kwargs: t.Any) -> None:
        super().exit_json(**{"invocation": {"module_args": masked_invocation(self.params)}, **kwargs})

    def fail_json(self, msg: str, **kwargs: t.Any) -> None:
        # Ansible itself comes here where it refuses an argument.
        super().fail_json(msg, **{"invocation": {"module_args": masked_invocation(self.params)}, **kwargs})


def main() -> None:
    module = ConfigModule(
        argument_spec=_apply.OPTIONS,
        supports_check_mode=True,
        required_if=[("state", "present", ["release"]), ("state", "rotated", ["release", "rotate"])],
    )
    known = _apply.known_secrets(module.params)
    try:
        result = _apply.run(module.params, check_mode=module.check_mode)
    except OpenClawError as error:
        module.fail_json(msg=_settings.scrub(str(error), known))
    except OSError as error:
        reason = f"cannot be written: {error.strerror}"
        remedy = "What was there is there still. Fix that and run again, which goes on from here."
        module.fail_json(msg=str(OpenClawError(error.filename or module.params["path"], reason, remedy)))
    for warning in result.pop("notes"):
        module.warn(_settings.scrub(warning, known))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
