using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// A byte-level BPE vocabulary of GPT-2's kind: words are cut by GPT-2's pattern, their bytes are written as printable characters, merges join them.
/// What a trainer makes and <see cref="Tokenizer"/> reads.
/// </summary>
/// <param name="Tokens">Token texts in the byte alphabet; the place is the id. The special tokens stand among them as they are.</param>
/// <param name="Merges">Pairs of tokens, the first to be merged first.</param>
/// <param name="SpecialTokens">Tokens that are found in a text before it is cut into words.</param>
public sealed record ByteLevelBpe(IReadOnlyList<string> Tokens, IReadOnlyList<(string Left, string Right)> Merges, IReadOnlyList<string> SpecialTokens)
{
    private static readonly RegexPattern s_pattern = new(ByteLevelPreTokenizer.Gpt2Pattern);

    /// <summary>The 256 characters that stand for the bytes, in the order of their code points.</summary>
    public static IReadOnlyList<char> Alphabet { get; } = [.. Enumerable.Range(0, 256).Select(b => (char)ByteAlphabet.Char((byte)b)).Order()];

    /// <summary>Cuts a text into words.</summary>
    public static IEnumerable<string> Words(string text)
    {
        int[] chars = CodePoints.Of(text);
        return s_pattern.Matches(chars).Where(word => word.End > word.Start).Select(word => CodePoints.ToString(chars.AsSpan(word.Start, word.End - word.Start)));
    }

    /// <summary>A word in the byte alphabet.</summary>
    public static string InBytes(string word)
    {
        NormalizedText text = new(word);
        ByteAlphabet.Apply(text);
        return text.ToString();
    }

    /// <summary>Writes tokenizer.json as the Hugging Face tokenizers library does, and tokenizer_config.json with the tokens' roles.</summary>
    /// <param name="folder">An existing folder.</param>
    /// <param name="roles">bos_token, eos_token, pad_token … and the special token that has the role.</param>
    /// <param name="chatTemplate">A Jinja text; null writes none.</param>
    /// <exception cref="ArgumentException">A role is unknown, or its token is not special.</exception>
    public void Write(string folder, IReadOnlyDictionary<string, string> roles, string? chatTemplate = null)
    {
        ArgumentNullException.ThrowIfNull(roles);
        foreach ((string role, string token) in roles)
            if (!TokenizerConfig.Roles.Contains(role) || !SpecialTokens.Contains(token))
                throw new ArgumentException($"{role} \"{token}\": expected one of {string.Join(", ", TokenizerConfig.Roles)} and one of the special tokens {string.Join(", ", SpecialTokens)}", nameof(roles));
        AtomicFile.Write(Path.Combine(folder, "tokenizer.json"), stream => TokenizerJson.Write(stream, this));
        AtomicFile.Write(Path.Combine(folder, "tokenizer_config.json"), stream => TokenizerConfig.Write(stream, roles, chatTemplate));
    }
}
