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

  ready [IMAGE…]            engine, images, network and vendor mirror; default: every image
  up NAME IMAGE [NAME IMAGE…]
                            start hosts and wait until ssh answers; IMAGE is an image or a snapshot
  down NAME…                remove hosts
  snapshot NAME TAG         keep a host's present state as an image
  exec NAME COMMAND…        run a command in a host as root
  list                      the hosts: name, image, state, address
  destroy                   remove every trace of the lab but its cache
  clean                     destroy, and remove the cache too

Images: debian12 debian13 ubuntu2404 ubuntu2604
USAGE
}

lab_ready() {
  local started=$SECONDS
  with_lock lab ready_locked "$@"
  say "ready in $((SECONDS - started)) s"
}

ready_locked() {
  cache_sweep
  engine_ready
  images_known "$@"
  images_recipes
  pool_start
  images_build "$@"
  mirror_build
  pool_wait
  images_import "$@"
  network_ready
  mirror_start
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
    ready | up | down | snapshot | exec | list | destroy | clean) shift ;;
    *) usage >&2; die "lab.sh $command" "there is no such command" "Use one of the above." ;;
  esac
  cache_ready
  "lab_$command" "$@"
}

main "$@"
