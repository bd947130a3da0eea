# shellcheck shell=bash
# Stands in for downloads of the servers that backups go to: rest-server.deb (restic's own) and versitygw.deb (S3 on a
# folder). Only two of the distributions have the first, none the second.
#
# Built from their public Go modules. Building takes minutes, so what comes out of it stays in downloads/, by version.

# shellcheck source=/dev/null
source "$LAB_DIR/golang.sh"

REST_SERVER_VERSION=0.14.0
VERSITYGW_VERSION=1.8.0
# shellcheck disable=SC2034 # golang.sh uses it
GO_REQUIRED=("github.com/restic/rest-server@v$REST_SERVER_VERSION" "github.com/versity/versitygw@v$VERSITYGW_VERSION")

build_repository() {
  server_package github.com/restic/rest-server rest-server "$REST_SERVER_VERSION" \
    'The server of restic for backups over HTTP' "$1/rest-server.deb"
  server_package github.com/versity/versitygw versitygw "$VERSITYGW_VERSION" 'S3 on a folder' "$1/versitygw.deb"
}

# server_package MODULE NAME VERSION SUMMARY FILE: the program alone; whoever installs it says how it runs.
server_package() {
  local module=$1 name=$2 version=$3 root=$CACHE/tmp/$2 from
  from=$(go_programs "$module" "$name-$version" '' '' "$name")
  mkdir -p "$(dirname "$5")" "$root/DEBIAN"
  install -D -m 755 "$from/$name" "$root/usr/bin/$name"
  cat >"$root/DEBIAN/control" <<CONTROL
Package: $name
Version: $version
Architecture: $ARCHITECTURE
Maintainer: The lab's mirror <mirror@mirror.lab>
Section: net
Priority: optional
Homepage: https://$module
Description: $4
 Built for the lab from the Go module $module ($version).
CONTROL
  dpkg-deb --root-owner-group -Zzstd -z3 --build "$root" "$5"
}
