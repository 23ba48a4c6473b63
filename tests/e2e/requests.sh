#!/usr/bin/env bash
# What must be refused, and a service that goes on afterwards.
source tests/e2e/lib.sh
up bad --nodes 4 --racks 2

call() { # call CURL-OPTION...: prints status and body
    curl -s --noproxy '*' --max-time 30 -w '\n%{http_code}' --cacert "$RUN/tls/ca.crt" "$@"
}
good=(--cert "$RUN/tls/scheduler-client.crt" --key "$RUN/tls/scheduler-client.key")
verbs=https://127.0.0.1:$VERBS_PORT

no_certificate() {
    local out
    out=$(call -X POST -d '{}' "$verbs/filter" | tail -n 1)
    [ "$out" != 200 ] || fail "a call without certificate got 200"
    [ "$out" = 403 ] || [ "$out" = 000 ] || fail "status $out"
}
wrong_certificate() {
    local out
    bash deploy/certs.sh "$RUN/rogue" >/dev/null
    out=$(call --cert "$RUN/rogue/scheduler-client.crt" --key "$RUN/rogue/scheduler-client.key" -X POST -d '{}' "$verbs/bind")
    case $(tail -n 1 <<<"$out") in 403 | 000) ;; *) fail "a certificate of another CA: $out" ;; esac
    out=$(call --cert "$RUN/tls/metrics-server.crt" --key "$RUN/tls/metrics-server.key" -X POST -d '{}' "$verbs/bind")
    case $(tail -n 1 <<<"$out") in 403 | 000) ;; *) fail "another listener's certificate: $out" ;; esac
}
malformed() {
    local out
    out=$(call "${good[@]}" -X POST -d '{"Pod": {"metadata"' "$verbs/filter")
    [ "$(tail -n 1 <<<"$out")" = 400 ] || fail "malformed JSON: $out"
    grep -q 'not valid JSON' <<<"$out" || fail "no clear error: $out"
    out=$(call "${good[@]}" -X POST -d '{"Pod":{"metadata":{"uid":"u"}},"Nodes":{"items":[]},"NodeNames":null}' "$verbs/filter")
    grep -q 'nodeCacheCapable' <<<"$out" || fail "no hint at nodeCacheCapable: $out"
    out=$(call "${good[@]}" -X POST -d '{"PodName":"a","PodNamespace":"b","Node":"n"}' "$verbs/bind")
    grep -q 'PodUID' <<<"$out" || fail "the missing field is not named: $out"
}
tls_bytes() { # tls_bytes OPTION...: standard input inside TLS, as kube-scheduler
    timeout 5 openssl s_client -quiet -connect "127.0.0.1:$VERBS_PORT" -CAfile "$RUN/tls/ca.crt" \
        -cert "$RUN/tls/scheduler-client.crt" -key "$RUN/tls/scheduler-client.key" "$@" 2>/dev/null
}
truncated() {
    local out
    # Gives up in the middle of a body that it announced.
    (printf '{"Pod":'; sleep 2) | call "${good[@]}" --max-time 1 -X POST -H 'Content-Length: 5000' -T - "$verbs/filter" >/dev/null
    # Bytes that are no HTTP/2 at all, and an old client.
    head -c 20000 /dev/urandom | tls_bytes -alpn h2 >/dev/null
    out=$(printf 'POST /filter HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{"Pod":' | tls_bytes | head -n 1)
    [[ $out == *505* ]] || fail "a client of HTTP/1.1 got: $out"
}
huge() {
    local out
    head -c 100000000 /dev/zero >"$RUN/huge"
    out=$(call "${good[@]}" -X POST -H 'Expect:' --data-binary @"$RUN/huge" "$verbs/filter")
    case $(tail -n 1 <<<"$out") in 413 | 000) ;; *) fail "100 MB: $out" ;; esac
    out=$(call "${good[@]}" -X POST -H 'Transfer-Encoding: chunked' -H 'Expect:' --data-binary @"$RUN/huge" "$verbs/filter")
    case $(tail -n 1 <<<"$out") in 413 | 000) ;; *) fail "100 MB in chunks: $out" ;; esac
}
still_serving() {
    job after 4 8
    within 10 "4 pods bound" all_bound after 4
    [ "$(metric lockstep_bad_requests_total)" -ge 3 ] || fail "bad requests are not counted"
    kill -0 "$(cat "$RUN/pids/extender")" || fail "the extender ended"
}
check j_no_client_certificate_is_refused no_certificate
check j_wrong_client_certificate_is_refused wrong_certificate
check j_malformed_bodies_get_a_clear_error malformed
check j_truncated_body_does_no_harm truncated
check j_100_mb_bodies_are_refused huge
check j_the_service_is_unharmed still_serving
