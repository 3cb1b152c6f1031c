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
  local here undo='' offline=''
  here=$(dirname "$(readlink --canonicalize "$0")")
  # shellcheck source=common.sh
  source "$here/common.sh"
  # shellcheck source=checks.sh
  source "$here/checks.sh"
  read_options "undo offline" "$@"
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
  local kit_needed_kib name release before
  check_files
  # shellcheck source=/dev/null
  source "$here/kit.env"
  name=$kit_version-$(sha256sum "$here/SHA256SUMS" | cut -c1-12)
  release=$releases/$name
  check_machine
  check_free_paths
  check_space

  lock
  build_release
  try_release
  set_up
  before=$(current_release)
  [ "$before" = "$name" ] || remember_before "$name" "$before"
  switch_to "$name"
  start_or_go_back "$name"
  forget_older "$name"
  report "$before"
}

# The release that is used now, by name; nothing where there is none.
current_release() {
  basename "$(readlink "$current" || true)"
}

# What was there when this release took its place.
release_before() {
  cat "$releases/$1/.before" 2>/dev/null || true
}

remember_before() {
  printf '%s\n' "$2" >"$releases/$1/.before"
  sync "$releases/$1/.before"
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
  ORT_DISABLE_TELEMETRY=1 "$release/bin/python" -I -c 'import cv2, onnxruntime' ||
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
  point "$program" "$current/bin/whycam"
  systemctl_if_online daemon-reload
}

# Where the service ran, it must run again; systemctl waits until it is ready.
start_or_go_back() {
  local name=$1 before
  [ -z "$offline" ] || return 0
  case $(systemctl show --property=ActiveState --value whycam) in
    active | reloading | activating) ;;
    *) return 0 ;;
  esac
  ! runs_from "$name" || return 0
  say "restarting the service"
  # What systemctl says of a failure is said below, in one line.
  systemctl restart whycam 2>/dev/null && return
  before=$(release_before "$name")
  [ -n "$before" ] || fail "the service does not come up: journalctl -u whycam"
  switch_to "$before"
  systemctl restart whycam 2>/dev/null || fail "neither $name nor $before comes up, and $before is in place: journalctl -u whycam"
  fail "the service did not come up with $name, and $before is in place again: journalctl -u whycam"
}

# Whether the process of the service has libraries of this release in its memory.
runs_from() {
  local pid
  pid=$(systemctl show --property=MainPID --value whycam)
  grep --quiet --fixed-strings "$releases/$1/" "/proc/$pid/maps" 2>/dev/null
}

# --undo

go_back() {
  local now before
  now=$(current_release)
  [ -n "$now" ] || refuse "whycam is not installed"
  before=$(release_before "$now")
  if [ -z "$before" ] || [ ! -e "$releases/$before/.complete" ]; then
    refuse "there is no release before $now"
  fi
  lock
  remember_before "$before" "$now"
  switch_to "$before"
  start_or_go_back "$before"
  say "$before is in place again, $now is kept"
}

# All but this release and the one before it.
forget_older() {
  local path name before
  before=$(release_before "$1")
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
