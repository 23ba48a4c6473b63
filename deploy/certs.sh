#!/bin/bash
# certs.sh OUTDIR [--host NAME|IP]...   makes lockstep's own CA and certificates in OUTDIR
# certs.sh OUTDIR --secret ...          and prints them as Secret lockstep-tls, for kubectl apply -f -
# certs.sh OUTDIR --probe-ca ...        prints ConfigMap lockstep-probe-ca: for kubectl apply -n NAMESPACE -f -
#
# Run it again at any time: what is valid for 30 days more stays, the rest is made anew. --host adds a
# name to the servers' certificates, beside loopback and the Service names. OUTDIR/ca.key signs all of
# them: keep it away from the cluster (the Secret does not hold it).
#
#   ca.crt                who is believed
#   verbs-server          the extender to kube-scheduler (loopback)
#   scheduler-client      kube-scheduler to the extender: CN lockstep-kube-scheduler
#   metrics-server        health and metrics, to kubelet and Prometheus
#   agents-server, probes-server   the services for machines' and probes' reports
set -euo pipefail

NAMESPACE=lockstep-system
CA_DAYS=3650
DAYS=365
RENEW_S=$((30 * 86400))

die() {
    echo "certs.sh: $1" >&2
    exit "${2:-1}"
}

usage() {
    sed -n '2,4s/^# //p' "$0" >&2
    die "$1" 2
}

quiet() { # openssl talks a lot; show it only when it failed
    local out
    out=$("$@" 2>&1) || die "'$*' failed: $out"
}

new_key() { (umask 077 && quiet openssl ecparam -name prime256v1 -genkey -noout -out "$1"); }

same_key() { [ "$(openssl x509 -in "$1" -noout -pubkey 2>/dev/null)" = "$(openssl pkey -in "$2" -pubout 2>/dev/null)" ]; }

valid_ca() {
    [ -s "$DIR/ca.crt" ] && [ -s "$DIR/ca.key" ] && same_key "$DIR/ca.crt" "$DIR/ca.key" &&
        openssl x509 -in "$DIR/ca.crt" -noout -checkend $RENEW_S >/dev/null
}

make_ca() {
    valid_ca && return
    new_key "$WORK/ca.key"
    quiet openssl req -x509 -new -sha256 -key "$WORK/ca.key" -out "$WORK/ca.crt" -days $CA_DAYS \
        -subj "/O=lockstep/CN=lockstep-ca" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
        -addext "keyUsage=critical,keyCertSign,cRLSign"
    mv "$WORK/ca.key" "$WORK/ca.crt" "$DIR/"
    echo "made ca" >&2
}

# What a certificate says and what it should: its name, then its other names, one a line.
described() { # CRT
    openssl x509 -in "$1" -noout -subject -nameopt RFC2253 2>/dev/null | sed 's/^subject= *//'
    openssl x509 -in "$1" -noout -ext subjectAltName 2>/dev/null | sed -n '2s/^ *//p' |
        sed 's/IP Address:/IP:/g; s/, /\n/g' | sort
}

wanted() { # CN SANS
    echo "CN=$1,O=lockstep"
    [ -z "$2" ] || tr ',' '\n' <<<"$2" | sort
}

valid_leaf() { # NAME CN SANS
    local crt=$DIR/$1.crt
    [ -s "$crt" ] && [ -s "$DIR/$1.key" ] && same_key "$crt" "$DIR/$1.key" &&
        openssl x509 -in "$crt" -noout -checkend $RENEW_S >/dev/null &&
        openssl verify -CAfile "$DIR/ca.crt" "$crt" >/dev/null 2>&1 &&
        [ "$(described "$crt")" = "$(wanted "$2" "$3")" ]
}

make_leaf() { # NAME serverAuth|clientAuth CN SANS
    local name=$1 use=$2 cn=$3 sans=$4
    valid_leaf "$name" "$cn" "$sans" && return
    new_key "$WORK/$name.key"
    quiet openssl req -new -sha256 -key "$WORK/$name.key" -out "$WORK/$name.csr" -subj "/O=lockstep/CN=$cn"
    {
        echo "basicConstraints=critical,CA:FALSE"
        echo "keyUsage=critical,digitalSignature"
        echo "extendedKeyUsage=$use"
        echo "subjectKeyIdentifier=hash"
        echo "authorityKeyIdentifier=keyid"
        [ -z "$sans" ] || echo "subjectAltName=$sans"
    } >"$WORK/$name.ext"
    quiet openssl x509 -req -sha256 -in "$WORK/$name.csr" -CA "$DIR/ca.crt" -CAkey "$DIR/ca.key" \
        -set_serial "0x$(openssl rand -hex 16)" -days $DAYS -extfile "$WORK/$name.ext" -out "$WORK/$name.crt"
    mv "$WORK/$name.key" "$WORK/$name.crt" "$DIR/"
    echo "made $name" >&2
}

