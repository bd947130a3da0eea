# shellcheck shell=bash
# Stands in for deb.nodesource.com: node_24.x and node_22.x, each a suite "nodistro".
#
# The Node binary and its headers come from the npm package `node` (its part for this machine), npm
# from the npm package `npm`, in the version line that each Node release carries.

# MAJOR NODE NPM: the newest 24, the newest 22.
NODES=(
  '24 24.21.0 11.21.2'
  '22 22.23.3 10.9.9'
)

build_repository() {
  local destination=$1 entry major node npm folder
  for entry in "${NODES[@]}"; do
    read -r major node npm <<<"$entry"
    node_package "$node" "$npm" "$destination/node_$major.x/pool/main/n/nodejs"
  done
  for folder in "$destination"/node_*.x; do apt_index "$folder" nodistro; done
  public_key "$destination/gpgkey/nodesource-repo.gpg.key"
}

# node_package NODE NPM FOLDER: a nodejs package laid out and named as the vendor's.
node_package() {
  local node=$1 npm=$2 folder=$3 version root platform
  version=$node-1nodesource1
  root=$WORK/nodejs
  case $ARCHITECTURE in
    amd64) platform=linux-x64 ;;
    arm64) platform=linux-arm64 ;;
    *) die "the nodejs package" "npm has no Node for $ARCHITECTURE" "Use a machine of amd64 or arm64." ;;
  esac
  rm -rf "$root"
  mkdir -p "$root"/usr/{share/doc/nodejs,lib/node_modules/npm} "$root/DEBIAN" "$folder"
  tar -xzf "$(npm_download "node-$platform" "$node")" -C "$root/usr" --strip-components=1 --no-same-owner
  tar -xzf "$(npm_download npm "$npm")" -C "$root/usr/lib/node_modules/npm" --strip-components=1 --no-same-owner
  mv "$root/usr/LICENSE" "$root/usr/share/doc/nodejs/copyright"
  find "$root/usr" -maxdepth 1 -type f -delete
  chmod -R u=rwX,go=rX "$root/usr"
  chmod 755 "$root/usr/lib/node_modules/npm/bin"/np[mx]-cli.js
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/bin/npx"
  cat >"$root/DEBIAN/control" <<CONTROL
Package: nodejs
Version: $version
Architecture: $ARCHITECTURE
Maintainer: The lab's mirror <mirror@mirror.lab>
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Section: web
Priority: optional
Homepage: https://nodejs.org
Depends: libc6 (>= 2.28), libgcc-s1, libstdc++6, python3-minimal, ca-certificates
Conflicts: nodejs-dev, nodejs-legacy, npm
Replaces: nodejs-dev, nodejs-legacy, npm
Provides: nodejs-dev, nodejs-legacy, npm
Description: Node.js event-based server-side javascript engine
 Repacked for the lab from the npm packages node ($node) and npm ($npm).
CONTROL
  dpkg-deb --root-owner-group -Zzstd -z3 --build "$root" "$folder/nodejs_${version}_$ARCHITECTURE.deb"
  rm -rf "$root"
}
