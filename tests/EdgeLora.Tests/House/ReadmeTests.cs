using System.Text;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.House;

/// <summary>The README's embedding snippet, run as it stands there.</summary>
public sealed class ReadmeTests
{
    private static readonly string[] s_snippet =
    [
        "using Session session = host.CreateSession(host.Enter(\"shakespeare/kings\"));",
        "session.Append(host.Tokenizer!.EncodeIds(\"<|endoftext|>Once upon a time\", addSpecialTokens: false));",
        "Generator generator = new(host.Model, session, new GenerationOptions { MaxTokens = 32 });",
        "await foreach (GeneratedPiece piece in generator.StreamAsync(host.Tokenizer))",
        "session.Switch(host.Enter(\"holmes\"));",
    ];

    [Fact]
    public async Task The_embedding_snippet_streams_text_and_switches()
    {
        using EdgeHost host = EdgeHost.Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"));
        using Session session = host.CreateSession(host.Enter("shakespeare/kings"));
        session.Append(host.Tokenizer!.EncodeIds("<|endoftext|>Once upon a time", addSpecialTokens: false));
        Generator generator = new(host.Model, session, new GenerationOptions { MaxTokens = 32 });
        StringBuilder text = new();
        await foreach (GeneratedPiece piece in generator.StreamAsync(host.Tokenizer))
            text.Append(piece.Text);
        Assert.NotEmpty(text.ToString().Trim());
        session.Switch(host.Enter("holmes"));
        Assert.Equal("holmes", session.Path.Name);
    }

    [Fact]
    public void The_README_shows_the_lines_that_the_test_runs()
    {
        string readme = File.ReadAllText(Path.Combine(SharedFolder.Repository, "README.md"));
        Assert.All(s_snippet, line => Assert.Contains(line, readme));
    }
}
