// A sum with the digits that its additions drop beside it: Knuth, TAOCP 2, 4.2.2, theorem B.
#ifndef EDGELORA_TWO_SUM
#define EDGELORA_TWO_SUM

struct TwoSum { float high; float low; };

void add_to(inout TwoSum sum, float v)
{
    precise float s = sum.high + v, back = s - sum.high, rest = (sum.high - (s - back)) + (v - back);
    precise float low = sum.low + rest;
    sum = TwoSum(s, low);
}

float total_of(TwoSum sum)
{
    precise float s = sum.high + sum.low;
    // Infinities have no rest: it would be NaN.
    return isinf(sum.high) ? sum.high : s;
}

#endif
