using System.Collections.Concurrent;
using System.Diagnostics;
using EdgeLora.Extensions.AI;
using EdgeLora.Models;
using Microsoft.Extensions.AI;
using Xunit;
using ChatMessage = Microsoft.Extensions.AI.ChatMessage;

namespace EdgeLora.Tests.Extensions;

/// <summary>The IChatClient's contract, on the shipped tree.</summary>
public sealed class EdgeChatClientTests
{
    private const string Question = "Name a color.";

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Streaming_says_what_one_answer_says()
    {
        await using ChattingHost chat = new();
        ChatOptions options = new() { ModelId = "assistant", MaxOutputTokens = 24, Temperature = 0.8f, TopP = 0.9f, TopK = 50, Seed = 5, FrequencyPenalty = 0.1f, PresencePenalty = 0.1f };
        ChatResponse whole = await chat.Client.GetResponseAsync(Question, options, Ct);
        List<ChatResponseUpdate> updates = [];
        await foreach (ChatResponseUpdate update in chat.Client.GetStreamingResponseAsync(Question, options, Ct))
            updates.Add(update);
        ChatResponse streamed = updates.ToChatResponse();
        Assert.NotEmpty(whole.Text);
        Assert.Equal(whole.Text, streamed.Text);
        Assert.True(updates.Count > 2);
        Assert.Equal((whole.FinishReason, whole.ModelId, whole.Usage!.OutputTokenCount), (streamed.FinishReason, streamed.ModelId, streamed.Usage!.OutputTokenCount));
        Assert.Equal(ChatRole.Assistant, Assert.Single(streamed.Messages).Role);
        Assert.Single(updates.Select(u => u.ResponseId).Distinct());
        Assert.NotEqual(whole.Text, (await chat.Client.GetResponseAsync(Question, new ChatOptions { ModelId = "assistant", MaxOutputTokens = 24, Temperature = 2, Seed = 6 }, Ct)).Text);
    }

    [Theory, InlineData("", "nano"), InlineData("nano", "nano"), InlineData("shakespeare/kings", "shakespeare/kings"), InlineData("assistant", "assistant")]
    public async Task The_model_id_picks_the_node(string id, string model)
    {
        await using ChattingHost chat = new(new EdgeChatClientOptions { Node = "holmes" });
        ChatResponse response = await chat.Client.GetResponseAsync(Question, ChattingHost.Exactly(12, id), Ct);
        Assert.Equal(ChattingHost.Alone(id == "nano" ? "" : id, Question, 12), response.Text);
        Assert.Equal(model, response.ModelId);
    }

    [Fact]
    public async Task The_property_counts_before_the_model_id_and_the_options_last()
    {
        await using ChattingHost chat = new(new EdgeChatClientOptions { Node = "holmes" });
        ChatOptions options = ChattingHost.Exactly(12, "math");
        options.AdditionalProperties = new() { [EdgeChatClient.NodeProperty] = "restaurant" };
        Assert.Equal(("restaurant", ChattingHost.Alone("restaurant", Question, 12)), Of(await chat.Client.GetResponseAsync(Question, options, Ct)));
        Assert.Equal(("holmes", ChattingHost.Alone("holmes", Question, 12)), Of(await chat.Client.GetResponseAsync(Question, ChattingHost.Exactly(12), Ct)));

        static (string?, string) Of(ChatResponse response) => (response.ModelId, response.Text);
    }

    [Fact]
    public async Task An_unknown_node_is_refused_by_name()
    {
        await using ChattingHost chat = new();
        KeyNotFoundException e = await Assert.ThrowsAsync<KeyNotFoundException>(() => chat.Client.GetResponseAsync(Question, new ChatOptions { ModelId = "nobody" }, Ct));
        Assert.Contains("nobody", e.Message);
    }

