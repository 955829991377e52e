namespace CatalogApi;

/// <summary>A document of the catalog.</summary>
/// <param name="Id">Its number.</param>
/// <param name="Title">Its title.</param>
internal sealed record Document(int Id, string Title);

/// <summary>The documents that the sample serves.</summary>
internal static class Catalog
{
    private static readonly Document[] s_documents =
    [
        new(1, "The Art of Small Programs"),
        new(2, "Tokens for Machines"),
        new(3, "A Field Guide to Key Rotation"),
    ];

    public static IEnumerable<Document> Search(string? words)
        => s_documents.Where(document => document.Title.Contains(words ?? "", StringComparison.OrdinalIgnoreCase));

    public static Document? Find(int id) => Array.Find(s_documents, document => document.Id == id);
}
