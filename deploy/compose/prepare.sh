#!/usr/bin/env bash
# Once, before `docker compose up`: certificates, passwords by chance, and who may read them.
set -euo pipefail
cd "$(dirname "$0")"

fail() {
  printf 'prepare.sh: %s\n' "$*" >&2
  exit 2
}

# From this machine, or from the image that runs anyway.
hash_passwords() {
  if command -v mosquitto_passwd >/dev/null; then
    mosquitto_passwd -U "$1"
  elif command -v docker >/dev/null; then
    docker run --rm --user 0:0 --network none -v "$PWD/secrets/broker:/broker" eclipse-mosquitto:2.0.22 \
      mosquitto_passwd -U "/broker/$(basename "$1")"
  else
    fail "neither mosquitto_passwd nor docker is here: apt-get install mosquitto"
  fi
}

[[ ${1--} != -* ]] || fail "name the broker as devices will, first its name: sudo ./prepare.sh broker.example 192.0.2.7"
[ "$(id -u)" = 0 ] || fail "only root can give files to the containers' users: sudo ./prepare.sh $*"
for made in .env certificates secrets; do
  [ ! -e "$made" ] || fail "$PWD/$made is there already; move it away first, nothing is overwritten"
done

umask 077
trap '[ -e .env ] || rm -rf certificates secrets' EXIT # a half is not kept
../mosquitto/certificates.sh ca >/dev/null
../mosquitto/certificates.sh server "$@" >/dev/null
mkdir -p secrets/{broker,watch,grafana}
cp certificates/{ca.crl,server.crt,server.key} ../mosquitto/whycam.acl secrets/broker/
cp certificates/ca.crt secrets/
openssl rand -base64 24 >secrets/watch/metrics_password
openssl rand -base64 24 | tr -d '\n' >secrets/grafana/grafana_password
printf 'metrics:%s\n' "$(cat secrets/watch/metrics_password)" >secrets/broker/whycam.passwords
hash_passwords secrets/broker/whycam.passwords

# Each container has a user of its own, as compose.yaml and Dockerfile say.
chmod 711 secrets
chmod 644 secrets/ca.crt
chmod 600 secrets/*/*
chown -R 1883:1883 secrets/broker
chown -R 9465:9465 secrets/watch
chown -R 472:0 secrets/grafana
printf 'BROKER_NAME=%s\n' "$1" >.env
chmod 644 .env
echo "ready: docker compose up -d --build; Grafana's password for admin is in $PWD/secrets/grafana/grafana_password"
