namespace EdgeLora.Training;

/// <summary>How well a job's adapter does on its validation rows.</summary>
/// <param name="Step">Steps taken before it.</param>
/// <param name="Loss">Mean -log p over all targets.</param>
/// <param name="Accuracy">Part of the targets that the model puts first.</param>
/// <param name="ExactMatch">Part of the rows of which it puts every target first, each token given the true ones before it.</param>
/// <param name="Targets">Targets.</param>
public sealed record EvaluationMetrics(long Step, double Loss, double Accuracy, double ExactMatch, long Targets)
{
    /// <summary>e^loss.</summary>
    public double Perplexity => Math.Exp(Loss);
}

/// <summary>Evaluates a job between its steps.</summary>
public static class JobEvaluation
{
    /// <summary>Runs the validation rows forward, as many at once as the job's micro-batches have. Dropout is off.</summary>
    public static EvaluationMetrics Run(TrainingEngine engine, TrainingJob job, CancellationToken cancellation = default)
    {
        double loss = 0;
        long targets = 0, correct = 0, exact = 0, rows = 0;
        foreach (TrainingExample[] batch in job.Setup.Validation.Chunk(job.Recipe.BatchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            foreach (LossResult result in engine.Evaluate([.. batch.Select(e => new JobRows(job.EvaluationTable, [e], 1))], count: true))
            {
                loss += result.LossSum;
                targets += result.Targets;
                correct += result.Correct;
                rows += result.Targets > 0 ? 1 : 0;
                exact += result.Targets > 0 && result.Correct == result.Targets ? 1 : 0;
            }
        }
        return new(job.Step, loss / Math.Max(1, targets), (double)correct / Math.Max(1, targets), (double)exact / Math.Max(1, rows), targets);
    }
}
