# shellcheck shell=bash
# The Docker Engine: used when one answers, installed and started when none does.

ENGINE_DATA=/var/lib/$LAB
ENGINE_RUN=/run/$LAB
# What the engine's data may take where they live in memory, and how much has to be available for that. The data of the
# full matrix take 14.7 GiB at the most (those of the gate 10.7), its hosts and the controller 5.
ENGINE_MEMORY_GIB=16
ENGINE_AVAILABLE_GIB=21
ENGINE_TOOLS=(dockerd=docker.io iptables=iptables)
INOTIFY_INSTANCES=/proc/sys/fs/inotify/max_user_instances

engine_answers() { command -v docker >/dev/null && timeout 20 docker info >/dev/null 2>&1; }

engine_ready() {
  if ! engine_answers; then engine_start; fi
  inotify_raise
}

# What forbids to start one, before anything is installed; and how the machine was before.
engine_prepare() {
  if [[ -n ${DOCKER_HOST:-} ]]; then
    die "DOCKER_HOST=$DOCKER_HOST" "no engine answers there" "Start that engine, or unset the variable."
  fi
  if command -v docker >/dev/null && docker info 2>&1 | grep -qi 'permission denied'; then
    die "the Docker Engine" "$(id -un) may not talk to it" "Run as root, or join the group docker."
  fi
  [[ $(id -u) -eq 0 ]] || die "the Docker Engine" "none answers and only root can start one" "Start it, or run as root."
  engine_remember
}

engine_start() {
  local started=$SECONDS
  engine_prepare
  need "${ENGINE_TOOLS[@]}"
  # A package of its own in newer releases.
  need docker=docker-cli
  if ! engine_answers; then
    say "starting the Docker Engine"
    if engine_has_init; then systemctl start docker.service; else engine_launch; fi
    engine_await
  fi
  say "Docker Engine $(docker version -f '{{.Server.Version}}') started in $((SECONDS - started)) s"
}

engine_has_init() { [[ -d /run/systemd/system ]]; }

# That the lab starts an engine, and how the machine was before. A crash in between must not overwrite it.
engine_remember() {
  local boot
  boot=$(cat /proc/sys/kernel/random/boot_id)
  if [[ $(cat "$CACHE/engine/boot" 2>/dev/null) == "$boot" ]]; then return; fi
  rm -f "$CACHE/engine/"*
  if pgrep -x containerd >/dev/null; then echo yes; else echo no; fi >"$CACHE/engine/containerd"
  echo "$boot" >"$CACHE/engine/boot"
}

# Without an init system: a detached daemon, with data of its own so that destroy can remove it whole.
engine_launch() {
  local containerd=$ENGINE_RUN/containerd/containerd.pid
  # A daemon that was killed leaves these, and the next one would wait for a process that is gone.
  if ! process_alive "$containerd"; then rm -f "$containerd"; fi
  if ! process_alive "$ENGINE_RUN/dockerd.pid"; then rm -f "$ENGINE_RUN/dockerd.pid"; fi
  mkdir -p "$ENGINE_RUN" "$ENGINE_DATA"
  engine_data_into_memory
  forwarding_remember
  setsid nohup dockerd --data-root "$ENGINE_DATA" --exec-root "$ENGINE_RUN" --pidfile "$ENGINE_RUN/dockerd.pid" \
    >"$CACHE/logs/dockerd.log" 2>&1 </dev/null 9>&- &
}

# Nothing of the hosts outlives the lab, and they come and go by tens of thousands of files. Without a journal, ext4 goes
# through the inodes that were freed lately for every file that it makes: after a host was removed, a release of OpenClaw
# takes 19 to 33 s of the processor to write in place of 3; in memory it takes 1.5.
engine_data_into_memory() {
  local available
  if mountpoint -q "$ENGINE_DATA" || [[ -n $(ls -A "$ENGINE_DATA") ]]; then return; fi
  available=$(awk '$1 == "MemAvailable:" {print int($2 / 1024 / 1024)}' /proc/meminfo)
  if [[ $available -lt $ENGINE_AVAILABLE_GIB ]]; then return; fi
  # Where mounting is forbidden, the disk does.
  if mount -t tmpfs -o "mode=0711,size=${ENGINE_MEMORY_GIB}g" "$LAB" "$ENGINE_DATA" 2>/dev/null; then
    say "keeping the engine's data in memory, $ENGINE_MEMORY_GIB GiB at the most"
  fi
}

engine_await() {
  local deadline=$((SECONDS + 60))
  until engine_answers; do
    if [[ $SECONDS -ge $deadline ]]; then
      tail -n 15 "$CACHE/logs/dockerd.log" >&2 2>/dev/null || true
      die "the Docker Engine" "it did not answer within 60 s" "See $CACHE/logs/dockerd.log or 'journalctl -u docker'."
    fi
    sleep 0.3
  done
}

# process_alive PIDFILE: is that process still one of the lab's engine? Numbers are used again, and a zombie is dead.
process_alive() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -e "$ENGINE_RUN/" || return 1
  ! grep -q '^State:.*Z' "/proc/$pid/status" 2>/dev/null
}

