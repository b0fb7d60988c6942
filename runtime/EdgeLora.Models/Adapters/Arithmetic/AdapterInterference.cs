namespace EdgeLora.Models;

/// <summary>How two adapters stand to each other at one site. A side that does not change the site has norm 0.</summary>
/// <param name="Module">The site.</param>
/// <param name="FirstNorm">‖ΔW₁‖.</param>
/// <param name="SecondNorm">‖ΔW₂‖.</param>
/// <param name="Dot">⟨ΔW₁, ΔW₂⟩.</param>
/// <param name="Difference">‖ΔW₁ − ΔW₂‖.</param>
public sealed record SiteAngle(string Module, double FirstNorm, double SecondNorm, double Dot, double Difference)
{
    /// <summary>⟨ΔW₁, ΔW₂⟩ / (‖ΔW₁‖·‖ΔW₂‖): 1 the same direction, 0 nothing in common, −1 each undoes the other. 0 where a side is zero.</summary>
    public double Cosine => FirstNorm > 0 && SecondNorm > 0 ? Math.Clamp(Dot / FirstNorm / SecondNorm, -1, 1) : 0;
}

/// <summary>Two adapters compared, site by site and over all sites at once, from the factors alone.</summary>
/// <param name="First">Name of the first.</param>
/// <param name="Second">Name of the second.</param>
/// <param name="Sites">All sites that either changes, in ordinal order.</param>
public sealed record AdapterInterference(string First, string Second, IReadOnlyList<SiteAngle> Sites)
{
    /// <summary>‖ΔW₁‖ over all sites.</summary>
    public double FirstNorm => Math.Sqrt(Sites.Sum(s => s.FirstNorm * s.FirstNorm));

    /// <summary>‖ΔW₂‖ over all sites.</summary>
    public double SecondNorm => Math.Sqrt(Sites.Sum(s => s.SecondNorm * s.SecondNorm));

    /// <summary>‖ΔW₁ − ΔW₂‖ over all sites.</summary>
    public double Difference => Math.Sqrt(Sites.Sum(s => s.Difference * s.Difference));

    /// <summary>The cosine over all sites; sites that one side does not change count in its norm alone.</summary>
    public double Cosine => FirstNorm > 0 && SecondNorm > 0 ? Math.Clamp(Sites.Sum(s => s.Dot) / FirstNorm / SecondNorm, -1, 1) : 0;

    /// <summary>Compares two adapters that <see cref="AdapterDeltas.Check"/> has passed.</summary>
    public static AdapterInterference Of(AdapterDeltas first, AdapterDeltas second)
    {
        List<SiteAngle> sites = [];
        foreach (string site in first.Sites.Union(second.Sites).Order(StringComparer.Ordinal))
        {
            SiteFactors? one = first.Has(site) ? first.Factors(site) : null, two = second.Has(site) ? second.Factors(site) : null;
            double oneNorm = one?.Norm() ?? 0, twoNorm = two?.Norm() ?? 0;
            sites.Add(new(site, oneNorm, twoNorm, one is not null && two is not null ? one.Dot(two) : 0,
                one is not null && two is not null ? SiteFactors.Sum([one, two], [1, -1]).Norm() : oneNorm + twoNorm));
        }
        return new(first.Name, second.Name, sites);
    }
}
