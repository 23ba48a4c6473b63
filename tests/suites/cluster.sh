# Real kubelets and containers: every executable tests/cluster/*.sh. Needs root and its packages.
source tests/suites/lib.sh
if [ "$(id -u)" -ne 0 ]; then
    echo "skip cluster: real kubelets need root"
    exit 0
fi
if ! bash deploy/packages.sh ensure cluster; then
    echo "skip cluster: packages are missing ($(bash deploy/packages.sh have cluster 2>&1))"
    exit 0
fi
build_preset release
need_binaries
run_scripts tests/cluster 900
