namespace EdgeLora.Training;

/// <summary>
/// The factor on every learning rate at step k = 0, 1, … of S, with w steps of warm-up: <c>λ = k/max(1, w)</c> for k &lt; w (so the first step of a warm-up has rate 0), then with
/// p = (k−w)/max(1, S−w): linear <c>max(0, 1−p)</c>, cosine <c>½(1+cos πp)</c>, with a least part m <c>m + (1−m)·½(1+cos πp)</c>, polynomial <c>((lr−end)(1−p)^power + end)/lr</c>, constant 1.
/// Source: huggingface/transformers optimization.py.
/// </summary>
public sealed record LearningRateSchedule
{
    /// <summary>Its shape.</summary>
    public required ScheduleKind Kind { get; init; }
    /// <summary>w; without meaning for <see cref="ScheduleKind.Constant"/>.</summary>
    public long WarmupSteps { get; init; }
    /// <summary>S.</summary>
    public required long TotalSteps { get; init; }
    /// <summary>m.</summary>
    public double MinRate { get; init; }
    /// <summary>Power of the polynomial.</summary>
    public double Power { get; init; } = 1;
    /// <summary>end/lr of the polynomial.</summary>
    public double EndRate { get; init; }

    /// <summary>The schedule of a recipe for a run of <paramref name="totalSteps"/>.</summary>
    public static LearningRateSchedule Of(TrainingRecipe recipe, long totalSteps) => new()
    {
        Kind = recipe.Schedule,
        WarmupSteps = recipe.WarmupOf(totalSteps),
        TotalSteps = totalSteps,
        MinRate = recipe.MinLrRate,
        Power = recipe.LrPower,
        EndRate = recipe.LrEnd / recipe.LearningRate,
    };

    /// <summary>λ(k). Multiply each group's rate with it.</summary>
    public double Factor(long step)
    {
        if (Kind == ScheduleKind.Constant)
            return 1;
        if (step < WarmupSteps)
            return (double)step / Math.Max(1, WarmupSteps);
        double span = Math.Max(1, TotalSteps - WarmupSteps);
        double done = (step - WarmupSteps) / span;
        switch (Kind)
        {
            case ScheduleKind.ConstantWithWarmup:
                return 1;
            case ScheduleKind.Linear:
                return Math.Max(0, (TotalSteps - step) / span);
            case ScheduleKind.Polynomial:
                return step > TotalSteps ? EndRate : (1 - EndRate) * Math.Pow(1 - done, Power) + EndRate;
            default:
                double cosine = Math.Max(0, 0.5 * (1 + Math.Cos(Math.PI * done)));
                return Kind == ScheduleKind.Cosine ? cosine : cosine * (1 - MinRate) + MinRate;
        }
    }
}
