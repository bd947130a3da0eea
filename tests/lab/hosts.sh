# shellcheck shell=bash
# The hosts: containers that run systemd, reached over ssh as a rented server would be.

SSH_KEY=$CACHE/ssh/id_ed25519
SSH_CONFIG=$CACHE/ssh_config

lab_up() {
  local started=$SECONDS known names=() images=() needed=()
  if [[ $# -eq 0 || $(($# % 2)) -ne 0 ]]; then die "lab.sh up" "it takes pairs of NAME IMAGE" "Example: lab.sh up vps1 debian12."; fi
  known=$(docker ps --all --format '{{.Names}}' 2>/dev/null | xargs) || true
  while [[ $# -gt 0 ]]; do
    names+=("$1")
    images+=("$2")
    # A host that is there may run on a snapshot that is not any more.
    if [[ " $known " != *" $1 "* ]]; then needed+=("$2"); fi
    shift 2
  done
  hosts_prerequisites "${needed[@]}"
  with_lock ssh ssh_key_ready
  hosts_each host_start "${names[@]}" -- "${images[@]}"
  with_lock ssh ssh_config_write
  hosts_each host_await "${names[@]}" -- "${images[@]}"
  say "${names[*]} up in $((SECONDS - started)) s"
}

# `up` on a machine where nothing is ready yet makes ready what it needs, and no more.
hosts_prerequisites() {
  local image missing=()
  if engine_answers && docker network inspect "$LAB" >/dev/null 2>&1; then
    for image in "$@"; do
      if ! image_present "$image"; then missing+=("$image"); fi
    done
    if [[ ${#missing[@]} -eq 0 ]] && mirror_running && vendors_served; then return; fi
  else
    for image in "$@"; do
      if [[ -n ${SUITES[$image]:-} ]]; then missing+=("$image"); fi
    done
  fi
  with_lock lab ready_locked "${missing[@]:-debian12}"
}

# hosts_each FUNCTION NAME… -- IMAGE…: all at once; every failure is waited for before the first is told.
hosts_each() {
  local function=$1 names=() jobs=() failed=0 name job
  shift
  while [[ $1 != -- ]]; do
    names+=("$1")
    shift
  done
  shift
  for name in "${names[@]}"; do
    "$function" "$name" "$1" &
    jobs+=($!)
    shift
  done
  for job in "${jobs[@]}"; do wait "$job" || failed=1; done
  [[ $failed -eq 0 ]] || exit 1
}

# One caller at a time per host: two that want the same one get the same one.
host_start() { with_lock "host-$1" host_start_locked "$@"; }

host_start_locked() {
  local name=$1 image=$2 state
  # By filter: 'inspect' would take a short name for the beginning of a container's id.
  state=$(docker ps --all --filter "name=^$name\$" --format "{{.State}} {{.Label \"$LAB.host\"}}")
  case $state in
    '') host_create "$name" "$image" ;;
    *" $image") ;;
    *" ") die "host $name" "a container of that name exists and is not the lab's" "Choose another name." ;;
    *) die "host $name" "it exists with the image ${state#* }, not $image" "Remove it first: lab.sh down $name." ;;
  esac
  if [[ $state != running* ]]; then docker start "$name" >/dev/null; fi
  host_authorise "$name"
}

# The control group has a parent of the lab's, because a name like /docker/ID tells a program that it is in a container.
# The flags that systemd and an engine of its own need in a container, short of --privileged: overlays want a real
# filesystem below them. What nested containers need of /proc is lab-unmask.service of the image. Molecule starts its hosts
# with the same: .config/molecule/config.yml.
host_create() {
  local name=$1 image=$2 cgroup=/sys/fs/cgroup family device devices=()
  family=$(image_label "$image" "$LAB.image")
  # systemd 259 runs on the second version of control groups only, which a hybrid machine has in a place of its own.
  if [[ $family == ubuntu2604 && -d $cgroup/unified ]]; then cgroup=$cgroup/unified; fi
  for device in /dev/net/tun /dev/fuse; do
    if [[ -c $device ]]; then devices+=(--device "$device"); fi
  done
  docker create --pull never --name "$name" --hostname "$name" --network "$LAB" \
    --label "$LAB=1" --label "$LAB.host=$image" \
    --stop-signal SIGRTMIN+3 --cgroupns host --cgroup-parent "/$LAB" \
    --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add SYS_PTRACE --cap-add SYS_NICE \
    --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --volume /var/lib/docker --volume /var/lib/containerd --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec "${devices[@]}" \
    --volume "$cgroup:/sys/fs/cgroup:rw" "$LAB:$image" >/dev/null
  # Two hosts from one snapshot are two machines.
  docker cp "$LAB_DIR/image/rootfs/etc/machine-id" "$name:/etc/machine-id" >/dev/null 2>&1 ||
    die "host $name" "its machine-id cannot be emptied" "Remove it and try again: lab.sh down $name."
}

# The key goes in with the host, so that an image does not depend on who uses it.
host_authorise() {
  docker exec -i "$1" sh -c '
    install -d -m 700 -o ops -g ops /home/ops/.ssh
    keys=/home/ops/.ssh/authorized_keys
    read -r key
    grep -qxF "$key" "$keys" 2>/dev/null || echo "$key" >>"$keys"
    chown ops:ops "$keys"
    chmod 600 "$keys"' <"$SSH_KEY.pub"
}

host_await() {
  local name=$1 deadline=$((SECONDS + 180)) state=''
  until state=$(timeout 60 docker exec "$name" systemctl is-system-running --wait 2>/dev/null) || [[ $state == degraded ]]; do
    host_overdue "$name" "$deadline" "systemd is '${state:-not answering}'"
    sleep 0.2
  done
  if [[ $state == degraded ]]; then
    say "$name runs, with failed units: $(docker exec "$name" systemctl list-units --failed --plain --no-legend | awk '{print $1}' | xargs)"
  fi
  until ssh -F "$SSH_CONFIG" -o BatchMode=yes -o ConnectTimeout=5 "$name" sudo -n true 2>"$CACHE/logs/ssh-$name.log"; do
    host_overdue "$name" "$deadline" "ssh does not let ops in ($(tail -n 1 "$CACHE/logs/ssh-$name.log"))"
    sleep 0.3
  done
  rm -f "$CACHE/logs/ssh-$name.log"
}

host_overdue() {
  if [[ $SECONDS -lt $2 ]]; then return; fi
  docker exec "$1" systemctl --no-pager list-jobs >&2 || true
  die "host $1" "$3 after 180 s" "Look inside: lab.sh exec $1 journalctl -b."
}

host_address() { docker container inspect -f "{{(index .NetworkSettings.Networks \"$LAB\").IPAddress}}" "$1" 2>/dev/null; }

host_known() {
  [[ -n $(docker ps -aq --filter "label=$LAB.host" --filter "name=^$1\$") ]] ||
    die "host $1" "the lab has no such host" "See 'lab.sh list'."
}

lab_down() {
  local name
  if [[ $# -eq 0 ]]; then die "lab.sh down" "it takes the names of hosts" "See 'lab.sh list'."; fi
  for name in "$@"; do
    if [[ -z $(docker ps -aq --filter "name=^$name\$") ]]; then continue; fi
    host_known "$name"
    container_remove "$name"
  done
  with_lock ssh ssh_config_write
}

container_remove() {
  local image
  image=$(docker container inspect -f '{{.Image}}' "$1" 2>/dev/null) || return 0
  docker rm --force --volumes "$1" >/dev/null
  image_release "$image"
}

lab_snapshot() {
  [[ $# -eq 2 ]] || die "lab.sh snapshot" "it takes NAME TAG" "Example: lab.sh snapshot vps1 vps1-installed."
  local name=$1 tag=$2
  [[ -z ${SUITES[$tag]:-} ]] || die "snapshot $tag" "that is the name of an image" "Choose another tag."
  host_known "$name"
  with_lock snapshot snapshot_locked "$name" "$tag"
  say "$name kept as $tag"
}

snapshot_locked() {
  local former
  former=$(image_id "$2")
  docker commit --change "LABEL $LAB=1 $LAB.snapshot=$2" "$1" "$LAB:$2" >/dev/null
  image_release "$former"
}

# Where a host still runs on it, the name goes now and the image with its last host.
lab_forget() {
  local tag
  if [[ $# -eq 0 ]]; then die "lab.sh forget" "it takes the tags of snapshots" "Example: lab.sh forget vps1-installed."; fi
  for tag in "$@"; do
    [[ -z ${SUITES[$tag]:-} ]] || die "snapshot $tag" "that is the name of an image" "'lab.sh destroy' removes images."
    if image_present "$tag"; then docker rmi --force "$LAB:$tag" >/dev/null; fi
  done
}

lab_exec() {
  [[ $# -ge 2 ]] || die "lab.sh exec" "it takes NAME COMMAND…" "Example: lab.sh exec vps1 journalctl -b."
  local flags=(-i)
  if [[ -t 0 && -t 1 ]]; then flags+=(-t); fi
  host_known "$1"
  exec docker exec "${flags[@]}" "$@"
}

lab_list() {
  local name image state
  if ! engine_answers; then return; fi
  docker ps --all --filter "label=$LAB=1" --filter "label=$LAB.host" \
    --format "{{.Names}} {{.Label \"$LAB.host\"}} {{.State}}" | sort | while read -r name image state; do
    printf '%-24s %-16s %-8s %s\n' "$name" "$image" "$state" "$(host_address "$name")"
  done
}

ssh_key_ready() {
  need ssh=openssh-client
  if [[ -s $SSH_KEY ]]; then return; fi
  ssh-keygen -q -t ed25519 -N '' -C "$LAB" -f "$SSH_KEY"
}

ssh_config_write() {
  local name address
  for name in $(docker ps --filter "label=$LAB=1" --filter "label=$LAB.host" --format '{{.Names}}' | sort); do
    # Another caller may have removed it meanwhile.
    address=$(host_address "$name") || continue
    cat <<CONFIG
Host $name
  HostName $address
  User ops
  IdentityFile "$SSH_KEY"
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
CONFIG
  done >"$SSH_CONFIG.new"
  mv "$SSH_CONFIG.new" "$SSH_CONFIG"
}

hosts_forget() { rm -f "$SSH_CONFIG" "$SSH_KEY" "$SSH_KEY.pub"; }
