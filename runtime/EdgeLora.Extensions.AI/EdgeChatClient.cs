using System.Runtime.CompilerServices;
using EdgeLora.Models;
using Microsoft.Extensions.AI;
using ChatMessage = Microsoft.Extensions.AI.ChatMessage;

namespace EdgeLora.Extensions.AI;

/// <summary>
/// A host as an IChatClient. ModelId, or the additional property <see cref="NodeProperty"/>, picks the node that answers; the base's chat template writes the messages. A call that goes on where another ended
/// computes keys and values for what is new only. The host must be ticking: by RunAsync, or by the application. Any thread, many calls at once.
/// </summary>
public sealed class EdgeChatClient : IChatClient
{
    /// <summary>Additional property: path of the node that answers, empty for the base. Counts before ModelId.</summary>
    public const string NodeProperty = "edgelora.node";

    /// <summary>Additional property: a name for the conversation, whose keys and values are then kept under it. Without one they are found by the text.</summary>
    public const string ConversationProperty = "edgelora.conversation";

    private readonly EdgeHost _host;
    private readonly EdgeChatClientOptions _options;
    private readonly Tokenizer _tokenizer;
    private readonly ChatTemplate _template;
    private readonly ConversationStore _conversations;
    private readonly ChatClientMetadata _metadata;

    /// <summary>A client of a host, which stays the caller's. Throws <see cref="InvalidOperationException"/> where the base has no tokenizer or no chat template, <see cref="ChatTemplateException"/> for one that cannot be read.</summary>
    public EdgeChatClient(EdgeHost host, EdgeChatClientOptions? options = null)
    {
        _host = host;
        _options = options ?? new();
        ArgumentOutOfRangeException.ThrowIfNegative(_options.KeptConversations);
        _tokenizer = host.Tokenizer ?? throw new InvalidOperationException($"{host.Name}: has no tokenizer");
        _template = ChatTemplate.Parse(_options.ChatTemplate ?? _tokenizer.ChatTemplate ?? throw new InvalidOperationException($"{host.Name}: has no chat template; give one in the client's options"));
        _conversations = new(host, _options.KeptConversations, new HostSessionOptions { Operation = "chat", Priority = _options.Priority });
        _metadata = new("edgelora", null, host.ModelId(_options.Node));
    }

    /// <inheritdoc/>
    /// <remarks>Throws as <see cref="GetStreamingResponseAsync"/>.</remarks>
    public async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        await GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken).ConfigureAwait(false);

    /// <inheritdoc/>
    /// <remarks>
    /// Throws <see cref="NotSupportedException"/> for tools, formats and contents other than text, <see cref="KeyNotFoundException"/> for an unknown node, <see cref="EdgeLora.Core.ModelFileException"/> for a refused adapter,
    /// <see cref="ChatTemplateException"/> where the template refuses the dialogue, <see cref="ArgumentException"/> for options out of range.
    /// </remarks>
    public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        ChatCall call = ChatCall.Of(this, messages, options, _host, _options);
        string text = _template.Render(new ChatTemplateInput { Turns = call.Turns, AddGenerationPrompt = true, SpecialTokens = _tokenizer.SpecialTokens });
        return Answer(call, _tokenizer.EncodeIds(text, addSpecialTokens: false), cancellationToken);
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(ChatClientMetadata) ? _metadata
            : serviceType == typeof(EdgeHost) ? _host
            : serviceType.IsInstanceOfType(this) ? this
            : null;
    }

    /// <summary>Closes the conversations that were kept; the host goes on.</summary>
    public void Dispose() => _conversations.Dispose();

    private async IAsyncEnumerable<ChatResponseUpdate> Answer(ChatCall call, int[] prompt, [EnumeratorCancellation] CancellationToken cancellation)
    {
        (Conversation conversation, int shared) = await _conversations.TakeAsync(call.Node, call.Conversation, prompt, cancellation).ConfigureAwait(false);
        bool whole = false;
        try
        {
            string id = $"chat-{Guid.NewGuid():N}", model = _host.ModelId(call.Node);
            DateTimeOffset now = DateTimeOffset.UtcNow;
            int[] fresh = prompt[shared..];
            conversation.Tokens.AddRange(fresh);
            int generated = 0;
            StopReason stop = StopReason.None;
            await foreach (GeneratedPiece piece in conversation.Session.GenerateAsync(fresh, call.Generation, cancellation).ConfigureAwait(false))
            {
                stop = piece.Stop;
                if (piece.Token >= 0)
                {
                    generated++;
                    conversation.Tokens.Add(piece.Token);
                }
                if (piece.Text.Length > 0)
                    yield return Update(new TextContent(piece.Text));
            }
            whole = true;
            if (stop == StopReason.Cancelled)
                throw cancellation.IsCancellationRequested ? new OperationCanceledException(cancellation) : new ObjectDisposedException(_host.Name, "the host was closed while it answered");
            UsageDetails usage = new() { InputTokenCount = prompt.Length, OutputTokenCount = generated, TotalTokenCount = prompt.Length + generated, CachedInputTokenCount = shared };
            ChatResponseUpdate last = Update(new UsageContent(usage));
            last.FinishReason = stop is StopReason.EndOfSequence or StopReason.StopString ? ChatFinishReason.Stop : ChatFinishReason.Length;
            yield return last;

            ChatResponseUpdate Update(AIContent content) => new(ChatRole.Assistant, [content]) { ResponseId = id, MessageId = id, ModelId = model, CreatedAt = now };
        }
        finally
        {
            // What was not read to its end may hold tokens that nobody knows of.
            if (whole)
                _conversations.Give(conversation);
            else
                conversation.Session.Dispose();
        }
    }
}
