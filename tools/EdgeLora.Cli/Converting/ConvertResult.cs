namespace EdgeLora.Cli.Converting;

/// <summary>What <c>convert</c> did.</summary>
/// <param name="Conversion">In words: "an adapter as .elora".</param>
/// <param name="Facts">More of it, by their JSON names: texts, long, double.</param>
internal sealed record ConvertResult(string Conversion, params IReadOnlyList<(string Name, object Value)> Facts);
