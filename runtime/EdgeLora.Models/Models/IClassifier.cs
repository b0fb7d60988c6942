using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>A base that classifies: an encoder (<see cref="EncoderModel"/>), or a decoder with a score head (<see cref="DecoderClassifier"/>). One forward at a time.</summary>
public interface IClassifier : ITrainableModel, IDisposable
{
    /// <summary>Classes.</summary>
    int Classes { get; }

    /// <summary>The classes' names, config.json's id2label.</summary>
    IReadOnlyList<string> Labels { get; }

    /// <summary>Bytes of the base's weights in their stored form.</summary>
    long ByteLength { get; }

    /// <summary>Modules of the head that the checkpoint lacks: classes come only from a path that replaces each of them.</summary>
    IReadOnlyList<string> MissingHead { get; }

    /// <summary>A text, or a pair of texts, as the tokenizer cut it; its token types count only where the model tells them apart.</summary>
    EncoderInput Read(Encoding encoding);

    /// <summary>The class logits of each row, in one forward.</summary>
    /// <param name="rows">What is read, each on its own path.</param>
    /// <returns>[classes] logits for each row.</returns>
    /// <exception cref="ArgumentException">A row that does not fit the model: named with what was expected, and why the class could not be read from it.</exception>
    /// <exception cref="InvalidOperationException">The base has no classifier and a row's path brings none.</exception>
    float[][] Classify(params ReadOnlySpan<EncoderRow> rows);

    /// <summary>The class logits of one row.</summary>
    float[] Classify(EncoderInput input, AdapterPath path);
}
