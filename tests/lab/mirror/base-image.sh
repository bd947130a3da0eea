# shellcheck shell=bash
# Stands in for the image debian:bookworm-slim of a container registry: its filesystem, from which engines import it.

build_repository() {
  need mmdebstrap=mmdebstrap
  mkdir -p "$1"
  # As the image on the registries: no man pages, no documentation, no translations.
  mmdebstrap --mode=root --variant=minbase --format=tar --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    bookworm - | gzip -3 >"$1/bookworm-slim.tar.gz"
}
