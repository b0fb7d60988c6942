using EdgeLora.Models;
using EdgeLora.Training;

namespace EdgeLora.Tests.Training;

/// <summary>A folder of data files that a test writes, and a small tokenizer (byte-level; &lt;|im_start|&gt; and &lt;|im_end|&gt; are special) to read them with.</summary>
public abstract class DataFolder : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-data-").FullName;

    protected static Tokenizer Tokenizer { get; } = Tokenizer.Load(Path.Combine(SharedFolder.Repository, "tests", "EdgeLora.Tests", "Text", "data", "tokenizers", "smollm_digits"));

    public void Dispose()
    {
        Directory.Delete(_folder, true);
        GC.SuppressFinalize(this);
    }

    protected string Write(string name, string text)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllText(path, text);
        return path;
    }

    protected string WriteBytes(string name, byte[] bytes)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    /// <summary>Options for one file, with ChatML.</summary>
    protected static DataOptions Options(string path) => new() { Files = [path], Template = "chatml" };

    protected static TrainingData Load(DataOptions options, ChatTemplate? own = null) => TrainingData.Load(options, Tokenizer, own);

    /// <summary>The texts of rows, special tokens included.</summary>
    protected static string[] Texts(IEnumerable<TrainingExample> rows) => [.. rows.Select(r => Tokenizer.Decode(r.InputIds, skipSpecialTokens: false))];

    /// <summary>The text of the tokens that carry a loss.</summary>
    protected static string Trained(TrainingExample row) => Tokenizer.Decode(row.Labels.Where(l => l != TrainingExample.Ignored).ToArray(), skipSpecialTokens: false);
}
