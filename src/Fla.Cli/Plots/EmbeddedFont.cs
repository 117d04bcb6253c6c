using ScottPlot;
using SkiaSharp;

namespace Fla.Cli.Plots;

/// <summary>The font of all plots, carried in this assembly: a bare system has none, and text would be left out without a word.</summary>
internal sealed class EmbeddedFont : IFontResolver
{
    private const string Resource = "DejaVuSansAscii.ttf";
    private static readonly Lazy<EmbeddedFont> Registered = new(Register);

    private readonly SKData _data;

    private EmbeddedFont()
    {
        using var stream = typeof(EmbeddedFont).Assembly.GetManifestResourceStream(Resource) ?? throw new InvalidOperationException($"the tool was built without {Resource}");
        _data = SKData.Create(stream);
    }

    /// <summary>The name to ask for in plots.</summary>
    public static string Name => Registered.Value.Family;

    private string Family { get; } = "DejaVu Sans ASCII";

    /// <inheritdoc/>
    public SKTypeface? CreateTypeface(string fontName, FontWeight weight, FontSlant slant, FontSpacing spacing) =>
        fontName == Family ? SKTypeface.FromData(_data) : null;

    /// <inheritdoc/>
    public SKTypeface? CreateTypeface(string fontName, bool bold, bool italic) => fontName == Family ? SKTypeface.FromData(_data) : null;

    private static EmbeddedFont Register()
    {
        var font = new EmbeddedFont();
        Fonts.FontResolvers.Insert(0, font);
        return font;
    }
}
