#!/usr/bin/env bash
# build.sh SUITE OUTPUT.tar.zst UBUNTU_KEYRING: the root of a small systemd host, as a compressed tar.
set -euo pipefail
umask 022

here=$(cd "$(dirname "$0")" && pwd)

# In a mount namespace of its own, so that even a killed build leaves no mount behind.
if [[ ${1:-} != --unshared ]]; then
  exec unshare --mount --propagation private "$0" --unshared "$@"
fi
suite=$2 output=$3 ubuntu_keyring=$4

# What a small cloud host has; the roles must bring the rest.
packages=(
  apt systemd systemd-sysv libpam-systemd dbus dbus-user-session udev kmod procps
  python3 python3-apt sudo openssh-server cron
  iproute2 iputils-ping netbase ca-certificates curl gnupg tzdata
)
components=main
keyring=()
case $suite in
  noble | resolute)
    components=main,universe
    keyring=(--keyring="$ubuntu_keyring")
    ;;
esac
# Ubuntu 26.04 comes with both, and sudo is the one written in Rust.
if [[ $suite == resolute ]]; then packages+=(sudo-rs); fi

mmdebstrap --mode=root --variant=minbase --format=tar --components="$components" "${keyring[@]}" \
  --include="$(IFS=,; echo "${packages[*]}")" \
  --aptopt='Acquire::Languages "none"' \
  --dpkgopt=force-unsafe-io \
  --extract-hook="$here/slim.sh \"\$1\"" \
  --customize-hook="$here/customize.sh \"\$1\"" \
  "$suite" - | zstd -q -T2 -3 -o "$output" -f
