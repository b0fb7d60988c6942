// A tile of attention; the shader defines its ROWS. Products of ROWS rows with a chunk of others, and sums of the others weighted by them.
// Threads have four rows and one of the others (products), or four rows and one quad (sums).
#ifndef EDGELORA_ATTENTION_TILE
#define EDGELORA_ATTENTION_TILE
#include "common/attention.glsl"

// Rows of the tile by fours.
const uint FOURS = ROWS / 4u;
// Fours that a thread multiplies by its one of the others.
const uint OWN = FOURS * CHUNK / THREADS;
// Quads of sums that a thread has, each for four rows.
const uint ITEMS = (FOURS * QUADS + THREADS - 1u) / THREADS;

shared vec4 tile_slice[ROWS * PITCH];
shared vec4 chunk_slice[CHUNK * PITCH];
// By one of the chunk and four rows of the tile.
shared vec4 weights[CHUNK * FOURS];

// Heads in a tensor: that of row n, first <= n < end, is at float (n - shift) * stride + column.
struct Heads { uvec2 address; uint stride; uint column; uint shift; uint first; uint end; };

vec4 load_row(Heads h, uint n, uint quad) { return n >= h.first && n < h.end ? load_head(h.address, (n - h.shift) * h.stride + h.column, quad) : vec4(0.0); }

// product[r] = row tile_base + (the thread's first four) * 4 + r of the tile by row chunk_base + thread % CHUNK of the chunk.
void multiply(Heads tile, uint tile_base, Heads chunk, uint chunk_base, out float product[OWN * 4u])
{
    uint thread = gl_LocalInvocationIndex, own = thread / CHUNK * OWN;
    precise float total[OWN * 4u];
    for (uint r = 0u; r < OWN * 4u; r++)
        total[r] = 0.0;
    for (uint slice = 0u; slice < SLICES; slice++) {
        barrier();
        for (uint i = thread; i < (ROWS + CHUNK) * SLICE; i += THREADS) {
            uint n = i / SLICE, place = i % SLICE, quad = slice * SLICE + place;
            if (n < CHUNK)
                chunk_slice[n * PITCH + place] = quad < QUADS ? load_row(chunk, chunk_base + n, quad) : vec4(0.0);
            else
                tile_slice[(n - CHUNK) * PITCH + place] = quad < QUADS ? load_row(tile, tile_base + n - CHUNK, quad) : vec4(0.0);
        }
        barrier();
        precise float part[OWN * 4u];
        for (uint r = 0u; r < OWN * 4u; r++)
            part[r] = 0.0;
        for (uint i = 0u; i < SLICE && slice * SLICE + i < QUADS; i++) {
            vec4 other = chunk_slice[thread % CHUNK * PITCH + i];
            for (uint r = 0u; r < OWN * 4u; r++)
                part[r] = dot_quad(tile_slice[(own * 4u + r) * PITCH + i], other, part[r]);
        }
        for (uint r = 0u; r < OWN * 4u; r++)
            total[r] = total[r] + part[r];
    }
    for (uint r = 0u; r < OWN * 4u; r++)
        product[r] = total[r];
}

// The thread's weights, for all to read after a barrier.
void share(float weight[OWN * 4u])
{
    uint own = gl_LocalInvocationIndex / CHUNK * OWN;
    for (uint f = 0u; f < OWN; f++)
        weights[gl_LocalInvocationIndex % CHUNK * FOURS + own + f] = vec4(weight[4u * f], weight[4u * f + 1u], weight[4u * f + 2u], weight[4u * f + 3u]);
}

// The weights of group `thread % GROUPS` of the chunk for four `thread / GROUPS` of the tile, added or their greatest.
vec4 group_sum()
{
    precise vec4 sum = vec4(0.0);
    for (uint j = 0u; j < GROUP; j++)
        sum = sum + weights[(gl_LocalInvocationIndex % GROUPS * GROUP + j) * FOURS + gl_LocalInvocationIndex / GROUPS];
    return sum;
}

vec4 group_max()
{
    vec4 top = vec4(NONE);
    for (uint j = 0u; j < GROUP; j++)
        top = max(top, weights[(gl_LocalInvocationIndex % GROUPS * GROUP + j) * FOURS + gl_LocalInvocationIndex / GROUPS]);
    return top;
}

// sums += weighted rows of the chunk: quad item % QUADS for the tile's rows of four item / QUADS. A weight of 0 takes nothing from its row, whatever stands in it.
void add_weighted(Heads chunk, uint chunk_base, uint item, inout vec4 sums[4])
{
    uint quad = item % QUADS, four = item / QUADS;
    if (four >= FOURS)
        return;
    for (uint group = 0u; group < GROUPS; group++) {
        precise vec4 parts[4] = vec4[4](vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0));
        for (uint i = 0u; i < GROUP; i++) {
            uint j = group * GROUP + i;
            vec4 other = load_row(chunk, chunk_base + j, quad), w = weights[j * FOURS + four];
            for (uint r = 0u; r < 4u; r++)
                if (w[r] != 0.0)
                    parts[r] = fma(vec4(w[r]), other, parts[r]);
        }
        for (uint r = 0u; r < 4u; r++)
            sums[r] = sums[r] + parts[r];
    }
}

#endif
