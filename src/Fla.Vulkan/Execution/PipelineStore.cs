using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Silk.NET.Core.Native;
using Silk.NET.Vulkan;

namespace Fla.Vulkan;

/// <summary>A compiled pipeline.</summary>
internal sealed record ComputePipeline(string Name, Pipeline Handle);

/// <summary>What the driver's compiler tells of a pipeline, such as registers and spills.</summary>
/// <param name="Name">Name of the figure.</param>
/// <param name="Value">The figure.</param>
public readonly record struct PipelineStatistic(string Name, double Value);

/// <summary>Makes pipelines on first use, keeps them for the device's life, and keeps the driver's compiled code on disk.</summary>
internal sealed unsafe class PipelineStore : IDisposable
{
    public const int PushConstantBytes = 128;

    private readonly ComputeDevice _device;
    private readonly Dictionary<(string Key, string Spec), ComputePipeline> _pipelines = [];
    private readonly PipelineCache _cache;
    private readonly string? _cacheFile;
    private int _saved;

    public PipelineStore(ComputeDevice device)
    {
        _device = device;
        _cacheFile = CacheFile(device);
        var initial = _cacheFile != null && File.Exists(_cacheFile) ? File.ReadAllBytes(_cacheFile) : [];
        fixed (byte* data = initial)
        {
            var info = new PipelineCacheCreateInfo { SType = StructureType.PipelineCacheCreateInfo, InitialDataSize = (nuint)initial.Length, PInitialData = data };
            PipelineCache cache;
            device.Check(device.Api.CreatePipelineCache(device.Handle, &info, null, &cache), "vkCreatePipelineCache");
            _cache = cache;
        }
        var range = new PushConstantRange { StageFlags = ShaderStageFlags.ComputeBit, Size = PushConstantBytes };
        var layout = new PipelineLayoutCreateInfo { SType = StructureType.PipelineLayoutCreateInfo, PushConstantRangeCount = 1, PPushConstantRanges = &range };
        PipelineLayout handle;
        device.Check(device.Api.CreatePipelineLayout(device.Handle, &layout, null, &handle), "vkCreatePipelineLayout");
        Layout = handle;
    }

    public PipelineLayout Layout { get; }

    public int Count => _pipelines.Count;

    public ComputePipeline Get(string key, ReadOnlySpan<uint> spec, ArgumentLayout layout, Type argsType)
    {
        lock (_device.Gate)
        {
            var specText = string.Join(',', spec.ToArray());
            if (_pipelines.TryGetValue((key, specText), out var known)) return known;
            layout.CheckAgainst(ShaderLibrary.Reflect(key), key, argsType);
            var pipeline = Create(key, spec, specText, statistics: false);
            _pipelines.Add((key, specText), pipeline);
            return pipeline;
        }
    }

    /// <summary>Compiles a variant and reads the driver's figures, none where it does not tell; the pipeline is destroyed again.</summary>
    public IReadOnlyList<PipelineStatistic> Statistics(string key, ReadOnlySpan<uint> spec)
    {
        var pipeline = Create(key, spec, string.Join(',', spec.ToArray()), statistics: _device.Features.PipelineStatistics);
        try
        {
            if (!_device.Features.PipelineStatistics) return [];
            var get = (delegate* unmanaged<Device, PipelineExecutableInfoKHR*, uint*, PipelineExecutableStatisticKHR*, Result>)_device.DeviceProc("vkGetPipelineExecutableStatisticsKHR");
            var info = new PipelineExecutableInfoKHR { SType = StructureType.PipelineExecutableInfoKhr, Pipeline = pipeline.Handle };
            uint count = 0;
            _device.Check(get(_device.Handle, &info, &count, null), "vkGetPipelineExecutableStatisticsKHR");
            var all = new PipelineExecutableStatisticKHR[count];
            Array.Fill(all, new PipelineExecutableStatisticKHR { SType = StructureType.PipelineExecutableStatisticKhr });
            fixed (PipelineExecutableStatisticKHR* p = all) _device.Check(get(_device.Handle, &info, &count, p), "vkGetPipelineExecutableStatisticsKHR");
            var result = new List<PipelineStatistic>();
            for (var i = 0; i < count; i++)
            {
                fixed (PipelineExecutableStatisticKHR* s = &all[i])
                {
                    var value = s->Format switch
                    {
                        PipelineExecutableStatisticFormatKHR.Bool32Khr => s->Value.B32 ? 1 : 0,
                        PipelineExecutableStatisticFormatKHR.Int64Khr => s->Value.I64,
                        PipelineExecutableStatisticFormatKHR.Uint64Khr => s->Value.U64,
                        _ => s->Value.F64,
                    };
                    result.Add(new(Marshal.PtrToStringUTF8((nint)s->Name) ?? "", value));
                }
            }
            return result;
        }
        finally { _device.Api.DestroyPipeline(_device.Handle, pipeline.Handle, null); }
    }

