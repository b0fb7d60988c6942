using System.Text.RegularExpressions;

namespace EdgeLora.Core;

/// <summary>
/// PEFT's LoRA on parameters (<c>target_parameters</c>). transformers 5 keeps the E experts of a layer in two, <c>gate_up_proj</c> [E, 2F, D] (gate over up) and <c>down_proj</c> [E, D, F] of <c>mlp.experts</c>; PEFT wraps the module
/// once for each that is targeted, in that order, so that with both <c>mlp.experts.base_layer.lora_A</c> is gate_up_proj's and <c>mlp.experts.lora_A</c> down_proj's. r is an expert's own rank:
/// A [E·r, I] has expert after expert, B [O, E·r] has rank ρ of expert e in column ρ·E + e; s = alpha/r or alpha/√r. Patterns match <c>mlp.experts.gate_up_proj</c>, the parameter's name.
/// A parameter with two dimensions, <c>mlp.gate.weight</c>, has a plain pair under its module's name. Source: huggingface/peft tuners/lora/layer.py (ParamWrapper), tuners/tuners_utils.py (_inject_parameters).
/// A base that is stored expert by expert takes them as pairs of its own layers: <see cref="Split(PeftAdapter, BaseLayers)"/>, without rounding.
/// </summary>
public static class FusedExperts
{
    private const string Wrapper = ".base_layer", Mixture = ".mlp.", OldMixture = ".block_sparse_moe.", GateUp = "gate_up_proj", Down = "down_proj";

    // The layers that an expert is in checkpoints.
    private static readonly (string Gate, string Up, string Down)[] s_layers = [("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2")];

    /// <summary>Whether an adapter holds pairs of parameters; then the modules' names and ranks are not those of the base's layers.</summary>
    public static bool AreIn(PeftAdapter adapter) => adapter.Config.TargetParameters.Count > 0;

    /// <summary>Whether the pair of <paramref name="module"/> is a parameter's: the library refuses a module that is targeted both ways.</summary>
    public static bool Holds(PeftConfig config, PeftModule module) => config.TargetParameters.Count > 0 && (module[PeftPart.A] ?? module[PeftPart.B]) is not null
        && (module.Name.EndsWith(Wrapper, StringComparison.Ordinal) || !config.Selects(module.Name) || config.TargetParameters.Any(t => t.LastIndexOf('.') is > 0 and int dot && IsEnd(module.Name, t[..dot])));

    /// <summary>
    /// The adapter with a pair for each expert's layer, under the base's names; one without target_parameters is given back itself. A's are views, B's copies. Of the two, one is disposed. Throws <see cref="ModelFileException"/>
    /// with every parameter that the base does not have, that is missing, or whose shapes are not the base's.
    /// </summary>
    /// <param name="adapter">The adapter.</param>
    /// <param name="layers">The base's linear layers.</param>
    public static PeftAdapter Split(PeftAdapter adapter, BaseLayers layers) => AreIn(adapter) ? new Splitter(adapter, layers).Run() : adapter;

    private static bool IsEnd(string name, string end) => name == end || name.EndsWith("." + end, StringComparison.Ordinal);

    private sealed class Splitter(PeftAdapter adapter, BaseLayers layers)
    {
        private readonly PeftConfig _config = adapter.Config;
        private readonly FaultList _faults = new(adapter.FilePath);
        private readonly Dictionary<string, (int Rank, double Alpha)> _pairs = [];
        private readonly Dictionary<string, Tensor> _tensors = [];
        private readonly HashSet<string> _found = new(StringComparer.Ordinal);

        public PeftAdapter Run()
        {
            try
            {
                return Split();
            }
            catch (RegexMatchTimeoutException e)
            {
                throw new ModelFileException(adapter.FilePath, $"{PeftConfigReader.FileName}: target_modules, rank_pattern or alpha_pattern: '{e.Pattern}' takes too long");
            }
        }

