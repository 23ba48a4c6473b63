# A real control plane on loopback: every executable tests/e2e/*.sh; then what their extenders recorded
# is replayed through the core.
source tests/suites/lib.sh
build_preset release
need_binaries --no-kubelet
record_traces e2e
bad=0
run_scripts tests/e2e 600 || bad=1
replay_traces || bad=1
exit $bad
