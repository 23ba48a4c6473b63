#include "tests/bench/predict/subsets.h"
void bench_subsets(void)
{
}