        private PeftAdapter Split()
        {
            Dictionary<string, List<PeftModule>> wrapped = [];
            foreach (PeftModule module in adapter.Modules.Values)
                if (!Holds(_config, module))
                    Keep(module);
                else if (!wrapped.TryAdd(RootOf(module.Name), [module]))
                    wrapped[RootOf(module.Name)].Add(module);
            foreach ((string root, List<PeftModule> modules) in wrapped)
                Add(root, modules);
            CheckMissing();
            _faults.ThrowIfAny();
            PeftConfig pairs = PairConfig.Of(adapter.FilePath, _pairs);
            return adapter.WithTensors(_tensors, _config with
            {
                Rank = pairs.Rank,
                Alpha = pairs.Alpha,
                RankPattern = pairs.RankPattern,
                AlphaPattern = pairs.AlphaPattern,
                TargetModules = pairs.TargetModules,
                TargetPattern = null,
                TargetsAllLinear = false,
                ExcludeModules = [],
                ExcludePattern = null,
                LayersToTransform = null,
                LayersPattern = [],
                TargetParameters = [],
            });
        }

        private void Keep(PeftModule module)
        {
            foreach (Tensor tensor in module.Parts.Values)
                _tensors.Add(tensor.Name, tensor);
            if ((module[PeftPart.A] ?? module[PeftPart.EmbeddingA]) is { Shape.Rank: 2 } a)
                _pairs.Add(module.Name, ((int)Math.Min(a.Shape[0], int.MaxValue), _config.AlphaOf(module.Name)));
        }

        // Wrappers from the inside out are the targeted parameters in the module's own order.
        private void Add(string root, List<PeftModule> wrappers)
        {
            wrappers.Sort((a, b) => b.Name.Length.CompareTo(a.Name.Length));
            (string At, (string Gate, string Up, string Down) Names, int Count)? experts = ExpertsOf(root);
            string at = experts?.At ?? LayerOf(root);
            string[] parameters = [.. (experts is null ? (string[])["weight"] : [GateUp, Down]).Where(p => _config.SelectsParameter($"{root}.{p}"))];
            if (experts is null && layers.Find(at) is null)
                _faults.Add($"{root}: the base has no experts or layer of this name");
            else if (parameters.Length != wrappers.Count)
                _faults.Add($"{root}: holds pairs of {wrappers.Count} parameters, but target_parameters names {(parameters.Length == 0 ? "none" : string.Join(" and ", parameters))} there");
            else
                for (int i = 0; i < parameters.Length; i++)
                {
                    _found.Add($"{Renamed(at, OldMixture, Mixture)}.{parameters[i]}");
                    if (experts is var (where, names, count))
                        AddExperts(wrappers[i], $"{root}.{parameters[i]}", where, count, parameters[i] == GateUp ? [names.Gate, names.Up] : [names.Down]);
                    else
                        AddWeight(wrappers[i], at, $"{root}.weight");
                }
        }

        private void AddExperts(PeftModule wrapper, string parameter, string at, int experts, string[] leaves)
        {
            int rank = _config.RankOf(parameter);
            BaseLinear first = layers.Find($"{at}.0.{leaves[0]}")!.Value;
            if (Pair(wrapper, parameter, (long)rank * experts, first.Inputs, first.Outputs * leaves.Length) is not var (a, b))
                return;
            // [O, r, E] turned is [E, O, r]: an expert's B lies together.
            Tensor turned = b.View(b.Name, new(b.Shape.Elements / experts, experts)).Transposed();
            for (int e = 0; e < experts; e++)
                for (int i = 0; i < leaves.Length; i++)
                {
                    string module = $"{at}.{e}.{leaves[i]}";
                    Tensor own = turned.Slice(b.Name, e, 1).View(b.Name, new(first.Outputs * leaves.Length, rank));
                    Store(module, parameter, a.Slice(a.Name, (long)e * rank, rank), own.Slice(b.Name, i * first.Outputs, first.Outputs));
                }
        }

        private void AddWeight(PeftModule wrapper, string module, string parameter)
        {
            BaseLinear layer = layers.Find(module)!.Value;
            if (!layer.IsPlain)
                _faults.Add($"{parameter}: target_parameters on a Conv1D or a table is not supported");
            else if (Pair(wrapper, parameter, _config.RankOf(parameter), layer.Inputs, layer.Outputs) is var (a, b))
                Store(module, parameter, a, b);
        }

