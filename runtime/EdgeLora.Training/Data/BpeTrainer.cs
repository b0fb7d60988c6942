using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>
/// Trains a byte-level BPE vocabulary (Sennrich et al., arXiv:1508.07909, over bytes as in GPT-2). It makes the merges that BpeTrainer of the Hugging Face
/// tokenizers library makes with the whole byte alphabet: the most frequent pair first, of equal ones the one of the lowest ids.
/// </summary>
/// <param name="vocabularySize">Tokens in all: special ones, the 256 bytes, merges. Fewer where the text has no more pairs.</param>
/// <param name="specialTokens">Special tokens; they take the first ids.</param>
/// <param name="minimumFrequency">How often a pair must stand in the text to be merged.</param>
public sealed class BpeTrainer(int vocabularySize, IReadOnlyList<string> specialTokens, long minimumFrequency = 0)
{
    private readonly string[] _specials = Check(vocabularySize, specialTokens);
    private readonly Dictionary<string, long> _words = [];

    /// <summary>Counts the words of a text. Special tokens in it divide it and are not counted, for a model never sees their letters.</summary>
    public void Add(string text)
    {
        foreach (string part in _specials.Length == 0 ? [text] : text.Split(_specials, StringSplitOptions.None))
            foreach (string word in ByteLevelBpe.Words(part))
                System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(_words, word, out _)++;
    }

    /// <summary>Merges what was counted. The order in which texts were added makes no difference.</summary>
    /// <param name="cancellation">Ends it with an <see cref="OperationCanceledException"/>.</param>
    public ByteLevelBpe Train(CancellationToken cancellation = default)
    {
        List<string> tokens = [.. _specials];
        Dictionary<string, int> ids = new(StringComparer.Ordinal);
        foreach (char c in ByteLevelBpe.Alphabet)
            if (!tokens.Contains(c.ToString()))
                tokens.Add(c.ToString());
        foreach ((int id, string token) in tokens.Index())
            ids[token] = id;

        BpeWords words = new(_words.Select(w => (Array.ConvertAll(ByteLevelBpe.InBytes(w.Key).ToCharArray(), c => ids[c.ToString()]), w.Value)));
        Dictionary<(int, int), int> order = [];
        List<(int Left, int Right)> merges = [];
        while (tokens.Count < vocabularySize && words.TakeMostFrequent(minimumFrequency) is { } pair)
        {
            cancellation.ThrowIfCancellationRequested();
            string joined = tokens[pair.Left] + tokens[pair.Right];
            // Two ways of merging may lead to one token.
            if (ids.TryAdd(joined, tokens.Count))
                tokens.Add(joined);
            order[(pair.Left, pair.Right)] = merges.Count;
            merges.Add((pair.Left, pair.Right));
            words.Merge(pair, ids[joined]);
        }
        // A pair that was merged twice keeps its last place, as in the library.
        return new(tokens, [.. merges.Where((pair, i) => order[pair] == i).Select(pair => (tokens[pair.Left], tokens[pair.Right]))], _specials);
    }

    private static string[] Check(int vocabularySize, IReadOnlyList<string> specialTokens)
    {
        string[] specials = [.. specialTokens.Distinct()];
        if (specials.Contains(""))
            throw new ArgumentException("special tokens: expected texts, found an empty one", nameof(specialTokens));
        if (vocabularySize < 256 + specials.Length)
            throw new ArgumentException($"vocabulary size: expected at least {256 + specials.Length} for the bytes and {specials.Length} special tokens, found {vocabularySize}", nameof(vocabularySize));
        return specials;
    }
}
