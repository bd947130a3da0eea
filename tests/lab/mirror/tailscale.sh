# shellcheck shell=bash
# Stands in for pkgs.tailscale.com: stable/debian and stable/ubuntu, a suite per release, and for a download of Headscale,
# the coordination server that anybody may run: headscale/headscale.deb.
#
# The programs are built from their public Go modules and packed as the vendors do. Building takes minutes, so what comes
# out of it stays in downloads/, by version; and Headscale, whose larger half is Tailscale, is built with the Tailscale that
# is built here, not with the one a few weeks older that it asks for, so that no package is compiled twice.

# shellcheck source=/dev/null
source "$LAB_DIR/golang.sh"

TAILSCALE_VERSION=1.102.5
# For a pin and an upgrade. The same program under another number, which costs a link in place of a whole build.
TAILSCALE_OLDER=1.102.4
HEADSCALE_VERSION=0.29.3
# shellcheck disable=SC2034 # golang.sh uses it
GO_REQUIRED=("tailscale.com@v$TAILSCALE_VERSION" "github.com/juanfont/headscale@v$HEADSCALE_VERSION")

build_repository() {
  local destination=$1 suite version
  for version in "$TAILSCALE_OLDER" "$TAILSCALE_VERSION"; do tailscale_package "$version" "$destination/packages"; done
  for suite in debian/bookworm debian/trixie ubuntu/noble ubuntu/resolute; do
    tailscale_suite "$destination/packages" "$destination/stable/${suite%/*}" "${suite#*/}"
  done
  headscale_package "$destination/headscale/headscale.deb"
  rm -rf "$destination/packages"
}

# tailscale_suite PACKAGES FOLDER SUITE
tailscale_suite() {
  mkdir -p "$2/pool"
  ln -f "$1"/*.deb "$2/pool/"
  apt_index "$2" "$3"
  public_key "$2/$3.asc"
  gpg --dearmor <"$2/$3.asc" >"$2/$3.noarmor.gpg"
}

# tailscale_package VERSION FOLDER: laid out and described as the vendor's (release/dist/unixpkgs of the module).
tailscale_package() {
  local version=$1 folder=$2 root=$CACHE/tmp/tailscale-$1 from script
  from=$(go_programs tailscale.com "tailscale-$version" \
    "-X tailscale.com/version.longStamp=$version -X tailscale.com/version.shortStamp=$version" \
    "$(printf 'cmd/tailscaled/%s ' tailscaled.service tailscaled.defaults tailscale-online.target tailscale-wait-online.service)
     $(printf 'release/deb/debian.%s.sh ' postinst prerm postrm)" \
    tailscale tailscaled)
  mkdir -p "$folder"
  install -D -m 755 "$from/tailscale" "$root/usr/bin/tailscale"
  install -D -m 755 "$from/tailscaled" "$root/usr/sbin/tailscaled"
  install -D -m 644 "$from/cmd/tailscaled/tailscaled.defaults" "$root/etc/default/tailscaled"
  mkdir -p "$root/lib/systemd/system"
  install -m 644 "$from/cmd/tailscaled/"*.{service,target} "$root/lib/systemd/system/"
  mkdir "$root/DEBIAN"
  for script in postinst prerm postrm; do install -m 755 "$from/release/deb/debian.$script.sh" "$root/DEBIAN/$script"; done
  echo /etc/default/tailscaled >"$root/DEBIAN/conffiles"
  cat >"$root/DEBIAN/control" <<CONTROL
Package: tailscale
Version: $version
Architecture: $ARCHITECTURE
Maintainer: The lab's mirror <mirror@mirror.lab>
Section: net
Priority: extra
Homepage: https://www.tailscale.com
Depends: iptables
Recommends: tailscale-archive-keyring (>= 1.35.181), iproute2
Conflicts: tailscale-relay
Replaces: tailscale-relay
Description: Tailscale, client and daemon
 Built for the lab from the Go module tailscale.com ($TAILSCALE_VERSION).
CONTROL
  dpkg-deb --root-owner-group -Zzstd -z3 --build "$root" "$folder"
}

headscale_package() {
  local root=$CACHE/tmp/headscale from
  from=$(go_programs github.com/juanfont/headscale "headscale-$HEADSCALE_VERSION" '' \
    "config-example.yaml packaging/systemd/headscale.service $(printf 'packaging/deb/%s ' postinst prerm postrm)" headscale)
  mkdir -p "$(dirname "$1")" "$root/DEBIAN" "$root/var/lib/headscale"
  install -D -m 755 "$from/headscale" "$root/usr/bin/headscale"
  install -D -m 644 "$from/config-example.yaml" "$root/etc/headscale/config.yaml"
  install -D -m 644 "$from/packaging/systemd/headscale.service" "$root/usr/lib/systemd/system/headscale.service"
  install -m 755 "$from/packaging/deb/"* "$root/DEBIAN/"
  echo /etc/headscale/config.yaml >"$root/DEBIAN/conffiles"
  cat >"$root/DEBIAN/control" <<CONTROL
Package: headscale
Version: $HEADSCALE_VERSION
Architecture: $ARCHITECTURE
Maintainer: The lab's mirror <mirror@mirror.lab>
Section: net
Priority: optional
Homepage: https://github.com/juanfont/headscale
Description: Headscale, a coordination server for Tailscale
 Built for the lab from the Go module github.com/juanfont/headscale ($HEADSCALE_VERSION).
CONTROL
  dpkg-deb --root-owner-group -Zzstd -z3 --build "$root" "$1"
}
