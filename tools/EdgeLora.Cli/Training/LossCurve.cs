using System.Text.Json;
using EdgeLora.Core;
using ScottPlot;

namespace EdgeLora.Cli.Training;

/// <summary>loss.png and loss.svg beside a run's metrics.jsonl: loss of every step, and of every evaluation.</summary>
internal static class LossCurve
{
    private const int Width = 900, Height = 500;

    /// <summary>Draws what metrics.jsonl holds; nothing where it holds no step.</summary>
    public static void Write(string folder)
    {
        List<double> steps = [], losses = [], evaluated = [], evaluations = [];
        foreach (string line in File.ReadLines(Path.Combine(folder, "metrics.jsonl")))
        {
            using JsonDocument document = JsonDocument.Parse(line);
            double step = document.RootElement.GetProperty("step").GetDouble();
            if (document.RootElement.TryGetProperty("loss", out JsonElement loss))
                (steps, losses).Append(step, loss.GetDouble());
            else if (document.RootElement.TryGetProperty("eval_loss", out JsonElement evaluation))
                (evaluated, evaluations).Append(step, evaluation.GetDouble());
        }
        if (steps.Count == 0)
            return;
        using Plot plot = new();
        ScottPlot.Plottables.Scatter train = plot.Add.ScatterLine(steps.ToArray(), losses.ToArray());
        train.LegendText = "train";
        if (evaluated.Count > 0)
        {
            ScottPlot.Plottables.Scatter validation = plot.Add.Scatter(evaluated.ToArray(), evaluations.ToArray());
            validation.LegendText = "validation";
        }
        plot.XLabel("step");
        plot.YLabel("loss (nats a token)");
        plot.ShowLegend(Alignment.UpperRight);
        AtomicFile.WriteBytes(Path.Combine(folder, "loss.png"), plot.GetImageBytes(Width, Height, ImageFormat.Png));
        AtomicFile.WriteText(Path.Combine(folder, "loss.svg"), plot.GetSvgXml(Width, Height));
    }

    private static void Append(this (List<double> X, List<double> Y) series, double x, double y)
    {
        series.X.Add(x);
        series.Y.Add(y);
    }
}
