# The deterministic simulator: the production core under seeded faults.
source tests/suites/lib.sh
build_preset release
if ! ctest --test-dir build/release -N -L '^sim$' | grep 'Test *#' >/dev/null; then
    echo "skip sim: no test carries the label sim yet"
    exit 0
fi
run_ctest release sim
