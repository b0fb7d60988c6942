using System.Runtime.InteropServices;

namespace EdgeLora.Training;

/// <summary>A pair of tokens and the words in which it may be merged.</summary>
internal sealed record BpePair(int Left, int Right, List<int> Words);

/// <summary>Words as tokens with the counts of their pairs, kept up to date while pairs merge.</summary>
internal sealed class BpeWords
{
    private readonly List<List<int>> _words = [];
    private readonly List<long> _counts = [];
    private readonly Dictionary<(int Left, int Right), long> _pairs = [];
    // Most frequent first, of equal ones the lowest ids. A pair that wins new words stands here once more, with them alone.
    private readonly PriorityQueue<BpePair, (long Count, int Left, int Right)> _queue = new(Comparer<(long Count, int Left, int Right)>.Create(
        (a, b) => a.Count != b.Count ? b.Count.CompareTo(a.Count) : (a.Left, a.Right).CompareTo((b.Left, b.Right))));

    public BpeWords(IEnumerable<(int[] Tokens, long Count)> words)
    {
        Dictionary<(int, int), List<int>> places = [];
        foreach ((int[] tokens, long count) in words)
        {
            int word = _words.Count;
            _words.Add([.. tokens]);
            _counts.Add(count);
            for (int i = 1; i < tokens.Length; i++)
                Count((tokens[i - 1], tokens[i]), count, word, places);
        }
        Enqueue(places);
    }

    /// <summary>The pair to be merged next, or null where none is frequent enough.</summary>
    public BpePair? TakeMostFrequent(long minimum)
    {
        while (_queue.TryDequeue(out BpePair? pair, out (long Count, int, int) key))
        {
            long count = _pairs[(pair.Left, pair.Right)];
            if (count != key.Count)
                // Merges have changed the count since; look again where the pair stands now.
                _queue.Enqueue(pair, (count, pair.Left, pair.Right));
            else
                return count < Math.Max(1, minimum) ? null : pair;
        }
        return null;
    }

    /// <summary>Replaces the pair in its words by <paramref name="joined"/>.</summary>
    public void Merge(BpePair pair, int joined)
    {
        Dictionary<(int, int), List<int>> places = [];
        foreach (int word in pair.Words)
        {
            List<int> tokens = _words[word];
            long count = _counts[word];
            for (int i = 0; i + 1 < tokens.Count; i++)
            {
                if (tokens[i] != pair.Left || tokens[i + 1] != pair.Right)
                    continue;
                if (i > 0)
                {
                    Count((tokens[i - 1], pair.Left), -count, word, places);
                    Count((tokens[i - 1], joined), count, word, places);
                }
                tokens[i] = joined;
                tokens.RemoveAt(i + 1);
                if (i + 1 < tokens.Count)
                {
                    Count((pair.Right, tokens[i + 1]), -count, word, places);
                    Count((joined, tokens[i + 1]), count, word, places);
                }
            }
        }
        Enqueue(places);
    }

    private void Count((int, int) pair, long change, int word, Dictionary<(int, int), List<int>> places)
    {
        CollectionsMarshal.GetValueRefOrAddDefault(_pairs, pair, out _) += change;
        if (change <= 0)
            return;
        ref List<int>? words = ref CollectionsMarshal.GetValueRefOrAddDefault(places, pair, out _);
        words ??= [];
        if (words.Count == 0 || words[^1] != word)
            words.Add(word);
    }

    private void Enqueue(Dictionary<(int Left, int Right), List<int>> places)
    {
        foreach (((int Left, int Right) pair, List<int> words) in places)
            if (_pairs[pair] > 0)
                _queue.Enqueue(new(pair.Left, pair.Right, words), (_pairs[pair], pair.Left, pair.Right));
    }
}
