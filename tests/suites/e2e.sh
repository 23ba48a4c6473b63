# A real control plane on loopback: every executable tests/e2e/*.sh.
source tests/suites/lib.sh
build_preset release
need_binaries --no-kubelet
run_scripts tests/e2e 600