        private (Tensor A, Tensor B)? Pair(PeftModule wrapper, string parameter, long rank, long inputs, long outputs)
        {
            int before = _faults.Count;
            foreach (PeftPart part in wrapper.Parts.Keys.Where(p => p is not (PeftPart.A or PeftPart.B)))
                _faults.Add($"{wrapper.Name}.{PeftAdapter.LabelOf(part)}: a parameter ({parameter}) has lora_A and lora_B alone");
            foreach ((PeftPart part, Shape expected) in (ReadOnlySpan<(PeftPart, Shape)>)[(PeftPart.A, new(rank, inputs)), (PeftPart.B, new(outputs, rank))])
                if (wrapper[part] is not { } tensor)
                    _faults.Add($"{wrapper.Name}.{PeftAdapter.LabelOf(part)}: is missing");
                else if (tensor.Shape != expected)
                    _faults.Add($"{wrapper.Name}.{PeftAdapter.LabelOf(part)}: expected {expected} for {parameter}, found {tensor.Shape}");
            return _faults.Count == before ? (wrapper[PeftPart.A]!, wrapper[PeftPart.B]!) : null;
        }

        private void Store(string module, string parameter, Tensor a, Tensor b)
        {
            if (!_pairs.TryAdd(module, ((int)a.Shape[0], _config.AlphaOf(parameter))))
            {
                _faults.Add($"{parameter}: {module} has a pair of its own");
                return;
            }
            foreach ((PeftPart part, Tensor value) in (ReadOnlySpan<(PeftPart, Tensor)>)[(PeftPart.A, a), (PeftPart.B, b)])
            {
                string name = PeftAdapter.NameOf(_config, module, part);
                _tensors[name] = value.View(name, value.Shape);
            }
        }

        // PEFT fails where a tensor of a targeted parameter is missing only with a warning.
        private void CheckMissing()
        {
            HashSet<string> named = [];
            foreach (BaseLinear layer in layers.All)
            {
                string name = Renamed(layer.Name, OldMixture, Mixture);
                Check($"{name}.weight");
                foreach ((string gate, _, _) in s_layers)
                    if (name.EndsWith($".experts.0.{gate}", StringComparison.Ordinal))
                        foreach (string parameter in (ReadOnlySpan<string>)[GateUp, Down])
                            Check($"{name[..^(gate.Length + 3)]}.{parameter}");
            }
            foreach (string target in _config.TargetParameters.Where(t => !named.Contains(t) && !_found.Any(f => IsEnd(f, t))))
                _faults.Add($"{PeftConfigReader.FileName}: target_parameters: the base has no parameter {target}");

            void Check(string parameter)
            {
                if (!_config.SelectsParameter(parameter))
                    return;
                named.UnionWith(_config.TargetParameters.Where(t => IsEnd(parameter, t)));
                if (!_found.Any(f => IsEnd(parameter, f) || IsEnd(f, parameter)))
                    _faults.Add($"{parameter}: its lora_A and lora_B are missing, but target_parameters names it");
            }
        }

        private (string At, (string Gate, string Up, string Down) Names, int Count)? ExpertsOf(string root)
        {
            foreach (string at in (ReadOnlySpan<string>)[root, Renamed(root, Mixture, OldMixture)])
                foreach ((string Gate, string Up, string Down) names in s_layers)
                {
                    int count = 0;
                    while (layers.Find($"{at}.{count}.{names.Gate}") is not null)
                        count++;
                    if (count > 0)
                        return (at, names, count);
                }
            return null;
        }

        private string LayerOf(string root) => layers.Find(root) is null && layers.Find(Renamed(root, Mixture, OldMixture)) is not null ? Renamed(root, Mixture, OldMixture) : root;

        private static string RootOf(string module)
        {
            while (module.EndsWith(Wrapper, StringComparison.Ordinal))
                module = module[..^Wrapper.Length];
            return module;
        }

        private static string Renamed(string name, string from, string to) => name.Replace(from, to, StringComparison.Ordinal);
    }
}
