namespace EdgeLora.Training;

/// <summary>Reads columns and template.</summary>
internal static class RecipeColumns
{
    private static readonly (string Name, Func<DataColumns, string?> Get, Func<DataColumns, string, DataColumns> Set)[] s_columns =
    [
        ("prompt", c => c.Prompt, (c, v) => c with { Prompt = v }), ("query", c => c.Query, (c, v) => c with { Query = v }), ("response", c => c.Response, (c, v) => c with { Response = v }),
        ("history", c => c.History, (c, v) => c with { History = v }), ("system", c => c.System, (c, v) => c with { System = v }), ("messages", c => c.Messages, (c, v) => c with { Messages = v }),
        ("tools", c => c.Tools, (c, v) => c with { Tools = v }), ("text", c => c.Text, (c, v) => c with { Text = v }),
    ];

    public static string Names => string.Join(", ", s_columns.Select(c => c.Name));

    public static bool TryRead(RecipeValue value, out DataColumns columns)
    {
        columns = new();
        foreach ((string key, string text) in value.Map ?? [])
        {
            if (Array.Find(s_columns, c => c.Name == key).Set is not { } set || text.Length == 0)
                return false;
            columns = set(columns, text);
        }
        return value.Map is not null;
    }

    public static string Show(DataColumns columns) =>
        "{" + string.Join(", ", s_columns.Where(c => c.Get(columns) != c.Get(new())).Select(c => $"{c.Name}: {RecipeField.Quote(c.Get(columns))}")) + "}";

    public static bool TryTemplate(RecipeValue value, out string template)
    {
        template = value.Scalar ?? "";
        if (BuiltInTemplate.Names.Contains(template))
            return true;
        template = value.Resolve(template);
        return File.Exists(template);
    }
}
