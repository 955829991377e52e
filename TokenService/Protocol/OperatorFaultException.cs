using System;

namespace TokenService.Protocol;

/// <summary>
/// A fault that the operator can mend: a wrong setting, a missing file, a store that cannot be opened. It ends the command, or the
/// start of the service, with exit status 1.
/// </summary>
/// <param name="message">One line for standard error: what is wrong and what to do. Never a secret.</param>
/// <param name="inner">What it was made from, if anything.</param>
public sealed class OperatorFaultException(string message, Exception? inner = null) : Exception(message, inner);
