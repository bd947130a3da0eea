# shellcheck shell=bash
# What a vendor's file in mirror/ may use to make a signed apt repository:
#   npm_download PACKAGE VERSION    prints the path of the package's tarball
#   deb_download SUITE FOLDER PACKAGE…  fetches packages of a distribution's archive
#   apt_index FOLDER SUITE [POOL] [COMPONENT]
#                                   signed indexes of FOLDER/POOL (pool), component main
#   public_key FILE                 the key that they are signed with, armoured

SIGNING_KEY=$CACHE/keys/mirror-signing-key.asc

# npm_download PACKAGE VERSION: npm knows its registry and checks what comes from there.
npm_download() {
  local file=$CACHE/downloads/$1-$2.tgz
  if [[ ! -s $file ]]; then
    need npm=npm
    mkdir "$CACHE/tmp/npm-$1-$2"
    npm pack --loglevel=error --pack-destination "$CACHE/tmp/npm-$1-$2" "$1@$2" >&2
    mv "$CACHE/tmp/npm-$1-$2"/*.tgz "$file"
  fi
  echo "$file"
}

# deb_download SUITE FOLDER PACKAGE…: apt knows the suite's archive and checks what comes from there.
deb_download() {
  local suite=$1 folder=$2
  shift 2
  mkdir -p "$folder"
  # shellcheck disable=SC2016 # expanded by the hook's shell
  TMPDIR=$WORK mmdebstrap --mode=root --variant=custom --format=null \
    --customize-hook="cd '$folder' && APT_CONFIG=\$MMDEBSTRAP_APT_CONFIG apt-get download $*" "$suite" -
}

apt_index() {
  local folder=$1 suite=$2 pool=${3:-pool} component=${4:-main} binary
  binary=$component/binary-$ARCHITECTURE
  mkdir -p "$folder/dists/$suite/$binary"
  (
    cd "$folder" || exit
    apt-ftparchive --arch "$ARCHITECTURE" packages "$pool" >"dists/$suite/$binary/Packages"
    gzip --keep --force "dists/$suite/$binary/Packages"
    cd "dists/$suite" || exit
    apt-ftparchive -o "APT::FTPArchive::Release::Origin=. $suite" -o "APT::FTPArchive::Release::Label=. $suite" \
      -o "APT::FTPArchive::Release::Suite=$suite" -o "APT::FTPArchive::Release::Codename=$suite" \
      -o "APT::FTPArchive::Release::Architectures=$ARCHITECTURE" -o "APT::FTPArchive::Release::Components=$component" \
      release . >"$folder/Release.new"
    mv "$folder/Release.new" Release
    with_signing_key gpg --batch --yes --armor --detach-sign --output Release.gpg Release
    with_signing_key gpg --batch --yes --clearsign --output InRelease Release
  )
}

public_key() {
  mkdir -p "$(dirname "$1")"
  with_signing_key gpg --batch --yes --armor --output "$1" --export
}

# Made once: hosts that trust it keep working when a repository is built anew.
signing_key_ready() {
  if [[ -s $SIGNING_KEY ]]; then return; fi
  # shellcheck disable=SC2016 # expanded by the inner shell
  with_keyring sh -c '
    gpg --batch --quiet --passphrase "" --quick-generate-key "Lab mirror" rsa3072 sign never &&
    gpg --batch --quiet --armor --export-secret-keys >"$1"' -- "$CACHE/tmp/signing-key.asc" 2>"$CACHE/logs/signing-key.log"
  chmod 600 "$CACHE/tmp/signing-key.asc"
  mv "$CACHE/tmp/signing-key.asc" "$SIGNING_KEY"
}

with_signing_key() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  with_keyring sh -c 'gpg --batch --quiet --import "$0" && exec "$@"' "$SIGNING_KEY" "$@"
}

# with_keyring COMMAND…: in a GnuPG home of its own, short enough for the agent's socket, agent stopped after.
with_keyring() {
  local status=0
  (
    GNUPGHOME=$(mktemp -d /tmp/lab-gpg.XXXXXX)
    export GNUPGHOME
    trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT
    "$@"
  ) || status=$?
  return "$status"
}
