namespace Fla.Vulkan.Ops;

/// <summary>Sizes of a linear-attention call, after its arguments were checked.</summary>
/// <param name="B">Batch.</param>
/// <param name="T">Tokens of a batch row.</param>
/// <param name="H">Heads.</param>
/// <param name="K">Key channels of a head.</param>
/// <param name="V">Value channels of a head.</param>
/// <param name="Packed">Boundaries of packed sequences, null for one sequence a batch row.</param>
internal sealed record LinearShape(int B, int T, int H, int K, int V, CuSeqlens? Packed)
{
    /// <summary>Most channels of a head that fit on chip together with the other axis of the state.</summary>
    public const int LargestResident = 256;

    private const int LargestHead = 512;

    /// <summary>Number of sequences.</summary>
    public int N => Packed?.Count ?? B;

    /// <summary>Tokens of all batch rows.</summary>
    public int Tokens => B * T;

    /// <summary>Chunks of <paramref name="chunk"/> tokens, counting room for those that other boundaries would need.</summary>
    public int Chunks(int chunk) => Packed?.ChunkCapacity(chunk) ?? B * ((T + chunk - 1) / chunk);

    /// <summary>The table of sequences and chunks for shaders, null when dense.</summary>
    public Tensor? Table(int chunk) => Packed?.Table(chunk);

    /// <summary>The same call with keys and values exchanged.</summary>
    public LinearShape Transposed => this with { K = V, V = K };

    /// <summary>Shape of the states of all sequences.</summary>
    public int[] State(bool vFirst) => States(N, vFirst);

    /// <summary>Shape of so many states.</summary>
    public int[] States(int count, bool vFirst) => vFirst ? [count, H, V, K] : [count, H, K, V];

    /// <summary>Checks q, k [B,T,H,K], v [B,T,H,V] and the packing. With <paramref name="shared"/> v may have a multiple of their heads, which are then the shape's.</summary>
    /// <exception cref="ShapeException">Shapes that do not fit together, or heads of too many channels.</exception>
    /// <exception cref="DTypeException">Not one float type.</exception>
    public static LinearShape Of(Tensor q, Tensor k, Tensor v, CuSeqlens? cuSeqlens, bool shared = false)
    {
        ArgumentNullException.ThrowIfNull(q);
        ArgumentNullException.ThrowIfNull(k);
        ArgumentNullException.ThrowIfNull(v);
        Require.SameDevice(q, k, v);
        Require.Rank(q, 4, "q");
        Require.Rank(v, 4, "v");
        Require.Float(q, "q");
        Require.Type(k, q.DType, "k");
        Require.Type(v, q.DType, "v");
        int b = q.Size(0), t = q.Size(1), h = q.Size(2);
        Require.Shape(k, "k", q.Shape);
        Require.That(h > 0, "q needs at least one head");
        var heads = shared && v.Size(2) > 0 && v.Size(2) % h == 0 ? v.Size(2) : h;
        Require.Shape(v, "v", b, t, heads, v.Size(3));
        var largestKey = shared ? LargestResident : LargestHead;
        Require.That(q.Size(3) > 0 && q.Size(3) <= largestKey, $"q and k need 1 to {largestKey} channels a head, not {q.Size(3)}");
        Require.That(v.Size(3) is > 0 and <= LargestHead, $"v needs 1 to {LargestHead} channels a head, not {v.Size(3)}");
        if (cuSeqlens is not null)
        {
            if (cuSeqlens.Device != q.Device) throw new DeviceException($"cuSeqlens lives on {cuSeqlens.Device.Name}, q on {q.Device.Name}");
            Require.That(b == 1, $"cuSeqlens packs sequences into one batch row: B must be 1, not {b}");
            Require.That(cuSeqlens.Length == t, $"cuSeqlens ends at {cuSeqlens.Length}, q has {t} tokens");
        }
        return new(b, t, heads, q.Size(3), v.Size(3), cuSeqlens);
    }

    /// <summary>Checks a state that a caller gave.</summary>
    /// <exception cref="ShapeException">Another shape.</exception>
    public void CheckState(Tensor? state, bool vFirst, string name)
    {
        Require.Float(state, name);
        Require.Shape(state, name, State(vFirst));
    }

    /// <summary>Checks a log decay per head and token [B,T,H].</summary>
    public void CheckHeadGate(Tensor? gate, string name)
    {
        Require.Float(gate, name);
        Require.Shape(gate, name, B, T, H);
    }

    /// <summary>Checks a log decay per channel [B,T,H,channels].</summary>
    public void CheckChannelGate(Tensor? gate, int channels, string name)
    {
        Require.Float(gate, name);
        Require.Shape(gate, name, B, T, H, channels);
    }

    /// <summary>Checks a constant log decay per head [H].</summary>
    public void CheckGamma(Tensor? gamma, string name)
    {
        Require.Type(gamma, DType.Float32, name);
        Require.Shape(gamma, name, H);
    }
}
