#!/usr/bin/env bash
# Runs ansible-test's sanity tests, which compare what a module documents with what it does, on a
# copy of the checkout: ansible-test wants a folder below ansible_collections that Git does not ignore.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$PWD/.venv/bin/python
export HOME=$PWD/.ansible/sanity # its environments and caches stay out of the real home
export PIP_NO_COMPILE=1           # each test installs what it needs, and pip, into an environment of its own
cache=$HOME/.ansible/test/cache
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
collection=$scratch/ansible_collections/clawops/openclaw
mkdir -p "$collection" "$cache"
tar -c galaxy.yml meta plugins roles changelogs | tar -x -C "$collection"

# ansible-test fetches pip's bootstrap script from a site of its own, which many networks do not
# reach. This one does the same with the index that everything else here comes from.
pip=$("$python" -c '
from ansible_test._internal.python_requirements import get_venv_packages as packages
from types import SimpleNamespace
print(packages(SimpleNamespace(version="3.11"))["pip"])')
cat >"$cache/get_pip_${pip//./_}.py" <<EOF
import subprocess, sys
arguments = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call(["$python", "-m", "pip", "--python", sys.executable, "install", *arguments]))
EOF

cd "$collection"
# Left out: what ruff, mypy and yamllint already hold, more strictly; and PowerShell, of which there is none.
ansible-test sanity --color no --python "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" \
  --skip-test pep8 --skip-test pylint --skip-test yamllint --skip-test pslint "$@"
