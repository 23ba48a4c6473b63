#!/bin/bash
# deploy/certs.sh: what it makes verifies, stays while valid, and is renewed when it must be.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
out=$dir/tls
failed=0

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@"; then echo "ok certs.$name"; else
        echo "not ok certs.$name: '$*'"
        failed=1
    fi
}
made() { # the names that a run makes anew, in one line
    bash deploy/certs.sh "$@" 2>&1 >/dev/null | sed -n 's/^made //p' | tr '\n' ' '
}
verifies() {
    local name
    for name in verbs-server scheduler-client metrics-server agents-server probes-server; do
        openssl verify -CAfile "$out/ca.crt" "$out/$name.crt" >/dev/null || return 1
    done
    openssl verify -CAfile "$out/ca.crt" -purpose sslclient "$out/scheduler-client.crt" >/dev/null &&
        ! openssl verify -CAfile "$out/ca.crt" -purpose sslclient "$out/agents-server.crt" >/dev/null 2>&1 &&
        openssl verify -CAfile "$out/ca.crt" -verify_ip 127.0.0.1 "$out/verbs-server.crt" >/dev/null &&
        openssl verify -CAfile "$out/ca.crt" -verify_hostname lockstep-metrics.lockstep-system.svc \
            "$out/metrics-server.crt" >/dev/null
}
host_verifies() { openssl verify -CAfile "$out/ca.crt" -verify_ip fd00::1 "$out/metrics-server.crt" >/dev/null; }
# A certificate of the same names that ends in 20 days.
make_old() {
    openssl req -new -key "$out/scheduler-client.key" -subj /O=lockstep/CN=lockstep-kube-scheduler \
        -out "$dir/old.csr" 2>/dev/null &&
        openssl x509 -req -in "$dir/old.csr" -CA "$out/ca.crt" -CAkey "$out/ca.key" -set_serial 7 -days 20 \
            -out "$out/scheduler-client.crt" 2>/dev/null
}
all="ca verbs-server scheduler-client metrics-server agents-server probes-server "
servers="verbs-server metrics-server agents-server probes-server "

check makes_all test "$(made "$out")" = "$all"
check verifies verifies
check keeps_what_is_valid test "$(made "$out")" = ""
check adds_a_host test "$(made "$out" --host 10.1.2.3 --host fd00::1 --host a.example)" = "$servers"
check keeps_the_host test "$(made "$out" --host 10.1.2.3 --host fd00::1 --host a.example)" = ""
check host_is_in_it host_verifies
make_old
check renews_what_ends_soon test "$(made "$out")" = "verbs-server scheduler-client metrics-server agents-server probes-server "
cp "$out/verbs-server.key" "$out/agents-server.key"
check renews_what_lost_its_key test "$(made "$out")" = "agents-server "
rm "$out/ca.crt"
check a_new_ca_renews_all test "$(made "$out")" = "$all"
check ca_key_is_private test "$(stat -c %a "$out/ca.key")" = 600
check secret_holds_all_but_the_ca_key test "$(bash deploy/certs.sh "$out" --secret | grep -c '^  .*\.\(crt\|key\): ')" = 11
check secret_lacks_the_ca_key test -z "$(bash deploy/certs.sh "$out" --secret | grep '^  ca.key')"
check probe_ca_is_the_ca test "$(bash deploy/certs.sh "$out" --probe-ca | sed -n 's/^    //p' | sed '1,/ca.crt/{/^app/d}' | openssl x509 -noout -fingerprint)" = \
    "$(openssl x509 -in "$out/ca.crt" -noout -fingerprint)"
check refuses_a_bad_host test "$(made "$out" --host 'a b')$(bash deploy/certs.sh "$out" --host 1:2 2>&1)" = "certs.sh: '1:2' is not an IP address"
exit $failed
