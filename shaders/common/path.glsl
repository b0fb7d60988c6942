// What a path does at each site: the indirection table that a switch of adapters points a row to. Words of a table: {sites, 0}, then an address a site (null: nothing).
// Words of a site: {steps, sum of ranks, bias (2), bias type, weight type, weight (2), weight scales, replaced rows, their ids (2), their values (2), type, scales}, then
// steps of 16 words: {A (2), B (2), output bias (2), gain (2), scale, rank, ranks before it, types of A, B, output bias, gain in one byte each, unused (4)}.
#ifndef EDGELORA_PATH
#define EDGELORA_PATH
#include "common/memory.glsl"

struct Step { uvec2 a; uvec2 b; uvec2 output_bias; uvec2 gain; float scale; uint rank; uint offset; uint a_type; uint b_type; uint output_bias_type; uint gain_type; };

uvec2 site_of(uvec2 path, uint site)
{
    if (is_null(path) || site >= load_u32(path, 0u))
        return uvec2(0u);
    return load_address(path, 2u + 2u * site);
}

uint site_step_count(uvec2 site) { return is_null(site) ? 0u : load_u32(site, 0u); }
uint site_rank(uvec2 site) { return is_null(site) ? 0u : load_u32(site, 1u); }
uvec2 site_bias(uvec2 site) { return is_null(site) ? uvec2(0u) : load_address(site, 2u); }
uint site_bias_type(uvec2 site) { return load_u32(site, 4u); }
uint site_weight_type(uvec2 site) { return load_u32(site, 5u); }
uvec2 site_weight(uvec2 site) { return is_null(site) ? uvec2(0u) : load_address(site, 6u); }
uint site_weight_scales(uvec2 site) { return load_u32(site, 8u); }
uint site_replaced_count(uvec2 site) { return is_null(site) ? 0u : load_u32(site, 9u); }
uvec2 site_replaced_ids(uvec2 site) { return load_address(site, 10u); }
uvec2 site_replaced_values(uvec2 site) { return load_address(site, 12u); }
uint site_replaced_type(uvec2 site) { return load_u32(site, 14u); }
uint site_replaced_scales(uvec2 site) { return load_u32(site, 15u); }

Step load_step(uvec2 site, uint k)
{
    uint w = 16u + 16u * k, types = load_u32(site, w + 11u);
    return Step(load_address(site, w), load_address(site, w + 2u), load_address(site, w + 4u), load_address(site, w + 6u), load_f32(site, w + 8u), load_u32(site, w + 9u), load_u32(site, w + 10u),
        types & 255u, types >> 8 & 255u, types >> 16 & 255u, types >> 24);
}

#endif
