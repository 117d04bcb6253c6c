namespace Fla.Models;

/// <summary>What a language model's loss is made of; the defaults are plain cross entropy.</summary>
public sealed record LossOptions
{
    /// <summary>ε: how much of each target is spread evenly over the vocabulary, from 0 to 1 (Szegedy et al. 2016).</summary>
    public float LabelSmoothing { get; init; }

    /// <summary>Factor of the squared logarithm of the softmax's denominator, which keeps logits from drifting (PaLM, Chowdhery et al. 2022, has 1e-4).</summary>
    public float ZLoss { get; init; }

    /// <summary>Whether the head and the loss run over chunks of tokens, so that the logits of all never exist at once; null as the configuration says.</summary>
    public bool? IsFused { get; init; }

    /// <summary>Whether the loss is one of each token, f32 [B · T], 0 where there is no label, instead of their mean; not with a tape or a teacher.</summary>
    public bool IsPerToken { get; init; }

    /// <summary>A model of the same vocabulary, float type and device whose predictions are imitated (Hinton et al. 2015); no gradient flows to it. Null for none.</summary>
    public CausalLM? Teacher { get; init; }

    /// <summary>w: the loss is (1 − w) times the cross entropy and w times temperature² times the divergence from the teacher.</summary>
    public float DistillWeight { get; init; } = 0.5f;

    /// <summary>What the logits of both are divided by for the divergence.</summary>
    public float Temperature { get; init; } = 1;
}
