namespace EdgeLora.Core;

/// <summary>
/// The order in which cloneofsimo/lora numbered the modules of Stable Diffusion 1.x and 2.x: that of torch's <c>modules()</c> over the classes that the file names. diffusers of that time built a transformer block as
/// attn1, ff, attn2; later ones as attn1, attn2, ff. Source: cloneofsimo/lora lora_diffusion/lora.py (_find_modules_v2); huggingface/diffusers 0.10 models/unet_2d_condition.py, unet_2d_blocks.py, attention.py.
/// </summary>
internal static class CloneofsimoNames
{
    /// <summary>A module and its class, with its size where the UNet's four widths decide it.</summary>
    /// <param name="Name">diffusers' name.</param>
    /// <param name="Outputs">O.</param>
    /// <param name="Inputs">I; 0 for the text's width.</param>
    /// <param name="Kernel">Side of a kernel; 0 for a linear layer.</param>
    internal readonly record struct Site(string Name, int Outputs, int Inputs, int Kernel);

    private static readonly int[] s_widths = [320, 640, 1280, 1280];

    /// <summary>The UNet's modules of the named classes in their order; null for a class that is not known.</summary>
    /// <param name="classes">CrossAttention or Attention, GEGLU, ResnetBlock2D.</param>
    /// <param name="early">Whether ff stands between the attentions.</param>
    public static List<Site>? Unet(IReadOnlyCollection<string> classes, bool early)
    {
        if (classes.Count == 0 || classes.Any(c => c is not ("CrossAttention" or "Attention" or "GEGLU" or "ResnetBlock2D")))
            return null;
        List<Site> sites = [];
        for (int block = 0; block < 4; block++)
        {
            int width = s_widths[block], before = s_widths[Math.Max(0, block - 1)];
            // Attentions were registered before resnets.
            for (int i = 0; i < 2 && block < 3; i++)
                Attention(sites, classes, $"down_blocks.{block}.attentions.{i}", width, early);
            for (int i = 0; i < 2; i++)
                Resnet(sites, classes, $"down_blocks.{block}.resnets.{i}", i == 0 ? before : width, width);
        }
        for (int block = 0; block < 4; block++)
        {
            int width = s_widths[3 - block], before = s_widths[Math.Min(3, 4 - block)], skipLast = s_widths[Math.Max(0, 2 - block)];
            for (int i = 0; i < 3 && block > 0; i++)
                Attention(sites, classes, $"up_blocks.{block}.attentions.{i}", width, early);
            for (int i = 0; i < 3; i++)
                Resnet(sites, classes, $"up_blocks.{block}.resnets.{i}", (i == 0 ? before : width) + (i == 2 ? skipLast : width), width);
        }
        // mid_block was None when up_blocks were registered.
        Attention(sites, classes, "mid_block.attentions.0", 1280, early);
        for (int i = 0; i < 2; i++)
            Resnet(sites, classes, $"mid_block.resnets.{i}", 1280, 1280);
        return sites;
    }

    /// <summary>The text encoder's modules of the named classes in their order, without sizes; null for a class that is not known.</summary>
    public static List<Site>? Text(IReadOnlyCollection<string> classes, int layers)
    {
        if (classes.Count == 0 || classes.Any(c => c is not ("CLIPAttention" or "CLIPMLP")))
            return null;
        List<Site> sites = [];
        for (int layer = 0; layer < layers; layer++)
        {
            string at = $"text_model.encoder.layers.{layer}";
            if (classes.Contains("CLIPAttention"))
                sites.AddRange(new[] { "k_proj", "v_proj", "q_proj", "out_proj" }.Select(n => new Site($"{at}.self_attn.{n}", 0, 0, 0)));
            if (classes.Contains("CLIPMLP"))
                sites.AddRange(new[] { "fc1", "fc2" }.Select(n => new Site($"{at}.mlp.{n}", 0, 0, 0)));
        }
        return sites;
    }

    private static void Attention(List<Site> sites, IReadOnlyCollection<string> classes, string at, int width, bool early)
    {
        string block = at + ".transformer_blocks.0";
        void Projections(string name, int inputs)
        {
            if (!classes.Contains("CrossAttention") && !classes.Contains("Attention"))
                return;
            sites.Add(new($"{block}.{name}.to_q", width, width, 0));
            sites.Add(new($"{block}.{name}.to_k", width, inputs, 0));
            sites.Add(new($"{block}.{name}.to_v", width, inputs, 0));
            sites.Add(new($"{block}.{name}.to_out.0", width, width, 0));
        }
        void Gate()
        {
            if (classes.Contains("GEGLU"))
                sites.Add(new($"{block}.ff.net.0.proj", 8 * width, width, 0));
        }
        Projections("attn1", width);
        if (early)
            Gate();
        Projections("attn2", 0);
        if (!early)
            Gate();
    }

    private static void Resnet(List<Site> sites, IReadOnlyCollection<string> classes, string at, int inputs, int width)
    {
        if (!classes.Contains("ResnetBlock2D"))
            return;
        sites.Add(new($"{at}.conv1", width, inputs, 3));
        sites.Add(new($"{at}.time_emb_proj", width, 1280, 0));
        sites.Add(new($"{at}.conv2", width, width, 3));
        if (inputs != width)
            sites.Add(new($"{at}.conv_shortcut", width, inputs, 1));
    }
}
