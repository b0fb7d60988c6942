using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.House;

/// <summary>The recipes that lie in adapters/recipes.</summary>
public sealed class RecipeTests
{
    private static readonly string s_folder = Path.Combine(SharedFolder.Repository, "adapters", "recipes", "nano");

    public static TheoryData<string> Recipes() => new(Directory.GetFiles(s_folder, "*.yaml").Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal));

    [Theory, MemberData(nameof(Recipes))]
    public void A_shipped_recipe_is_whole_and_free_of_contradictions(string name)
    {
        TrainingRecipe recipe = TrainingRecipe.Read(Path.Combine(s_folder, name));
        Assert.NotNull(recipe.MaxSteps);
        // Its parent's node lies around its own.
        if (recipe.Parent is { } parent)
            Assert.EndsWith($"/nano/{parent}/{Path.GetFileNameWithoutExtension(name)}", recipe.OutputFolder.Replace('\\', '/'));
    }

    [Fact]
    public void The_recipe_s_base_is_the_shipped_one_s_model()
    {
        EdgeLora.Models.WeightPlan Plan(string folder) => EdgeLora.Models.WeightPlan.Of(Core.HfConfig.Read(folder));
        Assert.Equal(Plan(Path.Combine(s_folder, "..", "..", "nano", "base")).Weights, Plan(s_folder).Weights);
    }
}
