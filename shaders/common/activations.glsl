// Activations and their slopes, numbered as EdgeLora.Core.Activation.
#ifndef EDGELORA_ACTIVATIONS
#define EDGELORA_ACTIVATIONS
#include "common/math.glsl"

const uint GELU = 0u, GELU_TANH = 1u, RELU = 2u, SILU = 3u, TANH = 4u;

float activate(uint kind, float x)
{
    switch (kind) {
        case GELU: return x * normal_cdf_f32(x);
        // (1 + tanh u) / 2 = 1 / (1 + e^-2u): no cancellation on either side.
        case GELU_TANH: return x / (1.0 + exp_f32(fma(x * x * 0.044715, x, x) * -1.59576912));
        case RELU: return x < 0.0 ? 0.0 : x;
        case SILU: return x / (1.0 + exp_f32(-x));
        default: return tanh_f32(x);
    }
}

// f'(x); of NaN it is NaN.
float slope(uint kind, float x)
{
    switch (kind) {
        case GELU: return fma(x, exp_f32(x * -0.5 * x) * 0.398942280, normal_cdf_f32(x));
        case GELU_TANH: {
            float square = x * x, e = exp_f32(fma(square * 0.044715, x, x) * -1.59576912), s = 1.0 / (1.0 + e);
            // 1 - s as e * s: the difference would cancel.
            return fma(x * fma(square, 3.0 * 0.044715 * 1.59576912, 1.59576912) * (s * e), s, s);
        }
        case RELU: return x > 0.0 ? 1.0 : x <= 0.0 ? 0.0 : x;
        case SILU: {
            float e = exp_f32(-x), s = 1.0 / (1.0 + e);
            return s * fma(x, s * e, 1.0);
        }
        default: {
            float e = exp_f32(abs(x) * -2.0), sum = 1.0 + e;
            return 4.0 * e / (sum * sum);
        }
    }
}

#endif
