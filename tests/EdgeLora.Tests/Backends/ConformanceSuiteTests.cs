using System.Reflection;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Backends;

public sealed class ConformanceSuiteTests
{
    [Fact]
    public void Every_check_is_a_fact_of_every_backend()
    {
        Assert.Empty(ConformanceSuite.Forward.Select(c => SuiteFact.Name(c.Sentence)).Except(Facts(typeof(BackendConformance))));
        Assert.Empty(ConformanceSuite.Backward.Select(c => SuiteFact.Name(c.Sentence)).Except(Facts(typeof(BackwardConformance))));
    }

    [Fact]
    public void Every_two_sizes_of_a_linear_layer_meet_for_each_type_and_layout()
    {
        LinearCase[] all = [.. BackendCases.Linears(thinned: 1).Where(c => c.Rows <= 64 && BackendCases.WeightTypes.Contains(c.Type))];
        foreach (IGrouping<(DType, bool), LinearCase> cases in all.GroupBy(c => (c.Type, c.InputMajor)))
        {
            Meet(c => c.Inputs, c => c.Outputs);
            Meet(c => c.Inputs, c => c.Rows);
            Meet(c => c.Outputs, c => c.Rows);
            Meet(c => c.Paths, c => c.Outputs);
            Meet(c => c.Paths, c => c.Rows);

            void Meet<A, B>(Func<LinearCase, A> one, Func<LinearCase, B> other) =>
                Assert.Equal(cases.Select(one).Distinct().Count() * cases.Select(other).Distinct().Count(), cases.Select(c => (one(c), other(c))).Distinct().Count());
        }
        // Of the types that are no blocks, one at least sees each three sizes.
        Assert.Equal(9 * 5 * 6, all.Where(c => c.Type.BlockSize() == 1 && !c.InputMajor).Select(c => (c.Inputs, c.Outputs, c.Rows)).Distinct().Count());
        Assert.Equal(8, all.Select(c => (c.Type, c.InputMajor)).Distinct().Count());
    }

    [Fact]
    public void A_wrong_number_is_found_and_its_place_is_named()
    {
        using ReferenceBackend backend = new();
        ConformanceRun run = new(backend);
        // Half of the tolerance, then twice as much.
        run.Compare("Add", "near", 4, b => Row(b, 1.5e-6f));
        Assert.Empty(run.Faults);
        run.Compare("Add", "far", 4, b => Row(b, 6e-6f));
        run.Compare("Add", "no number", 4, b => Row(b, float.NaN));
        Assert.Equal(["Add: far: row 1, column 2: ", "Add: no number: row 1, column 2: "], run.Faults.Select(f => f[..(f.IndexOf("column 2: ", StringComparison.Ordinal) + 10)]));
        OpError op = Assert.Single(run.Ops);
        Assert.Equal(("Add", 3, 2, false, "no number: row 1, column 2"), (op.Op, op.Compared, op.Failed, op.Passed, op.Where));
        Assert.True(double.IsNaN(op.Error));

        float[] Row(IComputeBackend b, float error)
        {
            float[] values = [1, 1, 1, 1, 1, 1, 1, 1];
            if (b == backend)
                values[6] += error;
            return values;
        }
    }

    [Fact]
    public void Bits_that_differ_are_found_where_numbers_do_not()
    {
        using ReferenceBackend backend = new();
        ConformanceRun run = new(backend);
        run.Same("Add", "numbers", [0f], [-0f]);
        Assert.Empty(run.Faults);
        run.SameBits("Add", "bits", [[1, 0f]], [[1, -0f]]);
        Assert.Contains("bits: result 0, element 1", Assert.Single(run.Faults));
    }

    private static IEnumerable<string> Facts(Type suite) => suite.GetMethods().Where(m => m.GetCustomAttribute<FactAttribute>() is not null).Select(m => m.Name);
}
