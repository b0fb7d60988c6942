using Xunit;

namespace EdgeLora.Tests.Text;

/// <summary>Theory data over names, and the assertion that all of many comparisons held.</summary>
internal static class Names
{
    /// <summary>The names, or one that makes the test skip with its reason.</summary>
    public static TheoryData<string> OrNone(IReadOnlyList<string> names)
    {
        TheoryData<string> data = [];
        foreach (string name in names.Count == 0 ? ["absent"] : names)
            data.Add(name);
        return data;
    }

    public static void AssertNone(IReadOnlyList<string> mismatches, int compared)
    {
        Assert.True(mismatches.Count == 0, $"{mismatches.Count} of {compared} differ\n" + string.Join('\n', mismatches.Take(12)));
        Assert.True(compared > 0, "nothing was compared");
    }
}
