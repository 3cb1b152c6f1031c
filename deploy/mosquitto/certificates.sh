#!/usr/bin/env bash
# A certificate authority for a broker and its devices, with openssl alone. Nothing that is there is overwritten.
set -euo pipefail

usage() {
  cat <<'END'
certificates.sh [-d DIRECTORY] [--days DAYS] COMMAND

  ca                   the authority: ca.key (keep it off the broker), ca.crt, ca.crl     10 years
  server NAME...       the broker's: server.key, server.crt, for these names or addresses 825 days
  client USER...       a device's: clients/USER.key, clients/USER.crt; log in as USER     825 days
  revoke USER          let this certificate in no more: renews ca.crl

DIRECTORY: where all of it is, `certificates` unless it is named.
To renew a certificate, move the old one away and make it again. 825 days are the longest that some clients accept.
END
}

fail() {
  printf 'certificates.sh: %s\n' "$*" >&2
  exit 2
}

absent() {
  local file
  for file; do
    [ ! -e "$file" ] || fail "$file is there already; move it away first, nothing is overwritten"
  done
}

# openssl says much where it fails; its last line is the reason.
quietly() {
  local told
  told=$("$@" 2>&1) || fail "openssl: $(printf '%s' "$told" | tail -n 1)"
}

# The authority's book: which certificates it has signed, and which of them it has revoked.
config() {
  cat <<END
[ca]
default_ca = authority
[authority]
database = $directory/book/index.txt
new_certs_dir = $directory/book
serial = $directory/book/serial
crlnumber = $directory/book/crlnumber
certificate = $directory/ca.crt
private_key = $directory/ca.key
default_md = sha256
# A list that has expired lets nobody in.
default_crl_days = 3650
unique_subject = no
policy = policy
[policy]
commonName = supplied
[request]
distinguished_name = name
[name]
[root]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = ${purpose:-serverAuth}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
${alternatives:+subjectAltName = $alternatives}
END
}

make_folder() {
  mkdir -p "$1" 2>/dev/null || fail "$1 cannot be made; name a folder that can be written to with -d"
}

new_key() {
  quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out "$1"
}

need_authority() {
  [ -r "$directory/ca.key" ] || fail "$directory/ca.key is not there; make the authority first: certificates.sh ca"
}

make_authority() {
  absent "$directory/ca.key" "$directory/ca.crt" "$directory/ca.crl" "$directory/book"
  make_folder "$directory/book"
  : >"$directory/book/index.txt"
  openssl rand -hex 16 >"$directory/book/serial"
  echo 01 >"$directory/book/crlnumber"
  config >"$draft/config"
  new_key "$directory/ca.key"
  quietly openssl req -config "$draft/config" -new -x509 -key "$directory/ca.key" -subj "/CN=whycam authority" \
    -extensions root -days "${days:-3650}" -out "$directory/ca.crt"
  renew_list
  echo "$directory/ca.crt"
}

# The certificate's file last: where it is, the key and the book are too.
sign() { # NAME FILE
  absent "$2.key" "$2.crt"
  config >"$draft/config"
  new_key "$draft/key"
  quietly openssl req -config "$draft/config" -new -key "$draft/key" -subj "/CN=$1" -out "$draft/request"
  quietly openssl ca -batch -config "$draft/config" -notext -extensions leaf -days "${days:-825}" \
    -in "$draft/request" -out "$draft/certificate"
  mv "$draft/key" "$2.key"
  mv "$draft/certificate" "$2.crt"
  chmod 644 "$2.crt"
  echo "$2.crt"
}

renew_list() {
  config >"$draft/config"
  quietly openssl ca -gencrl -config "$draft/config" -out "$draft/list"
  mv "$draft/list" "$directory/ca.crl"
  chmod 644 "$directory/ca.crl" "$directory/ca.crt"
}

make_server() {
  [ $# -gt 0 ] || fail "server: name the broker as devices will: certificates.sh server broker.example 192.0.2.7"
  need_authority
  local name
  alternatives='' purpose=serverAuth
  for name; do
    [[ $name =~ ^[A-Za-z0-9.:-]+$ && ${#name} -le 253 ]] || fail "server: '$name' is neither a host's name nor an address"
    if [[ $name =~ ^[0-9.]+$ || $name == *:* ]]; then
      alternatives+=${alternatives:+,}IP:$name
    else
      alternatives+=${alternatives:+,}DNS:$name
    fi
  done
  # A common name has at most 64 characters; clients look at the alternatives.
  sign "${1:0:64}" "$directory/server"
}

make_clients() {
  [ $# -gt 0 ] || fail "client: name the device: certificates.sh client entrance"
  need_authority
  local user
  for user; do
    [[ $user =~ ^[A-Za-z0-9_-]{1,64}$ ]] || fail "client: '$user' must be 1 to 64 letters, digits, '_' or '-'"
    absent "$directory/clients/$user.key" "$directory/clients/$user.crt"
  done
  make_folder "$directory/clients"
  alternatives='' purpose=clientAuth
  for user; do
    sign "$user" "$directory/clients/$user"
  done
}

revoke() {
  [ $# = 1 ] || fail "revoke: name one device: certificates.sh revoke entrance"
  need_authority
  [ -r "$directory/clients/$1.crt" ] || fail "$directory/clients/$1.crt is not there"
  config >"$draft/config"
  quietly openssl ca -config "$draft/config" -revoke "$directory/clients/$1.crt"
  renew_list
  echo "$directory/ca.crl: copy it to the broker and restart that"
}

directory=certificates days=''
while [ $# -gt 0 ]; do
  case $1 in
    -d | --days)
      [ $# -gt 1 ] || fail "$1: name $([ "$1" = -d ] && echo a directory || echo a number)"
      if [ "$1" = -d ]; then directory=$2; else days=$2; fi
      shift 2
      ;;
    -h | --help) usage && exit ;;
    -*) fail "$1: no such option; see --help" ;;
    *) break ;;
  esac
done
[[ -z $days || $days =~ ^[1-9][0-9]{0,4}$ ]] || fail "--days: '$days' is not a number of days"
[[ $directory =~ ^[A-Za-z0-9_./+:@,\ -]+$ ]] || fail "-d: '$directory' has a character that openssl's configuration does not take"
command -v openssl >/dev/null || fail "openssl is not here: apt-get install openssl"
command=${1-}
shift || { usage >&2; exit 2; }

umask 077
draft=$(mktemp -d)
trap 'rm -rf "$draft"' EXIT
case $command in
  ca) make_authority ;;
  server) make_server "$@" ;;
  client) make_clients "$@" ;;
  revoke) revoke "$@" ;;
  *) fail "$command: no such command; ca, server, client or revoke" ;;
esac
