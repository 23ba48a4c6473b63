/* subsets.h - how long subset tables take to make and to look up. */
#pragma once

void bench_subsets(void);
