#!/usr/bin/env bash
# The lab: throw-away systemd hosts behind ssh, and a mirror of the vendors' apt repositories.
set -euo pipefail

LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for part in common docker images repository mirror hosts; do
  # shellcheck source=/dev/null
  source "$LAB_DIR/$part.sh"
done

usage() {
  cat <<'USAGE'
Usage: lab.sh COMMAND

  ready [--vendors VENDOR,…] [IMAGE…]
                            engine, images, network and vendor mirror; default: every image
  up [--vendors VENDOR,…] NAME IMAGE [NAME IMAGE…]
                            start hosts and wait until ssh answers; IMAGE is an image or a snapshot
  down NAME…                remove hosts
  snapshot NAME TAG         keep a host's present state as an image, in place of a former one of that tag
  forget TAG…               remove snapshots
  exec NAME COMMAND…        run a command in a host as root
  list                      the hosts: name, image, state, address
  destroy                   remove every trace of the lab but its cache
  clean                     destroy, and remove the cache too

Images: debian12 debian13 ubuntu2404 ubuntu2604
Vendors: backup base-image docker nodesource tailscale; default: all. What is not asked for is not built, and what is
there stays. backup and tailscale take minutes where their programs have not been compiled yet.
USAGE
}

lab_ready() {
  local started=$SECONDS
  with_lock lab ready_locked "$@"
  say "ready in $((SECONDS - started)) s"
}

ready_locked() {
  cache_sweep
  trap cache_sweep EXIT
  images_known "$@"
  images_recipes
  tools_ready "$@"
  engine_ready
  pool_start
  images_build "$@"
  mirror_build
  pool_wait
  images_sweep
  network_ready
  mirror_start
}

# What is missing to make what is missing. All programs in one go: what surrounds an installation, apt's lists and dpkg's triggers, takes longer than a program.
tools_ready() {
  local tools=()
  if ! engine_answers; then
    engine_prepare
    tools+=("${ENGINE_TOOLS[@]}")
  fi
  if [[ -n $(images_missing "$@")$(vendors_missing) ]]; then
    tools+=(mmdebstrap=mmdebstrap zstd=zstd gpg=gnupg dpkg-deb=dpkg apt-ftparchive=apt-utils)
    tools+=(/usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring)
    tools+=(/usr/share/distro-info/ubuntu.csv=distro-info-data)
    work_in_memory
  fi
  need "${tools[@]}"
}

lab_destroy() {
  with_lock lab destroy_locked
  say "destroyed; the cache in $CACHE is kept ('lab.sh clean' removes it)"
}

destroy_locked() {
  hosts_forget
  engine_clean
  engine_stop
  cache_sweep
  rm -f "$CACHE/logs/"*
}

lab_clean() {
  with_lock lab destroy_locked
  cache_remove
  say "destroyed, and the cache removed"
}

main() {
  local command=${1:-}
  case $command in
    '' | help | -h | --help) usage; return ;;
    ready | up | down | snapshot | forget | exec | list | destroy | clean) shift ;;
    *) usage >&2; die "lab.sh $command" "there is no such command" "Use one of the above." ;;
  esac
  cache_ready
  if [[ $command =~ ^(ready|up)$ && ${1:-} == --vendors ]]; then
    vendors_choose "${2:-}"
    shift 2
  fi
  "lab_$command" "$@"
}

main "$@"
