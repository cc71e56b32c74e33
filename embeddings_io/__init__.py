"""The file side of textual inversion: embeddings, their names, formats, library and references."""
