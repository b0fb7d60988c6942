using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using EdgeLora.Training;
using Spectre.Console;

namespace EdgeLora.Cli.Training;

/// <summary>Shows how far jobs are: a table that stays in place on a terminal, lines every logging_steps elsewhere, or JSON.</summary>
internal sealed class TrainingProgress
{
    private readonly CommandIo _io;
    private readonly bool _json;
    private readonly JobScheduler _scheduler;
    private readonly TrainingEngine _engine;
    private readonly Dictionary<TrainingJob, JobView> _views = [];
    private LiveDisplayContext? _live;
    private long _shown;

    public TrainingProgress(CommandIo io, JobScheduler scheduler, TrainingEngine engine, bool json)
    {
        (_io, _scheduler, _engine, _json) = (io, scheduler, engine, json);
        scheduler.StatusChanged += job => View(job).Start();
        scheduler.StepTaken += OnStep;
        scheduler.Evaluated += OnEvaluation;
    }

    /// <summary>Runs the work under the display.</summary>
    public void Run(Action work)
    {
        if (_json || _io.OutputRedirected)
        {
            work();
            return;
        }
        _io.Console().Live(Render()).Start(context =>
        {
            _live = context;
            work();
            context.UpdateTarget(Render());
        });
        _live = null;
    }

    /// <summary>One line a job: how it ended.</summary>
    public void Summary()
    {
        if (_json)
            return;
        foreach (TrainingJob job in _scheduler.Jobs)
        {
            JobView view = View(job);
            string gain = view is { Before: { } before, After: { } after } ? FormattableString.Invariant($", evaluation {before.Loss:F4} -> {after.Loss:F4} (perplexity {before.Perplexity:F2} -> {after.Perplexity:F2}, exact match {before.ExactMatch:P1} -> {after.ExactMatch:P1})") : "";
            _io.Output.WriteLine(FormattableString.Invariant($"{job.Name}: {job.Status.ToString().ToLowerInvariant()} after {job.Step} steps{gain}{(job.StoppedEarly is { } early ? $"; {early}" : "")}; {job.Recipe.OutputFolder}"));
        }
        _io.Output.Flush();
    }

    /// <summary>What a job spent: tokens it trained on, seconds in its steps and in its evaluations. Beside other jobs a round's time counts for each of them.</summary>
    public (long Tokens, double StepSeconds, double EvaluationSeconds) Spent(TrainingJob job)
    {
        JobView view = View(job);
        return (view.Tokens, view.StepSeconds, view.EvaluationSeconds);
    }

    private void OnStep(TrainingJob job, StepMetrics metrics)
    {
        JobView view = View(job);
        (double seconds, double cpuSeconds) = view.Lap();
        view.StepSeconds += seconds;
        view.Tokens += metrics.Tokens;
        view.Loss = view.Steps++ == 0 ? metrics.Loss : 0.9 * view.Loss + 0.1 * metrics.Loss;
        if (_json)
            _io.WriteJson(w =>
            {
                w.WriteString("job", job.Name);
                MetricsLine.Write(w, metrics);
                w.WriteNumber("seconds", Math.Round(seconds, 6));
                w.WriteNumber("cpu_seconds", Math.Round(cpuSeconds, 6));
            });
        else if (_live is not null)
            Refresh();
        else if (metrics.Step % job.Recipe.LoggingSteps == 0 || metrics.Step == job.TotalSteps)
            Write(FormattableString.Invariant($"{job.Name}: step {metrics.Step}/{job.TotalSteps}, epoch {metrics.Epoch:F2}, loss {metrics.Loss:F4}, gradient norm {metrics.GradNorm:F3}, rate {Rate(metrics)}, {view.TokensPerSecond:F0} tokens/s, {Remaining(job, view)} left, {MiB(job)} MiB"));
    }

    private void OnEvaluation(TrainingJob job, EvaluationMetrics metrics)
    {
        JobView view = View(job);
        view.EvaluationSeconds += view.Lap().Seconds;
        view.Before ??= metrics;
        view.After = metrics;
        if (_json)
            _io.WriteJson(w =>
            {
                w.WriteString("job", job.Name);
                MetricsLine.Write(w, metrics);
            });
        else if (_live is null)
            Write(FormattableString.Invariant($"{job.Name}: evaluation at step {metrics.Step}: loss {metrics.Loss:F4}, perplexity {metrics.Perplexity:F2}, accuracy {metrics.Accuracy:P1}, exact match {metrics.ExactMatch:P1}"));
    }

    // A terminal cannot show more than some pictures a second.
    private void Refresh()
    {
        if (Stopwatch.GetElapsedTime(_shown).TotalMilliseconds < 100)
            return;
        _shown = Stopwatch.GetTimestamp();
        _live!.UpdateTarget(Render());
    }

    private Table Render()
    {
        // Narrow enough for a terminal of 80 columns.
        Table table = new Table().Border(TableBorder.None);
        foreach (string name in (string[])["job", "status", "step", "loss", "rate", "tokens/s", "left", "MiB"])
            table.AddColumn(name, column => column.NoWrap().PadRight(2));
        foreach (TrainingJob job in _scheduler.Jobs)
        {
            JobView view = View(job);
            table.AddRow(Markup.Escape(job.Name), job.Status.ToString().ToLowerInvariant(), FormattableString.Invariant($"{job.Step}/{job.TotalSteps}"),
                view.Steps == 0 ? "" : view.Loss.ToString("F4", CultureInfo.InvariantCulture),
                job.Last is null ? "" : Rate(job.Last), view.TokensPerSecond.ToString("F0", CultureInfo.InvariantCulture), Remaining(job, view), MiB(job));
        }
        return table;
    }

    private static string Rate(StepMetrics metrics) => metrics.LearningRate.ToString("0.00E-0", CultureInfo.InvariantCulture);

    private string MiB(TrainingJob job) => FormattableString.Invariant($"{(job.TrainerBytes + Math.Min(job.ActivationBytes, _engine.ActivationBytes)) / 1048576.0:F1}");

    private static string Remaining(TrainingJob job, JobView view) =>
        view.Steps == 0 ? "" : TimeSpan.FromSeconds(Math.Round(view.StepSeconds / view.Steps * (job.TotalSteps - job.Step))).ToString("c", CultureInfo.InvariantCulture);

    private void Write(string line)
    {
        _io.Output.WriteLine(line);
        _io.Output.Flush();
    }

    private JobView View(TrainingJob job)
    {
        if (!_views.TryGetValue(job, out JobView? view))
            _views[job] = view = new();
        return view;
    }

    private sealed class JobView
    {
        private long _lap;
        private TimeSpan _cpuLap;

        public long Tokens;
        public long Steps;
        public double Loss, StepSeconds, EvaluationSeconds;
        public EvaluationMetrics? Before;
        public EvaluationMetrics? After;

        public double TokensPerSecond => StepSeconds > 0 ? Tokens / StepSeconds : 0;

        // Waiting in the queue or paused is no work.
        public void Start() => Lap();

        // Since the last one: on the clock, and of the processor in all threads of the process.
        public (double Seconds, double CpuSeconds) Lap()
        {
            long now = Stopwatch.GetTimestamp();
            TimeSpan cpu = Environment.CpuUsage.TotalTime;
            (double, double) laps = (Stopwatch.GetElapsedTime(_lap, now).TotalSeconds, (cpu - _cpuLap).TotalSeconds);
            (_lap, _cpuLap) = (now, cpu);
            return laps;
        }
    }
}
