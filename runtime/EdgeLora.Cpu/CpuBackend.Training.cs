using System.Diagnostics;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

// The backward ops, the loss and the optimizers.
public sealed unsafe partial class CpuBackend
{
    private readonly Scratch _statistics = new();

    /// <inheritdoc/>
    public void Clear(int rows, DeviceTensor x) => ((HostTensor)x).Floats[..(rows * x.Columns)].Clear();

    /// <inheritdoc/>
    public void DoraGainBackward(DeviceTensor norms, DeviceTensor dgain, DeviceTensor dmagnitude)
    {
        ReadOnlySpan<float> norm = ((HostTensor)norms).ReadFloats, d = ((HostTensor)dgain).ReadFloats;
        Span<float> sum = ((HostTensor)dmagnitude).Floats;
        for (int o = 0; o < d.Length; o++)
            sum[o] += norm[o] > 0 ? d[o] / norm[o] : 0;
    }

    /// <inheritdoc/>
    public void EmbedBackward(BatchLayout batch, EmbeddingSite site, DeviceTensor dy, Gradients gradients)
    {
        Debug.Assert(dy.Columns == site.Table.Columns, $"{site.Name}: {dy} holds no rows of {site.Table}");
        lock (_gate)
        {
            try
            {
                long work = _kernels.Training.EmbedPrepare(_backward, batch, site, dy, gradients);
                if (work == 0)
                    return;
                RunRegion(_kernels.Training.EmbedBefore, _backward, work);
                RunRegion(_kernels.Training.EmbedLowRanks, _backward, work);
                RunRegion(_kernels.Training.EmbedParameters, _backward, work);
            }
            finally
            {
                _backward.Clear();
            }
        }
        KeepAlive(batch, site, dy, gradients);
    }

    /// <inheritdoc/>
    public void LinearBackward(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients)
    {
        Debug.Assert(!ReferenceEquals(dy, dx), $"{site.Name}: dx is dy");
        Debug.Assert(x.Columns >= site.Inputs && dy.Columns >= site.Outputs && (dx is null || dx.Columns >= site.Inputs), $"{site.Name}: {x}, {dy}, {dx} do not fit {site.Weight}");
        lock (_gate)
        {
            try
            {
                long work = _kernels.Training.LinearPrepare(_backward, batch, site, x, dy, dx, gradients);
                if (work == 0)
                    return;
                RunRegion(_kernels.Training.LinearBefore, _backward, work);
                BeforeGains();
                RunRegion(_kernels.Training.LinearRows, _backward, work);
                RunRegion(_kernels.Training.LinearParameters, _backward, work);
            }
            finally
            {
                _backward.Clear();
            }
        }
        KeepAlive(batch, site, x, dy);
        KeepAlive(gradients, site, x, dx ?? dy);
    }

