namespace EdgeLora.Core;

/// <summary>Attention with linear biases, as Falcon has it: slopes and their products with positions are bfloat16 in every dtype. arXiv:2108.12409; huggingface/transformers, modeling_falcon.py, build_alibi_tensor.</summary>
public static class Alibi
{
    /// <summary>[H] slopes, rounded to bfloat16: <c>2^(-8(h+1)/n)</c> for the largest power of two n that is not above H; the heads beyond it take every other slope of 2n.</summary>
    public static float[] Slopes(int heads)
    {
        int power = 1 << int.Log2(heads);
        float[] slopes = new float[heads];
        float first = (float)Math.Pow(2, -8.0 / power), between = (float)Math.Pow(2, -4.0 / power);
        for (int h = 0; h < heads; h++)
            slopes[h] = Round((float)(h < power ? Math.Pow(first, h + 1) : Math.Pow(between, 2 * (h - power) + 1)));
        return slopes;
    }

    /// <summary>What a key's position adds to q·k.</summary>
    public static float Bias(float slope, int position) => Round(slope * Round(position));

    private static float Round(float x) => BitConverter.UInt32BitsToSingle((uint)Dequantize.ToBFloat16(x) << 16);
}
