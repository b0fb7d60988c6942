using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using EdgeLora.Models;

namespace EdgeLora.Native;

/// <summary>The functions on texts and tokens; edgelora.h says what they do.</summary>
internal static unsafe class TextExports
{
    [UnmanagedCallersOnly(EntryPoint = "edgelora_tokenize", CallConvs = [typeof(CallConvCdecl)])]
    public static int Tokenize(ulong host, byte* text, int addSpecialTokens, int* tokens, nuint capacity, nuint* count) => Call.Guard(() =>
    {
        Out.Check(count, "count");
        *count = 0;
        using HostUse use = NativeHost.Use(host);
        int[] ids = TokenizerOf(use.Host).EncodeIds(Utf8.Read(text, "text"), addSpecialTokens != 0);
        *count = (nuint)ids.Length;
        if (tokens is null)
            return;
        if (capacity < (nuint)ids.Length)
            throw new NativeException(Status.Buffer, $"tokens: expected room for {ids.Length}, found {capacity}");
        ids.CopyTo(new Span<int>(tokens, ids.Length));
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_detokenize", CallConvs = [typeof(CallConvCdecl)])]
    public static int Detokenize(ulong host, int* tokens, nuint count, int skipSpecialTokens, byte* buffer, nuint capacity, nuint* length) => Call.Guard(() =>
    {
        using HostUse use = NativeHost.Use(host);
        Utf8.Give(TokenizerOf(use.Host).Decode(Tokens(use.Host, tokens, count), skipSpecialTokens != 0), buffer, capacity, length);
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_chat_prompt", CallConvs = [typeof(CallConvCdecl)])]
    public static int ChatPrompt(ulong host, byte** roles, byte** contents, nuint count, byte* buffer, nuint capacity, nuint* length) => Call.Guard(() =>
    {
        Out.Check(roles, "roles");
        Out.Check(contents, "contents");
        using HostUse use = NativeHost.Use(host);
        Tokenizer tokenizer = TokenizerOf(use.Host);
        string source = tokenizer.ChatTemplate ?? throw new InvalidOperationException($"{use.Host.Name}: has no chat template");
        ChatMessage[] turns = new ChatMessage[checked((int)count)];
        for (int i = 0; i < turns.Length; i++)
            turns[i] = new(Utf8.Read(roles[i], $"roles[{i}]"), Utf8.Read(contents[i], $"contents[{i}]"));
        ChatTemplateInput input = new() { Turns = turns, AddGenerationPrompt = true, SpecialTokens = tokenizer.SpecialTokens };
        Utf8.Give(ChatTemplate.Parse(source).Render(input), buffer, capacity, length);
    });

    /// <summary>The base's tokenizer. Throws where it has none.</summary>
    public static Tokenizer TokenizerOf(EdgeHost host) => host.Tokenizer ?? throw new InvalidOperationException($"{host.Name}: has no tokenizer");

    /// <summary>Tokens from C. Throws where they are none of the base's.</summary>
    public static int[] Tokens(EdgeHost host, int* tokens, nuint count)
    {
        if (count > 0)
            Out.Check(tokens, "tokens");
        int[] all = new Span<int>(tokens, checked((int)count)).ToArray();
        int wrong = Array.FindIndex(all, t => (uint)t >= (uint)host.Model.Config.Vocabulary);
        return wrong < 0 ? all : throw new ArgumentException($"tokens[{wrong}]: expected 0 to {host.Model.Config.Vocabulary - 1}, found {all[wrong]}");
    }
}
