using EdgeLora.Models;
using EdgeLora.Tests.Adapters;

namespace EdgeLora.Tests.Hosting;

/// <summary>A writer that mistreats the adapters of a tree. Each node has a few good contents; every blow puts one of them, or something broken, in place.</summary>
internal sealed class Storm
{
    private readonly RandomTree _tree;
    private readonly string[] _nodes;
    private readonly Dictionary<string, byte[][]> _good = [];
    private readonly string _config;
    private readonly Random _random = new(62);

    /// <param name="tree">The tree; nodes are added to it.</param>
    /// <param name="nodes">Paths, parents first.</param>
    /// <param name="variants">Good contents of each.</param>
    public Storm(RandomTree tree, string[] nodes, int variants)
    {
        (_tree, _nodes) = (tree, nodes);
        foreach (string node in nodes)
        {
            int slash = node.LastIndexOf('/');
            _good[node] = [.. Enumerable.Range(0, variants).Select(_ =>
            {
                tree.Add(slash < 0 ? "" : node[..slash], node[(slash + 1)..]);
                return File.ReadAllBytes(Weights(node));
            })];
        }
        _config = File.ReadAllText(Config(nodes[0]));
    }

    /// <summary>So many blows, one every few milliseconds.</summary>
    public void Blow(int blows)
    {
        for (int i = 0; i < blows; i++)
        {
            string node = _nodes[_random.Next(_nodes.Length)];
            try
            {
                Blow(node, _random.Next(8));
            }
            catch (Exception e) when (e is DirectoryNotFoundException or FileNotFoundException)
            {
                // The node, or the one around it, is deleted at the moment.
                Write(node, 0);
            }
            Thread.Sleep(_random.Next(1, 25));
        }
    }

    /// <summary>Every node good again.</summary>
    public void Restore()
    {
        foreach (string node in _nodes)
            Write(node, 0);
    }

    /// <summary>What a host without a storm says for each combination of contents, by the contents' fingerprints from the base outwards, joined by +.</summary>
    public Dictionary<string, string> QuietTexts(int[] prompt, GenerationOptions options)
    {
        Dictionary<string, string> texts = [];
        foreach (string node in _nodes)
        {
            string[] chain = [.. Enumerable.Range(1, node.Split('/').Length).Select(n => string.Join('/', node.Split('/')[..n]))];
            foreach (int[] variants in Combinations(chain.Length, _good[node].Length))
            {
                for (int i = 0; i < chain.Length; i++)
                    Write(chain[i], variants[i]);
                using EdgeHost host = EdgeHost.Open(_tree.Folder, new EdgeHostOptions { Threads = 1 });
                AdapterPath path = host.Enter(node);
                string key = string.Join('+', host.Tree.Get(node).Chain().Select(n => host.Store.Resident(n).Adapter.ContentFingerprint));
                texts[key] = string.Join(' ', Served.Alone(host, path, prompt, options.MaxTokens));
            }
        }
        Restore();
        return texts;
    }

    private static IEnumerable<int[]> Combinations(int length, int values) =>
        length == 0 ? [[]] : Combinations(length - 1, values).SelectMany(rest => Enumerable.Range(0, values).Select(v => (int[])[.. rest, v]));

    private void Blow(string node, int kind)
    {
        string weights = Weights(node), folder = Path.GetDirectoryName(weights)!;
        byte[] good = _good[node][_random.Next(_good[node].Length)];
        switch (kind)
        {
            case 0 or 1:
                // As a careless writer: in place, in two pieces.
                using (FileStream stream = new(weights, FileMode.Create, FileAccess.Write, FileShare.ReadWrite))
                {
                    stream.Write(good, 0, good.Length / 3);
                    stream.Flush();
                    Thread.Sleep(_random.Next(0, 12));
                    stream.Write(good, good.Length / 3, good.Length - good.Length / 3);
                }
                break;
            case 2:
                File.WriteAllBytes(weights + ".tmp", good);
                File.Move(weights + ".tmp", weights, overwrite: true);
                break;
            case 3:
                using (FileStream stream = new(weights, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
                    stream.SetLength(Math.Min(stream.Length, _random.Next(good.Length)));
                break;
            case 4:
                // Header or numbers: either must be noticed, or be what was written whole. Only the header is hit, for other numbers would be another good file.
                using (FileStream stream = new(weights, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
                    stream.Write([.. Enumerable.Repeat((byte)0xA5, 64)]);
                break;
            case 5:
                File.WriteAllText(Config(node), "{\"peft_type\": \"LORA\", \"r\": 2");
                break;
            case 6:
                string away = folder + "-away";
                Directory.Move(folder, away);
                Thread.Sleep(_random.Next(0, 40));
                Directory.Move(away, folder);
                break;
            default:
                Directory.Delete(folder, recursive: true);
                Thread.Sleep(_random.Next(0, 40));
                break;
        }
        if (kind is 0 or 1 or 2 && _random.Next(2) == 0)
            File.WriteAllText(Config(node), _config);
    }

    private void Write(string node, int variant)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Weights(node))!);
        File.WriteAllText(Config(node), _config);
        File.WriteAllBytes(Weights(node), _good[node][variant]);
    }

    private string Weights(string node) => Path.Combine([_tree.Folder, .. node.Split('/'), "adapter_model.safetensors"]);

    private string Config(string node) => Path.Combine([_tree.Folder, .. node.Split('/'), "adapter_config.json"]);
}
