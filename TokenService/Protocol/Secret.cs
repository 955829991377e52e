namespace TokenService.Protocol;

/// <summary>A text that no log line, message or exception may show: it prints as <c>***</c>.</summary>
/// <param name="value">The text itself.</param>
public readonly struct Secret(string value)
{
    private readonly string? _value = value;

    /// <summary>The text itself, for comparing, hashing, or showing it once to whom it belongs.</summary>
    public string Reveal() => _value ?? "";

    /// <summary>Always <c>***</c>.</summary>
    public override string ToString() => "***";
}
