#!/usr/bin/env bash
# Makes the development environment: .venv with exactly requirements.txt, and the link
# through which Ansible finds this checkout as the collection clawops.openclaw.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "bootstrap: $*" >&2; exit 1; }

missing=()
command -v ssh >/dev/null || missing+=(openssh-client)
command -v python3 >/dev/null || missing+=(python3)
# Debian ships ensurepip, which venv needs, in a package of its own.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if ((${#missing[@]})); then
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    fail "this machine lacks ${missing[*]}. Install them with its package manager, then repeat."
  fi
  echo "bootstrap: installing ${missing[*]}"
  # The lab may install programs at the same time; apt does not wait for the lock of its lists.
  tries=0
  until apt-get update -qq; do
    ((++tries < 60)) || fail "apt-get update: what it said is above. Repair that, then repeat."
    sleep 5
  done
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >/dev/null
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$(python3 --version) is too old. Put a Python 3.11 or newer first in PATH as python3."

link=.ansible/collections/ansible_collections/clawops/openclaw
mkdir -p "$(dirname "$link")"
ln -sfn ../../../.. "$link"

# The stamp is a copy of what was installed: an interrupted installation leaves none.
stamp=.venv/installed.txt
cmp -s requirements.txt "$stamp" && exit 0
total=$(grep -c '==' requirements.txt)
echo "bootstrap: installing $total Python packages into .venv (about a minute)"
python3 -m venv --clear .venv
# Not compiled beforehand, which would take as long as all the rest: Python compiles what is used at its first use.
PYTHONUNBUFFERED=1 .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off \
  --no-compile --no-deps --requirement requirements.txt |
  awk -v total="$total" '
    /^Collecting/ { if (++seen % 20 == 0) print "bootstrap: " seen " of " total " fetched"; fflush() }
    /^Installing/ { print "bootstrap: unpacking"; fflush() }'
.venv/bin/python -m pip check --disable-pip-version-check
cp requirements.txt "$stamp"
