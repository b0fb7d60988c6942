namespace EdgeLora.Models;

/// <summary>The variable loop. Looks ahead only when asked, so that lazy items are made as late as Jinja makes them.</summary>
internal sealed class JinjaLoop(IEnumerable<object?> items, object? iterable, int depth)
{
    private IEnumerator<object?> items = items.GetEnumerator();
    private int? length = iterable is null ? null : (int?)PyType.Length(iterable);
    private bool hasAfter, ended, hasBefore;
    private object? before, current, after, lastChanged;
    private bool changedOnce;

    /// <summary>Renders the loop again over other items; null unless it is recursive.</summary>
    public Func<JinjaRun, object?, string>? Recurse { get; set; }

    public int Index0 { get; private set; } = -1;
    public int Index => Index0 + 1;
    public int Depth0 => depth;
    public bool IsLast => !Peek();
    public object? Before => hasBefore ? before : new JinjaUndefined("there is no previous item");
    public object? After => Peek() ? after : new JinjaUndefined("there is no next item");

    public int Length
    {
        get
        {
            if (length is null)
            {
                List<object?> rest = [];
                while (items.MoveNext())
                    rest.Add(items.Current);
                items = rest.GetEnumerator();
                length = rest.Count + Index + (hasAfter ? 1 : 0);
            }
            return length.Value;
        }
    }

    public bool MoveNext(out object? item)
    {
        bool more = Peek();
        if (more)
        {
            (hasBefore, before) = (Index0 >= 0, current);
            (current, hasAfter) = (after, false);
            Index0++;
        }
        item = current;
        return more;
    }

    /// <summary>What is left of the items, when the loop itself is walked.</summary>
    public IEnumerable<object?> Rest()
    {
        while (MoveNext(out object? item))
            yield return new JinjaTuple(item, this);
    }

    public bool Changed(JinjaTuple values)
    {
        if (changedOnce && PyEquality.Same(lastChanged, values))
            return false;
        (changedOnce, lastChanged) = (true, values);
        return true;
    }

    private bool Peek()
    {
        if (hasAfter)
            return true;
        if (ended || !items.MoveNext())
        {
            ended = true;
            return false;
        }
        (hasAfter, after) = (true, items.Current);
        return true;
    }
}
