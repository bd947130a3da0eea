# shellcheck shell=bash
# What a vendor's file in mirror/ may use whose programs are public Go modules; it sources this file, and sets
# GO_REQUIRED, the modules that it asks for: MODULE@VERSION, together, so that what they share is compiled once.

# go_programs MODULE NAME LINKER_FLAGS FILES PROGRAM…: prints a folder with programs and files of a module.
go_programs() {
  local folder=$CACHE/downloads/$2-$ARCHITECTURE work=$CACHE/tmp/go-$2
  if [[ ! -d $folder ]]; then
    command -v go >/dev/null ||
      die "the mirror's $2" "it is built with Go, and there is none" "Install Go 1.26.6 or newer, then retry."
    mkdir -p "$work/out"
    (cd "$work" && go_build "$@") >&2 || die "the mirror's $2" "Go could not build it" "What it said is above."
    mv "$work/out" "$folder"
  fi
  echo "$folder"
}

# As a module of our own that asks for them: 'go install' would want the list of all versions, which not every proxy has.
go_build() {
  local module=$1 flags=$3 files=$4 required program file
  shift 4
  export CGO_ENABLED=0 GOFLAGS='-mod=mod -trimpath -buildvcs=false'
  go mod init lab.invalid/mirror || return
  for required in "${GO_REQUIRED[@]}"; do go mod edit -require="$required" || return; done
  # Not optimized: that is a third less of the minutes, and nothing here needs a quick program.
  for program; do
    go build -gcflags 'all=-N -l' -ldflags "-s -w $flags" -o out/ "$module/cmd/$program" || return
  done
  for file in $files; do install -D -m 644 "$(go list -m -f '{{.Dir}}' "$module")/$file" "out/$file" || return; done
}
