using System.Text;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

public sealed class DuplicateKeysTests
{
    [Theory]
    [InlineData("""{"a": 1, "a": 2}""", "a", 1)]
    [InlineData("{\"list\": [{\"x\": 1}, {\"x\": 1,\n\"y\": {},\n\"x\": 2}]}", "x", 3)]
    [InlineData("""{"caf\u00e9": 1, "café": 2}""", "café", 1)]
    [InlineData("""{"a": {"b": {"c": 1}}, "d": 1, "a": 2}""", "a", 1)]
    [InlineData("""{"": 1, "": 2}""", "", 1)]
    public void A_key_that_stands_twice_in_an_object_is_refused_by_name_and_line(string json, string key, int line)
    {
        ModelFileException thrown = Assert.Throws<ModelFileException>(() => SafeJson.Parse("a.json", Encoding.UTF8.GetBytes(json)));
        Assert.Contains($"a.json", thrown.Message);
        Assert.Contains($"JSON, line {line}: Duplicate property '{key}'", thrown.Message);
        SafeJson.Parse("a.json", Encoding.UTF8.GetBytes(json), allowDuplicates: true).Dispose();
    }

    [Theory]
    [InlineData("""[{"a": 1}, {"a": 2}]""")]
    [InlineData("""{"a": {"a": {"a": 1}}, "b": {"a": 1}, "A": 2}""")]
    [InlineData("""{"a": "a", "b": ["a", "a"]}""")]
    public void The_same_key_in_other_objects_is_not(string json) => SafeJson.Parse("a.json", Encoding.UTF8.GetBytes(json)).Dispose();

    [Fact]
    public void One_that_stands_twice_deep_among_many_is_found()
    {
        string many = string.Join(',', Enumerable.Range(0, 300).Select(i => $"\"{i}\":0")), json = "0";
        for (int i = 0; i < 40; i++)
            json = $"{{{many},\n\"in\":{json}}}";
        SafeJson.Parse("a.json", Encoding.UTF8.GetBytes(json)).Dispose();
        ModelFileException thrown = Assert.Throws<ModelFileException>(() => SafeJson.Parse("a.json", Encoding.UTF8.GetBytes(json.Replace("\"in\":0", "\"in\":0,\"\\u0031\":1", StringComparison.Ordinal))));
        Assert.Contains("line 41: Duplicate property '1'", thrown.Message);
    }

    [Fact]
    public void Many_small_objects_after_a_large_one_take_no_longer()
    {
        string text = "[{" + string.Join(',', Enumerable.Range(0, 200_000).Select(i => $"\"{i}\":0")) + "}," + string.Join(',', Enumerable.Repeat("{\"a\":1}", 200_000)) + "]";
        // Clearing the large object's keys each time would take minutes.
        SafeJson.Parse("a.json", Encoding.UTF8.GetBytes(text)).Dispose();
    }
}
