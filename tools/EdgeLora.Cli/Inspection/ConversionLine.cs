namespace EdgeLora.Cli.Inspection;

/// <summary>What becomes of an adapter or a model in one format.</summary>
/// <param name="Format">The format's name on the command line.</param>
/// <param name="Verdict">exact, needs --fold, needs --alpha, or refused.</param>
/// <param name="Reasons">Why, or what to know.</param>
internal sealed record ConversionLine(string Format, string Verdict, IReadOnlyList<string> Reasons);
