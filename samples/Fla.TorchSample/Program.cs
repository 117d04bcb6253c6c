using Fla.Torch;
using Fla.Torch.Modules;
using Fla.TorchSample;
using TorchSharp;

// A small TorchSharp transformer on the letters of this project's README, twice: with softmax attention, and with the attention swapped for gated linear
// attention on the Vulkan device. Nothing else differs: same modules, same optimizer, same batches. About a minute on two CPU cores.
//
//   Fla.TorchSample [STEPS]      trains both
//   Fla.TorchSample --measure    what a call costs, and how much of it is the crossing between TorchSharp's memory and the device's
//   Fla.TorchSample --recurrence [OP...]    what operators cost beside their recurrences in eager TorchSharp, from 512 to 8192 tokens
if (args is ["--measure"])
{
    CallCost.Measure();
    return;
}
if (args is ["--recurrence", .. var ops])
{
    RecurrenceCost.Measure(ops);
    return;
}

var steps = args.Length > 0 ? int.Parse(args[0], System.Globalization.CultureInfo.InvariantCulture) : 150;
const int Width = 64, Heads = 2, Layers = 2;
var text = new Letters("README.md");
Console.WriteLine($"{text.Count} letters, {text.VocabSize} different ones; TorchSharp on the CPU, GLA on {TorchDevice.Default.Name}");

torch.manual_seed(1);
using var softmax = new Transformer(text.VocabSize, Width, Layers, () => new SoftmaxAttention(Width, Heads));
torch.manual_seed(1);
using var linear = new Transformer(text.VocabSize, Width, Layers, () => new GatedLinearAttention(hidden_size: Width, num_heads: Heads));

Console.WriteLine($"parameters: softmax {softmax.parameters().Sum(p => p.numel()):N0}, gla {linear.parameters().Sum(p => p.numel()):N0}");
Console.WriteLine("  step   softmax       gla");
var runs = new[] { new Run(softmax), new Run(linear) };
for (var step = 1; step <= steps; step++)
{
    foreach (var run in runs) run.Step(text, step);
    if (step == 1 || step % 25 == 0 || step == steps) Console.WriteLine($"{step,6}{runs[0].Loss,10:0.000}{runs[1].Loss,10:0.000}");
}
Console.WriteLine($"a step:{runs[0].Milliseconds,7:0} ms{runs[1].Milliseconds,7:0} ms");
foreach (var run in runs) run.Dispose();
TorchDevice.Default.Dispose();
