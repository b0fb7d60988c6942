// The rows of one step, as the control block has them. Words: {rows, sequences, word index of the sequences, 0}, then rows of
// {token, position, path (2), sequence, row in its run on one path}, then sequences of {start, count, past, 0, KV table (2)}.
// A KV table: {keys (2), values (2)} a layer, each F32 [capacity, K * Hd].
#ifndef EDGELORA_BATCH
#define EDGELORA_BATCH
#include "common/memory.glsl"

struct Sequence { uint start; uint count; uint past; uvec2 cache; };

uint row_word(uint row, uint field) { return 4u + 6u * row + field; }
uint row_token(uvec2 batch, uint row) { return load_u32(batch, row_word(row, 0u)); }
uint row_position(uvec2 batch, uint row) { return load_u32(batch, row_word(row, 1u)); }
uvec2 row_path(uvec2 batch, uint row) { return load_address(batch, row_word(row, 2u)); }
uint row_sequence(uvec2 batch, uint row) { return load_u32(batch, row_word(row, 4u)); }
uint row_in_group(uvec2 batch, uint row) { return load_u32(batch, row_word(row, 5u)); }

Sequence load_sequence(uvec2 batch, uint s)
{
    uint w = load_u32(batch, 2u) + 6u * s;
    return Sequence(load_u32(batch, w), load_u32(batch, w + 1u), load_u32(batch, w + 2u), load_address(batch, w + 4u));
}

uvec2 cache_keys(uvec2 cache, uint layer) { return load_address(cache, 4u * layer); }
uvec2 cache_values(uvec2 cache, uint layer) { return load_address(cache, 4u * layer + 2u); }

#endif
