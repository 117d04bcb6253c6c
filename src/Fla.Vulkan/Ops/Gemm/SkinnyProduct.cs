using System.Numerics;

namespace Fla.Vulkan.Ops;

/// <summary>
/// Products of few rows with the transpose of a weight, bound by reading the weight, and what a decoding step does before and after them
/// (shaders/gemm/skinny.comp): C = f(alpha·X·Bᵀ + bias, X·B2ᵀ) + beta·D, X = A or the norm of A.
/// </summary>
internal readonly record struct SkinnyProduct
{
    /// <summary>Most rows.</summary>
    public const int MaxRows = 8;

    private const uint PieceBytes = 16;
    private const uint StagedPieces = 1024;
    private const uint InFlight = 6;
    private const uint NormPart = 1, WeightPart = 2, GatePart = 4, PairPart = 8, BiasPart = 16, AddPart = 32, SigmoidPart = 64;

    private static readonly Kernel<Args> Kernel = new("gemm/skinny");

    private readonly record struct Args(In A, In Weight, In Gate, In B, In B2, In Bias, In D, InOut C, uint M, uint N, uint K, uint Width, float Eps, float Alpha, float Beta,
        float Parameter);

    /// <summary>A [m,k].</summary>
    public required Tensor A { get; init; }

    /// <summary>B [n,k], of A's type.</summary>
    public required Tensor B { get; init; }

    /// <summary>C [m,n], of A's type or fp32.</summary>
    public required Tensor C { get; init; }

    public required int M { get; init; }

    public required int N { get; init; }

    public required int K { get; init; }

    public float Alpha { get; init; }

    /// <summary>[n], of A's type.</summary>
    public Tensor? Bias { get; init; }

    /// <summary>Of C's shape and type; may be C.</summary>
    public Tensor? D { get; init; }

    public float Beta { get; init; }

    /// <summary>Like B: its product is f's second argument.</summary>
    public Tensor? B2 { get; init; }

    /// <summary>f; none when null.</summary>
    public ElementFunction? Function { get; init; }

    /// <summary>f's parameter.</summary>
    public float Parameter { get; init; }

    /// <summary>What A passes on its way into the product.</summary>
    public RowNorm? Norm { get; init; }

    private int Rows => (int)BitOperations.RoundUpToPowerOf2((uint)M);

    private uint Piece => PieceBytes / (uint)A.DType.Size();

    private bool IsAligned => K % Piece == 0 && RowLayout.BeginAtAccesses(A, B, B2, Norm?.Weight, Norm?.Gate);

    /// <summary>Whether rows of k channels can be normed on their way: each run of channels is whole subgroups' pieces, and all of them are staged together.</summary>
    public static bool CanNorm(Tensor a, int rows, int k, RowNorm norm)
    {
        var piece = PieceBytes / (uint)a.DType.Size();
        var lanes = (uint)a.Device.SubgroupSize;
        var (step, steps) = Steps(Ceiling(Ceiling((uint)k, piece), lanes), 1);
        return rows is > 0 and <= MaxRows && norm.Width % (piece * lanes) == 0 && k % norm.Width == 0 && BitOperations.RoundUpToPowerOf2((uint)rows) * step * steps * lanes <= StagedPieces
            && (norm.Weight is null || norm.Weight.DType == a.DType) && RowLayout.BeginAtAccesses(a, norm.Weight, norm.Gate);
    }

    /// <summary>Records the product.</summary>
    public void Run()
    {
        var lanes = (uint)A.Device.SubgroupSize;
        var choice = A.Device.Tiles[Kernel.Shader, A.Device.MatrixShape(A.DType) is not null];
        var workgroup = Math.Max((uint)choice.Workgroup, lanes);
        var rows = (uint)Rows;
        // Columns of a subgroup share what they multiply with, which is worth registers where that is many rows.
        var columns = (uint)(rows > 2 ? choice.Columns : (choice.Columns + 1) / 2);
        var sums = B2 is null ? columns : 2 * columns;
        var (step, steps) = Steps(Ceiling(Ceiling((uint)K, Piece), lanes), Norm is null ? sums : 1);
        var tile = step * lanes * (Norm is null ? Math.Clamp(StagedPieces / (rows * step * lanes), 1, steps) : steps);
        var parts = (Norm is null ? 0 : NormPart) | (Norm?.Weight is null ? 0 : WeightPart) | (Norm?.Gate is null ? 0 : GatePart) | (B2 is null ? 0 : PairPart)
            | (Bias is null ? 0 : BiasPart) | (D is null ? 0 : AddPart) | (Norm?.Activation == NormGate.Sigmoid ? SigmoidPart : 0);
        Kernel.Launch(A.Device, new(A, Norm?.Weight, Norm?.Gate, B, B2, Bias, D, C, (uint)M, (uint)N, (uint)K, (uint)(Norm?.Width ?? K), Norm?.Eps ?? 0, Alpha, Beta, Parameter),
            Grid.Over(N, (int)(workgroup / lanes * columns)), A.DType.Variant(), workgroup, lanes, rows, columns, step, tile, IsAligned ? 1u : 0, C.DType == DType.Float32 ? 1u : 0,
            parts, (uint)(Function ?? ElementFunction.Affine), workgroup);
    }

    /// <summary>Pieces that a lane has in flight of each row at once, and how often: no more than memory needs, and no empty ones if it can be.</summary>
    private static (uint Step, uint Steps) Steps(uint pieces, uint sums)
    {
        var most = Math.Max(1, InFlight / sums);
        var steps = Math.Max(1, Ceiling(pieces, most));
        for (var s = steps; s <= 2 * steps; s++)
        {
            if (pieces > 0 && pieces % s == 0) return (pieces / s, s);
        }
        return (Math.Max(1, Ceiling(pieces, steps)), steps);
    }

    private static uint Ceiling(uint a, uint b) => (a + b - 1) / b;
}
