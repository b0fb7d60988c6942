namespace EdgeLora.Benchmarks;

/// <summary>A LoRA step that is measured: r 8 on every linear layer, loss on every token.</summary>
/// <param name="Base">What is trained on.</param>
/// <param name="Sequences">Rows of a job's micro-batch.</param>
/// <param name="Tokens">Tokens of each.</param>
internal sealed record TrainingCase(LlamaShape Base, int Sequences, int Tokens)
{
    /// <summary>Rank of the adapters; alpha is the same.</summary>
    public const int Rank = 8;

    /// <summary>A row's tokens: the same numbers every time, others in each row.</summary>
    public int[] Row(int row) => RandomTraining.Row(row, Tokens, Base.Vocabulary);

    /// <inheritdoc/>
    public override string ToString() => $"{Base.Name}, {Sequences} x {Tokens}";
}
