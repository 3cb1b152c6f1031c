#!/usr/bin/env bash
# Install the whycam of this kit, or bring an installed one up to it; back to the one before with --undo.
# A release is a folder of its own below /opt/whycam/releases; the link /opt/whycam/current chooses one. What stops this
# script, at any moment, leaves the old or the new one, and the next run completes.
set -euo pipefail

usage() {
  cat <<'END'
usage: sudo ./install.sh [--offline]           install this kit's whycam, or upgrade to it
       sudo ./install.sh --undo [--offline]    go back to the release before

--offline: in a chroot, or to make an image: systemd is not asked to start or restart anything
END
}

main() {
  local here undo='' offline='' argument
  here=$(dirname "$(readlink --canonicalize "$0")")
  # shellcheck source=common.sh
  source "$here/common.sh"
  for argument in "$@"; do
    case $argument in
      --undo) undo=yes ;;
      --offline) offline=yes ;;
      -h | --help) usage && exit ;;
      *) refuse "unknown argument '$argument': see ./install.sh --help" ;;
    esac
  done
  check_root
  check_systemd_runs
  if [ -n "$undo" ]; then
    go_back
  else
    install_kit
  fi
}

install_kit() {
  local kit_platform kit_version kit_distribution kit_machine kit_python kit_glibc kit_systemd kit_opencv kit_onnxruntime
  local kit_needed_kib release name before
  # shellcheck source=/dev/null
  source "$here/kit.env"
  check_files
  name=$kit_version-$(sha256sum "$here/SHA256SUMS" | cut -c1-12)
  release=$releases/$name
  check_machine
  check_free_paths
  check_space

  lock
  build_release
  try_release
  before=$(current_release)
  set_up
  [ "$before" = "$name" ] || printf '%s\n' "$before" >"$release/.before"
  switch_to "$name"
  start_or_go_back "$before" "$name"
  forget_older "$name"
  report "$before"
}

# The release that is used now, by name; nothing where there is none.
current_release() {
  basename "$(readlink "$current" || true)"
}

# --- What is looked at before anything is changed.

check_files() {
  [ -f "$here/SHA256SUMS" ] || refuse "this folder is no kit: unpack whycam-VERSION-PLATFORM.tar.gz and run its install.sh"
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
  local program
  for program in systemctl systemd-sysusers systemd-tmpfiles flock; do
    type -P "$program" >/dev/null || refuse "no $program: whycam's installer wants a system with systemd and util-linux"
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
  if [ -e "$command" ] && [ "$(readlink "$command" || true)" != "$current/bin/whycam" ]; then
    refuse "$command is not of this installer: move it away"
  fi
  if [ -f /etc/systemd/system/whycam.service ]; then
    refuse "/etc/systemd/system/whycam.service would hide the kit's unit: move it away, changes belong into 'systemctl edit whycam'"
  fi
}

