# The unit tests as they are shipped (release flags), and checks of the source itself.
source tests/suites/lib.sh
build_preset release
bad=0
run_ctest release unit || bad=1
run_scripts tests/checks 60 || bad=1
exit $bad
