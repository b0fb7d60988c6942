using System.Globalization;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;

namespace EdgeLora.Benchmarks;

/// <summary>For benchmarks whose operation is a token: a column of tokens/s.</summary>
public sealed class TokenConfig : ManualConfig
{
    /// <summary>Adds the column.</summary>
    public TokenConfig() => AddColumn(new TokensPerSecond());

    private sealed class TokensPerSecond : IColumn
    {
        public string Id => nameof(TokensPerSecond);

        public string ColumnName => "tokens/s";

        public string Legend => "Tokens a second: 1 / Median";

        public bool AlwaysShow => true;

        public ColumnCategory Category => ColumnCategory.Custom;

        public int PriorityInCategory => 0;

        public bool IsNumeric => true;

        public UnitType UnitType => UnitType.Dimensionless;

        public bool IsAvailable(Summary summary) => true;

        public bool IsDefault(Summary summary, BenchmarkCase benchmarkCase) => false;

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase) =>
            summary[benchmarkCase]?.ResultStatistics is { } statistics ? (1e9 / statistics.Median).ToString("N1", CultureInfo.InvariantCulture) : "NA";

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase, SummaryStyle style) => GetValue(summary, benchmarkCase);
    }
}
