"""Pictures, documents and other media: fetched safely. Knows no dialect and no upstream."""
