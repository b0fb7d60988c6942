using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>The backward pass of one low-rank step for the rows of one path. A pointer to a gradient is null where nothing trains.</summary>
internal unsafe struct StepBackward
{
    /// <summary>The step.</summary>
    public LowRankStep Step;

    /// <summary>Its place among the path's steps.</summary>
    public int Index;

    /// <summary>Input of A, masked where the step has dropout; null for an embedding.</summary>
    public float* X;

    /// <summary>Floats from one row of X to the next.</summary>
    public long XStride;

    /// <summary>Gradient of the step's output.</summary>
    public float* Outer;

    /// <summary>Floats from one row of Outer to the next.</summary>
    public long OuterStride;

    /// <summary>The same before the gain: gain ∘ Outer.</summary>
    public float* Dy;

    /// <summary>Floats from one row of Dy to the next.</summary>
    public long DyStride;

    /// <summary>The step's output before the gain, [rows, O]; only where the gain trains.</summary>
    public float* BeforeGain;

    /// <summary>s·Bᵀ, [R, O]; only where Down is wanted.</summary>
    public float* Transposed;

    /// <summary>s·A·x, [rows, R padded to 4]; only where B trains.</summary>
    public float* Up;

    /// <summary>s·Bᵀ·dy, [rows, R padded to 4]; only where A trains or dx is wanted.</summary>
    public float* Down;

    /// <summary>Gradient of A, [R, I].</summary>
    public float* A;

    /// <summary>Gradient of B, [O, R].</summary>
    public float* B;

    /// <summary>Gradient of the output bias, [O].</summary>
    public float* OutputBias;

    /// <summary>Gradient of the gain, [O].</summary>
    public float* Gain;

    /// <summary>Floats from one row of Up and Down to the next.</summary>
    public readonly int Rank => (Step.Rank + 3) / 4 * 4;
}

/// <summary>The backward pass of a site for the rows of one path.</summary>
internal unsafe struct GroupBackward
{
    /// <summary>What the path does, or null.</summary>
    public SiteAdapter? Adapter;

    /// <summary>First row in the batch.</summary>
    public int Start;

    /// <summary>Rows.</summary>
    public int Rows;

    /// <summary>First row of the input.</summary>
    public float* X;

    /// <summary>Gradient of the site's output.</summary>
    public float* Dy;

    /// <summary>Gradient of the base product's output: all gains on it, 0 where rows are replaced.</summary>
    public float* Inner;

    /// <summary>Floats from one row of Inner to the next.</summary>
    public long InnerStride;

    /// <summary>Inner before replaced outputs were taken out of it.</summary>
    public float* Whole;

    /// <summary>Floats from one row of Whole to the next.</summary>
    public long WholeStride;

    /// <summary>Gradient of the replaced outputs, [rows, n]; or null.</summary>
    public float* Replaced;

    /// <summary>First row of the input's gradient, or null.</summary>
    public float* Dx;

    /// <summary>The weight that holds for these rows.</summary>
    public DeviceTensor Weight;

    /// <summary>Gradient of the weight, or null.</summary>
    public float* WeightGradient;

    /// <summary>Gradient of the rows that replace some of the weight's, or null.</summary>
    public float* RowsGradient;

    /// <summary>Gradient of the bias, or null.</summary>
    public float* BiasGradient;

    /// <summary>First of the path's steps in the plan; the last step of the path comes first.</summary>
    public int FirstStep;

    /// <summary>Steps of the path.</summary>
    public int Steps;
}

/// <summary>One backward call of a linear or embedding site, as the pool's threads see it. Refilled for every call, allocates only while it grows.</summary>
internal sealed unsafe class BackwardPlan(Scratch[] scratch) : IDisposable
{
    /// <summary>One for every path of the batch that wants something.</summary>
    public GroupBackward[] Groups = new GroupBackward[4];

    /// <summary>Steps of all groups.</summary>
    public StepBackward[] Steps = new StepBackward[8];

    /// <summary>Groups in use.</summary>
    public int GroupCount;

    /// <summary>Steps in use.</summary>
    public int StepCount;

    /// <summary>The linear site, or null.</summary>
    public LinearSite? Linear;

    /// <summary>The embedding site, or null.</summary>
    public EmbeddingSite? Embedding;

    /// <summary>The batch.</summary>
    public BatchLayout? Batch;

    /// <summary>I (V of an embedding: the width of A).</summary>
    public int Inputs;

    /// <summary>O.</summary>
    public int Outputs;

    /// <summary>Floats from one row of the input to the next.</summary>
    public long XStride;

    /// <summary>Floats from one row of the output's gradient to the next.</summary>
    public long DyStride;

    /// <summary>Floats from one row of the input's gradient to the next.</summary>
    public long DxStride;

    /// <summary>Largest rank.</summary>
    public int MaxRank;

    /// <summary>Scratch of every part.</summary>
    public readonly Scratch[] Scratch = scratch;

    /// <summary>What lives as long as the call.</summary>
    public readonly Arena Arena = new();

    /// <summary>Appends a group.</summary>
    public ref GroupBackward AddGroup() => ref Growing.Append(ref Groups, ref GroupCount);

    /// <summary>Appends a step.</summary>
    public ref StepBackward AddStep() => ref Growing.Append(ref Steps, ref StepCount);

    /// <summary>Forgets the call, so that adapters may be collected.</summary>
    public void Clear()
    {
        Array.Clear(Groups, 0, GroupCount);
        Array.Clear(Steps, 0, StepCount);
        GroupCount = StepCount = MaxRank = 0;
        Linear = null;
        Embedding = null;
        Batch = null;
        Arena.Reset();
    }

    /// <inheritdoc/>
    public void Dispose() => Arena.Dispose();
}
