# shellcheck shell=bash
# The vendor mirror: one container that serves www/ of the cache, one folder per file in mirror/*.sh.
# Such a file defines build_repository, which fills the folder that it is given; repository.sh helps.

MIRROR=$LAB-mirror
MIRROR_INSTALL='apt-get update && apt-get install --yes --no-install-recommends nginx-light && apt-get clean && rm -rf /var/lib/apt/lists/*'

mirror_vendors() { basename -s .sh -a "$LAB_DIR"/mirror/*.sh; }

vendor_recipe() {
  printf '%s' "$(sha256_of "$LAB_DIR/mirror/$1.sh" "$LAB_DIR/repository.sh" "$SIGNING_KEY") $ARCHITECTURE" | sha256sum | cut -c1-16
}

mirror_build() {
  local vendor
  signing_key_ready
  for vendor in $(mirror_vendors); do
    if [[ $(readlink "$CACHE/www/$vendor") != ".$vendor-$(vendor_recipe "$vendor")" ]]; then
      need npm=npm apt-ftparchive=apt-utils gpg=gnupg dpkg-deb=dpkg zstd=zstd
      pool_add vendor_build "$vendor"
    fi
  done
}

# Filled aside, then a link is moved onto the name: the mirror serves the former content or the new, whole.
vendor_build() {
  local vendor=$1 started=$SECONDS folder
  folder=.$vendor-$(vendor_recipe "$vendor")
  say "building the mirror's $vendor (about half a minute, some minutes where programs are compiled for the first time)"
  mkdir "$CACHE/tmp/$vendor"
  logged "mirror-$vendor" vendor_fill "$vendor" "$CACHE/tmp/$vendor"
  rm -rf "${CACHE:?}/www/$folder"
  mv "$CACHE/tmp/$vendor" "$CACHE/www/$folder"
  ln -sfn "$folder" "$CACHE/tmp/$vendor.link"
  mv -T "$CACHE/tmp/$vendor.link" "$CACHE/www/$vendor"
  find "$CACHE/www" -maxdepth 1 -name ".$vendor-*" ! -name "$folder" -exec rm -rf {} +
  say "mirror's $vendor built in $((SECONDS - started)) s, $(du -sh "$CACHE/www/$folder" | cut -f1)"
}

vendor_fill() {
  # shellcheck source=/dev/null
  source "$LAB_DIR/mirror/$1.sh"
  build_repository "$2"
}

mirror_running() { [[ $(docker container inspect -f '{{.State.Running}}' "$MIRROR" 2>/dev/null) == true ]]; }

mirror_start() {
  local started=$SECONDS
  RECIPES["mirror"]=$(sha256sum <<<"$(sha256_of "$LAB_DIR/mirror/nginx.conf") $MIRROR_INSTALL ${RECIPES[debian12]}" | cut -c1-16)
  if [[ ! -s $(image_tar mirror) ]]; then
    say "adding a web server to debian12 for the mirror (about ten seconds)"
    logged mirror-image mirror_image
  fi
  if ! image_current mirror; then image_import mirror; fi
  # A container of the former image, or of another cache, serves something else.
  if [[ $(docker container inspect -f "{{index .Config.Labels \"$LAB.mirror\"}}" "$MIRROR" 2>/dev/null) != "${RECIPES["mirror"]} $CACHE" ]]; then
    docker rm --force --volumes "$MIRROR" >/dev/null 2>&1 || true
    docker create --pull never --name "$MIRROR" --hostname mirror.lab --network "$LAB" --network-alias mirror.lab \
      --label "$LAB=1" --label "$LAB.mirror=${RECIPES["mirror"]} $CACHE" \
      --volume "$CACHE/www:/srv/mirror:ro" "$LAB:mirror" nginx >/dev/null
  fi
  if mirror_running; then return; fi
  docker start "$MIRROR" >/dev/null
  mirror_await
  say "mirror started in $((SECONDS - started)) s"
}

# Not by a builder: it would keep layers that destroy cannot tell as ours, and the cache could not keep the result.
mirror_image() {
  local container=$MIRROR-image
  docker rm --force --volumes "$container" >/dev/null 2>&1 || true
  docker run --pull never --name "$container" --network "$LAB" --label "$LAB=1" "$LAB:debian12" \
    sh -c "$MIRROR_INSTALL" &&
    docker cp "$LAB_DIR/mirror/nginx.conf" "$container:/etc/nginx/nginx.conf" &&
    docker export "$container" | zstd -q -T2 -3 -f -o "$CACHE/tmp/mirror.tar.zst" &&
    docker rm --force --volumes "$container" &&
    rm -f "$CACHE/images/mirror-"* &&
    mv "$CACHE/tmp/mirror.tar.zst" "$(image_tar mirror)"
}

mirror_await() {
  local deadline=$((SECONDS + 30))
  until docker exec "$MIRROR" curl --fail --silent --output /dev/null http://mirror.lab/; do
    if [[ $SECONDS -ge $deadline ]]; then
      die "$MIRROR" "it does not answer within 30 s" "See 'docker logs $MIRROR'."
    fi
    sleep 0.2
  done
}
