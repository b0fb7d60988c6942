using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Text;

/// <summary>Every recorded result of the reference libraries (scripts/tokenizers_fixture.py).</summary>
public sealed class TokenizerGoldenTests
{
    public static TheoryData<string> Folders() => Names.OrNone(SharedFolder.Folders("fixtures/tokenizers"));

    public static TheoryData<string> GgufFolders() => Names.OrNone([.. SharedFolder.Folders("fixtures/tokenizers")
        .Where(f => File.Exists(Path.Combine(SharedFolder.Repository, "..", "shared", "fixtures", "tokenizers", f, "vocab.gguf")))]);

    [Theory]
    [MemberData(nameof(Folders))]
    public void Every_case_of_a_tokenizer_folder_is_reproduced(string folder)
    {
        TokenizerGolden golden = TokenizerGolden.Verify(SharedFolder.Require("fixtures/tokenizers/" + folder));
        Names.AssertNone(golden.Mismatches, golden.Compared);
    }

    [Fact]
    public void Every_component_alone_is_reproduced()
    {
        TokenizerGolden golden = TokenizerGolden.VerifyComponents(SharedFolder.Require("fixtures/tokenizers/components.json"));
        Names.AssertNone(golden.Mismatches, golden.Compared);
    }

    [Theory]
    [MemberData(nameof(GgufFolders))]
    public void A_gguf_vocabulary_gives_the_ids_of_its_origin(string folder)
    {
        string path = SharedFolder.Require($"fixtures/tokenizers/{folder}/vocab.gguf");
        using GgufFile file = GgufFile.Open(path);
        Tokenizer tokenizer = Tokenizer.FromGguf(file.Metadata, path);
        string pieces = Path.Combine(Path.GetDirectoryName(path)!, "spm_cases.json");
        TokenizerGolden golden = TokenizerGolden.Verify(tokenizer, File.Exists(pieces) ? pieces : Path.Combine(Path.GetDirectoryName(path)!, "cases.json"));
        // GGUF knows Gemma's turn markers as control tokens, which are text here; the model file has them user-defined.
        Names.AssertNone([.. golden.Mismatches.Where(m => !m.Contains("_of_turn", StringComparison.Ordinal))], golden.Compared);
    }
}
