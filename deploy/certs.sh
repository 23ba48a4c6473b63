#!/usr/bin/env bash
# Makes lockstep's own CA and the certificates for mutual TLS between its parts.
#   bash deploy/certs.sh OUTDIR [--host NAME-OR-IP]... [--secret]
# Valid files are kept; those that end within 30 days are made anew. --secret prints a Secret
# (namespace lockstep-system, name lockstep-tls) for kubectl apply -f -.
set -euo pipefail

usage() {
    sed -n '3,5s/^# *//p' "$0" >&2
    exit 2
}

OUT= SECRET= HOSTS=()
while [ $# -gt 0 ]; do
    case $1 in
    --host) HOSTS+=("${2:?--host needs a name or address}") && shift 2 ;;
    --secret) SECRET=yes && shift ;;
    -*) usage ;;
    *) [ -z "$OUT" ] || usage && OUT=$1 && shift ;;
    esac
done
[ -n "$OUT" ] || usage
command -v openssl >/dev/null || {
    echo "certs.sh: openssl is missing: apt-get install openssl" >&2
    exit 2
}
mkdir -p "$OUT"
umask 077

# good FILE: exists and is valid for 30 days more.
good() { [ -s "$1" ] && openssl x509 -in "$1" -noout -checkend 2592000 >/dev/null 2>&1; }

if ! good "$OUT/ca.crt"; then
    rm -f "$OUT"/*.crt
    openssl ecparam -name prime256v1 -genkey -noout -out "$OUT/ca.key"
    openssl req -x509 -new -key "$OUT/ca.key" -days 3650 -subj "/CN=lockstep-ca" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign \
        -out "$OUT/ca.crt"
fi

# alt NAME...: subjectAltName of names and addresses.
alt() {
    local list= host
    for host in "$@"; do
        [[ $host =~ ^[0-9.]+$ ]] && list+=",IP:$host" || list+=",DNS:$host"
    done
    echo "subjectAltName=${list#,}"
}

# issue FILE COMMON-NAME USAGE ALT-NAME...
issue() {
    local file=$OUT/$1 name=$2 usage=$3
    shift 3
    good "$file.crt" && return
    openssl ecparam -name prime256v1 -genkey -noout -out "$file.key.new"
    openssl req -new -key "$file.key.new" -subj "/CN=$name" -out "$file.csr"
    openssl x509 -req -in "$file.csr" -CA "$OUT/ca.crt" -CAkey "$OUT/ca.key" -days 365 \
        -CAcreateserial -extfile <(
            alt "$@"
            echo "extendedKeyUsage=$usage"
        ) -out "$file.crt.new" 2>/dev/null
    mv "$file.key.new" "$file.key"
    mv "$file.crt.new" "$file.crt"
    rm -f "$file.csr"
}

issue verbs-server lockstep-verbs serverAuth 127.0.0.1 localhost
issue metrics-server lockstep-metrics serverAuth 127.0.0.1 localhost \
    lockstep-extender.lockstep-system.svc "${HOSTS[@]}"
issue scheduler-client lockstep-kube-scheduler clientAuth lockstep-kube-scheduler

[ -n "$SECRET" ] || exit 0
echo "apiVersion: v1
kind: Secret
metadata: {name: lockstep-tls, namespace: lockstep-system}
type: Opaque
data:"
for file in ca.crt verbs-server.crt verbs-server.key metrics-server.crt metrics-server.key \
    scheduler-client.crt scheduler-client.key; do
    echo "  $file: $(base64 -w0 <"$OUT/$file")"
done
