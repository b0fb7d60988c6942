// Memory by address: 32-bit words through opaque addresses, so that a shader needs neither 64-bit integers nor 8/16-bit storage.
// Without SSBO an address is a buffer device address; with SSBO it is {byte offset, arena + 1} into at most eight bound arenas. {0, 0} is null.
#ifndef EDGELORA_MEMORY
#define EDGELORA_MEMORY

bool is_null(uvec2 a) { return (a.x | a.y) == 0u; }

#ifndef SSBO

#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
layout(buffer_reference, std430, buffer_reference_align = 4) buffer Words { uint v[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) buffer Pairs { uvec2 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Quads { uvec4 v[]; };

uint load_u32(uvec2 a, uint i) { return Words(a).v[i]; }
uvec2 load_u32x2(uvec2 a, uint i) { return Pairs(a).v[i]; }
uvec4 load_u32x4(uvec2 a, uint i) { return Quads(a).v[i]; }
void store_u32(uvec2 a, uint i, uint v) { Words(a).v[i] = v; }
void store_u32x4(uvec2 a, uint i, uvec4 v) { Quads(a).v[i] = v; }

#else

layout(set = 0, binding = 0, std430) buffer Arena { uint v[]; } arenas[8];

// Threads may hold addresses of different arenas, but an arena's index must be the same for all: each takes its turn. A loop and no switch, because an access in eight
// copies makes shaders that a driver compiles for minutes. Null reads zero.
uint load_u32(uvec2 a, uint i)
{
    uint w = (a.x >> 2) + i, v = 0u;
    for (uint k = 0u; k < a.y; k++)
        if (k + 1u == a.y)
            v = arenas[k].v[w];
    return v;
}

uvec2 load_u32x2(uvec2 a, uint i)
{
    uint w = (a.x >> 2) + 2u * i;
    uvec2 v = uvec2(0u);
    for (uint k = 0u; k < a.y; k++)
        if (k + 1u == a.y)
            v = uvec2(arenas[k].v[w], arenas[k].v[w + 1u]);
    return v;
}

uvec4 load_u32x4(uvec2 a, uint i)
{
    uint w = (a.x >> 2) + 4u * i;
    uvec4 v = uvec4(0u);
    for (uint k = 0u; k < a.y; k++)
        if (k + 1u == a.y)
            v = uvec4(arenas[k].v[w], arenas[k].v[w + 1u], arenas[k].v[w + 2u], arenas[k].v[w + 3u]);
    return v;
}

void store_u32(uvec2 a, uint i, uint v)
{
    uint w = (a.x >> 2) + i;
    for (uint k = 0u; k < a.y; k++)
        if (k + 1u == a.y)
            arenas[k].v[w] = v;
}

void store_u32x4(uvec2 a, uint i, uvec4 v)
{
    store_u32(a, 4u * i, v.x);
    store_u32(a, 4u * i + 1u, v.y);
    store_u32(a, 4u * i + 2u, v.z);
    store_u32(a, 4u * i + 3u, v.w);
}

#endif

float load_f32(uvec2 a, uint i) { return uintBitsToFloat(load_u32(a, i)); }
vec4 load_f32x4(uvec2 a, uint i) { return uintBitsToFloat(load_u32x4(a, i)); }
void store_f32(uvec2 a, uint i, float v) { store_u32(a, i, floatBitsToUint(v)); }
void store_f32x4(uvec2 a, uint i, vec4 v) { store_u32x4(a, i, floatBitsToUint(v)); }

// Two words are one address. Tables of addresses are aligned to eight bytes, `word` is even.
uvec2 load_address(uvec2 a, uint word) { return load_u32x2(a, word >> 1); }

#endif
