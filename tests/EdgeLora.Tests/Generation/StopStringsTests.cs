using System.Text.Json;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Generation;

public class StopStringsTests
{
    [Fact]
    public void Every_reference_stream_is_cut_where_it_should_be()
    {
        string folder = SharedFolder.Require("fixtures/sampling");
        using JsonDocument rows = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "stop_strings.json")));
        int count = 0;
        List<string> faults = [];
        foreach (JsonElement row in rows.RootElement.GetProperty("cases").EnumerateArray())
        {
            count++;
            if (SamplingFixture.StopDifference(row) is string fault)
                faults.Add($"{row}: {fault}");
        }
        Assert.True(faults.Count == 0, string.Join('\n', faults));
        Assert.True(count >= 40);
    }

    [Theory]
    [InlineData("xaby", "b ab", "x", "ab")]
    [InlineData("abc", "abc ab", "", "abc")]
    [InlineData("nothing", "stop", "nothing", null)]
    [InlineData("held st", "stop", "held st", null)]
    public void The_match_that_starts_first_wins(string text, string stops, string expected, string? matched)
    {
        StopStrings watch = new(stops.Split(' '));
        string all = watch.Push(text) + watch.Flush();
        Assert.Equal(expected, all);
        Assert.Equal(matched, watch.Matched);
        Assert.Equal(matched is not null, watch.Stopped);
    }

    [Fact]
    public void Text_that_may_become_a_stop_string_waits_until_it_cannot()
    {
        StopStrings watch = new(["<|end|>"]);
        Assert.Equal("a", watch.Push("a<|"));
        Assert.Equal("", watch.Push("en"));
        Assert.Equal("<|enx", watch.Push("x<"));
        Assert.Equal("<", watch.Flush());
        Assert.Equal("", watch.Flush());
    }

    [Fact]
    public void After_a_stop_string_nothing_comes_until_Reset()
    {
        StopStrings watch = new(["."]);
        Assert.Equal("a", watch.Push("a.b"));
        Assert.Equal("", watch.Push("c"));
        Assert.Equal("", watch.Flush());
        watch.Reset();
        Assert.Equal("d", watch.Push("d"));
    }

    [Fact]
    public void An_empty_stop_string_never_matches_and_a_null_one_is_refused()
    {
        Assert.Equal("abc", new StopStrings([""]).Push("abc"));
        Assert.Contains("stops[1]", Assert.Throws<ArgumentException>(() => new StopStrings(["a", null!])).Message);
    }
}
