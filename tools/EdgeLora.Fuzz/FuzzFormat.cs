using EdgeLora.Core;

namespace EdgeLora.Fuzz;

/// <summary>One format whose reader is fuzzed: where its mutated bytes go, how a user would load them, and what is asked of the reader.</summary>
internal abstract class FuzzFormat
{
    /// <summary>As <c>--format</c> spells it.</summary>
    public abstract string Name { get; }

    /// <summary>The mutated file's name inside the working folder.</summary>
    public abstract string FileName { get; }

    /// <summary>Words of the format that the mutator puts in.</summary>
    public virtual IReadOnlyList<string> Tokens => [];

    /// <summary>Whether it is text, so that the mutator changes words and numbers too.</summary>
    public virtual bool IsText => false;

    /// <summary>
    /// Bytes that a reader may allocate beside 4 times the file: what the shortest refusal costs (an exception with its message and stack, a JSON document, the tables of the format's reader).
    /// </summary>
    public virtual long SlackBytes => 256 << 10;

    /// <summary>Files of the reference data that are seeds too, patterns below <c>shared/fixtures</c>.</summary>
    public virtual IReadOnlyList<string> SharedSeeds => [];

    /// <summary>Whether the first of <see cref="Seeds"/> is loaded, not refused.</summary>
    public virtual bool HasSoundSeed => true;

    /// <summary>Files made here.</summary>
    public abstract IEnumerable<byte[]> Seeds();

    /// <summary>Writes what lies beside the mutated file.</summary>
    public virtual void Prepare(string folder)
    {
    }

    /// <summary>Loads the working folder as a user would, and lets go of it.</summary>
    public abstract void Open(string folder);

    /// <summary>Makes lengths and checksums right again, so that a mutation reaches what stands behind them; null: nothing to do.</summary>
    public virtual byte[]? Repair(byte[] input) => null;

    /// <summary>Whether an exception is a refusal that the reader documents.</summary>
    public virtual bool IsRefusal(Exception e) => e is ModelFileException;

    /// <summary>All of them.</summary>
    public static IReadOnlyList<FuzzFormat> All { get; } =
    [
        new SafetensorsFuzz(), new SafetensorsIndexFuzz(), new GgufFuzz(), new GgufVocabularyFuzz(), new ConfigFuzz(), new QuantisedFuzz(mutatesConfig: false), new QuantisedFuzz(mutatesConfig: true), new TorchFuzz(),
        new AdapterConfigFuzz(), new AdapterTensorsFuzz(), new EdgeAdapterFuzz(), new OnnxAdapterFuzz(), .. AdapterFileFuzz.Foreign,
        new Llama2cFuzz(), new Llama2cVocabularyFuzz(), new TokenizerJsonFuzz(), new TokenizerConfigFuzz(), new VocabularyTextFuzz(), new VocabularyAndMergesFuzz(mutatesMerges: false), new VocabularyAndMergesFuzz(mutatesMerges: true), new SentencePieceFuzz(), new TiktokenFuzz(),
        new ChatTemplateFuzz(renders: true), new ChatTemplateFuzz(renders: false), new HubAnswerFuzz(), new RecipeFuzz(), new LinkMessageFuzz(),
    ];
}
