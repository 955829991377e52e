using System.Collections.Generic;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Encodings.Web;

namespace TokenService.Endpoints;

/// <summary>A piece of HTML. Whatever was text in it is encoded: it is made here and nowhere else, and there is no way to leave that out.</summary>
public readonly record struct Html
{
    private readonly string? _markup;

    private Html(string markup) => _markup = markup;

    /// <summary>
    /// HTML from an interpolated string: what the string itself says is markup, what stands in its holes is text and is encoded, unless it is HTML
    /// already. A hole in an attribute is right too, as long as the attribute is in double quotes and is no script, style or URL of another's choice.
    /// </summary>
    /// <param name="markup">The interpolated string.</param>
    public static Html Of(Markup markup) => new(markup.ToString());

    /// <inheritdoc/>
    public override string ToString() => _markup ?? "";

    /// <summary>Puts the interpolated string of <see cref="Of"/> together.</summary>
    [InterpolatedStringHandler]
    public readonly ref struct Markup
    {
        private readonly StringBuilder _markup;

        /// <summary>As the compiler calls it.</summary>
        public Markup(int literalLength, int formattedCount) => _markup = new StringBuilder(literalLength + (16 * formattedCount));

        /// <summary>Markup.</summary>
        public void AppendLiteral(string literal) => _markup.Append(literal);

        /// <summary>Text.</summary>
        public void AppendFormatted(string? text) => _markup.Append(HtmlEncoder.Default.Encode(text ?? ""));

        /// <summary>HTML that is made already.</summary>
        public void AppendFormatted(Html html) => _markup.Append(html.ToString());

        /// <summary>The same, one after the other.</summary>
        public void AppendFormatted(IEnumerable<Html> all) => _markup.AppendJoin("", all);

        /// <summary>A whole number.</summary>
        public void AppendFormatted(long number) => _markup.Append(CultureInfo.InvariantCulture, $"{number}");

        /// <summary>A number, to three digits behind the point.</summary>
        public void AppendFormatted(double number) => _markup.Append(CultureInfo.InvariantCulture, $"{number:0.###}");

        /// <inheritdoc/>
        public override string ToString() => _markup.ToString();
    }
}
