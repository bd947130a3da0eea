#!/usr/bin/env bash
# customize.sh ROOT: turns a bootstrapped root into a host that boots in a container.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$1

# rootfs/ is laid out as the host sees it.
cp -r --no-preserve=mode,ownership "$here/rootfs/." "$root/"
chmod 440 "$root/etc/sudoers.d/ops"

# A cloud image has deb822 sources; the bootstrap wrote the older form.
apt_sources() {
  local id
  # shellcheck source=/dev/null
  id=$(. "$root/etc/os-release" && echo "$ID")
  awk -v keyring="/usr/share/keyrings/$id-archive-keyring.gpg" '
    $1 == "deb" {
      sub(/\[[^]]*\] */, "")
      if (!($2 in suites)) order[++count] = $2
      suites[$2] = suites[$2] " " $3
      components = ""
      for (i = 4; i <= NF; i++) components = components " " $i
      parts[$2] = components
    }
    END {
      for (i = 1; i <= count; i++)
        printf "Types: deb\nURIs: %s\nSuites:%s\nComponents:%s\nSigned-By: %s\n\n", \
          order[i], suites[order[i]], parts[order[i]], keyring
    }' "$root/etc/apt/sources.list" >"$root/etc/apt/sources.list.d/$id.sources"
  rm "$root/etc/apt/sources.list"
}

# Each container must get an identity of its own at its first boot; rootfs/ has the empty machine-id.
identity() {
  rm -f "$root/var/lib/dbus/machine-id" "$root"/etc/ssh/ssh_host_*
}

# What belongs to hardware, to the kernel of the machine outside, or to a console that is not there.
units() {
  local mask=(
    systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udev-trigger.service
    systemd-modules-load.service systemd-sysctl.service systemd-remount-fs.service systemd-firstboot.service systemd-homed.service
    getty.target console-getty.service
    dev-hugepages.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount
    sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount
  )
  # Timers that would start work in the middle of a test.
  mask+=(apt-daily.timer apt-daily-upgrade.timer fstrim.timer e2scrub_all.timer dpkg-db-backup.timer motd-news.timer)
  systemctl --root="$root" --quiet enable lab-ssh-keys.service lab-disguise.service lab-unmask.service
  systemctl --root="$root" --quiet mask "${mask[@]}"
  systemctl --root="$root" --quiet set-default multi-user.target
}

# As cloud images have it. Some releases make the file a link to one that is not there yet.
locale() { echo LANG=C.UTF-8 >"$root/etc/default/locale"; }

# The operator's account: what a cloud provider's first boot would make.
account() {
  chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 ops
}

apt_sources
identity
locale
account
units
"$here/private-ca.sh" "$root"