    public void Dispose()
    {
        Save();
        foreach (var pipeline in _pipelines.Values) _device.Api.DestroyPipeline(_device.Handle, pipeline.Handle, null);
        _pipelines.Clear();
        _device.Api.DestroyPipelineLayout(_device.Handle, Layout, null);
        _device.Api.DestroyPipelineCache(_device.Handle, _cache, null);
    }

    private ComputePipeline Create(string key, ReadOnlySpan<uint> spec, string specText, bool statistics)
    {
        var code = ShaderLibrary.Code(key);
        var reflected = ShaderLibrary.Reflect(key);
        var values = new Dictionary<uint, uint>();
        for (var i = 0; i < spec.Length; i++) values[(uint)i] = spec[i];
        if (reflected.SpecIds.Any(id => !values.ContainsKey(id)))
        {
            throw new ShaderException($"{key}: specialization constants {string.Join(",", reflected.SpecIds)} are needed, {spec.Length} values were given");
        }
        var shared = reflected.SharedMemory(values);
        if (shared > _device.Limits.SharedMemory)
        {
            throw new ShaderException($"{key} [{specText}] needs {shared} bytes of shared memory, {_device.Name} has {_device.Limits.SharedMemory}");
        }
        if (spec.Length > 0 && spec[0] > _device.Limits.WorkgroupInvocations)
        {
            throw new ShaderException($"{key} [{specText}]: {spec[0]} invocations, {_device.Name} allows {_device.Limits.WorkgroupInvocations}");
        }

        var api = _device.Api;
        ShaderModule module;
        fixed (byte* p = code)
        {
            var moduleInfo = new ShaderModuleCreateInfo { SType = StructureType.ShaderModuleCreateInfo, CodeSize = (nuint)code.Length, PCode = (uint*)p };
            _device.Check(api.CreateShaderModule(_device.Handle, &moduleInfo, null, &module), "vkCreateShaderModule");
        }
        var entries = new SpecializationMapEntry[spec.Length];
        for (var i = 0; i < entries.Length; i++) entries[i] = new((uint)i, (uint)(i * 4), 4);
        var main = (byte*)SilkMarshal.StringToPtr("main");
        try
        {
            fixed (SpecializationMapEntry* map = entries)
            fixed (uint* data = spec)
            {
                var specialization = new SpecializationInfo { MapEntryCount = (uint)entries.Length, PMapEntries = map, DataSize = (nuint)(spec.Length * 4), PData = data };
                var size = new PipelineShaderStageRequiredSubgroupSizeCreateInfo
                {
                    SType = StructureType.PipelineShaderStageRequiredSubgroupSizeCreateInfo, RequiredSubgroupSize = (uint)_device.SubgroupSize,
                };
                var isFull = spec.Length > 0 && spec[0] % _device.SubgroupSize == 0;
                var canRequire = _device.Limits.MinSubgroupSize < _device.Limits.MaxSubgroupSize;
                var stage = new PipelineShaderStageCreateInfo
                {
                    SType = StructureType.PipelineShaderStageCreateInfo, Stage = ShaderStageFlags.ComputeBit, Module = module, PName = main,
                    PSpecializationInfo = spec.Length > 0 ? &specialization : null, PNext = canRequire ? &size : null,
                    Flags = isFull ? PipelineShaderStageCreateFlags.RequireFullSubgroupsBit : 0,
                };
                var info = new ComputePipelineCreateInfo
                {
                    SType = StructureType.ComputePipelineCreateInfo, Stage = stage, Layout = Layout,
                    Flags = statistics ? PipelineCreateFlags.CreateCaptureStatisticsBitKhr : 0,
                };
                Pipeline pipeline;
                _device.Check(api.CreateComputePipelines(_device.Handle, _cache, 1, &info, null, &pipeline), $"vkCreateComputePipelines ({key} [{specText}])");
                var name = $"{key} [{specText}]";
                _device.SetName(ObjectType.Pipeline, pipeline.Handle, name);
                return new(name, pipeline);
            }
        }
        finally
        {
            SilkMarshal.Free((nint)main);
            api.DestroyShaderModule(_device.Handle, module, null);
        }
    }

    private static string? CacheFile(ComputeDevice device)
    {
        var folder = device.Options.PipelineCacheFolder;
        if (folder == "") return null;
        folder ??= Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify), "fla-vulkan", "pipelines");
        var identity = $"{device.Info.VendorId:x}|{device.Name}|{device.Info.Driver}|{device.Info.ApiVersion}";
        return Path.Combine(folder, Convert.ToHexString(SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(identity)))[..16] + ".bin");
    }

    private void Save()
    {
        if (_cacheFile == null || _device.IsLost || _pipelines.Count == _saved) return;
        _saved = _pipelines.Count;
        nuint size = 0;
        if (_device.Api.GetPipelineCacheData(_device.Handle, _cache, &size, null) != Result.Success || size == 0) return;
        var data = new byte[size];
        fixed (byte* p = data)
        {
            if (_device.Api.GetPipelineCacheData(_device.Handle, _cache, &size, p) != Result.Success) return;
        }
        try
        {
            WholeFile.Write(_cacheFile, data);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A cache that cannot be written only costs the next start its compile time.
        }
    }
}
