namespace EdgeLora.Models;

/// <summary>Python's fnmatch over paths with slashes, as huggingface_hub filters a model's files: <c>*</c> (slashes too), <c>?</c>, <c>[a-z]</c>, <c>[!a-z]</c>; case counts; a pattern that ends in a slash takes all below.</summary>
internal static class FileGlob
{
    /// <summary>Whether any of the patterns takes the path.</summary>
    public static bool MatchesAny(IEnumerable<string> patterns, string path) => patterns.Any(p => Matches(p, path));

    /// <summary>Whether the pattern takes the whole path.</summary>
    public static bool Matches(string pattern, string path)
    {
        pattern = pattern.Replace('\\', '/');
        if (pattern.EndsWith('/'))
            pattern += "*";
        int p = 0, t = 0, star = -1, mark = 0;
        while (t < path.Length)
        {
            if (p < pattern.Length && pattern[p] == '*')
            {
                star = p++;
                mark = t;
            }
            else if (p < pattern.Length && One(pattern, p, path[t], out int next))
            {
                p = next;
                t++;
            }
            else if (star >= 0)
            {
                // The last star takes one character more.
                p = star + 1;
                t = ++mark;
            }
            else
                return false;
        }
        while (p < pattern.Length && pattern[p] == '*')
            p++;
        return p == pattern.Length;
    }

    // One character against what stands at p, which is no star.
    private static bool One(string pattern, int p, char c, out int next)
    {
        next = p + 1;
        if (pattern[p] == '?')
            return true;
        if (pattern[p] != '[')
            return pattern[p] == c;
        bool not = p + 1 < pattern.Length && pattern[p + 1] == '!';
        int first = p + (not ? 2 : 1);
        // A bracket right after the opening one is a member of the set; without a closing one [ is itself.
        int end = first < pattern.Length ? pattern.IndexOf(']', first + 1) : -1;
        if (end < 0)
            return c == '[';
        next = end + 1;
        bool found = false;
        for (int i = first; i < end; i++)
        {
            if (i + 2 < end && pattern[i + 1] == '-')
            {
                found |= pattern[i] <= c && c <= pattern[i + 2];
                i += 2;
            }
            else
                found |= pattern[i] == c;
        }
        return found != not;
    }
}
