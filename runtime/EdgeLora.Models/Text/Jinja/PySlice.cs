using System.Numerics;

namespace EdgeLora.Models;

/// <summary>A Python slice of a sequence.</summary>
internal sealed class PySlice(object? start, object? stop, object? step)
{
    /// <summary>The part of a text, list, tuple or range; null where the value cannot be sliced.</summary>
    public object? Of(object? value)
    {
        switch (value)
        {
            case string or JinjaMarkup:
                string text = PyType.AsText(value)!;
                if (text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF') < 0 && step is null)
                {
                    (int from, int to, _) = Bounds(text.Length);
                    return from < to ? text[from..to] : "";
                }
                string[] points = PyText.Points(text);
                return string.Concat(Indices(points.Length).Select(i => points[i]));
            case JinjaList list:
                return new JinjaList([.. Indices(list.Items.Count).Select(i => list.Items[i])]);
            case JinjaTuple tuple:
                return new JinjaTuple([.. Indices(tuple.Items.Count).Select(i => tuple.Items[i])]);
            case JinjaRange range:
                (int first, int end, int stride) = Bounds((int)range.Length);
                return new JinjaRange(range.Start + first * range.Step, range.Start + end * range.Step, range.Step * stride);
            case JinjaBytes bytes:
                return new JinjaBytes([.. Indices(bytes.Bytes.Length).Select(i => bytes.Bytes[i])]);
            default:
                return null;
        }
    }

    private IEnumerable<int> Indices(int length)
    {
        (int from, int to, int by) = Bounds(length);
        for (long i = from; by > 0 ? i < to : i > to; i += by)
            yield return (int)i;
    }

    private (int From, int To, int By) Bounds(int length)
    {
        int by = step is null ? 1 : Index(step);
        if (by == 0)
            throw ChatTemplateException.Value("slice step cannot be zero");
        int low = by > 0 ? 0 : -1, high = by > 0 ? length : length - 1;
        int Clip(object? bound, int absent)
        {
            if (bound is null)
                return absent;
            long at = Index(bound);
            return (int)Math.Clamp(at < 0 ? at + length : at, low, high);
        }
        return (Clip(start, by > 0 ? 0 : length - 1), Clip(stop, by > 0 ? length : -1), by);
    }

    private static int Index(object? value) => PyNumber.IsInteger(value, out BigInteger n)
        ? (int)BigInteger.Clamp(n, -int.MaxValue, int.MaxValue)
        : throw ChatTemplateException.Type("slice indices must be integers or None or have an __index__ method");
}
