using System.CommandLine;
using EdgeLora.Models;

namespace EdgeLora.Cli;

/// <summary>How tokens are chosen and when it ends.</summary>
internal sealed class SamplingArguments
{
    private readonly Option<bool> _greedy = new("--greedy") { Description = "Take the most probable token; the settings of sampling are not looked at." };
    private readonly Option<int> _maxTokens = new("--max-tokens") { Description = "Most new tokens. Default: 128.", DefaultValueFactory = _ => 128, HelpName = "count" };
    private readonly Option<ulong> _seed = new("--seed") { Description = "Where the random numbers start; the same seed gives the same tokens. Default: 0.", HelpName = "number" };
    private readonly Option<double> _temperature = new("--temperature") { Description = "Divides the logits; 0 is greedy. Default: 0.8.", DefaultValueFactory = _ => 0.8, HelpName = "number" };
    private readonly Option<int> _topK = new("--top-k") { Description = "Keep the k most probable tokens; 0 is off. Default: 0.", HelpName = "count" };
    private readonly Option<double> _topP = new("--top-p") { Description = "Keep the fewest tokens that reach this probability; 1 is off. Default: 1.", DefaultValueFactory = _ => 1, HelpName = "0..1" };
    private readonly Option<double> _minP = new("--min-p") { Description = "Keep tokens at least this fraction as probable as the best; 0 is off. Default: 0.", HelpName = "0..1" };
    private readonly Option<double> _penalty = new("--repetition-penalty") { Description = "Divides the positive logit of a token seen before; 1 is off. Default: 1.", DefaultValueFactory = _ => 1, HelpName = "number" };
    private readonly Option<string[]> _stop = new("--stop") { Description = "Text that ends the answer and is not part of it; repeated for several. Default: none.", HelpName = "text" };
    private readonly Option<bool> _ignoreEnd = new("--ignore-eos") { Description = "Go on past the model's end-of-sequence token." };

    /// <summary>Adds the options.</summary>
    public void AddTo(Command command)
    {
        _maxTokens.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<int>() < 0)
                r.AddError("--max-tokens: expected 0 or more");
        });
        foreach (Option option in new Option[] { _greedy, _maxTokens, _seed, _temperature, _topK, _topP, _minP, _penalty, _stop, _ignoreEnd })
            command.Add(option);
    }

    /// <summary>What they say, checked against the model's vocabulary.</summary>
    public GenerationOptions Read(ParseResult result, EdgeHost host)
    {
        SamplingOptions sampling = new()
        {
            Temperature = result.GetValue(_greedy) ? 0 : result.GetValue(_temperature),
            TopK = result.GetValue(_topK),
            TopP = result.GetValue(_topP),
            MinP = result.GetValue(_minP),
            RepetitionPenalty = result.GetValue(_penalty),
            Seed = result.GetValue(_seed),
        };
        try
        {
            sampling.Validate(host.Model.Config.Vocabulary);
        }
        catch (ArgumentException e)
        {
            throw new UsageException(e.Message);
        }
        return new()
        {
            Sampling = sampling,
            MaxTokens = result.GetValue(_maxTokens),
            StopStrings = result.GetValue(_stop) ?? [],
            IgnoreEnd = result.GetValue(_ignoreEnd),
            EndIds = [.. host.Model.Config.EndIds.Union(host.Tokenizer?.EndIds ?? [])],
        };
    }
}
