#!/usr/bin/env bash
# Writes what is generated from each role's meta/argument_specs.yml: defaults/main.yml and
# the table in README.md. With --check it changes nothing and fails if they are not up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

generate() {
  local role
  for role in "$1"/roles/*/; do
    echo "docs: $(basename "$role")"
    aar-doc "$role" defaults
    aar-doc "$role" markdown
    # References to plugins, P(name#type), are the one markup that aar-doc does not know.
    # shellcheck disable=SC2016 # the backquotes are Markdown's
    sed -i -E 's/\bP\(([^#)]+)#[a-z]+\)/`\1`/g' "$role/README.md"
  done
}

if [[ ${1-} != --check ]]; then
  generate "$PWD"
  exit
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -R roles galaxy.yml "$scratch/"
generate "$scratch"
if ! diff -ru roles "$scratch/roles"; then
  echo "docs: defaults or README tables differ from the specifications. Run 'make docs' and commit." >&2
  exit 1
fi
