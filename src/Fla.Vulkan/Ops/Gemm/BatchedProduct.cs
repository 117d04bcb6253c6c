namespace Fla.Vulkan.Ops;

/// <summary>One op(A)·op(B) with batches, and its gradients, each again a product.</summary>
internal readonly record struct BatchedProduct
{
    private readonly Tensor _a;
    private readonly Tensor _b;
    private readonly bool _transA;
    private readonly bool _transB;
    private readonly bool _shared;
    private readonly int _batch;
    private readonly int _rowsA;

    public BatchedProduct(Tensor a, Tensor b, bool transA, bool transB)
    {
        (_a, _b, _transA, _transB) = (a, b, transA, transB);
        _shared = b.Rank == 2;

        // A shared B meets all rows of A at once, unless A is transposed.
        var isFolded = _shared && !transA;
        var batch = Tensor.CountOf(a.Shape[..^2]);
        var rows = isFolded ? batch * a.Size(-2) : a.Size(-2);
        Require.That(batch <= int.MaxValue && rows <= int.MaxValue, $"{a.Describe()} has more than 2^31 rows");
        (_batch, _rowsA) = (isFolded ? 1 : (int)batch, (int)rows);
    }

    public void Forward(Tensor c) => Gemm.Run(A(_transA), B(_transB), c, _batch);

    public Tensor GradientOfA(Tensor dc)
    {
        var da = Tensor.EmptyLike(_a);
        if (_transA) Gemm.Run(B(_transB), C(dc, transposed: true), da, _batch);
        else Gemm.Run(C(dc), B(!_transB), da, _batch);
        return da;
    }

    public Tensor GradientOfB(Tensor dc)
    {
        var db = Tensor.EmptyLike(_b);
        if (!_shared || _batch == 1)
        {
            RunGradientOfB(A(_transA), C(dc), db, _batch);
            return db;
        }

        // Every batch adds to the same gradient: one after the other, in fp32.
        using var sum = Tensor.Zeros(db.Device, DType.Float32, db.Shape);
        for (var i = 0; i < _batch; i++)
        {
            var (rowsA, columnsA, rowsC, columnsC) = (_a.Size(-2), _a.Size(-1), dc.Size(-2), dc.Size(-1));
            using var flatA = _a.View(_batch, rowsA, columnsA);
            using var flatC = dc.View(_batch, rowsC, columnsC);
            using var ai = flatA.Narrow(i, 1);
            using var ci = flatC.Narrow(i, 1);
            RunGradientOfB(new(ai, rowsA, columnsA, _transA), new(ci, rowsC, columnsC), sum, 1, sum);
        }
        db.CopyFrom(sum);
        return db;
    }

    private void RunGradientOfB(Operand a, Operand c, Tensor db, int batch, Tensor? add = null)
    {
        if (_transB) Gemm.Run(c with { Transposed = true }, a, db, batch, d: add);
        else Gemm.Run(a with { Transposed = !a.Transposed }, c, db, batch, d: add);
    }

    private Operand A(bool transposed) => new(_a, _rowsA, _a.Size(-1), transposed, PerBatch: true);

    private Operand B(bool transposed) => new(_b, _b.Size(-2), _b.Size(-1), transposed, PerBatch: !_shared);

    private Operand C(Tensor dc, bool transposed = false) => new(dc, _batch == 0 ? 0 : (int)(dc.Count / Math.Max(1, dc.Size(-1)) / _batch), dc.Size(-1), transposed, PerBatch: true);
}
