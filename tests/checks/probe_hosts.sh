#!/bin/bash
# `lockstep probe --hosts` over three machines, which are network namespaces with host names of their own that a bridge joins:
# what it measures, what it says when a host does not come or is a stranger, and that nothing is left in any of them.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
[ "$(id -u)" = 0 ] || { echo "network namespaces need root" >&2; exit 77; }
for tool in ip jq unshare basenc gzip pgrep; do
    command -v $tool >/dev/null || (source deploy/local/lib.sh && need_packages $tool) 2>/dev/null || { echo "$tool is not installed" >&2; exit 77; }
done
bin=$PWD/build/release/bin
dir=$(mktemp -d)
failed=0
wire=lsph-w-$$
hosts="a b c"
ns() { echo "lsph-$1-$$"; }

cleanup() {
    local host pid
    for host in $hosts; do
        for pid in $(ip netns pids "$(ns "$host")" 2>/dev/null); do kill -9 "$pid" 2>/dev/null; done
        ip netns del "$(ns "$host")" 2>/dev/null
    done
    ip netns del $wire 2>/dev/null
    rm -rf "$dir"
}
trap cleanup EXIT

# A bridge in a namespace of its own, and a host at each of its ports: 10.213.7.1, .2, .3.
namespaces() {
    local host n=0
    ip netns add $wire && ip -n $wire link add br0 type bridge && ip -n $wire link set br0 up || return 1
    for host in $hosts; do
        n=$((n + 1))
        ip netns add "$(ns "$host")" && ip -n "$(ns "$host")" link add eth0 type veth peer name "p$n" netns $wire &&
            ip -n $wire link set "p$n" master br0 && ip -n $wire link set "p$n" up &&
            ip -n "$(ns "$host")" addr add 10.213.7.$n/24 dev eth0 && ip -n "$(ns "$host")" link set eth0 up &&
            ip -n "$(ns "$host")" link set lo up || return 1
    done
}
namespaces 2>"$dir/why" || { echo "no network namespaces here: $(head -n 1 "$dir/why")" >&2; exit 77; }

# on HOST COMMAND...: there, where the machine is called so. It becomes COMMAND: its pid is that of this function's process.
on() {
    local host=$1
    shift
    exec env --default-signal=INT ip netns exec "$(ns "$host")" unshare --uts bash -c 'hostname "$0" && exec "$@"' "$host" "$@"
}
# lead OPTION...: the coordinator, on host a, in the background: $lead is its pid; sets $word when its line is there.
lead() {
    : >"$dir/out" >"$dir/err"
    (on a "$bin/lockstep" probe "$@" >"$dir/out" 2>"$dir/err") &
    lead=$!
    for _ in $(seq 100); do
        word=$(sed -n 's/^  LOCKSTEP_PROBE_JOIN=\(lockstep1-[A-Za-z0-9_-]*\) lockstep-probe$/\1/p' "$dir/err")
        [ -n "$word" ] && return 0
        kill -0 $lead 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}
# join HOST [OPTION...]: its part, in the background; its output in $dir/HOST, its pid in $dir/HOST.pid.
join() {
    local host=$1
    shift
    (export LOCKSTEP_PROBE_JOIN=$word; on "$host" "$bin/lockstep-probe" "$@" >"$dir/$host" 2>&1) &
    echo $! >"$dir/$host.pid"
}
# ends CODE PID: it ends by itself, with that code.
ends() {
    local code
    wait "$2"
    code=$?
    [ $code = "$1" ] || { echo "exit $code, expected $1"; tail -n 5 "$dir"/err "$dir"/[abc]; return 1; }
}
ended() { ends "$1" "$(cat "$dir/$2.pid")"; }
# empty WITHIN: no process is in any namespace, after so many seconds at most.
empty() {
    local host left
    for _ in $(seq $(($1 * 10))); do
        left=$(for host in $hosts; do ip netns pids "$(ns "$host")"; done)
        [ -z "$left" ] && return 0
        sleep 0.1
    done
    ps -o pid,args -p "$(tr '\n' ',' <<<"$left" | sed 's/,$//')"
    return 1
}
has() { grep -q -- "$1" "$dir/$2" || { echo "no '$1' in:"; cat "$dir/$2"; return 1; }; }
json() { jq -e "$1" "$dir/out" >/dev/null || { cat "$dir/out" "$dir/err"; return 1; }; }
wait_for() { # PATTERN FILE
    for _ in $(seq 100); do grep -q -- "$1" "$dir/$2" && return 0; sleep 0.1; done
    has "$1" "$2"
}

