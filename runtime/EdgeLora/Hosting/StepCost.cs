namespace EdgeLora;

/// <summary>What a forward pass of some rows takes, learned from those that ran: a fixed part and a part for each row.</summary>
internal sealed class StepCost
{
    // How fast it forgets: a step counts for a tenth.
    private const double Forget = 0.9;

    private double _count, _rows, _rowsSquared, _time, _rowsTime;

    /// <summary>Seconds that a step of <paramref name="rows"/> is expected to take; 0 before any ran.</summary>
    public double Seconds(int rows)
    {
        (double fixedPart, double perRow) = Fit();
        return fixedPart + perRow * rows;
    }

    /// <summary>Most rows, at least 1, whose step is expected to end within <paramref name="seconds"/>.</summary>
    public int Rows(double seconds, int most)
    {
        (double fixedPart, double perRow) = Fit();
        if (_count == 0)
            return Math.Min(most, 4);
        return perRow <= 0 ? most : Math.Clamp((int)((seconds - fixedPart) / perRow), 1, most);
    }

    /// <summary>Learns from a step.</summary>
    public void Add(int rows, double seconds)
    {
        _count = Forget * _count + 1;
        _rows = Forget * _rows + rows;
        _rowsSquared = Forget * _rowsSquared + (double)rows * rows;
        _time = Forget * _time + seconds;
        _rowsTime = Forget * _rowsTime + rows * seconds;
    }

    private (double Fixed, double PerRow) Fit()
    {
        if (_count == 0)
            return (0, 0);
        double spread = _count * _rowsSquared - _rows * _rows;
        // Steps of one size say nothing of the two parts: all of it counts for the rows.
        double perRow = spread > 1e-6 * _rowsSquared * _count ? (_count * _rowsTime - _rows * _time) / spread : _time / _rows;
        perRow = Math.Max(perRow, 0);
        return (Math.Max(0, (_time - perRow * _rows) / _count), perRow);
    }
}
