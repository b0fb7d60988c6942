using System.Globalization;
using System.Text;
using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>
/// cloneofsimo/lora's files, the first LoRA of Stable Diffusion: pairs numbered in the order of the model's modules (<see cref="CloneofsimoNames"/>), the classes that were targeted as metadata. s is 1.
/// <code>
/// unet:N:up [O, R(, 1, 1)]   unet:N:down [R, I(, k, k)]   text_encoder:N:up, text_encoder:N:down
/// metadata: "unet": '["CrossAttention", "GEGLU"]', "unet:N:rank": '4', "&lt;s1&gt;": '&lt;embed&gt;' for a tensor &lt;s1&gt; of textual inversion
/// </code>
/// Source: cloneofsimo/lora lora_diffusion/lora.py (save_safeloras_with_embeds, parse_safeloras).
/// </summary>
public sealed class CloneofsimoFormat : AdapterFileFormat
{
    private const string Embedding = "<embed>";
    private static readonly string[] s_components = ["unet", "text_encoder"];
    private static readonly string[][] s_unetClasses = [["CrossAttention", "Attention", "GEGLU"], ["CrossAttention", "Attention"], ["ResnetBlock2D", "CrossAttention", "Attention", "GEGLU"]];
    private static readonly string[][] s_textClasses = [["CLIPAttention"], ["CLIPAttention", "CLIPMLP"]];

    /// <inheritdoc/>
    public override string Name => "cloneofsimo";

    /// <inheritdoc/>
    public override string Title => "a cloneofsimo file";

    /// <inheritdoc/>
    public override string Extension => ".safetensors";

    /// <inheritdoc/>
    public override AdapterTexts Texts => AdapterTexts.Metadata;

    /// <inheritdoc/>
    public override bool Recognizes(string path) => SafetensorsPeek.Header(path, h => SafetensorsPeek.Has(h, "\"unet:0:"u8) || SafetensorsPeek.Has(h, "\"text_encoder:0:"u8));

