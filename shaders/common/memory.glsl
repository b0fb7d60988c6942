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

layout(set = 0, binding = 0, std430) buffer Arena0 { uint arena0[]; };
layout(set = 0, binding = 1, std430) buffer Arena1 { uint arena1[]; };
layout(set = 0, binding = 2, std430) buffer Arena2 { uint arena2[]; };
layout(set = 0, binding = 3, std430) buffer Arena3 { uint arena3[]; };
layout(set = 0, binding = 4, std430) buffer Arena4 { uint arena4[]; };
layout(set = 0, binding = 5, std430) buffer Arena5 { uint arena5[]; };
layout(set = 0, binding = 6, std430) buffer Arena6 { uint arena6[]; };
layout(set = 0, binding = 7, std430) buffer Arena7 { uint arena7[]; };

uint load_u32(uvec2 a, uint i)
{
    uint w = (a.x >> 2) + i;
    switch (a.y) {
        case 1u: return arena0[w];
        case 2u: return arena1[w];
        case 3u: return arena2[w];
        case 4u: return arena3[w];
        case 5u: return arena4[w];
        case 6u: return arena5[w];
        case 7u: return arena6[w];
        default: return arena7[w];
    }
}

void store_u32(uvec2 a, uint i, uint v)
{
    uint w = (a.x >> 2) + i;
    switch (a.y) {
        case 1u: arena0[w] = v; break;
        case 2u: arena1[w] = v; break;
        case 3u: arena2[w] = v; break;
        case 4u: arena3[w] = v; break;
        case 5u: arena4[w] = v; break;
        case 6u: arena5[w] = v; break;
        case 7u: arena6[w] = v; break;
        default: arena7[w] = v; break;
    }
}

uvec2 load_u32x2(uvec2 a, uint i) { return uvec2(load_u32(a, 2u * i), load_u32(a, 2u * i + 1u)); }
uvec4 load_u32x4(uvec2 a, uint i) { return uvec4(load_u32x2(a, 2u * i), load_u32x2(a, 2u * i + 1u)); }
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

// Two words are one address; tables of addresses need be aligned to four bytes only.
uvec2 load_address(uvec2 a, uint word) { return uvec2(load_u32(a, word), load_u32(a, word + 1u)); }

#endif
