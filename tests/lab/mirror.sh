# shellcheck shell=bash
# The vendor mirror: one container that serves www/ of the cache, one folder per file in mirror/*.sh.
# Such a file defines build_repository, which fills the folder that it is given; repository.sh helps.

MIRROR=$LAB-mirror
# Of a host's image, so that the mirror needs none of its own.
MIRROR_COMMAND=(python3 -m http.server --bind 0.0.0.0 --directory /srv/mirror 80)
ALL_VENDORS=("$LAB_DIR"/mirror/*.sh)
ALL_VENDORS=("${ALL_VENDORS[@]##*/}")
ALL_VENDORS=("${ALL_VENDORS[@]%.sh}")
# What this call makes sure of.
VENDORS=("${ALL_VENDORS[@]}")

# vendors_choose VENDOR,VENDOR…: build these, and leave the others as they are.
vendors_choose() {
  local vendor
  read -ra VENDORS <<<"${1//,/ }"
  for vendor in "${VENDORS[@]}"; do
    [[ " ${ALL_VENDORS[*]} " == *" $vendor "* ]] ||
      die "vendor $vendor" "the mirror has no recipe of that name" "Recipes: ${ALL_VENDORS[*]}."
  done
  [[ ${#VENDORS[@]} -gt 0 ]] || die "--vendors" "it names none" "Choose from: ${ALL_VENDORS[*]}, with commas between."
}

vendor_recipe() {
  local parts=("$LAB_DIR/mirror/$1.sh" "$LAB_DIR/repository.sh" "$SIGNING_KEY")
  # Only of those that use it, so that a change there builds no other vendor anew.
  if grep -q '^source .*/golang\.sh' "${parts[0]}"; then parts+=("$LAB_DIR/golang.sh"); fi
  printf '%s' "$(sha256_of "${parts[@]}") $ARCHITECTURE" | sha256sum | cut -c1-16
}

vendor_served() { [[ -e $CACHE/www/$1 ]]; }

vendors_served() {
  local vendor
  for vendor in "${VENDORS[@]}"; do vendor_served "$vendor" || return; done
}

# Without the key, which every recipe includes, nothing has been built.
vendors_missing() {
  local vendor
  for vendor in "${VENDORS[@]}"; do
    if [[ ! -s $SIGNING_KEY || $(readlink "$CACHE/www/$vendor") != ".$vendor-$(vendor_recipe "$vendor")" ]]; then echo "$vendor"; fi
  done
}

# Into the pool.
mirror_build() {
  local vendor
  signing_key_ready
  for vendor in $(vendors_missing); do pool_add vendor_build "$vendor"; done
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
  local started=$SECONDS vendor content
  content="${MIRROR_COMMAND[*]} $CACHE"
  # A container of a former image, or of another cache, serves something else.
  if [[ $(docker container inspect -f "{{.Image}} {{index .Config.Labels \"$LAB.mirror\"}}" "$MIRROR" 2>/dev/null) != "$(image_id debian12) $content" ]]; then
    container_remove "$MIRROR"
    docker create --pull never --name "$MIRROR" --hostname mirror.lab --network "$LAB" --network-alias mirror.lab \
      --label "$LAB=1" --label "$LAB.mirror=$content" --stop-signal SIGINT \
      --volume "$CACHE/www:/srv/mirror:ro" "$LAB:debian12" "${MIRROR_COMMAND[@]}" >/dev/null
  fi
  for vendor in "${ALL_VENDORS[@]}"; do
    vendor_served "$vendor" || say "the mirror has no $vendor; 'lab.sh ready' without --vendors adds it"
  done
  if mirror_running; then return; fi
  docker start "$MIRROR" >/dev/null
  mirror_await
  say "mirror started in $((SECONDS - started)) s"
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
