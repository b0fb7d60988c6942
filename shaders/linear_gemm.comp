// y = W * x for many rows: a tile of 32 rows by 32 outputs a workgroup. Its 256 threads are 16 places by 16 lanes; a thread sums its lane for 8 rows by 8 outputs
// over tiles of 64 inputs in shared memory. The lanes are then added through the same memory, two rows of each place at a time.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/product.glsl"

layout(local_size_x = 256) in;

const uint TILE = 32u;
const uint EACH = 8u;
// Quads a staged row; one more than it has, against bank conflicts.
const uint PITCH = 17u;
// Floats from lane to lane while lanes are added: 256 outputs a pass and one.
const uint LANE_PITCH = 257u;

// x, then W; 16 * 257 floats of lanes afterwards.
shared vec4 tile[2u * TILE * PITCH];

void stage(uint first, uint output_first, uint start)
{
    uint thread = gl_LocalInvocationIndex;
    for (uint i = thread; i < TILE * LANES; i += 256u) {
        uint line = i >> 4, k = start + 4u * (i & 15u), at = line * PITCH + (i & 15u);
        tile[at] = k < push.inputs && first + line < push.rows ? input4((push.x_first + first + line) * push.x_stride, k) : vec4(0.0);
        if (INPUT_MAJOR == 0u)
            tile[TILE * PITCH + at] = k < push.inputs && output_first + line < push.outputs ? weight4(output_first + line, k) : vec4(0.0);
    }
    if (INPUT_MAJOR == 0u)
        return;
    // Neighbouring threads take four neighbouring outputs of one input each.
    for (uint i = thread; i < STRIDE * TILE / 4u; i += 256u) {
        uint k = i >> 3, o = 4u * (i & 7u);
        vec4 w = vec4(0.0);
        if (start + k < push.inputs) {
            uint from = (start + k) * push.outputs + output_first + o;
            if (ALIGNED != 0u) {
                if (output_first + o < push.outputs)
                    w = load_weight4(push.weight, WEIGHT_TYPE, push.scales, from);
            } else {
                for (uint j = 0u; j < 4u; j++)
                    if (output_first + o + j < push.outputs)
                        w[j] = load_weight(push.weight, WEIGHT_TYPE, push.scales, from + j);
            }
        }
        for (uint j = 0u; j < 4u; j++)
            tile[(TILE + o + j) * PITCH + (k >> 2)][k & 3u] = w[j];
    }
}

void main()
{
    uint thread = gl_LocalInvocationIndex, lane = thread & 15u, place = thread >> 4;
    uint first = gl_WorkGroupID.y * TILE, output_first = gl_WorkGroupID.x * TILE;
    uint rows = (place >> 2) * EACH, outputs = TILE + (place & 3u) * EACH;
    precise float sums[EACH * EACH];
    for (uint i = 0u; i < EACH * EACH; i++)
        sums[i] = 0.0;
    for (uint start = 0u; start < push.inputs; start += STRIDE) {
        stage(first, output_first, start);
        barrier();
        vec4 v[EACH];
        for (uint r = 0u; r < EACH; r++)
            v[r] = tile[(rows + r) * PITCH + lane];
        for (uint c = 0u; c < EACH; c++) {
            vec4 w = tile[(outputs + c) * PITCH + lane];
            for (uint r = 0u; r < EACH; r++) {
                uint i = r * EACH + c;
                sums[i] = fma(w.w, v[r].w, fma(w.z, v[r].z, fma(w.y, v[r].y, fma(w.x, v[r].x, sums[i]))));
            }
        }
        barrier();
    }

    // In a pass thread j ends output j % 32 of the tile's row (j / 64) * 8 + pass * 2 + (j / 32) % 2.
    uint column = thread & 31u, from = (thread >> 6) * 4u + (column >> 3), element = from * 16u + (thread >> 5 & 1u) * EACH + (column & 7u);
    for (uint pass = 0u; pass < 4u; pass++) {
        for (uint i = 0u; i < 16u; i++) {
            uint at = lane * LANE_PITCH + place * 16u + i;
            tile[at >> 2][at & 3u] = sums[pass * 16u + i];
        }
        barrier();
        TwoSum sum = TwoSum(0.0, 0.0);
        for (uint p = 0u; p < LANES; p++) {
            uint at = p * LANE_PITCH + element;
            add_to(sum, tile[at >> 2][at & 3u]);
        }
        uint t = first + (thread >> 6) * EACH + pass * 2u + (thread >> 5 & 1u);
        if (t < push.rows && output_first + column < push.outputs)
            end_output(t, output_first + column, total_of(sum));
        barrier();
    }
}
