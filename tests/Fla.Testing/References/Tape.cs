namespace Fla.Testing.References;

/// <summary>
/// Reverse-mode automatic differentiation of scalars in double precision. Every operation on a <see cref="Var"/> records its
/// operands and local derivatives; <see cref="Backward"/> walks the record from the end.
/// </summary>
/// <remarks>
/// A loss that is a sum over rows (or heads, or columns) is differentiated piece by piece: create all leaves, then for each piece
/// compute, <see cref="Seed"/> its outputs, and call <see cref="Backward"/>, which adds to the leaves' gradients and forgets the
/// piece. Memory is then that of the largest piece.
/// </remarks>
public sealed class Tape
{
    // Node i owns edges [edgeEnd[i-1], edgeEnd[i]).
    private int[] edgeEnd = new int[1024];
    private double[] gradient = new double[1024];
    private int[] edgeParent = new int[4096];
    private double[] edgePartial = new double[4096];
    private int nodeCount;
    private int edgeCount;
    private int leafCount;
    private int piece;

    /// <summary>Number of values on the tape: leaves, and intermediates of the current piece.</summary>
    public int Count => nodeCount;

    /// <summary>A new independent variable. All leaves come before the first operation of a piece.</summary>
    /// <exception cref="InvalidOperationException">Operations have been recorded since the last <see cref="Backward"/>.</exception>
    public Var Leaf(double value)
    {
        if (nodeCount != leafCount)
        {
            throw new InvalidOperationException("Leaves are created before the first operation is recorded.");
        }

        leafCount++;
        return new Var(value, this, CloseNode(), Var.LeafPiece);
    }

    /// <summary>Adds <paramref name="outputGradient"/> to the derivative of the loss with respect to <paramref name="output"/>.</summary>
    public void Seed(Var output, double outputGradient)
    {
        if (output.Tape is null)
        {
            return;
        }

        CheckAlive(output);
        gradient[output.Index] += outputGradient;
    }

    /// <summary>Carries all seeded derivatives to the leaves, adding to what they hold, and forgets every intermediate value.</summary>
    public void Backward()
    {
        for (int node = nodeCount - 1; node >= leafCount; node--)
        {
            double outer = gradient[node];
            gradient[node] = 0;
            for (int edge = edgeEnd[node - 1]; edge < edgeEnd[node]; edge++)
            {
                gradient[edgeParent[edge]] += outer * edgePartial[edge];
            }
        }

        nodeCount = leafCount;
        edgeCount = 0;
        piece++;
    }

    /// <summary>The derivative of everything seeded so far with respect to a leaf (0 for a constant).</summary>
    public double Gradient(Var leaf) => leaf.Tape is null ? 0 : gradient[leaf.Index];

    /// <summary>Records that the next node depends on <paramref name="operand"/>.</summary>
    internal void AddEdge(Var operand, double partial)
    {
        if (operand.Tape is null)
        {
            return;
        }

        CheckAlive(operand);
        if (edgeCount == edgeParent.Length)
        {
            Array.Resize(ref edgeParent, checked(2 * edgeCount));
            Array.Resize(ref edgePartial, 2 * edgeCount);
        }

        edgeParent[edgeCount] = operand.Index;
        edgePartial[edgeCount++] = partial;
    }

    /// <summary>Makes the edges added since the last node the operands of a new one.</summary>
    internal Var Record(double value) => new(value, this, CloseNode(), piece);

    private int CloseNode()
    {
        if (nodeCount == edgeEnd.Length)
        {
            Array.Resize(ref edgeEnd, checked(2 * nodeCount));
            Array.Resize(ref gradient, 2 * nodeCount);
        }

        edgeEnd[nodeCount] = edgeCount;
        return nodeCount++;
    }

    private void CheckAlive(Var value)
    {
        if (value.Tape != this || (value.Piece != piece && value.Piece != Var.LeafPiece))
        {
            throw new InvalidOperationException("The value belongs to another tape, or to a piece that Backward has already consumed.");
        }
    }
}
