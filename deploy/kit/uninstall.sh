#!/usr/bin/env bash
# Remove whycam. Its configuration and its state stay, unless --purge.
set -euo pipefail

usage() {
  cat <<'END'
usage: sudo ./uninstall.sh [--purge] [--offline]

--purge: remove the configuration, the keys, the bundles, alerts that wait and evidence too, and the user whycam
--offline: in a chroot: systemd is not asked to stop anything
END
}

main() {
  local here purge='' offline=''
  here=$(dirname "$(readlink --canonicalize "$0")")
  # shellcheck source=common.sh
  source "$here/common.sh"
  read_options "purge offline" "$@"
  check_root
  check_systemd_runs
  lock
  stop
  remove_program
  [ -z "$purge" ] || remove_data
  say "whycam is removed${purge:+, with its configuration and its state}"
  [ -n "$purge" ] || say "kept: $settings and $state; to remove them too: --purge"
}

stop() {
  if [ -e "$unit" ]; then
    systemctl_if_online stop whycam
    systemctl --quiet ${offline:+--root=/} disable whycam 2>/dev/null || true
  fi
  rm -f /etc/systemd/system/multi-user.target.wants/whycam.service
}

remove_program() {
  rm -f "$program" "$unit" "$drop_in" "$sysusers" "$tmpfiles" "$program.part" "$unit.part" "$drop_in.part" \
    "$sysusers.part" "$tmpfiles.part"
  local folder
  for folder in "${drop_in%/*}" "$units" "${units%/*}" "${sysusers%/*}" "${tmpfiles%/*}"; do
    [ ! -d "$folder" ] || rmdir --ignore-fail-on-non-empty "$folder"
  done
  systemctl_if_online daemon-reload
  systemctl_if_online reset-failed whycam 2>/dev/null || true
  rm -rf "$cache" "$home"
}

remove_data() {
  rm -rf "$settings" "$state" /etc/systemd/system/whycam.service.d
  ! getent passwd whycam >/dev/null || userdel whycam
  ! getent group whycam >/dev/null || groupdel whycam
}

main "$@"
exit
