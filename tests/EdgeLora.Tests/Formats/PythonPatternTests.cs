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
        "(q|v)_proj", "[qv]_proj", "a{2}", "a+?", @"\bq", @"(?:.*?(?:self_attn|mlp).*?(?:q_proj|k_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn)\.(?:(?:q_proj|v_proj)))", @"layers\.([0-9]|1[0-9])\..*", "(a|b)*", "(a*)*b", "(a|)b?", "(a+)+", "a{0}b?", "a{,2}", "a{1,}b{1,2}", "[^.]+", @"[\w.]+",
        @"\w+\.\D+", @"[]a]+", "[^]a]+", @"[a\-z]+", "[-a]", "[a-]", @"(^a|b$)", @"a$|b", @"(x\.)?a\Z", @"\Aa", @"q\B_", @"\S+", @"(?:(?:a|aa){1,2}){2}", "()", "(|a)+", @"a(?:b(?:c|d)?)*", @"model\.layers\.(0|1[0-5])\.self_attn\.[qkvo]_proj",
    ];

    private static readonly string[] s_names =
    [
        "", "q_proj", "model.layers.0.self_attn.q_proj", "model.layers.10.self_attn.q_proj", "layers.3.q", "layers.33.q", "qxproj", "q.proj", "a", "b", "ab", "aab", "aabb", "x.a", "a.b", "x.", ".", "..", "x-y", "m.x-y", "q_proj.x", "xq_proj", "a.a.a.b", "7", "x.77", "axb", "aaaa", "x.é_proj", "a b", "a\nb", "x.a\n", "a\n.q_proj", "x.a\nb", "q$",
    ];

    [Fact]
    public void Patterns_match_as_the_engine_does()
    {
        int matches = 0;
        foreach (string source in s_patterns)
        {
            PythonPattern whole = PythonPattern.Whole(source), end = PythonPattern.DottedEnd(source);
            Assert.True(whole.IsLinear && end.IsLinear, source);
            foreach (string name in s_names)
            {
                bool expected = Regex.IsMatch(name, $@"\A(?:{AsNet(source)})\z"), expectedEnd = Regex.IsMatch(name, $@"\A(?:.*\.)?(?:{AsNet(source)})$");
                Assert.True(expected == whole.IsMatch(name), $"whole '{source}' on '{name}': expected {expected}");
                Assert.True(expectedEnd == end.IsMatch(name), $"end '{source}' on '{name}': expected {expectedEnd}");
                matches += expected ? 1 : 0;
            }
        }
        Assert.InRange(matches, 100, 1000);
    }

    // .NET knows no {,1}, and its \Z is not Python's.
    private static string AsNet(string source) => source.Replace("{,", "{0,").Replace(@"\Z", @"\z");

    [Fact]
    public void Random_patterns_match_as_the_engine_does()
    {
        string[] parts = ["a", "b", ".", @"\.", "[ab]", "[^a]", @"\d", @"\w", "(", "(?:", ")", "|", "*", "+", "?", "{2}", "{1,2}", "{,1}", "^", "$", @"\b", "1", "_"], letters = ["a", "b", ".", "1", "_", "aa", "\n"];
        Random random = new(11);
        int linear = 0, matches = 0;
        for (int i = 0; i < 4000; i++)
        {
            string source = string.Concat(Enumerable.Range(0, 1 + random.Next(8)).Select(_ => parts[random.Next(parts.Length)]));
            if (!IsPattern(AsNet(source)) || PythonPattern.Whole(source) is not { IsLinear: true } whole)
                continue;
            linear++;
            PythonPattern end = PythonPattern.DottedEnd(source);
            for (int k = 0; k < 8; k++)
            {
                string name = string.Concat(Enumerable.Range(0, random.Next(7)).Select(_ => letters[random.Next(letters.Length)]));
                bool expected = Regex.IsMatch(name, $@"\A(?:{AsNet(source)})\z"), expectedEnd = Regex.IsMatch(name, $@"\A(?:.*\.)?(?:{AsNet(source)})$");
                Assert.True(expected == whole.IsMatch(name), $"whole '{source}' on '{name}': expected {expected}");
                Assert.True(expectedEnd == end.IsMatch(name), $"end '{source}' on '{name}': expected {expectedEnd}");
                matches += expected ? 1 : 0;
            }
        }
        Assert.InRange(linear, 1000, 4000);
        Assert.InRange(matches, 500, 16000);

        static bool IsPattern(string source)
        {
            try
            {
                _ = new Regex(source);
                return true;
            }
            catch (ArgumentException)
            {
                return false;
            }
        }
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
    [InlineData("(?!k)[kq]_proj", "model.q_proj", true)]
    [InlineData("(?!k)[kq]_proj", "model.k_proj", false)]
    [InlineData(@"(?P<x>a)\1", "x.aa", true)]
    [InlineData("(?i)A", "x.a", true)]
    public void Others_run_on_the_engine(string source, string name, bool matches)
    {
        PythonPattern pattern = PythonPattern.DottedEnd(source);
        Assert.False(pattern.IsLinear);
        Assert.Equal(matches, pattern.IsMatch(name));
    }

    [Theory]
    [InlineData("model.layers.0.q_proj")]
    [InlineData("a(b)|c*[d]{2}^$+?\\e")]
    [InlineData("é\nb")]
    public void An_escaped_name_matches_itself_without_an_engine(string name)
    {
        PythonPattern pattern = PythonPattern.DottedEnd(PythonPattern.Escape(name));
        Assert.True(pattern.IsLinear && pattern.IsMatch(name) && pattern.IsMatch("x." + name));
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
