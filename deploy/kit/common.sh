# For `source`, by install.sh and uninstall.sh: where things are, and how they are put there.
# shellcheck shell=bash disable=SC2034

# Nothing of the caller's environment may lead Python or pip elsewhere.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C.UTF-8
umask 022

home=/opt/whycam
releases=$home/releases
current=$home/current
program=/usr/local/bin/whycam
settings=/etc/whycam
state=/var/lib/whycam
cache=/var/cache/whycam
units=/usr/local/lib/systemd/system
unit=$units/whycam.service
drop_in=$units/whycam.service.d/jetson.conf
sysusers=/usr/local/lib/sysusers.d/whycam.conf
tmpfiles=/usr/local/lib/tmpfiles.d/whycam.conf

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

# What is wrong before anything was changed: one line, status 2.
refuse() {
  say "$*" >&2
  exit 2
}

# What went wrong on the way: one line, status 1.
fail() {
  say "$*" >&2
  exit 1
}

# Sets the variable of each option that is given to `yes`; first the names that this script knows, then its arguments.
read_options() {
  local known=" $1 " argument
  for argument in "${@:2}"; do
    case $argument in
      -h | --help) usage && exit ;;
    esac
    [[ $argument =~ ^--[a-z]+$ && $known == *" ${argument#--} "* ]] ||
      refuse "unknown argument '$argument': see ./${0##*/} --help"
    printf -v "${argument#--}" yes
  done
}

check_root() {
  [ "$(id -u)" = 0 ] || refuse "needs root: sudo ./${0##*/}"
}

# systemd is not asked to do anything in a chroot or while an image is made.
check_systemd_runs() {
  [ -n "$offline" ] || [ -d /run/systemd/system ] ||
    refuse "systemd does not run here; in a chroot, or to make an image: ./${0##*/} --offline"
}

systemctl_if_online() {
  [ -n "$offline" ] || systemctl "$@"
}

# One at a time. The lock is held by what this script has started too, so that nobody clears away what it still writes.
lock() {
  mkdir -p "$home"
  exec 9<"$home"
  flock --nonblock 9 || refuse "another install.sh or uninstall.sh is at work: wait for its end, then try again"
}

# A file appears whole, with its mode and owner, or not at all; one that is the same is left alone.
put() {
  local source=$1 target=$2 mode=$3 group=${4:-root}
  if cmp --silent "$source" "$target" && [ "$(stat --format %a:%G "$target")" = "$mode:$group" ]; then
    return
  fi
  mkdir -p "${target%/*}"
  install --mode="$mode" --group="$group" "$source" "$target.part"
  sync "$target.part"
  mv --no-target-directory "$target.part" "$target"
  sync "${target%/*}"
}

# A link that points to the old or to the new, whenever one looks.
point() {
  local link=$1 target=$2
  [ "$(readlink "$link" || true)" != "$target" ] || return 0
  mkdir -p "${link%/*}"
  ln --symbolic --force --no-dereference "$target" "$link.part"
  mv --no-target-directory "$link.part" "$link"
  sync "${link%/*}"
}
