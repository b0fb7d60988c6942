using System.Text.RegularExpressions;

namespace EdgeLora.Core;

/// <summary>A regular expression from an adapter's config, matched at the start of a module name as Python's re.match does. Never slow: a linear engine where the pattern allows it, else a time limit that counts as no match.</summary>
public sealed class PeftPattern
{
    private static readonly TimeSpan s_limit = TimeSpan.FromMilliseconds(50);
    private readonly Regex _regex;
    private bool _tooSlow;

    /// <summary>Compiles a pattern. Throws <see cref="ArgumentException"/> for a broken one.</summary>
    public PeftPattern(string pattern)
    {
        if (pattern.Length > 10_000)
            throw new ArgumentException($"it has {pattern.Length} characters; at most 10000 are read");
        string anchored = @"\A(?:" + pattern + ")";
        try
        {
            _regex = new(anchored, RegexOptions.NonBacktracking | RegexOptions.CultureInvariant, s_limit);
        }
        catch (NotSupportedException)
        {
            _regex = new(anchored, RegexOptions.CultureInvariant, s_limit);
        }
    }

    /// <summary>True when it matches from the start of <paramref name="module"/>.</summary>
    public bool Matches(string module)
    {
        if (_tooSlow)
            return false;
        try
        {
            return _regex.IsMatch(module);
        }
        catch (RegexMatchTimeoutException)
        {
            _tooSlow = true;
            return false;
        }
    }
}
