#!/bin/sh
# sh verify.sh < body, with WEBHOOK_SECRET and the three header fields in the environment. Exits 0 if it is genuine.
# For trying things out: while openssl runs, others on this machine see the key among its arguments.
set -eu

case $WEBHOOK_TIMESTAMP in '' | *[!0-9]*) exit 1 ;; esac
age=$(($(date +%s) - WEBHOOK_TIMESTAMP))
[ "$age" -le 300 ] && [ "$age" -ge -300 ] || exit 1

key=$(printf %s "${WEBHOOK_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
expected=$(
  { printf '%s.%s.' "$WEBHOOK_ID" "$WEBHOOK_TIMESTAMP"; cat; } |
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A
)
for given in $WEBHOOK_SIGNATURE; do
  if [ "$given" = "v1,$expected" ]; then exit 0; fi
done
exit 1
