# shellcheck shell=bash
# Stands in for the image debian:bookworm-slim of a container registry: its filesystem, from which engines import it.

build_repository() {
  mkdir -p "$1"
  # As the image on the registries: no man pages, no documentation, no translations.
  TMPDIR=$WORK mmdebstrap --mode=root --variant=minbase --format=tar --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
    --extract-hook="$LAB_DIR/image/slim.sh \"\$1\"" bookworm - | gzip -3 >"$1/bookworm-slim.tar.gz"
}
