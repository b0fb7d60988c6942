// U[t, offset + r] = A[r] * x[t] for every step of every row's path at up to four sites: 16 ranks of a site by 16 lanes a workgroup, in the order of common/product.glsl.
// Four rows at once, which read A once where they stand on the same path.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/batch.glsl"
#include "common/steps.glsl"
#include "common/two_sum.glsl"

layout(local_size_x = 256) in;
// 1: the width and stride of x are multiples of 4.
layout(constant_id = 0) const uint ALIGNED = 0;

layout(push_constant, std430) uniform Push {
    uvec2 x; uvec2 batch; uvec2 u[4];
    uint u_stride[4]; uint site[4]; uint inputs; uint x_stride; uint rows;
} push;

const uint ROWS = 4u;
const uint RANKS = 16u;
const uint LANES = 16u;
const uint STRIDE = 64u;
const uint PITCH = LANES + 1u;
const uint AHEAD = 8u;

shared float lanes[ROWS * RANKS * PITCH];

// Row `row` of A, a whole matrix of one step.
struct Source { uvec2 a; uint type; uint row; };

// Where rank `rank` of the site's sum of ranks comes from; null beyond it.
Source source_of(uvec2 site, uint rank)
{
    uint count = site_step_count(site);
    for (uint k = 0u; k < count; k++) {
        Step s = load_step(site, k);
        if (rank < s.offset + s.rank)
            return Source(s.a, s.a_type, rank - s.offset);
    }
    return Source(uvec2(0u), F32, 0u);
}

vec4 a4(Source s, uint k)
{
    uint at = s.row * push.inputs + k;
    if (ALIGNED != 0u)
        return load_vector4(s.a, s.type, at);
    vec4 v = vec4(0.0);
    uint count = min(4u, push.inputs - k);
    for (uint i = 0u; i < count; i++)
        v[i] = load_vector(s.a, s.type, at + i);
    return v;
}

vec4 x4(uint row, uint k)
{
    if (ALIGNED != 0u)
        return load_f32x4(push.x, (row * push.x_stride + k) >> 2);
    vec4 v = vec4(0.0);
    uint count = min(4u, push.inputs - k);
    for (uint i = 0u; i < count; i++)
        v[i] = load_f32(push.x, row * push.x_stride + k + i);
    return v;
}

float chain(vec4 w, vec4 v, float start)
{
    precise float sum = fma(w.w, v.w, fma(w.z, v.z, fma(w.y, v.y, fma(w.x, v.x, start))));
    return sum;
}

void main()
{
    uint thread = gl_LocalInvocationIndex, lane = thread & 15u, place = thread >> 4;
    uint first = gl_WorkGroupID.y * ROWS, rank = gl_WorkGroupID.x * RANKS + place;
    uvec2 site[ROWS];
    bool same = true;
    for (uint t = 0u; t < ROWS; t++) {
        site[t] = site_of(row_path(push.batch, min(first + t, push.rows - 1u)), push.site[gl_WorkGroupID.z]);
        same = same && site[t] == site[0];
    }
    precise float sums[ROWS];
    for (uint t = 0u; t < ROWS; t++)
        sums[t] = 0.0;
    Source s = source_of(site[0], rank);
    if (same && !is_null(s.a)) {
        uint k = 4u * lane;
        for (; k + (AHEAD - 1u) * STRIDE < push.inputs; k += AHEAD * STRIDE) {
            vec4 w[AHEAD];
            for (uint i = 0u; i < AHEAD; i++)
                w[i] = a4(s, k + i * STRIDE);
            for (uint t = 0u; t < ROWS; t++)
                if (first + t < push.rows)
                    for (uint i = 0u; i < AHEAD; i++)
                        sums[t] = chain(w[i], x4(first + t, k + i * STRIDE), sums[t]);
        }
        for (; k < push.inputs; k += STRIDE) {
            vec4 w = a4(s, k);
            for (uint t = 0u; t < ROWS; t++)
                if (first + t < push.rows)
                    sums[t] = chain(w, x4(first + t, k), sums[t]);
        }
    }
    if (!same) {
        for (uint t = 0u; t < ROWS; t++) {
            s = source_of(site[t], rank);
            if (!is_null(s.a) && first + t < push.rows)
                for (uint k = 4u * lane; k < push.inputs; k += STRIDE)
                    sums[t] = chain(a4(s, k), x4(first + t, k), sums[t]);
        }
    }
    for (uint t = 0u; t < ROWS; t++)
        lanes[(t * RANKS + place) * PITCH + lane] = sums[t];
    barrier();

    uint t = thread >> 4, end_rank = gl_WorkGroupID.x * RANKS + lane;
    if (t >= ROWS || first + t >= push.rows || end_rank >= site_rank(site[t]))
        return;
    TwoSum sum = TwoSum(0.0, 0.0);
    for (uint p = 0u; p < LANES; p++)
        add_to(sum, lanes[thread * PITCH + p]);
    store_f32(push.u[gl_WorkGroupID.z], (first + t) * push.u_stride[gl_WorkGroupID.z] + end_rank, total_of(sum));
}