    /// <inheritdoc/>
    public override PeftAdapter Read(string path, AdapterOptions options)
    {
        TensorFile file = Safetensors.Open(path);
        try
        {
            FaultList faults = new(path);
            Dictionary<string, SortedDictionary<int, (Tensor? Up, Tensor? Down)>> lists = s_components.ToDictionary(c => c, _ => new SortedDictionary<int, (Tensor?, Tensor?)>());
            foreach ((string name, Tensor tensor) in file.Tensors)
            {
                string[] parts = name.Split(':');
                if (file.Metadata.GetValueOrDefault(name) == Embedding)
                {
                    // Left out only where that was asked for: a prompt with this word means nothing without it.
                    if (!options.WithoutEmbeddings)
                        faults.Add($"{name}: a textual-inversion embedding {tensor.Shape}, which no adapter holds: leave it out with --without-embeddings");
                }
                else if (parts.Length == 3 && lists.TryGetValue(parts[0], out SortedDictionary<int, (Tensor? Up, Tensor? Down)>? list)
                    && int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out int index) && parts[2] is "up" or "down")
                {
                    (Tensor? up, Tensor? down) = list.GetValueOrDefault(index);
                    list[index] = parts[2] == "up" ? (tensor, down) : (up, tensor);
                }
                else
                    faults.Add($"{name}: is no tensor of a cloneofsimo file");
            }
            DiffusionSites sites = new(path, faults);
            foreach ((string component, SortedDictionary<int, (Tensor? Up, Tensor? Down)> list) in lists)
                if (list.Count > 0)
                    Add(sites, component, list, file, faults);
            return sites.ToAdapter(file, file.Metadata.Where(m => KohyaFormat.IsKept(m.Key) && m.Value != Embedding && !IsOwn(m.Key)).ToDictionary());
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override AdapterVerdict Judge(PeftAdapter adapter, AdapterOptions options)
    {
        List<string> refusals = [], folds = [];
        List<DiffusionPair> pairs = DiffusionPair.Of(adapter, AdapterTraits.None, Title, refusals);
        DiffusionPair[] rounded = [.. pairs.Where(p => !ScaleFold.IsExact(p.B, p.Scale, TypeOf(p.B, p.Scale, options)))];
        foreach (DiffusionPair pair in rounded)
            folds.Add(FormattableString.Invariant($"{pair.Module}: scale {pair.Scale:R} has no place in {Title}"));
        _ = Plan(pairs, refusals);
        return new(folds, refusals) { Rounding = ScaleFold.Worst(rounded.Select(p => (p.B, p.Scale, TypeOf(p.B, p.Scale, options)))) };
    }

    /// <inheritdoc/>
    public override void Write(PeftAdapter adapter, string path, AdapterOptions options, CancellationToken cancellation = default)
    {
        Judge(adapter, options).Demand(adapter.FilePath, options.Fold);
        List<Tensor> tensors = [];
        Dictionary<string, string> metadata = adapter.File.Metadata.Where(m => KohyaFormat.IsKept(m.Key)).ToDictionary();
        foreach ((string component, string[] classes, List<DiffusionPair> pairs) in Plan(DiffusionPair.Of(adapter, AdapterTraits.None, Title, []), []))
        {
            metadata[component] = $"[{string.Join(", ", classes.Select(c => $"\"{c}\""))}]";
            for (int i = 0; i < pairs.Count; i++)
            {
                metadata[$"{component}:{i}:rank"] = pairs[i].Rank.ToString(CultureInfo.InvariantCulture);
                Put($"{component}:{i}:down", pairs[i].A, 1);
                Put($"{component}:{i}:up", pairs[i].B, pairs[i].Scale);
            }
        }
        Safetensors.Write(path, tensors, metadata, cancellation);

        void Put(string name, Tensor tensor, double scale)
        {
            DType type = TypeOf(tensor, scale, options);
            ScaleFold.Require(tensor, scale, type, name, adapter.FilePath);
            tensors.Add(new(name, type, tensor.Shape, new ComputedStorage(type.Bytes(tensor.Shape.Elements), () => ScaleFold.Apply(tensor, scale, type))));
        }
    }

    // unet, unet:0:rank
    private static bool IsOwn(string key) => Array.Exists(s_components, c => key == c || key.StartsWith(c + ":", StringComparison.Ordinal));

    private static DType TypeOf(Tensor tensor, double factor, AdapterOptions options) => ScaleFold.TypeOf(tensor, factor, options.Type, DType.F32, DType.F16, DType.BF16);

    private static void Add(DiffusionSites sites, string component, SortedDictionary<int, (Tensor? Up, Tensor? Down)> list, TensorFile file, FaultList faults)
    {
        int before = faults.Count;
        foreach ((int index, (Tensor? up, Tensor? down)) in list)
            if (up is null || down is null)
                faults.Add($"{component}:{index}:{(up is null ? "up" : "down")}: is missing");
            else if (up.Shape.Rank < 2 || down.Shape.Rank < 2)
                faults.Add($"{component}:{index}: expected factors [outputs, rank] and [rank, inputs], found {up.Shape} and {down.Shape}");
            else if (file.Metadata.TryGetValue($"{component}:{index}:rank", out string? rank) && rank != down.Shape[0].ToString(CultureInfo.InvariantCulture))
                faults.Add($"{component}:{index}:down: expected rank {rank} as its metadata says, found {down.Shape[0]}");
        if (list.Last().Key != list.Count - 1)
            faults.Add($"{component}: expected pairs 0 to {list.Count - 1}, found {list.Last().Key}");
        string[]? classes = Classes(file, component, faults);
        if (classes is null || faults.Count > before)
            return;
        List<List<CloneofsimoNames.Site>> orders = component == "unet"
            ? [.. new[] { true, false }.Select(early => CloneofsimoNames.Unet(classes, early)).OfType<List<CloneofsimoNames.Site>>()]
            : CloneofsimoNames.Text(classes, list.Count / (classes.Length == 1 && classes[0] == "CLIPMLP" ? 2 : classes.Length == 2 ? 6 : 4)) is { } text ? [text] : [];
        if (orders.Count == 0)
        {
            faults.Add($"{component}: modules of the classes {string.Join(", ", classes)} are not known in their order");
            return;
        }
        List<List<CloneofsimoNames.Site>> fitting = [.. orders.Where(o => Fits(o, list)).DistinctBy(o => string.Join('|', o.Select(s => s.Name)))];
        if (fitting.Count != 1)
        {
            faults.Add($"{component}: {list.Count} pairs {(fitting.Count == 0 ? "have not the number and sizes" : "fit more than one order")} of Stable Diffusion 1's or 2's {string.Join(", ", classes)} ({orders[0].Count})");
            return;
        }
        foreach ((int index, (Tensor? up, Tensor? down)) in list)
            sites.Add($"{component}:{index}", $"{component}.{fitting[0][index].Name}", down!, up!, down!.Shape[0]);
    }

    private static bool Fits(List<CloneofsimoNames.Site> order, SortedDictionary<int, (Tensor? Up, Tensor? Down)> list)
    {
        if (order.Count != list.Count)
            return false;
        foreach ((int index, (Tensor? up, Tensor? down)) in list)
        {
            CloneofsimoNames.Site site = order[index];
            if (site.Outputs > 0 && (up!.Shape[0] != site.Outputs || down!.Shape.Rank != (site.Kernel > 0 ? 4 : 2) || site.Kernel > 0 && down.Shape[3] != site.Kernel)
                || (site.Inputs > 0 ? down!.Shape[1] != site.Inputs : site.Outputs > 0 && down!.Shape[1] == site.Outputs))
                return false;
        }
        return true;
    }

    private static string[]? Classes(TensorFile file, string component, FaultList faults)
    {
        if (!file.Metadata.TryGetValue(component, out string? json))
        {
            faults.Add($"{component}: its metadata with the targeted classes is missing");
            return null;
        }
        try
        {
            using JsonDocument document = SafeJson.Parse(file.FilePath, Encoding.UTF8.GetBytes(json), component);
            if (document.RootElement.ValueKind == JsonValueKind.Array && document.RootElement.EnumerateArray().All(e => e.ValueKind == JsonValueKind.String))
                return [.. document.RootElement.EnumerateArray().Select(e => e.GetString()!).Distinct()];
            faults.Add($"{component}: expected a list of classes, found {SafeJson.Excerpt(document.RootElement)}");
        }
        catch (ModelFileException e)
        {
            faults.Add(e.Faults[0]);
        }
        return null;
    }

    // The set of classes whose modules are exactly those of the adapter.
    private static List<(string Component, string[] Classes, List<DiffusionPair> Pairs)> Plan(List<DiffusionPair> pairs, List<string> refusals)
    {
        List<(string, string[], List<DiffusionPair>)> plan = [];
        foreach (IGrouping<string, DiffusionPair> component in pairs.GroupBy(p => DiffusionSites.Split(p.Module)!.Value.Component))
        {
            if (!s_components.Contains(component.Key))
            {
                refusals.Add($"{component.Key}: a cloneofsimo file is of Stable Diffusion 1 or 2 and has no such part");
                continue;
            }
            Dictionary<string, DiffusionPair> byName = component.ToDictionary(p => DiffusionSites.Split(p.Module)!.Value.Name);
            int layers = byName.Keys.Select(n => n.Split('.')).Where(p => p.Length > 3 && int.TryParse(p[3], out _)).Select(p => int.Parse(p[3], CultureInfo.InvariantCulture) + 1).DefaultIfEmpty(0).Max();
            (string[] Classes, List<CloneofsimoNames.Site> Sites)[] sets = component.Key == "unet"
                ? [.. s_unetClasses.Select(c => (c, CloneofsimoNames.Unet(c, early: true)!))]
                : [.. s_textClasses.Select(c => (c, CloneofsimoNames.Text(c, Math.Min(layers, 128))!))];
            int at = Array.FindIndex(sets, s => s.Sites.Count == byName.Count && s.Sites.All(site => byName.ContainsKey(site.Name)));
            if (at >= 0)
            {
                plan.Add((component.Key, sets[at].Classes, [.. sets[at].Sites.Select(s => byName[s.Name])]));
                continue;
            }
            string? absent = sets[0].Sites.Select(s => s.Name).FirstOrDefault(n => !byName.ContainsKey(n)), foreign = byName.Keys.FirstOrDefault(n => !sets.Any(s => s.Sites.Any(site => site.Name == n)));
            refusals.Add($"{component.Key}: a cloneofsimo file numbers all modules of {string.Join(" or ", sets.Select(s => string.Join(", ", s.Classes)))}; {(foreign is not null ? $"{component.Key}.{foreign} is none of them" : $"{component.Key}.{absent} is missing")}");
        }
        return plan;
    }
}
