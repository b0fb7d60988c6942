using System.Text.Json;

namespace EdgeLora.Training;

/// <summary>
/// A row that is tokenised already: input_ids and labels, with attention_mask (0 = padding, which is dropped) and position_ids
/// (0, 1, 2, …; a new 0 begins a packed sequence). What would train otherwise than the row says is refused.
/// </summary>
internal static class TokenRow
{
    private static readonly string[] s_fields = ["input_ids", "labels", "attention_mask", "position_ids"];

    public static TrainingExample Read(JsonElement row, int? vocabularySize)
    {
        // Any other field (token types, segment ids) may change what the row means.
        foreach (JsonProperty field in row.EnumerateObject())
            if (!s_fields.Contains(field.Name))
                throw new RowFault($"\"{field.Name}\" is not a field of a tokenised row: expected {string.Join(", ", s_fields)}");
        int[] ids = Numbers(RowFields.Require(row, "input_ids"), "input_ids"), labels = Column(row, "labels", ids.Length) ?? throw new RowFault("labels is missing");
        int[]? mask = Column(row, "attention_mask", ids.Length), positions = Column(row, "position_ids", ids.Length);
        (int start, int end) = mask is null ? (0, ids.Length) : Kept(mask, labels);
        (ids, labels, positions) = (ids[start..end], labels[start..end], positions?[start..end]);
        for (int i = 0; i < ids.Length; i++)
        {
            if (!IsToken(ids[i]))
                throw new RowFault($"input_ids[{start + i}]: expected {Range()}, found {ids[i]}");
            if (labels[i] != TrainingExample.Ignored && !IsToken(labels[i]))
                throw new RowFault($"labels[{start + i}]: expected {Range()} or {TrainingExample.Ignored}, found {labels[i]}");
        }
        int[] segments = positions is null ? [ids.Length] : Segments(positions, labels, start);
        if (ids.Length > 0)
            labels[0] = TrainingExample.Ignored;
        return new(ids, labels, ids.Length == 0 ? [] : segments);

        bool IsToken(int id) => id >= 0 && id < (vocabularySize ?? int.MaxValue);
        string Range() => vocabularySize is { } size ? $"0 to {size - 1}" : "0 or more";
    }

    // The tokens stand together, padding left or right of them.
    private static (int Start, int End) Kept(int[] mask, int[] labels)
    {
        if (Array.FindIndex(mask, m => m is not (0 or 1)) is >= 0 and int wrong)
            throw new RowFault($"attention_mask[{wrong}]: expected 0 or 1, found {mask[wrong]}");
        int start = Array.IndexOf(mask, 1), end = Array.LastIndexOf(mask, 1) + 1;
        if (start < 0)
            (start, end) = (0, 0);
        if (Array.IndexOf(mask, 0, start, end - start) is >= 0 and int hole)
            throw new RowFault($"attention_mask[{hole}]: expected padding only left or right of the tokens, found 0 between them");
        for (int i = 0; i < mask.Length; i++)
            if (mask[i] == 0 && labels[i] != TrainingExample.Ignored)
                throw new RowFault($"labels[{i}]: expected {TrainingExample.Ignored} where attention_mask is 0, found {labels[i]}");
        return (start, end);
    }

    private static int[] Segments(int[] positions, int[] labels, int offset)
    {
        List<int> lengths = [];
        int start = 0;
        for (int i = 0; i < positions.Length; i++)
        {
            if (i > 0 && positions[i] == 0)
            {
                if (labels[i] != TrainingExample.Ignored)
                    throw new RowFault($"labels[{offset + i}]: expected {TrainingExample.Ignored} for the first token of a packed sequence, found {labels[i]}");
                lengths.Add(i - start);
                start = i;
            }
            if (positions[i] != i - start)
                throw new RowFault($"position_ids[{offset + i}]: expected {i - start}{(i > 0 ? " or 0" : "")}, found {positions[i]}");
        }
        lengths.Add(positions.Length - start);
        return [.. lengths];
    }

    private static int[]? Column(JsonElement row, string name, int count)
    {
        if (RowFields.Find(row, name) is not { } value)
            return null;
        int[] numbers = Numbers(value, name);
        return numbers.Length == count ? numbers : throw new RowFault($"{name}: expected {count} numbers as in input_ids, found {numbers.Length}");
    }

    private static int[] Numbers(JsonElement value, string name)
    {
        JsonElement[] items = RowFields.List(value, name);
        int[] numbers = new int[items.Length];
        for (int i = 0; i < items.Length; i++)
            if (items[i].ValueKind != JsonValueKind.Number || !items[i].TryGetInt32(out numbers[i]))
                throw RowFields.Expected("a whole number", items[i], $"{name}[{i}]");
        return numbers;
    }
}
