#!/usr/bin/env bash
# Makes a self-signed certificate for this machine: for development only.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: scripts/generate-dev-certs.sh [--force] [--directory DIR] [--days N]

Writes DIR/cert.pem (mode 644) and DIR/key.pem (mode 600) for localhost, 127.0.0.1 and ::1.
DIR is ./certs in the project unless given. Files that exist are kept unless --force is given.
TEXT
}

directory="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/certs"
days=825
force=false
while [ $# -gt 0 ]; do
  case "$1" in
    --force) force=true ;;
    --directory) directory="${2:?--directory needs a folder}"; shift ;;
    --days) days="${2:?--days needs a number}"; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

cert="$directory/cert.pem"
key="$directory/key.pem"

if [ -e "$cert" ] && [ -e "$key" ] && [ "$force" = false ]; then
  echo "Kept $cert and $key. Make new ones with --force."
  exit 0
fi
if ! command -v openssl >/dev/null; then
  echo 'openssl is missing. On Debian: sudo apt-get install openssl' >&2
  exit 1
fi

mkdir -p "$directory"
draft="$(mktemp -d "$directory/.new.XXXXXX")"
trap 'rm -rf "$draft"' EXIT
umask 077
if ! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -days "$days" \
  -keyout "$draft/key.pem" -out "$draft/cert.pem" -subj '/CN=localhost/O=Florin development' \
  -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1' \
  -addext 'extendedKeyUsage=serverAuth' -addext 'keyUsage=critical,digitalSignature' 2>"$draft/log"; then
  cat "$draft/log" >&2
  exit 1
fi
chmod 644 "$draft/cert.pem"
chmod 600 "$draft/key.pem"
mv -f "$draft/key.pem" "$key"
mv -f "$draft/cert.pem" "$cert"

cat <<TEXT
Wrote $cert and $key: valid for $days days, trusted by nobody, for development only.

Next:
  export PAYMENTS_SERVER_TLS_ENABLED=true
  export PAYMENTS_SERVER_TLS_CERT_FILE=$cert
  export PAYMENTS_SERVER_TLS_KEY_FILE=$key
  npm start
  curl --cacert $cert https://localhost:3000/health
TEXT