    /// <inheritdoc/>
    public void RmsNormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients) =>
        NormBackward(_kernels.Training.RmsNorm, batch, site, x, dy, dx, gradients);

    /// <inheritdoc/>
    public void LayerNormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients) =>
        NormBackward(_kernels.Training.LayerNorm, batch, site, x, dy, dx, gradients);

    /// <inheritdoc/>
    public void RopeBackward(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor dy) => Rotate(rows, headSize, pairs, cos, sin, dy, -1);

    /// <inheritdoc/>
    public void AttentionBackward(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor dy, DeviceTensor dq, DeviceTensor dk, DeviceTensor dv)
    {
        Debug.Assert(q.Columns == dy.Columns && q.Columns == dq.Columns && dk.Columns == dv.Columns && dk.Columns == shape.KvHeads * shape.HeadSize, $"attention: {q}, {dy} -> {dq}, {dk}, {dv}");
        lock (_gate)
        {
            int positions = 0;
            long work = 0;
            foreach (SequenceSpan sequence in batch.Sequences)
            {
                if (sequence.Past != 0)
                    throw new ArgumentException($"the backward of attention knows no past: expected 0 tokens, found {sequence.Past}", nameof(batch));
                positions = Math.Max(positions, sequence.Count);
                work += (long)sequence.Count * sequence.Count * q.Columns;
            }
            TrainingKernels kernels = _kernels.ForHeads(shape.HeadSize).Training;
            ReserveScratch(kernels.AttentionScratch(positions, shape.HeadSize));
            (_op.Batch, _op.Layer, _op.Shape, _op.Columns) = (batch, layer, shape, q.Columns);
            _op.X = Pointer.In(q);
            _op.Dy = Pointer.In(dy);
            _op.Dx = Pointer.Out(dq);
            _op.Dx2 = Pointer.Out(dk);
            _op.Dx3 = Pointer.Out(dv);
            Run(kernels.Attention, work);
        }
        KeepAlive(batch, q, dy, dq);
        KeepAlive(batch, q, dk, dv);
    }

    /// <inheritdoc/>
    public void GatedActivationBackward(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor dy, DeviceTensor dgate, DeviceTensor dup)
    {
        lock (_gate)
        {
            _op.X = Pointer.In(gate);
            _op.Y = Pointer.In(up);
            _op.Dy = Pointer.In(dy);
            _op.Dx = Pointer.Out(dgate);
            _op.Dx2 = Pointer.Out(dup);
            (_op.Rows, _op.Columns) = (rows, dy.Columns);
            Run(_kernels.Training.Gated(kind), 8L * rows * dy.Columns);
        }
        KeepAlive(gate, up, dy, dgate);
        KeepAlive(gate, up, dy, dup);
    }

    /// <inheritdoc/>
    public void ActivateBackward(int rows, Activation kind, DeviceTensor x, DeviceTensor dy, DeviceTensor dx)
    {
        lock (_gate)
        {
            _op.X = Pointer.In(x);
            _op.Dy = Pointer.In(dy);
            _op.Dx = Pointer.Out(dx);
            _op.Rows = rows;
            _op.Columns = dy.Columns;
            Run(_kernels.Training.Activate(kind), 8L * rows * dy.Columns);
        }
        KeepAlive(x, dy, dx, dx);
    }

    /// <inheritdoc/>
    public void CrossEntropy(DeviceTensor logits, ReadOnlySpan<int> labels, ReadOnlySpan<float> scales, DeviceTensor losses)
    {
        Debug.Assert(labels.Length == scales.Length && losses.Columns == 1, $"cross-entropy: {labels.Length} labels, {scales.Length} scales, {losses}");
        lock (_gate)
        {
            fixed (int* label = labels)
            fixed (float* scale = scales)
            {
                _op.X = scale;
                _op.Y = Pointer.Out(logits);
                _op.Z = Pointer.Out(losses);
                _op.Labels = label;
                (_op.Rows, _op.Columns) = (labels.Length, logits.Columns);
                Run(_kernels.Training.CrossEntropy, 4L * labels.Length * logits.Columns);
            }
        }
        KeepAlive(logits, losses, logits, losses);
    }

    /// <inheritdoc/>
    public double SumOfSquares(DeviceTensor x)
    {
        lock (_gate)
        {
            int blocks = checked((int)((x.Shape.Elements + Cpu.SumOfSquares.Block - 1) / Cpu.SumOfSquares.Block));
            _op.X = Pointer.In(x);
            _op.Count = x.Shape.Elements;
            _op.Sums = (double*)_statistics.Reserve(2L * blocks);
            Run(&Cpu.SumOfSquares.Run, _op.Count);
            double sum = 0;
            for (int b = 0; b < blocks; b++)
                sum += _op.Sums[b];
            GC.KeepAlive(x);
            return sum;
        }
    }

    /// <inheritdoc/>
    public void AdamW(DeviceTensor parameter, DeviceTensor gradient, DeviceTensor m, DeviceTensor v, in AdamWStep step)
    {
        StepFactors factors = new(
            (float)step.GradientScale, (float)(-step.LearningRate * step.WeightDecay), (float)step.Beta1, (float)step.Beta2, (float)(1 - step.Beta1), (float)(1 - step.Beta2),
            (float)(-step.LearningRate / (1 - Math.Pow(step.Beta1, step.Step))), (float)(1 / Math.Sqrt(1 - Math.Pow(step.Beta2, step.Step))), (float)step.Epsilon);
        lock (_gate)
        {
            _op.Dx = Pointer.Out(m);
            _op.Dx2 = Pointer.Out(v);
            Optimize(_kernels.Training.AdamW, parameter, gradient, factors);
        }
        KeepAlive(m, v, m, v);
    }

    /// <inheritdoc/>
    public void Sgd(DeviceTensor parameter, DeviceTensor gradient, double learningRate, double weightDecay, double gradientScale)
    {
        lock (_gate)
            Optimize(_kernels.Training.Sgd, parameter, gradient, new((float)gradientScale, (float)weightDecay, 0, 0, 0, 0, (float)-learningRate, 0, 0));
    }

    private void Optimize(delegate*<object, int, int, void> kernel, DeviceTensor parameter, DeviceTensor gradient, in StepFactors factors)
    {
        Debug.Assert(parameter.Shape.Elements == gradient.Shape.Elements, $"{parameter} has the gradient {gradient}");
        _op.X = Pointer.In(gradient);
        _op.Y = Pointer.Out(parameter);
        _op.Count = parameter.Shape.Elements;
        _op.Factors = factors;
        Run(kernel, 4 * _op.Count);
        KeepAlive(parameter, gradient, parameter, gradient);
    }

    // Outputs of steps before their gains, for the gains that train.
    private void BeforeGains()
    {
        for (int i = 0; i < _backward.GroupCount; i++)
        {
            ref GroupBackward group = ref _backward.Groups[i];
            for (int s = group.FirstStep; s < group.FirstStep + group.Steps; s++)
            {
                ref StepBackward step = ref _backward.Steps[s];
                if (step.BeforeGain is null)
                    continue;
                try
                {
                    RunLinear(_kernels.LinearBeforeGain(_plan, _backward.Linear!, group.Adapter!, step.Index, group.Rows, group.X, _backward.XStride, step.BeforeGain));
                }
                finally
                {
                    _plan.Clear();
                }
            }
        }
    }

    private void NormBackward(delegate*<object, int, int, void> inputs, BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients)
    {
        Debug.Assert(x.Columns == dy.Columns && x.Columns % site.Width == 0 && (dx is null || dx.Columns == x.Columns), $"{site.Name}: {x}, {dy}, {dx} are no rows of {site.Width}");
        bool trains = false;
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            trains |= gradients.Of(adapter?.Weight ?? site.Gain) is not null || gradients.Of(adapter?.Bias ?? site.Bias) is not null;
        }
        if (dx is null && !trains)
            return;
        lock (_gate)
        {
            ReserveScratch(site.Gains);
            (_op.Batch, _op.Norm, _op.Gradients, _op.Rows, _op.Columns, _op.Width) = (batch, site, gradients, batch.Rows, x.Columns, site.Width);
            _op.X = Pointer.In(x);
            _op.Dy = Pointer.In(dy);
            _op.Dx = dx is null ? null : Pointer.Out(dx);
            _op.Statistics = _statistics.Reserve(3L * batch.Rows * (x.Columns / site.Width));
            long work = 2L * batch.Rows * x.Columns;
            try
            {
                RunRegion(inputs, _op, work, SmallElements);
                if (trains)
                    RunRegion(_kernels.Training.NormParameters, _op, work, SmallElements);
            }
            finally
            {
                _op.Forget();
            }
        }
        KeepAlive(x, dy, dx ?? dy, gradients);
    }
}
