namespace EdgeLora.Core;

/// <summary>
/// Row order of q and k under the two rotary layouts. Hugging Face rotates row i of a head with row i + d/2 (halves); llama.cpp and llama2.c
/// rotate rows 2i and 2i + 1 (adjacent) and store the rows so: halves row i lies at 2i, row i + d/2 at 2i + 1.
/// </summary>
public static class QueryKeyPermutation
{
    /// <summary>For every Hugging Face row the row where llama.cpp stores it. Throws <see cref="ArgumentException"/> unless heads of an even size divide the rows.</summary>
    public static int[] ToAdjacent(int rows, int heads)
    {
        int[] adjacent = new int[rows], halves = ToHalves(rows, heads);
        for (int row = 0; row < rows; row++)
            adjacent[halves[row]] = row;
        return adjacent;
    }

    /// <summary>For every llama.cpp row the Hugging Face row that it holds: the inverse of <see cref="ToAdjacent"/>.</summary>
    public static int[] ToHalves(int rows, int heads)
    {
        if (heads <= 0 || rows % heads != 0 || rows / heads % 2 != 0)
            throw new ArgumentException($"{rows} rows are not {heads} heads of an even size");
        int size = rows / heads;
        int[] halves = new int[rows];
        for (int row = 0; row < rows; row++)
            halves[row] = row / size * size + row % size / 2 + row % 2 * (size / 2);
        return halves;
    }
}
