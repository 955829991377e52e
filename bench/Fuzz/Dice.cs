using System;

namespace Fuzz;

/// <summary>Numbers that follow from a seed and an index alone, on every machine and version (SplitMix64): an input can be made again from the two.</summary>
/// <param name="seed">The seed of the run.</param>
/// <param name="index">The number of the input.</param>
internal sealed class Dice(ulong seed, ulong index)
{
    private ulong _state = seed ^ (index * 0xD1342543DE82EF95) ^ 0x5851F42D4C957F2D;

    /// <summary>A number of 64 bits.</summary>
    public ulong Next()
    {
        var z = _state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    /// <summary>A number from 0 to one less than this; 0 where there is none.</summary>
    public int Below(int end) => end <= 1 ? 0 : (int)(Next() % (ulong)end);

    /// <summary>Whether it is the one case among so many.</summary>
    public bool OneIn(int cases) => Below(cases) == 0;

    /// <summary>One of these.</summary>
    public T Of<T>(ReadOnlySpan<T> items) => items[Below(items.Length)];

    /// <summary>So many bytes.</summary>
    public byte[] Bytes(int length)
    {
        var bytes = new byte[length];
        for (var i = 0; i < length; i++)
        {
            bytes[i] = (byte)Next();
        }

        return bytes;
    }
}