# Each systemd takes several inotify instances of one budget; with the usual 128 the fifth host fails to boot.
inotify_raise() {
  local now
  now=$(cat "$INOTIFY_INSTANCES")
  if [[ $now -ge 2048 ]]; then return; fi
  if [[ ! -w $INOTIFY_INSTANCES ]]; then
    say "fs.inotify.max_user_instances is $now and not ours to raise: more than a few hosts may not boot"
    return
  fi
  echo "$now" >"$CACHE/engine/inotify"
  echo 2048 >"$INOTIFY_INSTANCES"
}

# The interface has a name of its own, so that firewall tests can speak of it and destroy can find it.
network_ready() {
  if docker network inspect "$LAB" >/dev/null 2>&1; then return; fi
  docker network create --driver bridge --opt "com.docker.network.bridge.name=${LAB:0:15}" --label "$LAB=1" "$LAB" >/dev/null
}

# Everything of the lab inside the engine. An engine of ours that died may have left hosts running:
# a new one finds them.
engine_clean() {
  local ids
  if ! engine_answers; then
    if [[ ! -e $CACHE/engine/boot ]]; then return; fi
    engine_start
  fi
  say "removing hosts, network and images"
  ids=$(docker ps -aq --filter "label=$LAB=1")
  if [[ -n $ids ]]; then xargs docker rm --force --volumes <<<"$ids" >/dev/null; fi
  docker network rm "$LAB" >/dev/null 2>&1 || true
  images_remove
  # The hosts' control groups are gone, their parent is not.
  find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name "$LAB" -exec rmdir {} + 2>/dev/null || true
}

# A parent goes only after its children, and docker does not sort them.
images_remove() {
  local ids
  for _ in {1..9}; do
    ids=$(docker images -aq --filter "label=$LAB=1" | sort -u)
    if [[ -z $ids ]]; then return; fi
    xargs docker rmi --force <<<"$ids" >/dev/null 2>&1 || true
  done
  die "the lab's images" "docker does not remove ${ids//$'\n'/ }" "A container that is not the lab's may use them: docker ps -a."
}

# Only an engine that the lab started, and only when nobody else uses it.
engine_stop() {
  local guests
  inotify_restore
  if [[ ! -e $CACHE/engine/boot ]]; then return; fi
  guests=$(docker ps -a --format '{{.Names}}'; docker volume ls -q)
  if [[ -n $guests ]]; then
    say "the Docker Engine keeps running: it has other containers or volumes: ${guests//$'\n'/ }"
    return
  fi
  say "stopping the Docker Engine that the lab started"
  if engine_has_init; then
    systemctl stop docker.socket docker.service
    if [[ $(cat "$CACHE/engine/containerd") == no ]]; then systemctl stop containerd.service; fi
  else
    engine_halt
    forwarding_restore
  fi
  rm -f "$CACHE/engine/"*
}

engine_halt() {
  process_stop "$ENGINE_RUN/dockerd.pid"
  process_stop "$ENGINE_RUN/containerd/containerd.pid"
  unmount_below "$ENGINE_DATA"
  unmount_below "$ENGINE_RUN"
  rm -rf "$ENGINE_DATA" "$ENGINE_RUN" /run/docker.sock
  # Made for plugins, wherever the engine keeps its own state.
  if [[ -d /run/docker ]]; then find /run/docker -depth -type d -empty -delete; fi
}

process_stop() {
  local pid
  if ! process_alive "$1"; then return; fi
  pid=$(cat "$1")
  kill "$pid"
  for _ in {1..150}; do
    if ! process_alive "$1"; then return; fi
    sleep 0.2
  done
  kill -KILL "$pid"
}

forwarding_remember() {
  local table
  if [[ -e $CACHE/engine/ip_forward ]]; then return; fi
  if [[ -e /sys/class/net/docker0 ]]; then echo yes; else echo no; fi >"$CACHE/engine/docker0"
  iptables -S FORWARD | awk '$1 == "-P" {print $3}' >"$CACHE/engine/forward"
  for table in iptables ip6tables; do "$table-save" >"$CACHE/engine/$table"; done
  cat /proc/sys/net/ipv4/ip_forward >"$CACHE/engine/ip_forward"
}

# The engine leaves its bridge and its rules behind; those that were there before are not its own.
forwarding_restore() {
  local table
  if [[ ! -e $CACHE/engine/ip_forward ]]; then return; fi
  if [[ $(cat "$CACHE/engine/docker0") == no ]]; then ip link delete docker0 2>/dev/null || true; fi
  for table in iptables ip6tables; do
    "$table-save" 2>/dev/null | awk -v own="DOCKER|docker0|${LAB:0:15}" \
      'known {before[$0]; next} $0 !~ own || $0 in before' known=1 "$CACHE/engine/$table" known=0 - | "$table-restore" 2>/dev/null || true
  done
  iptables -P FORWARD "$(cat "$CACHE/engine/forward")"
  cat "$CACHE/engine/ip_forward" >/proc/sys/net/ipv4/ip_forward
}

inotify_restore() {
  if [[ -s $CACHE/engine/inotify && -w $INOTIFY_INSTANCES ]]; then
    cat "$CACHE/engine/inotify" >"$INOTIFY_INSTANCES"
    rm "$CACHE/engine/inotify"
  fi
}
