# Faults on a real control plane: every executable tests/faults/*.sh. LOCKSTEP_FAULTS=ci runs a part of
# the matrix (k = 1, 16, 31 and three kills), all the whole (k = 1..31 and 20 kills).
source tests/suites/lib.sh
export LOCKSTEP_FAULTS=${LOCKSTEP_FAULTS:-all}
case $LOCKSTEP_FAULTS in ci | all) ;; *)
    echo "not ok faults: LOCKSTEP_FAULTS=$LOCKSTEP_FAULTS, expected ci or all"
    exit 1
    ;;
esac
build_preset release
need_binaries --no-kubelet
bad=0
rm -f build/test-logs/faults/*.sum
record_traces faults
run_scripts tests/faults 1500 || bad=1
replay_traces || bad=1

# The judge over all gangs of all scripts: never partial outside a bind window, no node overfull.
cat build/test-logs/faults/*.sum 2>/dev/null | awk '
    $1 == "total" { gangs += $3; inside += $5; outside += $7; over += $9 }
    $1 == "over" { print > "/dev/stderr" }
    END {
        printf "%d gangs: %.3f s partial inside bind windows, %.3f s outside\n", gangs, inside,
            outside > "/dev/stderr"
        if (!gangs) print "not ok partial_gangs: no gang was recorded"
        else if (outside > 0) printf "not ok partial_gangs: %.3f s outside bind windows\n", outside
        else print "ok partial_gangs"
        if (over) printf "not ok gpus: %d times a node had more in use than it has\n", over
        else if (gangs) print "ok gpus"
        exit outside > 0 || over > 0 || !gangs
    }' || bad=1
exit $bad
