# shellcheck shell=bash
# Stands in for download.docker.com: linux/debian and linux/ubuntu, a suite per release, component "stable".
#
# The engine is Debian 13's own, whose programs run on every release here, cut into the vendor's packages. Only runc
# wants a newer C library than Debian 12 has, so that suite gets Debian 12's.

DOCKER_VERSION=5:26.1.5-1~lab

build_repository() {
  local destination=$1 suite from=$WORK/docker
  deb_download trixie "$from/trixie" docker.io docker-cli containerd runc rootlesskit docker-compose docker-buildx tini
  deb_download bookworm "$from/bookworm" runc
  docker_packages "$from" "$destination/packages"
  for suite in debian/bookworm debian/trixie ubuntu/noble ubuntu/resolute; do
    docker_suite "$destination/packages" "$destination/linux/${suite%/*}" "${suite#*/}"
  done
  for suite in debian ubuntu; do public_key "$destination/linux/$suite/gpg"; done
  rm -rf "$destination/packages" "$from"
}

# docker_suite POOL FOLDER SUITE: laid out as the vendor's, the packages below dists/.
docker_suite() {
  local pool=dists/$3/pool/stable/$ARCHITECTURE runc=trixie
  if [[ $3 == bookworm ]]; then runc=bookworm; fi
  mkdir -p "$2/$pool"
  ln "$1"/*.deb "$1/$runc"/*.deb "$2/$pool/"
  apt_index "$2" "$3" "$pool" stable
}

# docker_packages FOLDER POOL: the vendor's packages out of the distribution's.
docker_packages() {
  local from=$1 pool=$2 part runc
  mkdir -p "$pool"
  for part in docker.io docker-cli containerd rootlesskit docker-compose docker-buildx; do
    dpkg-deb --raw-extract "$from/trixie/${part}_"*.deb "$from/$part"
    rm -rf "$from/$part/usr/share/"{doc,man,lintian}
  done
  # What the vendor has in a package of its own.
  install -D -m 755 "$from/docker.io/usr/share/docker.io/contrib/dockerd-rootless.sh" "$from/rootlesskit/usr/bin/dockerd-rootless.sh"
  rm -rf "$from/docker.io/usr/share/docker.io"
  # Debian's is a link into a package that is another one in each release; the vendor ships the program.
  dpkg-deb --extract "$from/trixie/tini_"*.deb "$from/tini"
  rm -f "$from/docker.io/usr/bin/docker-init"
  install -m 755 "$from/tini/usr/bin/tini-static" "$from/docker.io/usr/bin/docker-init"
  docker_package "$from/docker.io" docker-ce "containerd.io, docker-ce-cli, iptables, libc6 (>= 2.34), libsystemd0, adduser"
  docker_package "$from/docker-cli" docker-ce-cli "libc6 (>= 2.34)"
  docker_package "$from/docker-compose" docker-compose-plugin "libc6 (>= 2.34)"
  docker_package "$from/docker-buildx" docker-buildx-plugin "libc6 (>= 2.34)"
  docker_package "$from/rootlesskit" docker-ce-rootless-extras "docker-ce, dbus-user-session, libc6 (>= 2.34), uidmap"
  for part in docker.io docker-cli docker-compose docker-buildx rootlesskit; do
    dpkg-deb --root-owner-group -Zzstd -z3 --build "$from/$part" "$pool"
  done
  for runc in trixie bookworm; do
    mkdir -p "$pool/$runc"
    cp -a "$from/containerd" "$from/containerd-$runc"
    dpkg-deb --extract "$from/$runc/runc_"*.deb "$from/containerd-$runc"
    rm -rf "$from/containerd-$runc/usr/share/"{doc,man}
    docker_package "$from/containerd-$runc" containerd.io "libc6 (>= 2.34), libseccomp2 (>= 2.5.0)"
    dpkg-deb --root-owner-group -Zzstd -z3 --build "$from/containerd-$runc" "$pool/$runc"
  done
}

# docker_package ROOT NAME DEPENDS: named and versioned as the vendor's; maintainer scripts stay those of the distribution.
docker_package() {
  rm -f "$1/DEBIAN/md5sums"
  cat >"$1/DEBIAN/control" <<CONTROL
Package: $2
Version: $DOCKER_VERSION
Architecture: $ARCHITECTURE
Maintainer: The lab's mirror <mirror@mirror.lab>
Section: admin
Priority: optional
Homepage: https://www.docker.com
Depends: $3
Conflicts: containerd, docker, docker.io, docker-cli, runc, rootlesskit, docker-buildx, docker-compose
Replaces: containerd, docker, docker.io, docker-cli, runc, rootlesskit, docker-buildx, docker-compose
Description: Docker Engine, the part $2
 Repacked for the lab from Debian's packages.
CONTROL
}