wait_for_last() { # PATTERN FILE: in its last line
    for _ in $(seq 100); do tail -n 1 "$dir/$2" | grep -q -- "$1" && return 0; sleep 0.1; done
    has "$1" "$2"
    return 1
}

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >&2; then echo "ok probe_hosts.$name"; else
        echo "not ok probe_hosts.$name"
        failed=1
    fi
}

three_hosts_print_the_table() {
    lead --hosts a,b,c --sizes 64K:1M:4 --timeout 60s || return
    for host in $hosts; do join "$host"; done
    ends 0 $lead && ended 0 a && ended 0 b && ended 0 c || return
    has 'all_reduce over tcp .* of 3 ranks' out && has '#   Rank   1           on b' out && has '#wrong' out || return
    awk '/^ / { n++; wrong += $8; if (!($7 > 0)) bad = 1 } END { exit !(n == 3 && wrong == 0 && !bad) }' "$dir/out" || {
        cat "$dir/out"
        return 1
    }
    empty 2
}
json_has_hosts_and_pairs() {
    printf '%s\n' '# two of them' 'a slots=2' 'b:1 # one' c >"$dir/hostfile"
    lead --hostfile "$dir/hostfile" --op all_to_all --sizes 64K,256K --pairs -o json --timeout 60s || return
    for host in $hosts; do join "$host"; done
    ends 0 $lead && ended 0 a && ended 0 b && ended 0 c || return
    json '.op == "all_to_all" and .backend == "tcp" and .ranks == 4 and .verdict == "unknown"' &&
        json '[.rows[].bytes] == [65536, 262144] and all(.rows[]; .wrong == 0 and .busbw_gb_s > 0)' &&
        json '.hosts == [{name: "a", first_rank: 0, ranks: 2}, {name: "b", first_rank: 2, ranks: 1}, {name: "c", first_rank: 3, ranks: 1}]' &&
        json '(.pairs_gb_s | length) == 4 and all(range(4) as $i | range(4) as $k | .pairs_gb_s[$i][$k] as $x |
            if $i == $k then $x == null else $x > 0 end; .)'
}
the_map_names_hosts() {
    lead --hosts a,b,c --sizes 64K --pairs --timeout 60s || return
    for host in $hosts; do join "$host"; done
    ends 0 $lead && has '^2 c ' out && has 'slowest pair         : [0-2] [abc] and [0-2] [abc]' out
}
an_earlier_result_is_compared() {
    lead --hosts a,b --sizes 1M -o json --timeout 60s || return
    join a && join b
    ends 0 $lead && cp "$dir/out" "$dir/before.json" || return
    lead --hosts a,b --sizes 1M --against "$dir/before.json" --tolerance 99 -o json --timeout 60s || return
    join a && join b
    ends 0 $lead && json '.verdict == "ok" and .against.ratio > 0' || return
    jq '.busbw_gb_s *= 1e6' "$dir/before.json" >"$dir/faster.json"
    lead --hosts a,b --sizes 1M --against "$dir/faster.json" --timeout 60s || return
    join a && join b
    ends 3 $lead && has '^slow: ' out
}
# A made-up libnccl, whose ranks find each other on one machine only.
nccl_runs_on_hosts_too() {
    export LD_LIBRARY_PATH=$PWD/build/release/fake
    lead --hosts a --ranks-per-host 2 --here a --backend nccl --sizes 64K,1M -o json --timeout 60s
    unset LD_LIBRARY_PATH
    ends 0 $lead && json '.backend == "nccl" and .ranks == 2 and .rows[1].busbw_gb_s > 0 and .rows[1].wrong == 0' && empty 2
}
a_host_without_gpus_says_so() {
    LOCKSTEP_CUDA_LIBRARY=/nowhere/libcuda.so.1 lead --hosts a --here a --backend nccl --timeout 60s || return
    ends 3 $lead && has 'not measured: rank 0 (host a): ' out && empty 2
}
addresses_are_names_too() {
    lead --hosts 10.213.7.1,10.213.7.3 --here 10.213.7.1 --sizes 64K --timeout 60s || return
    join c
    ends 0 $lead && ended 0 c && has 'host 10.213.7.3 at 10.213.7.3, ' c && has 'Rank   1           on 10.213.7.3' out && empty 2
}
a_long_name_is_measured_too() {
    local name=gpu-node-of-the-third-row-in-the-second-hall-0001.compute.a-data-centre-with-a-long-name.cluster.example.org
    [ ${#name} -gt 100 ] && lead --hosts $name --here "${name^^}" --ranks-per-host 2 --sizes 64K --timeout 60s || return
    ends 0 $lead && has "Ranks   0 to   1   on $name" out && empty 2
}
# The ranks of b stand still when the table is done, until those of a have run out of time; so theirs lose them.
the_table_stays_where_pairs_run_out_of_time() {
    local stopped
    lead --hosts a:6,b:6 --sizes 1M,16M --pairs --timeout 20s || return
    join a && join b
    wait_for 'measured .* bus bandwidth' b && stopped=$(pgrep -P "$(cat "$dir/b.pid")") && kill -STOP $stopped || return
    for _ in $(seq 300); do grep -q 'not each two ranks' "$dir/a" && break; sleep 0.1; done
    kill -CONT $stopped
    ends 0 $lead && has '# Map of pairs         : none: host [ab]: rank ' out && has '^ *167772[0-9]* ' out && empty 3
}
the_end_of_the_process_here_is_told() {
    lead --hosts a,b,c --here a --timeout 600s || return
    join b
    wait_for 'missing: rank 2 (host c)' b && kill -KILL $(pgrep -P $lead -x lockstep-probe) || return
    ends 1 $lead && has '--here: host a has no process any more: it was ended by a signal (Killed)' err && ended 1 b || return
    has 'host a has no process any more' b && empty 3
}
addresses_that_are_left_out_are_counted() {
    local n
    for n in $(seq 20 28); do ip -n "$(ns a)" addr add 10.213.8.$n/32 dev eth0 || return; done
    lead --hosts a,b --timeout 60s
    for n in $(seq 20 28); do ip -n "$(ns a)" addr del 10.213.8.$n/32 dev eth0; done
    has '2 more are left out: say by --listen' err && kill -INT $lead && ends 1 $lead
}
what_the_invitation_says_is_refused() {
    lead --hosts a,b --timeout 60s || return
    join b --backend tcp
    ended 2 b && has '--backend: by hand the invitation says it' b || return
    join b --limit 5m
    ended 2 b && has '--limit: by hand' b || return
    join b --coordinator 127.0.0.1:1
    ended 2 b && has '--coordinator: by hand' b || return
    kill -INT $lead
    ends 1 $lead
}
a_missing_host_is_named() {
    lead --hosts a,b,c --timeout 10s || return
    join a && join c
    ends 1 $lead && has '1 of 3 ranks did not come in time: rank 1 (host b)' err && ended 1 a && ended 1 c || return
    has '1 of 3 ranks did not come in time: rank 1 (host b)' c && [ ! -s "$dir/out" ] && empty 2
}
a_host_that_is_none_of_them_is_told_so() {
    lead --hosts a,b --timeout 20s || return
    join c
    ended 2 c && has "this host calls itself 'c', and expected are a, b: say which by --name" c || return
    join c --name d
    ended 2 c && has "--name 'd': expected one of a, b" c || return
    word=${word%????}
    join b
    ended 2 b && has 'was all of it copied' b || return
    kill -INT $lead
    ends 1 $lead
}
# The word with one bit of the secret changed, and the sum made right again.
a_wrong_secret_is_refused() {
    local good at size
    lead --hosts a,b --sizes 64K --timeout 60s || return
    good=$word
    size=${#word}
    basenc --base64url -d <<<"${word#lockstep1-}$(printf '%*s' $(((4 - (size - 10) % 4) % 4)) '' | tr ' ' =)" >"$dir/bytes" || return
    at=$((17 + 4 * $(od -An -tu1 -j16 -N1 "$dir/bytes")))
    head -c -4 "$dir/bytes" >"$dir/payload"
    printf "\\x$(printf %x $(($(od -An -tu1 -j$at -N1 "$dir/payload") ^ 1)))" | dd of="$dir/payload" bs=1 seek=$at conv=notrunc status=none
    gzip -c "$dir/payload" | tail -c 8 | head -c 4 >"$dir/sum"
    word=lockstep1-$(cat "$dir/payload" "$dir/sum" | basenc --base64url -w0 | tr -d =)
    join b
    ended 1 b && has 'UNAUTHENTICATED: the token is not the one that was given out' b || return
    word=$good
    join a && join b
    ends 0 $lead && has 'refused join from=10.213.7.2:' err
}
# Another measurement's line: its coordinator is gone, and another one listens in its place.
another_coordinator_is_not_trusted() {
    lead --hosts a,b --listen 10.213.7.1:7077 --timeout 60s || return
    local other=$word
    kill -INT $lead
    ends 1 $lead
    lead --hosts a,b --listen 10.213.7.1:7077 --timeout 60s || return
    word=$other
    join b
    ended 1 b && has 'not measured: ' b && has 'andshake failed' b || return
    kill -INT $lead
    ends 1 $lead
}
the_secret_is_in_no_list_of_processes() {
    lead --hosts a,b,c --timeout 60s || return
    echo "$word" >"$dir/invitation"
    join b && join c --join "$dir/invitation" # and in the environment too
    wait_for 'missing: rank 0 (host a)' b && wait_for 'missing: rank 0 (host a)' c || return
    ! ps -eo args | grep -v grep | grep -q "${word:20:40}" || return
    for pid in $(ip netns pids "$(ns b)") $(ip netns pids "$(ns c)"); do
        ! grep -qa "${word:20:40}" "/proc/$pid/environ" || { echo "pid $pid shows it"; return 1; }
    done
    kill -INT $lead
    ends 1 $lead && ended 1 b && ended 1 c && empty 3
}
ctrl_c_ends_all_and_says_why() {
    lead --hosts a,b,c --timeout 60s || return
    join a && join b
    wait_for 'missing: rank 2 (host c)' b || return
    kill -INT $lead
    ends 1 $lead && has 'stopped by a signal (Interrupt)' err && ended 1 a && ended 1 b || return
    has 'stopped by hand, where lockstep probe was started' b && empty 2
}
ctrl_c_amid_the_measurement_ends_all() {
    lead --hosts a:2,b:2,c:2 --sizes 16M,32M,64M --pairs --timeout 60s || return
    for host in $hosts; do join "$host"; done
    wait_for 'measuring' b || return
    sleep 0.3
    kill -INT $lead
    ends 1 $lead && empty 3 && has 'stopped by hand' b
}
a_host_that_is_interrupted_may_come_again() {
    lead --hosts a,b --sizes 64K --timeout 60s || return
    join b
    wait_for 'waiting: ' b || return
    wait_for_last '1 of 2 ranks are here' err && kill -INT "$(cat "$dir/b.pid")" && wait_for_last '0 of 2 ranks are here' err || return
    join a && join b
    ends 0 $lead && empty 2
}
a_coordinator_that_is_killed_leaves_nothing() {
    lead --hosts a,b,c --timeout 600s || return
    join a && join b
    wait_for 'missing: rank 2 (host c)' b || return
    kill -9 $lead
    wait $lead 2>/dev/null
    empty 30 && has 'not measured: ' b
}

for name in three_hosts_print_the_table json_has_hosts_and_pairs the_map_names_hosts an_earlier_result_is_compared \
    nccl_runs_on_hosts_too a_host_without_gpus_says_so addresses_are_names_too a_long_name_is_measured_too \
    the_table_stays_where_pairs_run_out_of_time the_end_of_the_process_here_is_told addresses_that_are_left_out_are_counted \
    what_the_invitation_says_is_refused a_missing_host_is_named \
    a_host_that_is_none_of_them_is_told_so a_wrong_secret_is_refused \
    another_coordinator_is_not_trusted the_secret_is_in_no_list_of_processes ctrl_c_ends_all_and_says_why \
    ctrl_c_amid_the_measurement_ends_all a_host_that_is_interrupted_may_come_again a_coordinator_that_is_killed_leaves_nothing; do
    [ $# -eq 0 ] || [[ " $* " = *" $name "* ]] || continue
    check $name $name
done
exit $failed
