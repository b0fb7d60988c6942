using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using EdgeLora.Models;

namespace EdgeLora.Native;

/// <summary>The functions on sessions; edgelora.h says what they do.</summary>
internal static unsafe class SessionExports
{
    [UnmanagedCallersOnly(EntryPoint = "edgelora_session_open", CallConvs = [typeof(CallConvCdecl)])]
    public static int Open(ulong host, byte* node, SessionOptionsLayout* options, ulong* session) => Call.Guard(() =>
    {
        Out.Check(session, "session");
        *session = 0;
        using HostUse use = NativeHost.Use(host);
        *session = NativeSession.Open(use.Native, Utf8.ReadOrNull(node, "node") ?? "", Layout.GetOrDefault(options, "options").ToOptions());
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_session_close", CallConvs = [typeof(CallConvCdecl)])]
    public static int Close(ulong session) => Call.Guard(() => NativeSession.Close(session));

    [UnmanagedCallersOnly(EntryPoint = "edgelora_session_get", CallConvs = [typeof(CallConvCdecl)])]
    public static int Get(ulong session, SessionInfoLayout* info) => Call.Guard(() =>
    {
        ref SessionInfoLayout given = ref Layout.Get(info, "info");
        given.Set(NativeSession.Table.Get(session).Face);
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_session_switch", CallConvs = [typeof(CallConvCdecl)])]
    public static int Switch(ulong session, byte* node, int kvPolicy) => Call.Guard(() =>
    {
        NativeSession found = NativeSession.Table.Get(session);
        using HostUse use = found.Native.Use();
        if (kvPolicy is < 0 or > (int)KvPolicy.Keep)
            throw new ArgumentException($"kv_policy: expected EDGELORA_KV_*, found {kvPolicy}");
        use.Native.Wait(found.Face.SwitchAsync(Utf8.Read(node, "node"), (KvPolicy)kvPolicy));
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_session_truncate", CallConvs = [typeof(CallConvCdecl)])]
    public static int Truncate(ulong session, int tokenCount) => Call.Guard(() =>
    {
        NativeSession found = NativeSession.Table.Get(session);
        using HostUse use = found.Native.Use();
        use.Native.Wait(found.Face.TruncateAsync(tokenCount));
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_session_cancel", CallConvs = [typeof(CallConvCdecl)])]
    public static int Cancel(ulong session) => Call.Guard(() => NativeSession.Table.Get(session).Generation?.Cancel());

    [UnmanagedCallersOnly(EntryPoint = "edgelora_session_read", CallConvs = [typeof(CallConvCdecl)])]
    public static int Read(ulong session, byte* buffer, nuint capacity, nuint* length, int* finished, int* reason) => Call.Guard(() =>
    {
        Out.Check(length, "length");
        *length = 0;
        NativeGeneration generation = NativeSession.Table.Get(session).Generation ?? throw new InvalidOperationException("nothing was generated in this session");
        generation.Read(buffer, capacity, length, finished, reason);
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_generate", CallConvs = [typeof(CallConvCdecl)])]
    public static int Generate(ulong session, byte* prompt, GenerateOptionsLayout* options) => Call.Guard(() => Begin(session, prompt, options, default));

    [UnmanagedCallersOnly(EntryPoint = "edgelora_generate_tokens", CallConvs = [typeof(CallConvCdecl)])]
    public static int GenerateTokens(ulong session, int* tokens, nuint count, GenerateOptionsLayout* options) => Call.Guard(() =>
    {
        NativeSession found = NativeSession.Table.Get(session);
        using HostUse use = found.Native.Use();
        found.Begin(TextExports.Tokens(use.Host, tokens, count), Layout.GetOrDefault(options, "options").ToOptions(), default);
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_generate_callback", CallConvs = [typeof(CallConvCdecl)])]
    public static int GenerateCallback(ulong session, byte* prompt, GenerateOptionsLayout* options, delegate* unmanaged[Cdecl]<void*, ulong, int, byte*, nuint, int, void> callback, void* user) => Call.Guard(() =>
    {
        Out.Check(callback, "callback");
        Begin(session, prompt, options, new PieceCallback(callback, user));
    });

    private static void Begin(ulong session, byte* prompt, GenerateOptionsLayout* options, PieceCallback callback)
    {
        NativeSession found = NativeSession.Table.Get(session);
        using HostUse use = found.Native.Use();
        GenerateOptionsLayout given = Layout.GetOrDefault(options, "options");
        found.Begin(TextExports.TokenizerOf(use.Host).EncodeIds(Utf8.Read(prompt, "prompt"), given.AddSpecialTokens != 0), given.ToOptions(), callback);
    }
}
