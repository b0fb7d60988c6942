// Sums over a workgroup of THREADS (a multiple of 16) in one order, whatever the device's subgroups are.
#ifndef EDGELORA_REDUCE
#define EDGELORA_REDUCE

const uint LANES_A_SUM = 16u;
const uint SUMS = THREADS / LANES_A_SUM;

shared float lanes_of_sum[THREADS];
shared float sums_of_lanes[SUMS];

// The sum of every thread's v, in every thread.
float sum_threads(float v)
{
    uint thread = gl_LocalInvocationIndex;
    lanes_of_sum[thread] = v;
    barrier();
    if (thread < SUMS) {
        precise float sum = 0.0;
        for (uint i = 0u; i < LANES_A_SUM; i++)
            sum = sum + lanes_of_sum[thread + i * SUMS];
        sums_of_lanes[thread] = sum;
    }
    barrier();
    precise float total = 0.0;
    for (uint i = 0u; i < SUMS; i++)
        total = total + sums_of_lanes[i];
    // The next sum's second barrier stands between this read and the next write.
    return total;
}

#endif
