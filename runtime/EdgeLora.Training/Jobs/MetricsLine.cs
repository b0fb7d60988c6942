using System.Text;
using System.Text.Json;

namespace EdgeLora.Training;

/// <summary>Lines of metrics.jsonl: numbers in full precision, names as transformers' Trainer logs them.</summary>
public static class MetricsLine
{
    /// <summary>Field of an evaluation's line after the last step: a run that is resumed makes it again.</summary>
    public const string Final = "final";

    /// <summary>A step's line.</summary>
    public static string Of(StepMetrics m) => Line(w => Write(w, m));

    /// <summary>An evaluation's line.</summary>
    public static string Of(EvaluationMetrics m, bool final) => Line(w =>
    {
        Write(w, m);
        if (final)
            w.WriteBoolean(Final, true);
    });

    /// <summary>A step's fields.</summary>
    public static void Write(Utf8JsonWriter w, StepMetrics m)
    {
        w.WriteNumber("step", m.Step);
        w.WriteNumber("epoch", m.Epoch);
        w.WriteNumber("loss", m.Loss);
        w.WriteNumber("grad_norm", m.GradNorm);
        w.WriteNumber("learning_rate", m.LearningRate);
        w.WriteNumber("tokens", m.Tokens);
    }

    /// <summary>An evaluation's fields.</summary>
    public static void Write(Utf8JsonWriter w, EvaluationMetrics m)
    {
        w.WriteNumber("step", m.Step);
        w.WriteNumber("eval_loss", m.Loss);
        w.WriteNumber("eval_perplexity", Math.Min(m.Perplexity, double.MaxValue));
        w.WriteNumber("eval_accuracy", m.Accuracy);
        w.WriteNumber("eval_exact_match", m.ExactMatch);
        w.WriteNumber("eval_targets", m.Targets);
    }

    private static string Line(Action<Utf8JsonWriter> fields)
    {
        using MemoryStream bytes = new();
        using (Utf8JsonWriter writer = new(bytes))
        {
            writer.WriteStartObject();
            fields(writer);
            writer.WriteEndObject();
        }
        return Encoding.UTF8.GetString(bytes.ToArray());
    }
}
