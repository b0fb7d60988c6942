namespace EdgeLora.Core;

/// <summary>What an adapter may have beside s·B·A on linear layers.</summary>
[Flags]
public enum AdapterTraits
{
    /// <summary>Nothing.</summary>
    None = 0,
    /// <summary>DoRA's magnitudes.</summary>
    Dora = 1,
    /// <summary>Biases in place of the base's.</summary>
    Bias = 2,
    /// <summary>A bias of B.</summary>
    LoraBias = 4,
    /// <summary>Whole modules in place of the base's.</summary>
    SavedModules = 8,
    /// <summary>New rows of a table.</summary>
    TokenRows = 16,
    /// <summary>aLoRA's invocation tokens.</summary>
    Invocation = 32,
    /// <summary>Layers that run more than once.</summary>
    Replication = 64,
    /// <summary>A base that lost a part before training.</summary>
    Residual = 128,
    /// <summary>Low-rank pairs on embeddings.</summary>
    Embedding = 256,
    /// <summary>Rows of q and k in a GGUF's order.</summary>
    MovedRows = 512,
    /// <summary>A task's name and a prompt's prefix (GGUF).</summary>
    Texts = 1024,
}

/// <summary>Names what of an adapter a format cannot hold.</summary>
public static class AdapterContents
{
    /// <summary>Adds to <paramref name="refusals"/> all that <paramref name="adapter"/> has and <paramref name="held"/> does not name.</summary>
    /// <param name="adapter">The adapter.</param>
    /// <param name="held">What the format holds beside s·B·A of linear layers.</param>
    /// <param name="format">What messages call the format: "an .onnx_adapter file".</param>
    /// <param name="refusals">Where reasons go.</param>
    public static void Refuse(PeftAdapter adapter, AdapterTraits held, string format, List<string> refusals)
    {
        PeftConfig config = adapter.Config;
        void Check(bool absent, AdapterTraits trait, string what)
        {
            if (!absent && !(trait != AdapterTraits.None && held.HasFlag(trait)))
                refusals.Add($"{PeftConfigReader.FileName}: {what}: {format} cannot hold it");
        }
        Check(config.PeftType == "LORA", AdapterTraits.None, config.PeftType is "IA3" or "OFT" or "BOFT" ? $"peft_type {config.PeftType} (merge it, or extract a LoRA from the merged model: edgelora merge, edgelora adapter extract)" : $"peft_type {config.PeftType}");
        Check(!config.UseDora, AdapterTraits.Dora, "use_dora");
        Check(config.Residual == PeftResidual.None, AdapterTraits.Residual, "init_lora_weights that changed the base");
        Check(config.InvocationTokens is null, AdapterTraits.Invocation, "alora_invocation_tokens");
        Check(config.LayerReplication is null, AdapterTraits.Replication, "layer_replication");
        Check(config.ModulesToSave.Count == 0, AdapterTraits.SavedModules, "modules_to_save");
        Check(config.TokenRows.Count == 0, AdapterTraits.TokenRows, "trainable_token_indices");
        Check(config.Bias == PeftBias.None, AdapterTraits.Bias, "bias");
        Check(!config.LoraBias, AdapterTraits.LoraBias, "lora_bias");
        Check(!FusedExperts.AreIn(adapter), AdapterTraits.None, "target_parameters (split it into pairs of the base's own layers: --split-experts with --base)");
        if (!held.HasFlag(AdapterTraits.MovedRows) && adapter.RowFault is { } rows)
            refusals.Add(rows);
        if (!held.HasFlag(AdapterTraits.Texts))
            RefuseTexts(adapter, format, refusals);
        foreach (PeftModule module in adapter.Modules.Values)
            foreach (PeftPart part in module.Parts.Keys)
                // A frozen copy of the base's own weight says nothing.
                if (part is not (PeftPart.A or PeftPart.B or PeftPart.BaseWeight) && !held.HasFlag(TraitOf(part)))
                    refusals.Add($"{module.Name}.{PeftAdapter.LabelOf(part)}: {format} cannot hold it");
    }

    /// <summary>Adds to <paramref name="refusals"/> a task's name and a prompt's prefix: without its prefix an adapter is asked another way than it was trained.</summary>
    public static void RefuseTexts(PeftAdapter adapter, string format, List<string> refusals)
    {
        foreach ((string key, string text) in adapter.File.Metadata.Where(m => m.Key.StartsWith(PeftAdapter.MetadataPrefix, StringComparison.Ordinal)).OrderBy(m => m.Key, StringComparer.Ordinal))
            refusals.Add($"{key} ({(text.Length > 40 ? text[..37] + "..." : text)}): {format} cannot hold it; leave it out with --without-texts");
    }

    /// <summary>Adds to <paramref name="refusals"/> pairs without magnitudes in an adapter that says it has them.</summary>
    public static void RefuseMissingMagnitudes(PeftAdapter adapter, List<string> refusals)
    {
        foreach (PeftModule module in adapter.Config.UseDora ? adapter.Modules.Values : [])
            if (module[PeftPart.Magnitude] is null && (module[PeftPart.A] ?? module[PeftPart.EmbeddingA]) is not null)
                refusals.Add($"{module.Name}.{PeftAdapter.LabelOf(PeftPart.Magnitude)}: is missing, but use_dora is true");
    }

    private static AdapterTraits TraitOf(PeftPart part) => part switch
    {
        PeftPart.Magnitude => AdapterTraits.Dora,
        PeftPart.OutputBias => AdapterTraits.LoraBias,
        PeftPart.EmbeddingA or PeftPart.EmbeddingB => AdapterTraits.Embedding,
        PeftPart.TokenRows => AdapterTraits.TokenRows,
        PeftPart.BaseBias => AdapterTraits.Bias,
        PeftPart.Bias => AdapterTraits.Bias | AdapterTraits.SavedModules,
        _ => AdapterTraits.SavedModules,
    };
}