    [Fact]
    public async Task Tokens_are_counted_and_a_cut_answer_says_so()
    {
        await using ChattingHost chat = new();
        ChatResponse response = await chat.Client.GetResponseAsync(Question, ChattingHost.Exactly(5), Ct);
        int prompt = ChattingHost.Prompt(chat.Host, Question).Length;
        Assert.Equal((prompt, 5L, prompt + 5L, 0L), (response.Usage!.InputTokenCount, response.Usage.OutputTokenCount, response.Usage.TotalTokenCount, response.Usage.CachedInputTokenCount));
        Assert.Equal(ChatFinishReason.Length, response.FinishReason);
    }

    [Fact]
    public async Task A_stop_sequence_ends_the_answer_before_itself()
    {
        await using ChattingHost chat = new();
        string whole = ChattingHost.Alone("assistant", Question, 40), stop = whole.Substring(whole.Length / 2, 3);
        ChatOptions options = ChattingHost.Exactly(40, "assistant");
        options.StopSequences = [stop];
        ChatResponse response = await chat.Client.GetResponseAsync(Question, options, Ct);
        Assert.Equal(whole[..whole.IndexOf(stop, StringComparison.Ordinal)], response.Text);
        Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
    }

    [Fact]
    public async Task A_cancelled_call_throws_and_the_client_goes_on()
    {
        await using ChattingHost chat = new();
        using CancellationTokenSource cancel = new();
        int seen = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (ChatResponseUpdate _ in chat.Client.GetStreamingResponseAsync(Question, ChattingHost.Exactly(450), cancel.Token))
                if (++seen == 3)
                    cancel.Cancel();
        });
        Assert.InRange(seen, 3, 449);
        Assert.Equal(ChattingHost.Alone("", Question, 12), (await chat.Client.GetResponseAsync(Question, ChattingHost.Exactly(12), Ct)).Text);
        // Nobody ticks: the call still ends.
        using EdgeHost still = Diagnostics.Shipped.Open();
        using EdgeChatClient client = new(still);
        using CancellationTokenSource soon = new(TimeSpan.FromMilliseconds(50));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.GetResponseAsync(Question, cancellationToken: soon.Token));
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task A_conversation_that_goes_on_computes_only_what_is_new_and_says_the_same(bool named)
    {
        await using ChattingHost keeping = new(), forgetting = new(new EdgeChatClientOptions { KeptConversations = 0 });
        List<ChatMessage> first = [new(ChatRole.User, Question)], second = [new(ChatRole.User, Question)];
        long cached = 0;
        foreach (string next in new[] { "And a number?", "Why?", "" })
        {
            ChatResponse kept = await keeping.Client.GetResponseAsync(first, Options("assistant"), Ct), forgot = await forgetting.Client.GetResponseAsync(second, Options("assistant"), Ct);
            Assert.Equal(forgot.Text, kept.Text);
            Assert.Equal(0, forgot.Usage!.CachedInputTokenCount);
            Assert.True(kept.Usage!.CachedInputTokenCount >= cached);
            cached = kept.Usage.InputTokenCount!.Value - 2;
            first.AddMessages(kept);
            second.AddMessages(forgot);
            first.Add(new(ChatRole.User, next));
            second.Add(new(ChatRole.User, next));
        }
        HostStats few = await keeping.Host.StatsAsync(), many = await forgetting.Host.StatsAsync();
        Assert.True(few.PromptTokens < many.PromptTokens, $"{few.PromptTokens}, {many.PromptTokens}");
        Assert.Equal((1, 0), (few.Sessions, many.Sessions));
        // On another node a named conversation walks there; one without a name begins anew.
        Assert.Equal((await forgetting.Client.GetResponseAsync(second, Options("math"), Ct)).Text, (await keeping.Client.GetResponseAsync(first, Options("math"), Ct)).Text);
        Assert.Equal(named ? 1 : 2, (await keeping.Host.StatsAsync()).Sessions);

        ChatOptions Options(string node)
        {
            ChatOptions options = new() { ModelId = node, MaxOutputTokens = 16 };
            if (named)
                options.AdditionalProperties = new() { [EdgeChatClient.ConversationProperty] = "one" };
            return options;
        }
    }

    [Fact]
    public async Task Conversations_are_kept_up_to_the_bound_and_calls_at_once_answer_as_alone()
    {
        await using ChattingHost chat = new(new EdgeChatClientOptions { KeptConversations = 2 });
        string[] questions = ["Name a color.", "What is the capital of France?", "Name a color.", "Tell me about the sea and the ships on it."];
        ChatResponse[] answers = await Task.WhenAll(questions.Select(q => chat.Client.GetResponseAsync(q, ChattingHost.Exactly(12), Ct)));
        Assert.Equal(questions.Select(q => ChattingHost.Alone("", q, 12)), answers.Select(a => a.Text));
        Assert.Equal(2, (await chat.Host.SessionsAsync()).Count);
        chat.Client.Dispose();
        Assert.Empty(await chat.Host.SessionsAsync());
        await Assert.ThrowsAsync<ObjectDisposedException>(() => chat.Client.GetResponseAsync(Question, cancellationToken: Ct));
    }

    [Fact]
    public async Task What_it_cannot_do_is_refused_all_at_once()
    {
        await using ChattingHost chat = new();
        ChatMessage picture = new(ChatRole.User, [new TextContent("Look."), new DataContent(new byte[] { 1 }, "image/png")]);
        NotSupportedException e = await Assert.ThrowsAsync<NotSupportedException>(() => chat.Client.GetResponseAsync([picture],
            new ChatOptions { Tools = [AIFunctionFactory.Create(() => 1, "one")], ResponseFormat = ChatResponseFormat.Json, ConversationId = "c" }, Ct));
        Assert.All(new[] { "4 faults", "message 0: expected text, found DataContent", "Tools: expected none, found 1", "ResponseFormat: expected text, found JSON", "ConversationId: expected none, found c" }, s => Assert.Contains(s, e.Message));
        // The shipped template knows no system role.
        await Assert.ThrowsAsync<ChatTemplateException>(() => chat.Client.GetResponseAsync(Question, new ChatOptions { Instructions = "Be kind." }, Ct));
        Assert.Contains("TopP", (await Assert.ThrowsAsync<ArgumentException>(() => chat.Client.GetResponseAsync(Question, new ChatOptions { TopP = 3 }, Ct))).Message);
        await Assert.ThrowsAsync<ArgumentException>(() => chat.Client.GetResponseAsync(Question, new ChatOptions { Temperature = float.NaN }, Ct));
        Assert.NotEmpty((await chat.Client.GetResponseAsync(Question, new ChatOptions { ModelId = "assistant" }, Ct)).Text);
    }

    [Fact]
    public async Task Its_services_are_the_metadata_the_host_and_itself()
    {
        await using ChattingHost chat = new(new EdgeChatClientOptions { Node = "math" });
        ChatClientMetadata metadata = chat.Client.GetService<ChatClientMetadata>()!;
        Assert.Equal(("edgelora", "math"), (metadata.ProviderName, metadata.DefaultModelId));
        Assert.Same(chat.Host, chat.Client.GetService<EdgeHost>());
        Assert.Same(chat.Client, chat.Client.GetService<IChatClient>());
        Assert.Null(chat.Client.GetService<EdgeHost>("key"));
        Assert.Null(chat.Client.GetService<Tokenizer>());
    }

    [Fact]
    public async Task A_call_is_a_chat_span()
    {
        ConcurrentQueue<Activity> spans = new();
        using ActivityListener listener = new() { ShouldListenTo = s => s.Name == EdgeDiagnostics.SourceName, Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData, ActivityStopped = spans.Enqueue };
        ActivitySource.AddActivityListener(listener);
        using Activity parent = new Activity("test").Start();
        await using ChattingHost chat = new();
        await chat.Client.GetResponseAsync(Question, ChattingHost.Exactly(3, "math"), Ct);
        Activity span = Assert.Single(spans, s => s.TraceId == parent.TraceId);
        Assert.Equal(("chat math", "chat", 3), (span.DisplayName, span.GetTagItem("gen_ai.operation.name"), span.GetTagItem("gen_ai.usage.output_tokens")));
    }
}
