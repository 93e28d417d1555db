"""All that was measured, as document, words, terminal, page and CSV."""
