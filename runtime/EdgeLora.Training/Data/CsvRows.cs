using System.Buffers;
using System.Text;
using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>Rows of a CSV file with a header line (RFC 4180): a quoted field may hold separators, line breaks and doubled quotes. Blank lines are no rows.</summary>
internal static class CsvRows
{
    public static IEnumerable<DataRow> Read(string path, char separator, FaultList faults)
    {
        Cursor cursor = new(RowFile.ReadText(path), separator, faults);
        if (!cursor.Next())
            throw new ModelFileException(path, "expected a header line, found nothing");
        string[] names = [.. cursor.Fields];
        foreach (string twice in names.GroupBy(n => n).Where(g => g.Count() > 1).Select(g => g.Key))
            faults.Add($"line {cursor.Line}: the column \"{twice}\" stands twice");
        if (faults.Count > 0)
            yield break;
        while (cursor.Next())
        {
            if (cursor.Fields.Count != names.Length)
            {
                faults.Add($"line {cursor.Line}: expected {names.Length} fields, found {cursor.Fields.Count}");
                continue;
            }
            using JsonDocument row = Document(names, cursor.Fields);
            yield return new(cursor.Line, row.RootElement);
        }
    }

    private static JsonDocument Document(string[] names, List<string> fields)
    {
        ArrayBufferWriter<byte> buffer = new();
        using (Utf8JsonWriter writer = new(buffer))
        {
            writer.WriteStartObject();
            for (int i = 0; i < names.Length; i++)
                writer.WriteString(names[i], fields[i]);
            writer.WriteEndObject();
        }
        return JsonDocument.Parse(buffer.WrittenMemory);
    }

    /// <summary>Walks the records of a text.</summary>
    private sealed class Cursor(string text, char separator, FaultList faults)
    {
        private readonly StringBuilder _field = new();
        private int _at, _line = 1;

        /// <summary>Where the record begins.</summary>
        public int Line { get; private set; }

        public List<string> Fields { get; } = [];

        public bool Next()
        {
            while (_at < text.Length && text[_at] is '\n' or '\r')
                Newline();
            if (_at >= text.Length)
                return false;
            Fields.Clear();
            Line = _line;
            while (true)
            {
                Fields.Add(_at < text.Length && text[_at] == '"' ? Quoted() : Plain());
                if (_at < text.Length && text[_at] == separator)
                {
                    _at++;
                    continue;
                }
                if (_at < text.Length)
                    Newline();
                return true;
            }
        }

        private string Plain()
        {
            int start = _at;
            while (_at < text.Length && text[_at] != separator && text[_at] is not ('\n' or '\r'))
                _at++;
            return text[start.._at];
        }

        private string Quoted()
        {
            int opened = _line;
            _field.Clear();
            _at++;
            while (true)
            {
                if (_at >= text.Length)
                {
                    faults.Add($"line {opened}: a quoted field has no end");
                    break;
                }
                char c = text[_at++];
                if (c == '\n')
                    _line++;
                if (c != '"')
                    _field.Append(c);
                else if (_at < text.Length && text[_at] == '"')
                    _field.Append(text[_at++]);
                else
                    break;
            }
            if (Plain() is { Length: > 0 } rest)
                faults.Add($"line {_line}: expected a separator after the closing quote, found \"{rest}\"");
            return _field.ToString();
        }

        // CR LF, LF and a lone CR each end one line.
        private void Newline()
        {
            _at += text[_at] == '\r' && _at + 1 < text.Length && text[_at + 1] == '\n' ? 2 : 1;
            _line++;
        }
    }
}
