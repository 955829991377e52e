using BenchmarkDotNet.Running;

namespace Micro;

/// <summary>Measures the parts of the way of a token request: time, and what each allocates.</summary>
public static class Program
{
    /// <summary>Runs the benchmarks that the arguments choose (BenchmarkDotNet's own: <c>--filter</c>, <c>--job</c>, <c>--inProcess</c>).</summary>
    public static void Main(string[] args) => BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
}
