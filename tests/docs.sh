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
    without_required "$role"
    aar-doc "$role" markdown
    # References to plugins, P(name#type), are the one markup that aar-doc does not know.
    # shellcheck disable=SC2016 # the backquotes are Markdown's
    sed -i -E 's/\bP\(([^#)]+)#[a-z]+\)/`\1`/g' "$role/README.md"
  done
}

# aar-doc gives a dictionary with described keys a default even where it is required: an empty one,
# which would let a role run without it.
without_required() {
  python - "$1" <<'PYTHON'
import pathlib, re, sys, yaml

role = pathlib.Path(sys.argv[1])
path = role / "defaults/main.yml"
specification = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
for name, option in [item for entry in specification.values() for item in entry.get("options", {}).items()]:
    if option.get("required") and path.exists():
        block = rf"(^# (?!Automatically).*\n)*^{name}:.*\n(^ .*\n)*"
        path.write_text(re.sub(block, "", path.read_text(), flags=re.MULTILINE))
PYTHON
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
