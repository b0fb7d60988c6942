using System.Text.RegularExpressions;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>Patterns without an engine against .NET's, which reads these as Python's re does.</summary>
public sealed class PythonPatternTests
{
    private static readonly string[] s_patterns =
    [
        "", "q_proj", "q.proj", @"q\.proj", "^q_proj", "q_proj$", "^model.layers.0.self_attn.q_proj$", @"layers\.\d\.q", @"layers\.\d+\.q", ".*q_proj", ".*", ".+", "a?b", "a*b*", "a+", "^a", "^", "$", @".*\.0\..*proj", "a.?b", @"\d*", "x-y", "é_proj", "a b", "a\nb", @"q\$", @"\(a", "aab", "a*a", ".*a.*b",
    ];

    private static readonly string[] s_names =
    [
        "", "q_proj", "model.layers.0.self_attn.q_proj", "model.layers.10.self_attn.q_proj", "layers.3.q", "layers.33.q", "qxproj", "q.proj", "a", "b", "ab", "aab", "aabb", "x.a", "a.b", "x.", ".", "..", "x-y", "m.x-y", "q_proj.x", "xq_proj", "a.a.a.b", "7", "x.77", "axb", "aaaa", "x.é_proj", "a b", "a\nb", "x.a\n", "a\n.q_proj", "x.a\nb", "q$",
    ];

    [Fact]
    public void Plain_patterns_match_as_the_engine_does()
    {
        int matches = 0;
        foreach (string source in s_patterns)
        {
            PythonPattern whole = PythonPattern.Whole(source), end = PythonPattern.DottedEnd(source);
            Assert.True(whole.IsPlain && end.IsPlain, source);
            foreach (string name in s_names)
            {
                bool expected = Regex.IsMatch(name, $@"\A(?:{source})\z"), expectedEnd = Regex.IsMatch(name, $@"\A(?:.*\.)?(?:{source})$");
                Assert.True(expected == whole.IsMatch(name), $"whole '{source}' on '{name}': expected {expected}");
                Assert.True(expectedEnd == end.IsMatch(name), $"end '{source}' on '{name}': expected {expectedEnd}");
                matches += expected ? 1 : 0;
            }
        }
        Assert.InRange(matches, 50, 400);
    }

    [Theory]
    [InlineData("layers", "model.layers.12.mlp", 12)]
    [InlineData("layers", "layers.12.mlp", -1)]
    [InlineData("h", "transformer.h.3.attn", 3)]
    [InlineData("h", "transformer.h.3", -1)]
    [InlineData("h", "a.h.x.h.4.b", 4)]
    [InlineData("h|layers", "model.layers.5.x", 5)]
    public void A_container_s_number_is_read(string source, string name, int layer)
    {
        Assert.Equal(layer, PythonPattern.LayerContainer(source).LayerOf(name));
        Match match = Regex.Match(name, $@"\A.*?\.(?:{source})\.(?<i>\d+)\.");
        Assert.Equal(layer, match.Success ? int.Parse(match.Groups["i"].Value) : -1);
    }

    [Theory]
    [InlineData("(q|v)_proj", "model.v_proj", true)]
    [InlineData("[qv]_proj", "model.k_proj", false)]
    [InlineData("a{2}", "x.aa", true)]
    [InlineData("a+?", "x.aa", true)]
    [InlineData(@"\bq", "q", true)]
    public void Others_run_on_the_engine(string source, string name, bool matches)
    {
        PythonPattern pattern = PythonPattern.DottedEnd(source);
        Assert.False(pattern.IsPlain);
        Assert.Equal(matches, pattern.IsMatch(name));
    }

    [Theory]
    [InlineData("model.layers.0.q_proj")]
    [InlineData("a(b)|c*[d]{2}^$+?\\e")]
    [InlineData("é\nb")]
    public void An_escaped_name_matches_itself_without_an_engine(string name)
    {
        PythonPattern pattern = PythonPattern.DottedEnd(PythonPattern.Escape(name));
        Assert.True(pattern.IsPlain && pattern.IsMatch(name) && pattern.IsMatch("x." + name));
        Assert.False(pattern.IsMatch(name + "x"));
        Assert.Matches($@"\A(?:{PythonPattern.Escape(name)})\z", name);
    }

    [Theory]
    [InlineData("(")]
    [InlineData("*a")]
    [InlineData("a**")]
    [InlineData("a\\")]
    public void What_is_no_pattern_is_refused(string source) => Assert.ThrowsAny<ArgumentException>(() => PythonPattern.Whole(source));
}
