#!/usr/bin/env bash
# slim.sh ROOT: keeps documentation and translations out of a root that is being bootstrapped, now and whatever comes later.
# With mmdebstrap's own options for that, each file of the first packages goes through a Python program: 15 s more.
set -euo pipefail

root=$1
mkdir -p "$root/etc/dpkg/dpkg.cfg.d"
cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<'OPTIONS'
path-exclude=/usr/share/man/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
OPTIONS
rm -rf "$root"/usr/share/{man,locale}/*
find "$root/usr/share/doc" ! -type d ! -name copyright -delete
find "$root/usr/share/doc" -mindepth 1 -type d -empty -delete
