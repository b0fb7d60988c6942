using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using EdgeLora.Models;
using EdgeLora.Native;
using Xunit;

namespace EdgeLora.Tests.Native;

/// <summary>edgelora.h and the library say the same.</summary>
public sealed partial class HeaderTests
{
    private static readonly Assembly s_library = typeof(NativeHost).Assembly;

    private static readonly Dictionary<string, MethodInfo> s_exports = s_library.GetTypes().SelectMany(t => t.GetMethods(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic))
        .Where(m => m.IsDefined(typeof(UnmanagedCallersOnlyAttribute))).ToDictionary(m => m.GetCustomAttribute<UnmanagedCallersOnlyAttribute>()!.EntryPoint!);

    [Fact]
    public void Every_export_is_in_the_header_and_the_other_way_round()
    {
        Assert.NotEmpty(CHeader.Functions);
        Assert.Equal(s_exports.Keys.Order(StringComparer.Ordinal), CHeader.Functions.Keys.Order(StringComparer.Ordinal));
        Assert.All(s_exports.Values, m => Assert.Equal([typeof(CallConvCdecl)], m.GetCustomAttribute<UnmanagedCallersOnlyAttribute>()!.CallConvs!));
    }

    [Fact]
    public void Every_function_has_the_header_s_types()
    {
        List<string> wrong = [];
        foreach ((string name, MethodInfo export) in s_exports)
        {
            string[] expected = CHeader.Functions[name];
            string[] found = [.. export.GetParameters().Select(p => p.ParameterType).Prepend(export.ReturnType).Select((t, i) => InC(t, expected.ElementAtOrDefault(i) ?? ""))];
            if (!expected.SequenceEqual(found))
                wrong.Add($"{name}: expected {string.Join(", ", expected)}, found {string.Join(", ", found)}");
        }
        Assert.Empty(wrong);
    }

    [Fact]
    public void Every_struct_has_the_header_s_fields_at_their_places()
    {
        Type[] layouts = [.. s_library.GetTypes().Where(t => t.IsValueType && typeof(ILayout).IsAssignableFrom(t))];
        Assert.Equal(layouts.Select(t => "edgelora_" + Snake(t.Name.Replace("Layout", ""))).Order(StringComparer.Ordinal), CHeader.Structs.Keys.Order(StringComparer.Ordinal));
        List<string> wrong = [];
        foreach (Type layout in layouts)
        {
            string name = "edgelora_" + Snake(layout.Name.Replace("Layout", ""));
            int end = 0, widest = 1;
            List<string> expected = [];
            foreach ((string type, string field) in CHeader.Structs[name])
            {
                int size = CHeader.SizeOf(type);
                end = (end + size - 1) / size * size;
                expected.Add($"{field}: {type} at {end}");
                end += size;
                widest = Math.Max(widest, size);
            }
            IEnumerable<string> found = layout.GetFields().Zip(CHeader.Structs[name], (f, c) => $"{Snake(f.Name)}: {InC(f.FieldType, c.Type)} at {Marshal.OffsetOf(layout, f.Name)}");
            wrong.AddRange(expected.Except(found).Select(e => $"{name}: {e}"));
            if (Marshal.SizeOf(layout) != (end + widest - 1) / widest * widest || layout.GetFields().Length != expected.Count)
                wrong.Add($"{name}: expected {(end + widest - 1) / widest * widest} bytes, found {Marshal.SizeOf(layout)}");
            if (expected[0] != "size: uint32_t at 0")
                wrong.Add($"{name}: begins with {expected[0]}");
        }
        Assert.Empty(wrong);
    }

    [Fact]
    public void Every_constant_is_the_library_s()
    {
        Dictionary<string, int> expected = new() { ["EDGELORA_OK"] = (int)Status.Ok, ["EDGELORA_STOP_FAULT"] = NativeGeneration.FaultReason };
        void Add<T>(string prefix) where T : struct, Enum
        {
            foreach (T value in Enum.GetValues<T>())
                expected.TryAdd(prefix + Snake(value.ToString()).ToUpperInvariant(), Convert.ToInt32(value));
        }
        Add<Status>("EDGELORA_ERROR_");
        expected.Remove("EDGELORA_ERROR_OK");
        Add<AdapterState>("EDGELORA_NODE_");
        Add<AdapterEventKind>("EDGELORA_EVENT_");
        Add<HostSessionState>("EDGELORA_SESSION_");
        Add<StopReason>("EDGELORA_STOP_");
        Add<KvPolicy>("EDGELORA_KV_");
        Add<ReloadPolicy>("EDGELORA_RELOAD_");
        Assert.Equal(expected.OrderBy(c => c.Key, StringComparer.Ordinal), CHeader.Constants.OrderBy(c => c.Key, StringComparer.Ordinal));
    }

    [Fact]
    public void Every_line_with_a_function_follows_its_description()
    {
        string[] lines = CHeader.Text.Split('\n');
        Assert.All(Enumerable.Range(0, lines.Length).Where(i => lines[i].StartsWith("EDGELORA_API", StringComparison.Ordinal)), i => Assert.EndsWith("*/", lines[i - 1]));
    }

    // A type as the header writes it. What a pointer points to is const or not in C alone.
    private static string InC(Type type, string header)
    {
        if (type.IsFunctionPointer)
            return header == "edgelora_piece_callback" ? header : "a function pointer";
        if (type.IsPointer)
            return header.EndsWith('*') ? PointsTo(type, header) : "a pointer";
        return type switch
        {
            _ when type == typeof(void) => "void",
            _ when type == typeof(int) => "int32_t",
            _ when type == typeof(uint) => "uint32_t",
            _ when type == typeof(long) => "int64_t",
            _ when type == typeof(double) => "double",
            _ when type == typeof(nuint) => "size_t",
            _ when type == typeof(ulong) => header is "edgelora_host" or "edgelora_session" ? header : "uint64_t",
            _ => type.Name,
        };
    }

    // The header's own words where they name the same type, else what was found.
    private static string PointsTo(Type type, string header)
    {
        string target = header.Replace("const", "").Replace(" ", "")[..^1];
        Type to = type.GetElementType()!;
        string found = to.IsPointer ? PointsTo(to, "char *").Replace(" ", "") : to == typeof(byte) ? "char" : typeof(ILayout).IsAssignableFrom(to) ? "edgelora_" + Snake(to.Name.Replace("Layout", "")) : InC(to, target);
        return found == target ? header : found + " *";
    }

    private static string Snake(string name) => Capital().Replace(name, m => "_" + m.Value).TrimStart('_').ToLowerInvariant();

    // Tick99Us is tick_99_us.
    [GeneratedRegex(@"[A-Z]|(?<=[a-z])\d")]
    private static partial Regex Capital();
}
