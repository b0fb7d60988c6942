// Sums over a workgroup of THREADS (a multiple of 16) in one order, whatever the device's subgroups are.
#ifndef EDGELORA_REDUCE
#define EDGELORA_REDUCE
#include "common/two_sum.glsl"

const uint LANES_A_SUM = 16u;
const uint SUMS = THREADS / LANES_A_SUM;

shared float lanes_of_sum[THREADS];
shared TwoSum sums_of_lanes[SUMS];

// The sum of every thread's v, in every thread.
float sum_threads(float v)
{
    uint thread = gl_LocalInvocationIndex;
    lanes_of_sum[thread] = v;
    barrier();
    if (thread < SUMS) {
        TwoSum sum = TwoSum(0.0, 0.0);
        for (uint i = 0u; i < LANES_A_SUM; i++)
            add_to(sum, lanes_of_sum[thread + i * SUMS]);
        sums_of_lanes[thread] = sum;
    }
    barrier();
    TwoSum total = TwoSum(0.0, 0.0);
    for (uint i = 0u; i < SUMS; i++) {
        add_to(total, sums_of_lanes[i].high);
        add_to(total, sums_of_lanes[i].low);
    }
    // The next sum's second barrier stands between this read and the next write.
    return total_of(total);
}

#endif
