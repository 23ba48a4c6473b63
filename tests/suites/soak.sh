# Long runs, by name only: 100 million simulated steps (LOCKSTEP_SOAK_STEPS), then 30 minutes
# (LOCKSTEP_SOAK_MINUTES, 0: none) of random gangs, faults and deletions on a real control plane:
# tests/soak/live.sh. LOCKSTEP_SOAK_SEED replays the draws; without it they are new and the seed is printed.
source tests/suites/lib.sh
export LOCKSTEP_SOAK_STEPS=${LOCKSTEP_SOAK_STEPS:-100000000} LOCKSTEP_SOAK_MINUTES=${LOCKSTEP_SOAK_MINUTES:-30}
export LOCKSTEP_SOAK_SEED=${LOCKSTEP_SOAK_SEED:-$((RANDOM + 1))}
for number in "$LOCKSTEP_SOAK_STEPS" "$LOCKSTEP_SOAK_MINUTES" "$LOCKSTEP_SOAK_SEED"; do
    [[ $number =~ ^[0-9]{1,12}$ ]] || { echo "not ok soak: '$number', expected a number"; exit 1; }
done
build_preset release
bad=0
progress "seed $LOCKSTEP_SOAK_SEED"
[ "$LOCKSTEP_SOAK_STEPS" -eq 0 ] || run_script_files 7200 tests/soak/steps.sh || bad=1
if [ "$LOCKSTEP_SOAK_MINUTES" -gt 0 ]; then
    need_binaries --no-kubelet
    run_script_files $((LOCKSTEP_SOAK_MINUTES * 60 + 900)) tests/soak/live.sh || bad=1
fi
exit $bad
