namespace EdgeLora.Core;

// Tables and linear layers.
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void Embed(BatchLayout batch, EmbeddingSite site, DeviceTensor y)
    {
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            ReadOnlySpan<int> tokens = batch.Tokens.Slice(group.Start, group.Count);
            double[] rows = TableRows(site, adapter, tokens);
            foreach (LowRankStep step in adapter?.Steps ?? [])
            {
                AddUp(step, Down(step, tokens), rows, group.Count);
                Gain(step, rows);
            }
            Store(rows, y, group.Start);
        }
    }

    /// <inheritdoc/>
    public void Linear(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor y)
    {
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            double[] input = Load(x, group.Start, group.Count), rows = Product(site, adapter, input, group.Count);
            foreach (LowRankStep step in adapter?.Steps ?? [])
            {
                AddUp(step, Down(step, input, group.Count), rows, group.Count);
                Gain(step, rows);
            }
            if ((adapter?.Bias ?? site.Bias) is { } stored)
            {
                double[] bias = Load(stored, 0, 1);
                for (int i = 0; i < rows.Length; i++)
                    rows[i] += bias[i % bias.Length];
            }
            Store(rows, y, group.Start);
        }
    }

    /// <inheritdoc/>
    public void EmbedBackward(BatchLayout batch, EmbeddingSite site, DeviceTensor dy, Gradients gradients)
    {
        Sums sums = new(gradients);
        int width = site.Table.Columns;
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            LowRankStep[] steps = adapter?.Steps ?? [];
            int[] tokens = batch.Tokens.Slice(group.Start, group.Count).ToArray();
            double[] dRows = Load(dy, group.Start, group.Count);
            double[][] dDowns = StepsBackward(steps, Array.ConvertAll(steps, step => Down(step, tokens)), () => TableRows(site, adapter, tokens), dRows, group.Count, sums);
            for (int k = 0; k < steps.Length; k++)
                if (sums.Of(steps[k].A) is { } dA)
                    for (int i = 0; i < dDowns[k].Length; i++)
                        dA[(long)(i % steps[k].Rank) * steps[k].A.Columns + tokens[i / steps[k].Rank]] += dDowns[k][i];
            for (int t = 0; t < group.Count; t++)
            {
                (DeviceTensor tensor, int row) = Source(site.Table, adapter, tokens[t]);
                if (sums.Of(tensor) is { } dTable)
                    for (int d = 0; d < width; d++)
                        dTable[(long)row * width + d] += dRows[t * width + d];
            }
        }
        sums.Add();
    }

    /// <inheritdoc/>
    public void LinearBackward(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients)
    {
        Sums sums = new(gradients);
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            LowRankStep[] steps = adapter?.Steps ?? [];
            double[] input = Load(x, group.Start, group.Count), dRows = Load(dy, group.Start, group.Count), dInput = new double[input.Length];
            if (sums.Of(adapter?.Bias ?? site.Bias) is { } dBias)
                for (int i = 0; i < dRows.Length; i++)
                    dBias[i % dBias.Length] += dRows[i];
            double[][] dDowns = StepsBackward(steps, Array.ConvertAll(steps, step => Down(step, input, group.Count)), () => Product(site, adapter, input, group.Count), dRows, group.Count, sums);
            for (int k = 0; k < steps.Length; k++)
                DownBackward(steps[k], input, dDowns[k], dInput, group.Count, sums.Of(steps[k].A));
            ProductBackward(site, adapter, input, dRows, dInput, group.Count, sums);
            if (dx is not null)
                Accumulate(dInput, dx, group.Start);
        }
        sums.Add();
    }

    /// <summary>The rows of the tokens, replaced ones too, before the steps: [n, D].</summary>
    private static double[] TableRows(EmbeddingSite site, SiteAdapter? adapter, ReadOnlySpan<int> tokens)
    {
        int width = site.Table.Columns;
        double[] rows = new double[tokens.Length * width];
        for (int t = 0; t < tokens.Length; t++)
        {
            (DeviceTensor tensor, int row) = Source(site.Table, adapter, tokens[t]);
            Load(tensor, row, rows.AsSpan(t * width, width));
        }
        return rows;
    }

    /// <summary>W·x before steps and bias: [n, O].</summary>
    private static double[] Product(LinearSite site, SiteAdapter? adapter, double[] x, int rows)
    {
        int inputs = site.Inputs, outputs = site.Outputs;
        double[] y = new double[rows * outputs], weight = new double[inputs];
        for (int o = 0; o < outputs; o++)
        {
            WeightRow(site, adapter, o, weight);
            for (int t = 0; t < rows; t++)
                y[t * outputs + o] = Dot(weight, x.AsSpan(t * inputs, inputs));
        }
        return y;
    }

    /// <summary>Row <paramref name="o"/> of W [O, I] as the path has it.</summary>
    private static void WeightRow(LinearSite site, SiteAdapter? adapter, int o, double[] destination)
    {
        (DeviceTensor tensor, int row) = Source(site.Weight, adapter, o);
        if (!site.InputMajor || ReferenceEquals(tensor, adapter?.Rows?.Values))
            Load(tensor, row, destination);
        else
            for (int i = 0; i < destination.Length; i++)
                destination[i] = Element(tensor, (long)i * site.Outputs + o);
    }

    /// <summary>Where row <paramref name="row"/> of a weight comes from on a path: replaced rows, a replaced weight, the base's.</summary>
    private static (DeviceTensor Tensor, int Row) Source(DeviceTensor weight, SiteAdapter? adapter, int row)
    {
        int replaced = adapter?.Rows is { } rows ? Array.BinarySearch(rows.Ids, row) : -1;
        return replaced >= 0 ? (adapter!.Rows!.Values, replaced) : (adapter?.Weight ?? weight, row);
    }

    /// <summary><c>dx += Wᵀ·dy</c>, and <c>dW += dy·xᵀ</c> where W, or a row that replaces one of its rows, trains.</summary>
    private static void ProductBackward(LinearSite site, SiteAdapter? adapter, double[] x, double[] dy, double[] dx, int rows, Sums sums)
    {
        int inputs = site.Inputs, outputs = site.Outputs;
        double[] weight = new double[inputs];
        for (int o = 0; o < outputs; o++)
        {
            WeightRow(site, adapter, o, weight);
            (DeviceTensor tensor, int row) = Source(site.Weight, adapter, o);
            double[]? dWeight = sums.Of(tensor);
            bool inputMajor = site.InputMajor && !ReferenceEquals(tensor, adapter?.Rows?.Values);
            for (int t = 0; t < rows; t++)
                for (int i = 0; i < inputs; i++)
                {
                    double d = dy[t * outputs + o];
                    dx[t * inputs + i] += weight[i] * d;
                    if (dWeight is not null)
                        dWeight[inputMajor ? (long)i * outputs + row : (long)row * inputs + i] += d * x[t * inputs + i];
                }
        }
    }
}
