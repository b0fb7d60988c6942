using System.Runtime.CompilerServices;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>The one suite that every backend passes, a fact for each of its forward checks.</summary>
public abstract class BackendConformance : IDisposable
{
    /// <summary>The backend under test.</summary>
    protected abstract IComputeBackend Backend { get; }

    /// <summary>Largest error allowed, relative to the largest magnitude in the row.</summary>
    protected virtual double Tolerance => ConformanceRun.DefaultTolerance;

    /// <inheritdoc/>
    public virtual void Dispose()
    {
        Backend.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Linear_gives_the_reference_for_every_case() => Holds();

    [Fact]
    public void Linear_leaves_rows_outside_the_batch_alone() => Holds();

    [Fact]
    public void Linear_on_several_layers_gives_the_bits_of_each() => Holds();

    [Fact]
    public void Embed_gives_the_reference_for_every_type_and_path() => Holds();

    [Fact]
    public void Norms_give_the_reference_over_rows_and_over_heads() => Holds();

    [Fact]
    public void A_mean_far_from_zero_costs_a_LayerNorm_no_digits() => Holds();

    [Fact]
    public void Rope_gives_the_reference_for_both_pairings_and_partial_rotation() => Holds();

    [Fact]
    public void Attention_gives_the_reference_for_windows_groups_and_two_sequences() => Holds();

    [Fact]
    public void Attention_survives_scores_that_would_overflow_an_exponential() => Holds();

    [Fact]
    public void Activations_give_the_reference_from_tiny_to_huge() => Holds();

    [Fact]
    public void A_NaN_in_a_row_is_not_hidden() => Holds();

    [Fact]
    public void Copies_move_rows_and_columns() => Holds();

    [Fact]
    public void DoraGain_gives_the_reference_for_every_type_and_layout() => Holds();

    [Fact]
    public void Route_gives_each_row_its_best_experts_weights() => Holds();

    [Fact]
    public void Rows_gathered_come_back_where_they_belong_weighted() => Holds();

    [Fact]
    public void TopK_gives_the_best_of_every_row_in_order() => Holds();

    [Fact]
    public void TopK_gives_thousands_of_a_row_in_order() => Holds();

    [Fact]
    public void A_type_that_is_no_weight_is_refused_by_name()
    {
        Tensor ids = new("ids", DType.I32, new Shape(2), new ArrayStorage(8));
        Assert.Contains("ids: I32", Assert.Throws<NotSupportedException>(() => Backend.Upload(ids)).Message);
    }

    private void Holds([CallerMemberName] string fact = "") => SuiteFact.Holds(ConformanceSuite.Forward, fact, Backend, Tolerance);
}
