namespace EdgeLora.Core;

/// <summary>
/// LoHa and LoKr as LyCORIS and PEFT name their tensors, as low-rank pairs. LoHa: (w1_a·w1_b)∘(w2_a·w2_b); LoKr: w1⊗w2, each whole or w_a·w_b; a Tucker core t1, t2 stands between the two where kernels are
/// factored. arXiv:2108.06098, arXiv:2212.10650; KohakuBlueleaf/LyCORIS modules/loha.py, lokr.py.
/// </summary>
internal static class LycorisForm
{
    /// <summary>Endings of tensors, without the dot.</summary>
    public static readonly string[] Endings =
    [
        "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
        "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
    ];

    /// <summary>
    /// The pair that a module's tensors mean (its numbers are made when they are asked for), without a scale, and the rank r that alpha is divided by (null: both of LoKr's factors are whole, alpha says nothing). Null after a fault.
    /// </summary>
    /// <param name="module">What messages call the module.</param>
    /// <param name="parts">Its tensors by ending.</param>
    /// <param name="kernel">The module's kernel where a file flattened it; empty for none.</param>
    /// <param name="faults">Where faults go.</param>
    public static (Tensor A, Tensor B, int? Rank)? Read(string module, IReadOnlyDictionary<string, Tensor> parts, long[] kernel, FaultList faults)
    {
        int before = faults.Count;
        foreach ((string name, Tensor tensor) in parts)
            if (Endings.Contains(name) && (tensor.Shape.Rank is < 2 or > 5 || tensor.Shape.Elements == 0 || tensor.Type is not (DType.F32 or DType.F16 or DType.BF16 or DType.F64)))
                faults.Add($"{module}.{name}: expected a factor of floats, found {tensor.Type} {tensor.Shape}");
        if (faults.Count > before)
            return null;
        return parts.Keys.Any(k => k.StartsWith("hada", StringComparison.Ordinal)) ? Hadamard(module, parts, kernel, faults) : Kronecker(module, parts, kernel, faults);
    }

    private static (Tensor, Tensor, int?)? Hadamard(string module, IReadOnlyDictionary<string, Tensor> parts, long[] kernel, FaultList faults)
    {
        Tensor?[] t = [.. new[] { "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b" }.Select(n => Take(module, parts, n, faults))];
        Tensor? first = parts.GetValueOrDefault("hada_t1"), second = parts.GetValueOrDefault("hada_t2");
        if (t is not [{ } a1, { } b1, { } a2, { } b2])
            return null;
        if (first is null != (second is null))
        {
            faults.Add($"{module}.{(first is null ? "hada_t1" : "hada_t2")}: is missing");
            return null;
        }
        if (!Fits(module, "hada_w1", first, a1, b1, faults) || !Fits(module, "hada_w2", second, a2, b2, faults))
            return null;
        (long Outputs, long Rank, long Columns) one = first is null ? FactorProduct.SizeOf(a1, b1) : FactorProduct.SizeOf(first, a1, b1), two = second is null ? FactorProduct.SizeOf(a2, b2) : FactorProduct.SizeOf(second, a2, b2);
        if (one.Outputs != two.Outputs || one.Columns != two.Columns)
        {
            faults.Add($"{module}: expected two products of one size, found [{one.Outputs}, {one.Columns}] and [{two.Outputs}, {two.Columns}]");
            return null;
        }
        long[] stored = first is null ? Kernel(b1) : Kernel(first);
        return FactorProduct.Lazily(module, (one.Outputs, FactorProduct.Times(one.Rank, two.Rank), one.Columns), Chosen(stored, kernel, one.Columns), () => Half(first, a1, b1).Hadamard(Half(second, a2, b2)), faults)
            is var (a, b) ? (a, b, (int)b1.Shape[0]) : null;

        static FactorProduct Half(Tensor? core, Tensor a, Tensor b) => core is null ? FactorProduct.Of(a, b) : FactorProduct.Tucker(core, a, b, false);
    }

    private static (Tensor, Tensor, int?)? Kronecker(string module, IReadOnlyDictionary<string, Tensor> parts, long[] kernel, FaultList faults)
    {
        ((long Outputs, long Rank, long Columns) Size, Func<FactorProduct> Product, int? Rank, long[] Kernel)? one = Side(module, parts, "lokr_w1", null, faults), two = Side(module, parts, "lokr_w2", parts.GetValueOrDefault("lokr_t2"), faults);
        if (one is not var (small, left, leftRank, _) || two is not var (large, right, rightRank, stored))
            return null;
        long columns = FactorProduct.Times(small.Columns, large.Columns);
        return FactorProduct.Lazily(module, (FactorProduct.Times(small.Outputs, large.Outputs), FactorProduct.Times(small.Rank, large.Rank), columns), Chosen(stored, kernel, columns), () => left().Kronecker(right()), faults)
            is var (a, b) ? (a, b, leftRank ?? rightRank) : null;
    }

    private static ((long, long, long), Func<FactorProduct>, int?, long[])? Side(string module, IReadOnlyDictionary<string, Tensor> parts, string name, Tensor? core, FaultList faults)
    {
        if (parts.TryGetValue(name, out Tensor? whole))
        {
            if (parts.ContainsKey(name + "_a") || parts.ContainsKey(name + "_b"))
                faults.Add($"{module}.{name}: stands beside {name}_a or {name}_b");
            return (FactorProduct.SizeOf(whole), () => FactorProduct.Whole(whole), null, Kernel(whole));
        }
        Tensor? a = Take(module, parts, name + "_a", faults), b = Take(module, parts, name + "_b", faults);
        if (a is null || b is null || !Fits(module, name, core, a, b, faults))
            return null;
        return core is null
            ? (FactorProduct.SizeOf(a, b), () => FactorProduct.Of(a, b), (int)b.Shape[0], Kernel(b))
            : (FactorProduct.SizeOf(core, a, b), () => FactorProduct.Tucker(core, a, b, false), (int)b.Shape[0], Kernel(core));
    }

    private static Tensor? Take(string module, IReadOnlyDictionary<string, Tensor> parts, string name, FaultList faults)
    {
        if (parts.TryGetValue(name, out Tensor? tensor))
            return tensor;
        faults.Add($"{module}.{name}: is missing");
        return null;
    }

    // Plain: a [O, R], b [R, …]. With a core [R, R, k, k]: a [R, O], b [R, I].
    private static bool Fits(string module, string name, Tensor? core, Tensor a, Tensor b, FaultList faults)
    {
        bool fits = core is null
            ? a.Shape.Elements == a.Shape[0] * b.Shape[0]
            : core.Shape.Rank > 2 && core.Shape[0] == a.Shape[0] && core.Shape[1] == b.Shape[0];
        if (!fits)
            faults.Add($"{module}: {name}_a {a.Shape} and {name}_b {b.Shape}{(core is null ? "" : $" with {core.Shape} between")} make no product");
        return fits;
    }

    private static long[] Kernel(Tensor tensor) => tensor.Shape.Dimensions[2..].ToArray();

    // A kernel of the file itself counts; a flattened one is unfolded where the columns hold it.
    private static long[] Chosen(long[] stored, long[] kernel, long columns) =>
        stored.Length > 0 ? stored : kernel.Length > 0 && columns % kernel.Aggregate(1L, (a, b) => a * b) == 0 ? kernel : [];
}
