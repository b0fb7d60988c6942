// Single rows of a weight that a path replaces: a search in their ascending ids.
#ifndef EDGELORA_REPLACED
#define EDGELORA_REPLACED
#include "common/memory.glsl"
#include "common/path.glsl"

const uint NOT_REPLACED = 0xFFFFFFFFu;

// Place of `row` among the rows that the path replaces at a site, or NOT_REPLACED.
uint find_replaced(uvec2 site, uint row)
{
    uint count = site_replaced_count(site);
    if (count == 0u)
        return NOT_REPLACED;
    uvec2 ids = site_replaced_ids(site);
    uint low = 0u, high = count;
    while (low < high) {
        uint middle = (low + high) >> 1;
        if (load_u32(ids, middle) < row)
            low = middle + 1u;
        else
            high = middle;
    }
    return low < count && load_u32(ids, low) == row ? low : NOT_REPLACED;
}

#endif
