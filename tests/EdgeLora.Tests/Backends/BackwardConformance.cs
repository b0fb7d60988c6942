using System.Runtime.CompilerServices;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>The one suite that every backend's backward ops pass, a fact for each of its backward checks.</summary>
public abstract class BackwardConformance : IDisposable
{
    /// <summary>The backend under test.</summary>
    protected abstract ITrainingBackend Backend { get; }

    /// <summary>Largest error allowed, relative to the largest derivative.</summary>
    protected virtual double Tolerance => ConformanceRun.DefaultTolerance;

    /// <inheritdoc/>
    public virtual void Dispose()
    {
        Backend.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Linear_gives_the_reference_s_derivatives_for_every_case() => Holds();

    [Fact]
    public void Dropout_drops_the_same_inputs_forward_and_backward() => Holds();

    [Fact]
    public void Embed_gives_the_reference_s_derivatives_for_every_type_and_path() => Holds();

    [Fact]
    public void Norms_give_the_reference_s_derivatives_over_rows_and_over_heads() => Holds();

    [Fact]
    public void Rope_gives_the_reference_s_derivatives_for_both_pairings_and_partial_rotation() => Holds();

    [Fact]
    public void Attention_gives_the_reference_s_derivatives_for_windows_groups_encoders_and_two_sequences() => Holds();

    [Fact]
    public void Attention_s_derivatives_survive_scores_that_would_overflow_an_exponential() => Holds();

    [Fact]
    public void Activations_give_the_reference_s_derivatives() => Holds();

    [Fact]
    public void Activations_derivatives_hold_from_tiny_to_huge() => Holds();

    [Fact]
    public void Route_gives_the_reference_s_derivatives_the_choice_held() => Holds();

    [Fact]
    public void Rows_gathered_and_added_give_the_reference_s_derivatives() => Holds();

    [Fact]
    public void Cross_entropy_gives_the_reference_s_losses_and_derivatives_masked_rows_too() => Holds();

    [Fact]
    public void Cross_entropy_of_huge_logits_is_their_difference() => Holds();

    [Fact]
    public void A_job_s_derivatives_have_the_same_bits_beside_other_jobs() => Holds();

    [Fact]
    public void A_sequence_s_derivatives_have_the_same_bits_beside_other_sequences() => Holds();

    [Fact]
    public void A_dx_that_is_not_wanted_changes_no_other_derivative() => Holds();

    [Fact]
    public void A_NaN_is_not_hidden_by_a_backward_op() => Holds();

    [Fact]
    public void AdamW_is_its_formula_over_three_steps() => Holds();

    [Fact]
    public void Sgd_is_its_formula() => Holds();

    [Fact]
    public void A_sum_of_squares_keeps_the_digits_of_F64() => Holds();

    [Fact]
    public void DoraGainBackward_adds_the_gain_s_derivative_over_the_norm() => Holds();

    [Fact]
    public void Clear_leaves_the_rows_behind() => Holds();

    [Fact]
    public void An_optimizer_s_step_is_seen_by_the_next_pass() => Holds();

    private void Holds([CallerMemberName] string fact = "") => SuiteFact.Holds(ConformanceSuite.Backward, fact, Backend, Tolerance);
}
