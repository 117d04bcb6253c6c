using Fla.Bench;
using Fla.Vulkan;

// Fla.Bench ops [NAME...] [--dtype bf16] [--shape B,T,H,D]... [--profile]      operators on the GPU, checked, then timed
// Fla.Bench gemm [--dtype bf16] [--route tiles|direct|skinny] [--peak TFLOPS]    products of matrices, likewise
const string Usage = "usage: Fla.Bench ops [NAME...] [--dtype f32|f16|bf16] [--shape B,T,H,D]... [--profile]\n       Fla.Bench gemm [--dtype f32|f16|bf16] [--route tiles|direct|skinny] [--peak TFLOPS]";

using var device = ComputeDevice.Create();
switch (args.FirstOrDefault())
{
    case "ops": return OpBench.Run(device, args[1..]);
    case "gemm": return GemmBench.Run(device, args[1..]);
    default:
        Console.Error.WriteLine(Usage);
        return 2;
}
