using EdgeLora.Core;

namespace EdgeLora.Training;

// The ops: each runs forward, says whether its result depends on what trains, and remembers its backward.
public sealed partial class Tape
{
    /// <inheritdoc/>
    public DeviceTensor Upload(Tensor tensor) => _backend.Upload(tensor);

    /// <inheritdoc/>
    public DeviceTensor Allocate(string name, DType type, Shape shape) => _backend.Allocate(name, type, shape);

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<float> values, DeviceTensor destination, int row)
    {
        _backend.Write(values, destination, row);
        Written(destination, false);
    }

    /// <inheritdoc/>
    public void Read(DeviceTensor source, int row, Span<float> destination) => _backend.Read(source, row, destination);

    /// <inheritdoc/>
    public void Copy(DeviceTensor source, int sourceRow, DeviceTensor destination, int destinationRow, int rows)
    {
        bool needs = Needs(source) || Needs(destination);
        _backend.Copy(source, sourceRow, destination, destinationRow, rows);
        Written(destination, needs);
        if (!Recording || !needs)
            return;
        _entries.Add(() =>
        {
            if (ValueOf(destination).Gradient is null)
                return;
            DeviceTensor dy = GradientOf(destination);
            DeviceTensor part = _pool.Take((int)source.Shape[0], source.Columns);
            _backend.Clear((int)source.Shape[0], part);
            _backend.Copy(dy, destinationRow, part, sourceRow, rows);
            DeviceTensor dx = GradientOf(source);
            _backend.Add(_rows, dx, part, dx);
            // The rows that were written over lead nowhere any more.
            _backend.Clear(rows, part);
            _backend.Copy(part, 0, dy, destinationRow, rows);
            _pool.Return(part);
        });
    }

    /// <inheritdoc/>
    public void CopyColumns(int rows, DeviceTensor source, int sourceColumn, DeviceTensor destination, int destinationColumn, int columns, int pieces = 1)
    {
        if (destinationColumn != 0 || columns * pieces != destination.Columns)
            throw new NotSupportedException($"a recorded copy of columns writes whole rows: expected columns 0..{destination.Columns / pieces}, found {destinationColumn}..{destinationColumn + columns}");
        bool needs = Needs(source);
        _backend.CopyColumns(rows, source, sourceColumn, destination, 0, columns, pieces);
        Written(destination, needs);
        if (!Recording || !needs)
            return;
        _entries.Add(() =>
        {
            if (TakeGradient(destination) is not { } dy)
                return;
            DeviceTensor part = _pool.Take((int)source.Shape[0], source.Columns);
            _backend.Clear(rows, part);
            _backend.CopyColumns(rows, dy.Tensor, 0, part, sourceColumn, columns, pieces);
            DeviceTensor dx = GradientOf(source);
            _backend.Add(rows, dx, part, dx);
            _pool.Return(part);
            dy.Release();
        });
    }

    /// <inheritdoc/>
    public void Embed(BatchLayout batch, EmbeddingSite site, DeviceTensor y)
    {
        bool needs = Gradients.Of(site.Table) is not null || AnyTrains(batch, site.Index);
        _backend.Embed(batch, site, y);
        Written(y, needs);
        if (Recording && needs)
            _entries.Add(() =>
            {
                if (TakeGradient(y) is not { } dy)
                    return;
                _backend.EmbedBackward(batch, site, dy.Tensor, Gradients);
                dy.Release();
            });
    }

    /// <inheritdoc/>
    public void Linear(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor y)
    {
        _backend.Linear(batch, site, x, y);
        RememberLinear(batch, site, x, y);
    }

    /// <inheritdoc/>
    public void Linears(BatchLayout batch, ReadOnlySpan<LinearSite> sites, DeviceTensor x, ReadOnlySpan<DeviceTensor> y)
    {
        _backend.Linears(batch, sites, x, y);
        for (int i = 0; i < sites.Length; i++)
            RememberLinear(batch, sites[i], x, y[i]);
    }

    private void RememberLinear(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor y)
    {
        bool trains = Gradients.Of(site.Weight) is not null || Gradients.Of(site.Bias) is not null || AnyTrains(batch, site.Index);
        bool further = Needs(x);
        Written(y, trains || further);
        if (!Recording || !(trains || further))
            return;
        SharedBuffer? saved = trains ? Save(x) : null;
        _entries.Add(() =>
        {
            if (TakeGradient(y) is { } dy)
            {
                // A frozen site needs no input: any buffer of its shape will do.
                _backend.LinearBackward(batch, site, saved?.Tensor ?? x, dy.Tensor, further ? GradientOf(x) : null, Gradients);
                dy.Release();
            }
            saved?.Release();
        });
    }

    /// <inheritdoc/>
    public void RmsNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Norm(batch, site, x, y, subtractMean: false);

    /// <inheritdoc/>
    public void LayerNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Norm(batch, site, x, y, subtractMean: true);

    /// <inheritdoc/>
    public void Rope(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x)
    {
        bool needs = Needs(x);
        _backend.Rope(rows, headSize, pairs, cos, sin, x);
        Written(x, needs);
        if (Recording && needs)
            _entries.Add(() =>
            {
                if (ValueOf(x).Gradient is not null)
                    _backend.RopeBackward(rows, headSize, pairs, cos, sin, GradientOf(x));
            });
    }

    /// <inheritdoc/>
    public void StoreKeyValues(BatchLayout batch, int layer, DeviceTensor keys, DeviceTensor values)
    {
        foreach (SequenceSpan sequence in batch.Sequences)
            if (sequence.Past != 0)
                throw new NotSupportedException($"a recorded batch's sequences start at 0, found {sequence.Past} tokens before");
        _backend.StoreKeyValues(batch, layer, keys, values);
        _cached[layer] = (keys, values);
    }

    /// <inheritdoc/>
    public void Attention(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor y)
    {
        (DeviceTensor keys, DeviceTensor values) = _cached[layer];
        bool needQ = Needs(q), needK = Needs(keys), needV = Needs(values);
        _backend.Attention(batch, layer, shape, q, y);
        Written(y, needQ || needK || needV);
        if (!Recording || !(needQ || needK || needV))
            return;
        SharedBuffer saved = Save(q);
        AttentionShape copy = shape;
        _entries.Add(() =>
        {
            if (TakeGradient(y) is { } dy)
            {
                _backend.AttentionBackward(batch, layer, copy, saved.Tensor, dy.Tensor, GradientOf(q), GradientOf(keys), GradientOf(values));
                dy.Release();
                // What nothing trains beneath has no entry that would take it.
                if (!needQ)
                    Drop(q);
                if (!needK)
                    Drop(keys);
                if (!needV)
                    Drop(values);
            }
            saved.Release();
        });
    }

    /// <inheritdoc/>
    public void GatedActivation(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor y)
    {
        bool needGate = Needs(gate), needUp = Needs(up);
        SharedBuffer? savedGate = null, savedUp = null;
        if (Recording && (needGate || needUp))
            (savedGate, savedUp) = (Save(gate), Save(up));
        _backend.GatedActivation(rows, kind, gate, up, y);
        Written(y, needGate || needUp);
        if (savedGate is null)
            return;
        _entries.Add(() =>
        {
            if (TakeGradient(y) is { } dy)
            {
                _backend.GatedActivationBackward(rows, kind, savedGate.Tensor, savedUp!.Tensor, dy.Tensor, GradientOf(gate), GradientOf(up));
                dy.Release();
                if (!needGate)
                    Drop(gate);
                if (!needUp)
                    Drop(up);
            }
            savedGate.Release();
            savedUp!.Release();
        });
    }

    /// <inheritdoc/>
    public void Activate(int rows, Activation kind, DeviceTensor x, DeviceTensor y)
    {
        bool needs = Needs(x);
        SharedBuffer? saved = Recording && needs ? Save(x) : null;
        _backend.Activate(rows, kind, x, y);
        Written(y, needs);
        if (saved is null)
            return;
        _entries.Add(() =>
        {
            if (TakeGradient(y) is { } dy)
            {
                _backend.ActivateBackward(rows, kind, saved.Tensor, dy.Tensor, GradientOf(x));
                dy.Release();
            }
            saved.Release();
        });
    }

    /// <inheritdoc/>
    public void Scale(int rows, float factor, DeviceTensor x, DeviceTensor y)
    {
        bool needs = Needs(x);
        _backend.Scale(rows, factor, x, y);
        Written(y, needs);
        if (!Recording || !needs)
            return;
        _entries.Add(() =>
        {
            if (TakeGradient(y) is not { } dy)
                return;
            SharedBuffer scaled = new(_pool, _pool.Take((int)x.Shape[0], x.Columns));
            _backend.Scale(rows, factor, dy.Tensor, scaled.Tensor);
            dy.Release();
            Give(x, scaled);
            scaled.Release();
        });
    }

    /// <inheritdoc/>
    public void Add(int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z)
    {
        bool needX = Needs(x), needY = Needs(y);
        _backend.Add(rows, x, y, z);
        Written(z, needX || needY);
        if (!Recording || !(needX || needY))
            return;
        _entries.Add(() =>
        {
            if (TakeGradient(z) is not { } dz)
                return;
            if (needX)
                Give(x, dz);
            if (needY)
                Give(y, dz);
            dz.Release();
        });
    }

    /// <inheritdoc/>
    public void DoraGain(DoraSite site, DeviceTensor magnitude, DeviceTensor norms, DeviceTensor gain) => _backend.DoraGain(site, magnitude, norms, gain);

    /// <inheritdoc/>
    public void TopK(int rows, int k, DeviceTensor x, DeviceTensor y)
    {
        _backend.TopK(rows, k, x, y);
        // A choice has no derivative.
        Written(y, false);
    }

    private void Norm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y, bool subtractMean)
    {
        bool further = Needs(x), needs = further || Gradients.Of(site.Gain) is not null || Gradients.Of(site.Bias) is not null || AnyTrains(batch, site.Index);
        SharedBuffer? saved = Recording && needs ? Save(x) : null;
        if (subtractMean)
            _backend.LayerNorm(batch, site, x, y);
        else
            _backend.RmsNorm(batch, site, x, y);
        Written(y, needs);
        if (saved is null)
            return;
        _entries.Add(() =>
        {
            if (TakeGradient(y) is { } dy)
            {
                DeviceTensor? dx = further ? GradientOf(x) : null;
                if (subtractMean)
                    _backend.LayerNormBackward(batch, site, saved.Tensor, dy.Tensor, dx, Gradients);
                else
                    _backend.RmsNormBackward(batch, site, saved.Tensor, dy.Tensor, dx, Gradients);
                dy.Release();
            }
            saved.Release();
        });
    }

    private bool AnyTrains(BatchLayout batch, int site)
    {
        foreach (RowGroup group in batch.Groups)
            if (Gradients.AnyOf(group.Path[site]))
                return true;
        return false;
    }
}
