using System.Text.RegularExpressions;
using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>Documents of plain text: to train a model on, or a tokenizer.</summary>
public static partial class TextDocuments
{
    /// <summary>Reads the documents of a plain text file, or those in a field of the rows of a .jsonl, .json or .csv file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="separator">Where a document of plain text ends, as <see cref="DataOptions.DocumentSeparator"/>.</param>
    /// <param name="column">The field of a row.</param>
    /// <exception cref="ModelFileException">The file cannot be read or has bad rows: each is named by its line.</exception>
    public static IReadOnlyList<string> Read(string path, string? separator = null, string column = "text")
    {
        if (RowFile.IsPlainText(path))
            return [.. Split(RowFile.ReadText(path), separator)];
        List<string> documents = [];
        FaultList faults = new(path);
        foreach (DataRow row in RowFile.Read(path, faults))
            try
            {
                documents.Add(RowFields.Text(RowFields.Require(row.Value, column), column));
            }
            catch (RowFault e)
            {
                faults.Add($"line {row.Line}: {e.Message}");
            }
        faults.ThrowIfAny();
        return documents;
    }

    /// <summary>The documents in a text, without blanks around them. Every line end reads as one line feed.</summary>
    internal static IEnumerable<string> Split(string text, string? separator)
    {
        text = text.ReplaceLineEndings("\n");
        IEnumerable<string> documents = separator switch
        {
            null => [text],
            DataOptions.BlankLine => BlankLines().Split(text),
            _ => text.Split(separator.ReplaceLineEndings("\n")),
        };
        return documents.Select(d => d.Trim()).Where(d => d.Length > 0);
    }

    [GeneratedRegex(@"\n(?:[ \t]*\n)+")]
    private static partial Regex BlankLines();
}