is_ip() { [[ $1 =~ ^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$ || $1 == *:* ]]; }

# OpenSSL writes addresses of version 6 in full: ask for them in the same form, to find them again.
full_ip6() {
    local ip=$1 head tail group out=""
    local -a before=() after=()
    [[ $ip == *::* ]] && { head=${ip%%::*} tail=${ip##*::}; } || { head=$ip tail=""; }
    IFS=: read -ra before <<<"$head"
    IFS=: read -ra after <<<"$tail"
    [[ $ip == *::* ]] && while [ $((${#before[@]} + ${#after[@]})) -lt 8 ]; do before+=(0); done
    for group in "${before[@]}" "${after[@]}"; do
        [[ $group =~ ^[0-9A-Fa-f]{1,4}$ ]] || die "'$ip' is not an IP address" 2
        out+=$(printf ':%X' "0x$group")
    done
    [ $((${#before[@]} + ${#after[@]})) -eq 8 ] || die "'$ip' is not an IP address" 2
    echo "${out#:}"
}

# Sets SAN to the entry for a name or an address.
san_of() {
    local ip
    if [[ $1 == *:* ]]; then
        ip=$(full_ip6 "$1") || exit $?
        SAN=IP:$ip
    elif is_ip "$1"; then
        SAN=IP:$1
    elif [[ $1 =~ ^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$ ]]; then
        SAN=DNS:$1
    else
        die "'$1' is neither a DNS name nor an IP address" 2
    fi
}

sans() { # SERVICE: the names of a server, with those of --host
    local list="DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1" san
    [ -z "$1" ] || list+=",DNS:$1.$NAMESPACE,DNS:$1.$NAMESPACE.svc"
    for san in "${SANS[@]}"; do
        [[ ",$list," == *",$san,"* ]] || list+=",$san"
    done
    echo "$list"
}

print_secret() {
    local file
    printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: lockstep-tls\n  namespace: %s\n' $NAMESPACE
    printf '  labels:\n    app.kubernetes.io/part-of: lockstep\ntype: Opaque\ndata:\n'
    for file in "$DIR"/*.crt "$DIR"/*.key; do
        [ "$(basename "$file")" = ca.key ] || echo "  $(basename "$file"): $(base64 -w0 <"$file")"
    done
}

# What pods that are measured believe the extender by; a namespace's own.
print_probe_ca() {
    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: lockstep-probe-ca\n'
    printf '  labels:\n    app.kubernetes.io/part-of: lockstep\ndata:\n  ca.crt: |\n'
    sed 's/^/    /' "$DIR/ca.crt"
}

command -v openssl >/dev/null ||
    die "openssl is missing: apt-get install openssl"
DIR="" SECRET="" PROBE_CA="" HOSTS=()
while [ $# -gt 0 ]; do
    case $1 in
    --secret) SECRET=1 ;;
    --probe-ca) PROBE_CA=1 ;;
    --host)
        [ $# -ge 2 ] || usage "--host needs a name or an address"
        HOSTS+=("$2")
        shift
        ;;
    -*) usage "unknown option '$1'" ;;
    *)
        [ -z "$DIR" ] || usage "one OUTDIR, found '$DIR' and '$1'"
        DIR=$1
        ;;
    esac
    shift
done
[ -n "$DIR" ] || usage "OUTDIR is missing"
SANS=()
for host in "${HOSTS[@]}"; do
    san_of "$host"
    SANS+=("$SAN")
done
[ -d "$DIR" ] || mkdir -p -m 700 "$DIR" || die "cannot make the folder '$DIR'"
# In OUTDIR, so that moving a file into place is one step.
WORK=$(mktemp -d "$DIR/.new.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
make_ca
make_leaf verbs-server serverAuth lockstep-verbs "$(sans "")"
make_leaf scheduler-client clientAuth lockstep-kube-scheduler ""
make_leaf metrics-server serverAuth lockstep-metrics "$(sans lockstep-metrics)"
make_leaf agents-server serverAuth lockstep-agents "$(sans lockstep-agents)"
make_leaf probes-server serverAuth lockstep-probes "$(sans lockstep-probes)"
chmod 600 "$DIR"/*.key
chmod 644 "$DIR"/*.crt
[ -z "$SECRET" ] || print_secret
[ -z "$PROBE_CA" ] || print_probe_ca