check_space() {
  [ ! -e "$release/.complete" ] || return 0
  local below=$releases free
  until [ -e "$below" ]; do below=${below%/*}/; below=${below%/}; below=${below:-/}; done
  free=$(df --output=avail --block-size=1024 "$below" | tail -n 1)
  [ "$free" -ge "$kit_needed_kib" ] || refuse "$below has $((free / 1024)) MiB free, and whycam takes $((kit_needed_kib / 1024)) MiB"
}

# --- The new release, beside what is there.

build_release() {
  # What an earlier run did not complete is built anew.
  [ ! -e "$release/.complete" ] || return 0
  say "building $release"
  rm -rf "$release"
  mkdir -p "$releases"
  local see_system=()
  [ "$kit_opencv" = wheel ] || see_system=(--system-site-packages)
  /usr/bin/python3 -I -m venv --without-pip "${see_system[@]}" "$release"
  # pip runs from its wheel: Debian splits it off Python. --ignore-installed: what the system has is not counted.
  env --ignore-environment PATH="$PATH" LC_ALL="$LC_ALL" PIP_CONFIG_FILE=/dev/null \
    "$release/bin/python" -I "$(echo "$here"/wheels/pip-*.whl)/pip" install --quiet --quiet --no-cache-dir \
    --disable-pip-version-check --root-user-action=ignore --no-index --find-links "$here/wheels" --require-hashes \
    --no-deps --ignore-installed --requirement "$here/requirements.txt" ||
    fail "the wheels cannot be installed; nothing that was there is changed"
  mkdir "$release/kit"
  (cd "$here" && cp --recursive -- *.sh kit.env *.toml system requirements.txt sbom.cdx.json LICENSE SHA256SUMS "$release/kit")
  # On disk, all of it, before anything says so.
  sync --file-system "$release"
  : >"$release/.complete"
  sync "$release/.complete" "$release" "$releases"
}

# A configuration that is accepted today must be accepted tomorrow.
try_release() {
  "$release/bin/whycam" --version >/dev/null || fail "the new whycam does not start; nothing that was there is changed"
  "$release/bin/python" -I -c 'import cv2, onnxruntime' ||
    fail "OpenCV or ONNX Runtime does not load, see above; nothing that was there is changed"
  [ -e "$settings/whycam.toml" ] || return 0
  local told
  told=$(check_config "$release") && return
  if [ -e "$current" ] && check_config "$current" >/dev/null; then
    printf '%s\n' "$told" >&2
    fail "the new whycam does not accept $settings/whycam.toml, see above; nothing that was there is changed"
  fi
  say "$settings/whycam.toml is not accepted yet: whycam config check $settings/whycam.toml"
}

check_config() {
  env CREDENTIALS_DIRECTORY="$settings" "$1/bin/whycam" config check "$settings/whycam.toml" 2>&1
}

# --- The switch.

# The user, the folders, and a configuration where there is none.
set_up() {
  put "$here/system/sysusers.conf" "$sysusers" 644
  put "$here/system/tmpfiles.conf" "$tmpfiles" 644
  systemd-sysusers "$sysusers"
  systemd-tmpfiles --create "$tmpfiles"
  [ -e "$settings/whycam.toml" ] || put "$here/whycam.toml" "$settings/whycam.toml" 640 whycam
  put "$here/whycam.example.toml" "$settings/whycam.example.toml" 640 whycam
}

# The unit of a release goes with it. First the unit, then the program: a new unit runs the old program too.
switch_to() {
  local kit=$releases/$1/kit
  if [ -e "$kit/system/whycam.service.d/jetson.conf" ]; then
    put "$kit/system/whycam.service.d/jetson.conf" "$drop_in" 644
  else
    rm -f "$drop_in"
  fi
  put "$kit/system/whycam.service" "$unit" 644
  point "$current" "releases/$1"
  point "$command" "$current/bin/whycam"
  systemctl_if_online daemon-reload
}

# Where the service ran, it must run again; systemctl waits until it is ready.
start_or_go_back() {
  local before=$1 after=$2
  [ -z "$offline" ] || return 0
  systemctl is-active --quiet whycam || return 0
  say "restarting the service"
  systemctl restart whycam && return
  if [ -z "$before" ] || [ "$before" = "$after" ]; then
    fail "the service does not come up: journalctl -u whycam"
  fi
  switch_to "$before"
  systemctl restart whycam || fail "neither $after nor $before comes up, and $before is in place: journalctl -u whycam"
  fail "the service did not come up with $after, and $before is in place again: journalctl -u whycam"
}

# --undo

go_back() {
  local now before
  now=$(current_release)
  [ -n "$now" ] || refuse "whycam is not installed"
  before=$(cat "$releases/$now/.before" 2>/dev/null || true)
  if [ -z "$before" ] || [ ! -e "$releases/$before/.complete" ]; then
    refuse "there is no release before $now"
  fi
  lock
  printf '%s\n' "$now" >"$releases/$before/.before"
  switch_to "$before"
  start_or_go_back "$now" "$before"
  say "$before is in place again, $now is kept"
}

# All but this release and the one before it.
forget_older() {
  local path name before
  before=$(cat "$releases/$1/.before" 2>/dev/null || true)
  for path in "$releases"/*; do
    name=${path##*/}
    if [ "$name" = "$1" ] || [ "$name" = "$before" ]; then
      continue
    fi
    rm -f "$path/.complete"
    rm -rf "$path"
  done
}

report() {
  say "whycam $kit_version is installed: $release"
  [ "$kit_opencv" = wheel ] || [[ $kit_onnxruntime == onnxruntime-gpu* ]] ||
    say "with the CPU's ONNX Runtime: for the GPU, make the kit with NVIDIA's wheel: make kit PLATFORM=$kit_platform ONNXRUNTIME=...whl"
  [ -n "$1" ] || say "next: edit $settings/whycam.toml, then: sudo systemctl enable --now whycam"
}

main "$@"
exit
