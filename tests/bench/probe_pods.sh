#!/bin/bash
# The probe of two pods on two real kubelets beside a plain full-duplex socket copy between the same pods, before and after
# it (tests/cluster/probe.sh); `in_turns`: the probe's all-reduce by the processes that copy, in turns with the copies. One
# stream a direction, 64 MiB. As root. The nodes and the control plane share the machine with whatever else runs there: with
# less than a processor for each pod the first ratio moves by a half from run to run, the second by 0.1.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
bash deploy/packages.sh ensure cluster >&2 || exit 1
bash deploy/local/build.sh >&2 || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
results=$(PROBE_TESTS=pair bash tests/cluster/probe.sh 2> >(tee "$log" >&2)) || exit 1
if grep '^not ok' <<<"$results" >&2; then exit 1; fi
grep -E '^probe\.vs_socket_pods(_in_turns)?: ' "$log"
