#!/bin/bash
# How long plans take, beside a plain scan of the node table.
exec build/release/bin/bench_plan
