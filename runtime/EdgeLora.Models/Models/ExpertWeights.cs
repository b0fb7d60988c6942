using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>One gated feed-forward: an expert, or what all rows share.</summary>
/// <param name="Gate">[F, D].</param>
/// <param name="Up">[F, D].</param>
/// <param name="Down">[D, F].</param>
public sealed record ExpertSites(LinearSite Gate, LinearSite Up, LinearSite Down);

/// <summary>A mixture of experts in place of a feed-forward: each row goes through its best few, weighted by the router. arXiv:1701.06538, arXiv:2401.04088.</summary>
/// <param name="Router">[experts, D].</param>
/// <param name="Experts">The experts in order.</param>
/// <param name="Chosen">Experts that a row takes.</param>
/// <param name="Renormalises">Whether the chosen experts' weights sum to 1.</param>
/// <param name="Shared">An expert that every row takes, or null.</param>
/// <param name="SharedGate">[1, D]: the shared expert counts by this one's sigmoid; null: by 1.</param>
public sealed record ExpertWeights(LinearSite Router, ExpertSites[] Experts, int Chosen, bool Renormalises, ExpertSites? Shared = null, LinearSite? SharedGate = null);
