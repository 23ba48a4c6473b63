#!/bin/bash
# The predictor of bandwidth against what was measured; subset tables: time, size, look-up.
exec build/release/bin/bench_predict
