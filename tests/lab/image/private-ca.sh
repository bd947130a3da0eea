#!/usr/bin/env bash
# private-ca.sh ROOT: where this machine trusts certificates of its own (a company's proxy, say), its
# hosts must, and so must the programs that bring a list of their own. Elsewhere nothing is done.
set -euo pipefail

root=$1
bundle=/etc/ssl/certs/ca-certificates.crt
certificates=$(find /usr/local/share/ca-certificates -name '*.crt' 2>/dev/null || true)
if [[ -z $certificates ]]; then exit 0; fi

mkdir -p "$root/usr/local/share/ca-certificates" "$root"/etc/systemd/{system,user}.conf.d
while read -r file; do cp "$file" "$root/usr/local/share/ca-certificates/"; done <<<"$certificates"
chroot "$root" update-ca-certificates >/dev/null

variables=(NODE_EXTRA_CA_CERTS PIP_CERT SSL_CERT_FILE)
for name in "${variables[@]}"; do echo "$name=$bundle"; done >>"$root/etc/environment"
for scope in system user; do
  printf '[Manager]\nDefaultEnvironment=%s\n' "$(printf "%s=$bundle " "${variables[@]}")" \
    >"$root/etc/systemd/$scope.conf.d/lab-private-ca.conf"
done
printf 'Defaults env_keep += "%s"\n' "${variables[*]}" >"$root/etc/sudoers.d/lab-private-ca"
chmod 440 "$root/etc/sudoers.d/lab-private-ca"
printf '[global]\ncert = %s\n' "$bundle" >"$root/etc/pip.conf"
