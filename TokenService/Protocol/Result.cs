using System;
using System.Diagnostics.CodeAnalysis;

namespace TokenService.Protocol;

/// <summary>
/// What a step on the way of a request gives: its value, or the refusal that ends the way. Always exactly one of the two.
/// </summary>
/// <typeparam name="T">What the step gives where it does not refuse.</typeparam>
/// <remarks>A refusal is the caller's fault and a value; our own faults are exceptions.</remarks>
public readonly struct Result<T>
    where T : class
{
    private readonly T? _value;
    private readonly OAuthError? _error;

    private Result(T? value, OAuthError? error) => (_value, _error) = (value, error);

    /// <summary>Tells whether the step refused, and hands over the refusal or the value.</summary>
    /// <param name="error">The refusal, where the answer is <see langword="true"/>.</param>
    /// <param name="value">The value, where the answer is <see langword="false"/>.</param>
    /// <exception cref="InvalidOperationException">The result was never given either.</exception>
    public bool Refused([NotNullWhen(true)] out OAuthError? error, [NotNullWhen(false)] out T? value)
    {
        if (_value is null && _error is null)
        {
            throw new InvalidOperationException("A result without value and without refusal.");
        }

        (error, value) = (_error, _value);
        return error is not null;
    }

    /// <summary>A step that went well.</summary>
    public static implicit operator Result<T>(T value) => new(value, null);

    /// <summary>A step that refused.</summary>
    public static implicit operator Result<T>(OAuthError error) => new(null, error);
}
