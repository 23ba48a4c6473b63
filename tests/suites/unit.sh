# The unit tests as they are shipped (release flags), and checks of the source itself.
source tests/suites/lib.sh
build_preset release
bad=0
run_ctest release unit || bad=1
bash deploy/packages.sh ensure lint || true # clang-tidy is skipped without
run_scripts tests/checks 900 || bad=1
exit $bad
