# For `source`, by install.sh: what is looked at before anything is changed. Each check refuses with one line and status 2.
# shellcheck shell=bash disable=SC2154

check_files() {
  [ -d "$here/wheels" ] || refuse "this folder holds no wheels: unpack whycam-VERSION-PLATFORM.tar.gz and run its install.sh"
  local unlisted
  (cd "$here" && sha256sum --check --strict --quiet SHA256SUMS >/dev/null 2>&1) ||
    refuse "files of this kit are missing or damaged: see 'sha256sum --check --quiet SHA256SUMS', and copy the kit again"
  unlisted=$(comm -13 <(cut -c67- "$here/SHA256SUMS" | sort) \
    <(cd "$here" && find . -type f ! -path ./SHA256SUMS -printf '%P\n' | sort) | head -n 1)
  [ -z "$unlisted" ] || refuse "$unlisted is not of this kit: unpack the kit again, into an empty folder"
}

check_machine() {
  local found
  [ -x /usr/bin/python3 ] || refuse "no /usr/bin/python3: apt-get install python3"
  found=$(/usr/bin/python3 -I -c 'import os, platform, sys
print(platform.machine(), "%d.%d" % sys.version_info[:2], os.confstr("CS_GNU_LIBC_VERSION").split()[1])')
  local machine python glibc
  read -r machine python glibc <<<"$found"
  [ "$machine" = "$kit_machine" ] || refuse "this kit is for $kit_machine, and this machine is $machine: make kit PLATFORM=..."
  [ "$python" = "$kit_python" ] ||
    refuse "this kit is for Python $kit_python ($kit_distribution), and /usr/bin/python3 is $python: make kit PLATFORM=..."
  at_least "$glibc" "$kit_glibc" || refuse "this kit wants glibc $kit_glibc ($kit_distribution), and here is $glibc"
  /usr/bin/python3 -I -c 'import venv' 2>/dev/null || refuse "Python's module venv is missing: apt-get install python3-venv"
  local tool
  for tool in systemctl systemd-sysusers systemd-tmpfiles flock; do
    type -P "$tool" >/dev/null || refuse "no $tool: whycam's installer wants a system with systemd and util-linux"
  done
  local version
  version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
  at_least "$version" "$kit_systemd" || refuse "whycam's unit wants systemd $kit_systemd, and here is $version"
  if [ "$kit_opencv" = system ]; then
    /usr/bin/python3 -I -c 'import cv2' 2>/dev/null ||
      refuse "no OpenCV in /usr/bin/python3: apt-get install nvidia-opencv (JetPack's own, which sees CSI cameras)"
  fi
}

# Whether the version $1 is $2 or later.
at_least() {
  printf '%s\n' "$2" "$1" | sort --check=quiet --version-sort
}

check_free_paths() {
  if [ -e "$program" ] && [ "$(readlink "$program" || true)" != "$current/bin/whycam" ]; then
    refuse "$program is not of this installer: move it away"
  fi
  if [ -f /etc/systemd/system/whycam.service ]; then
    refuse "/etc/systemd/system/whycam.service would hide the kit's unit: move it away, changes belong into 'systemctl edit whycam'"
  fi
}

check_space() {
  [ ! -e "$release/.complete" ] || return 0
  local below=$releases free
  while [ ! -e "$below" ]; do
    below=$(dirname "$below")
  done
  free=$(df --output=avail --block-size=1024 "$below" | tail -n 1)
  [ "$free" -ge "$kit_needed_kib" ] || refuse "$below has $((free / 1024)) MiB free, and whycam takes $((kit_needed_kib / 1024)) MiB"
}
