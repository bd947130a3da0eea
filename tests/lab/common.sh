# shellcheck shell=bash
# What every part of the lab uses: names, messages, the cache, the lock, and a pool of jobs.

# A second lab beside the first needs another name; two of one name share everything.
LAB=${CLAWOPS_LAB_NAME:-clawops-lab}
CACHE=$(realpath -m "${CLAWOPS_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clawops-lab}")
# Where roots and packages are unpacked.
WORK=$CACHE/tmp/work
# shellcheck disable=SC2034 # the other parts use it
ARCHITECTURE=$(dpkg --print-architecture 2>/dev/null || uname -m)
export DEBIAN_FRONTEND=noninteractive
umask 022

say() { printf 'lab %4ds  %s\n' "$SECONDS" "$*" >&2; }

# die SUBJECT REASON REMEDY
die() {
  printf 'lab: %s: %s. %s\n' "$1" "$2" "$3" >&2
  exit 1
}

[[ $LAB =~ ^[a-z][a-z0-9-]{2,30}$ ]] ||
  die "CLAWOPS_LAB_NAME=$LAB" "the name goes into paths and container names" \
    "Use 3 to 31 small letters, digits and hyphens, a letter first."

# `clean` removes the whole directory, so the lab takes only one that is new, empty or its own.
cache_ready() {
  local tag=$CACHE/CACHEDIR.TAG
  if [[ ! -e $tag ]]; then
    if [[ -d $CACHE ]] && [[ -n $(ls -A "$CACHE") ]]; then
      die "$CACHE" "it is not empty and not a cache of the lab" "Set CLAWOPS_LAB_CACHE to another directory."
    fi
    mkdir -p "$CACHE"
    printf 'Signature: 8a477f597d28d172789f06886806bc55\n# Cache of clawops.openclaw/tests/lab\n' >"$tag"
  fi
  mkdir -p "$CACHE"/{downloads,engine,images,keys,locks,logs,ssh,tmp,www}
  chmod 700 "$CACHE/ssh" "$CACHE/keys"
}

# Called with the lock held: whatever lies in tmp was left by a run that did not end.
cache_sweep() {
  unmount_below "$CACHE/tmp"
  rm -rf --one-file-system "$CACHE/tmp"
  mkdir -p "$WORK"
}

# Files are made in memory in half the time; a machine short of it has its disk. Until the next sweep.
work_in_memory() {
  if [[ $(awk '$1 == "MemAvailable:" {print $2}' /proc/meminfo) -lt 6000000 ]]; then return; fi
  mount -t tmpfs -o mode=755,size=4g "$LAB" "$WORK" 2>/dev/null || true
}

unmount_below() {
  local mounted
  while read -r mounted; do umount --lazy "$mounted" || true; done < <(
    awk -v folder="$1" 'index($2 "/", folder "/") == 1 {print $2}' /proc/self/mounts | sort -r
  )
}

cache_remove() { rm -rf "$CACHE"; }

# with_lock NAME COMMAND…: the lock falls when the last child that inherited it ends, so a daemon
# started inside must close descriptor 9.
with_lock() {
  local name=$1
  shift
  (
    if ! flock --timeout 3 9; then
      say "waiting for another lab.sh"
      flock --timeout 1800 9 ||
        die "lab.sh" "another one has worked for 30 minutes" "See which: fuser $CACHE/locks/$name."
    fi
    "$@"
  ) 9>"$CACHE/locks/$name"
}

# sha256_of FILE…: names and contents, in a stable order.
sha256_of() { sha256sum "$@" | sed "s|$LAB_DIR/||" | sort | sha256sum | cut -c1-16; }

# need COMMAND=PACKAGE… or /FILE=PACKAGE…: what is missing comes from the distribution's archive.
need() {
  local pair missing=()
  for pair in "$@"; do
    if [[ ! -e ${pair%%=*} ]] && ! command -v "${pair%%=*}" >/dev/null; then missing+=("${pair#*=}"); fi
  done
  if [[ ${#missing[@]} -eq 0 ]]; then return; fi
  if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
    die "lab.sh" "it needs ${missing[*]}, and installs packages only as root on Debian or Ubuntu" "Install them, then retry."
  fi
  say "installing ${missing[*]}"
  logged apt apt_install "${missing[@]}"
}

# The first: an installation that was killed half-way blocks every later one.
apt_install() {
  patiently dpkg --configure -a &&
    patiently apt-get update -qq &&
    patiently apt-get install -qq --no-install-recommends "$@"
}

# patiently COMMAND…: again while another program has a lock that it wants; apt waits for none of its lists, dpkg for none.
patiently() {
  local deadline=$((SECONDS + 300)) output
  until output=$(LC_ALL=C "$@" 2>&1); do
    if [[ $output != *' lock '* || $SECONDS -ge $deadline ]]; then
      printf '%s\n' "$output"
      return 1
    fi
    sleep 1
  done
  printf '%s\n' "$output"
}

# logged NAME COMMAND…: output goes to a log; its end is shown only when the command fails.
logged() {
  local name=$1 log=$CACHE/logs/$1.log
  shift
  # As a job, because bash does not stop at a failed line of what stands in a condition.
  "$@" >"$log" 2>&1 </dev/null &
  if ! wait $!; then
    tail -n 20 "$log" | sed 's/^/    /' >&2
    die "$name" "it failed; the end of its output is above" "The whole of it is in $log."
  fi
}

# The pool: three jobs at a time, because each waits for the network now and then, and two cores are common.
pool_start() { POOL=(); }

pool_add() {
  if [[ ${#POOL[@]} -ge 3 ]]; then pool_take; fi
  "$@" &
  POOL+=($!)
}

# Whichever job ends first makes room; after a failure the others are waited for too, so that nothing works on unseen.
pool_take() {
  local ended job left=()
  if ! wait -n -p ended "${POOL[@]}"; then
    wait "${POOL[@]}" || true
    die "lab.sh" "a build failed" "Its message is above; what was built is kept."
  fi
  for job in "${POOL[@]}"; do
    if [[ $job != "$ended" ]]; then left+=("$job"); fi
  done
  POOL=("${left[@]}")
}

pool_wait() { while [[ ${#POOL[@]} -gt 0 ]]; do pool_take; done; }
