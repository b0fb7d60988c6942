using EdgeLora.Models;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Options;

namespace EdgeLora.Extensions.AI;

/// <summary>The configuration section of <see cref="EdgeLoraOptions"/>, read by name: no reflection, and a name or value that is wrong is told.</summary>
internal static class EdgeLoraSection
{
    /// <summary>Reads a section over what the options say. Throws <see cref="OptionsValidationException"/> with all that is wrong.</summary>
    public static void Read(IConfigurationSection section, EdgeLoraOptions options)
    {
        List<string> faults = [];
        SectionReader all = new(section, faults), host = new(section.GetSection("Host"), faults), chat = new(section.GetSection("Chat"), faults);
        options.Path = all.Text("Path", options.Path);
        options.TickBudget = all.Time("TickBudget", options.TickBudget);
        EdgeHostOptions h = options.Host;
        options.Host = h with
        {
            Device = host.Text("Device", h.Device),
            Threads = host.Number("Threads", h.Threads),
            Int8Activations = host.Flag("Int8Activations", h.Int8Activations),
            Adapters = host.Texts("Adapters", h.Adapters),
            AdapterBudgetBytes = host.Number("AdapterBudgetBytes", h.AdapterBudgetBytes),
            StagedBudgetBytes = host.Number("StagedBudgetBytes", h.StagedBudgetBytes),
            OverlayBudgetBytes = host.Number("OverlayBudgetBytes", h.OverlayBudgetBytes),
            KvBudgetBytes = host.Number("KvBudgetBytes", h.KvBudgetBytes),
            TickBytes = host.Number("TickBytes", h.TickBytes),
            MaxBatchRows = host.Number("MaxBatchRows", h.MaxBatchRows),
            MaxDrift = host.Number("MaxDrift", h.MaxDrift),
            Watch = host.Flag("Watch", h.Watch),
            TrustElora = host.Flag("TrustElora", h.TrustElora),
            WatchInterval = host.Time("WatchInterval", h.WatchInterval),
            WatchQuiet = host.Time("WatchQuiet", h.WatchQuiet),
        };
        EdgeChatClientOptions c = options.Chat;
        GenerationOptions g = c.Generation;
        options.Chat = c with
        {
            Node = chat.Text("Node", c.Node),
            ChatTemplate = chat.Text("ChatTemplate", c.ChatTemplate ?? "") is { Length: > 0 } template ? template : null,
            KeptConversations = chat.Number("KeptConversations", c.KeptConversations),
            Priority = chat.Number("Priority", c.Priority),
            Generation = g with
            {
                MaxTokens = chat.Number("MaxTokens", g.MaxTokens),
                StopStrings = chat.Texts("StopStrings", g.StopStrings),
                Sampling = g.Sampling with
                {
                    Temperature = chat.Number("Temperature", g.Sampling.Temperature),
                    TopP = chat.Number("TopP", g.Sampling.TopP),
                    TopK = chat.Number("TopK", g.Sampling.TopK),
                    MinP = chat.Number("MinP", g.Sampling.MinP),
                    RepetitionPenalty = chat.Number("RepetitionPenalty", g.Sampling.RepetitionPenalty),
                    FrequencyPenalty = chat.Number("FrequencyPenalty", g.Sampling.FrequencyPenalty),
                    PresencePenalty = chat.Number("PresencePenalty", g.Sampling.PresencePenalty),
                    Seed = chat.Number("Seed", g.Sampling.Seed),
                },
            },
        };
        all.Expect("Host", "Chat");
        host.Expect();
        chat.Expect();
        if (faults.Count > 0)
            throw new OptionsValidationException(Options.DefaultName, typeof(EdgeLoraOptions), faults);
    }
}
