# shellcheck shell=bash
# The systemd images: image/build.sh makes a tar, the cache keeps it, the engine imports it.

IMAGES=(debian12 debian13 ubuntu2404 ubuntu2604)
# Not in keys/: apt reads it as an account of its own.
UBUNTU_KEYRING=$CACHE/downloads/ubuntu-archive-keyring.gpg
declare -A RECIPES
declare -A SUITES=([debian12]=bookworm [debian13]=trixie [ubuntu2404]=noble [ubuntu2604]=resolute)

# With debian12, which the mirror runs on.
images_wanted() {
  if [[ $# -eq 0 ]]; then set -- "${IMAGES[@]}"; fi
  printf '%s\n' "$@" debian12 | awk '!known[$0]++'
}

images_missing() {
  local name
  for name in $(images_wanted "$@"); do
    if [[ ! -s $(image_tar "$name") ]]; then echo "$name"; fi
  done
}

images_known() {
  local name
  for name in "$@"; do
    [[ -n ${SUITES[$name]:-} ]] || die "image $name" "the lab has neither a recipe nor a snapshot of that name" "Recipes: ${IMAGES[*]}."
  done
}

# Whatever decides what is in the tar; a change of any of it builds a new one. Taken once, so that an
# edit in the middle of a run cannot mix two recipes.
images_recipes() {
  local name files inputs
  mapfile -t files < <(find "$LAB_DIR/image" -type f; private_ca_files)
  inputs=$(sha256_of "${files[@]}")
  for name in "${IMAGES[@]}"; do
    RECIPES[$name]=$(sha256sum <<<"$inputs ${SUITES[$name]} $ARCHITECTURE" | cut -c1-16)
  done
}

# Certificates that this machine trusts beyond the distribution's: its hosts need them too.
private_ca_files() { find /usr/local/share/ca-certificates -name '*.crt' 2>/dev/null || true; }

image_tar() { echo "$CACHE/images/$1-${RECIPES[$1]}.tar.zst"; }

image_id() { docker images -q --no-trunc "$LAB:$1"; }

image_present() { [[ -n $(image_id "$1") ]]; }

image_current() { [[ $(image_label "$1" "$LAB.import") == "$(image_changes "$1" | sha256sum | cut -c1-16)" ]]; }

image_label() { docker image inspect -f "{{index .Config.Labels \"$2\"}}" "$LAB:$1" 2>/dev/null || true; }

# What the import adds to the tar, one change per line.
image_changes() {
  echo 'CMD ["/sbin/init"]'
  # Without it systemd takes itself for the machine's own init.
  echo 'ENV container=docker'
  # 'docker exec' reads no /etc/environment, where private-ca.sh tells the same to everyone else.
  if [[ -n $(private_ca_files) ]]; then
    local bundle=/etc/ssl/certs/ca-certificates.crt
    echo "ENV NODE_EXTRA_CA_CERTS=$bundle PIP_CERT=$bundle SSL_CERT_FILE=$bundle"
  fi
  echo "LABEL $LAB=1 $LAB.image=$1 $LAB.recipe=${RECIPES[$1]}"
}

# Into the pool.
images_build() {
  local name missing
  missing=$(images_missing "$@")
  if [[ -n $missing && $(id -u) -ne 0 ]]; then
    die "lab.sh ready" "building images needs root" "Run it as root once; the cache keeps the images."
  fi
  case $missing in *ubuntu*) ubuntu_keyring ;; esac
  for name in $(images_wanted "$@"); do
    if [[ ! -s $(image_tar "$name") ]] || ! image_current "$name"; then pool_add image_ready "$name"; fi
  done
}

image_ready() {
  if [[ ! -s $(image_tar "$1") ]]; then image_build "$1"; fi
  if ! image_current "$1"; then image_import "$1"; fi
}

image_build() {
  local name=$1 started=$SECONDS tar
  tar=$(image_tar "$name")
  say "building image $name (about a minute)"
  TMPDIR=$WORK logged "image-$name" "$LAB_DIR/image/build.sh" "${SUITES[$name]}" "$CACHE/tmp/$name.tar.zst" "$UBUNTU_KEYRING"
  rm -f "$CACHE/images/$name-"*
  mv "$CACHE/tmp/$name.tar.zst" "$tar"
  say "image $name built in $((SECONDS - started)) s, $(du -h "$tar" | cut -f1)"
}

# Debian 13's package knows the keys of every Ubuntu release here, and apt verifies that package.
ubuntu_keyring() {
  local root=$WORK/keyring
  if [[ -s $UBUNTU_KEYRING ]]; then return; fi
  logged ubuntu-keyring mmdebstrap --mode=root --variant=extract --include=ubuntu-keyring trixie "$root"
  cp "$root/usr/share/keyrings/ubuntu-archive-keyring.gpg" "$CACHE/tmp/keyring.gpg"
  mv "$CACHE/tmp/keyring.gpg" "$UBUNTU_KEYRING"
  rm -rf "$root"
}

image_import() {
  local name=$1 started=$SECONDS former change changes=()
  need zstd=zstd
  former=$(image_id "$name")
  while read -r change; do changes+=(--change "$change"); done < <(image_changes "$name")
  changes+=(--change "LABEL $LAB.import=$(image_changes "$name" | sha256sum | cut -c1-16)")
  # Docker makes an image of whatever arrives, however little: it gets its name once all has.
  zstd -dc "$(image_tar "$name")" | docker import "${changes[@]}" - "$LAB:$name-import" >/dev/null
  docker tag "$LAB:$name-import" "$LAB:$name"
  docker rmi "$LAB:$name-import" >/dev/null
  image_release "$former"
  say "image $name imported in $((SECONDS - started)) s"
}

# An image without a name goes with its last host. Docker refuses to remove one that a host still runs on.
image_release() {
  if [[ -n $1 && -z $(docker image inspect -f '{{join .RepoTags ""}}' "$1" 2>/dev/null) ]]; then
    docker rmi "$1" >/dev/null 2>&1 || true
  fi
}

# What runs that were killed left without a name. No younger ones: another lab.sh may be about to name them.
images_sweep() { docker image prune --force --filter "label=$LAB=1" --filter until=1h >/dev/null 2>&1 || true; }
