"""The types of the wires between the nodes, and where the nodes sit in the menu."""

from __future__ import annotations

from comfy_api.latest import io

CATEGORY = "textual inversion"

EmbeddingWire = io.Custom("EMBEDDING")
"""Carries one embeddings_io.embedding.Embedding."""

OptionsWire = io.Custom("TI_OPTIONS")
"""Carries a table of training.Recipe settings that differ from the defaults."""

ConceptsWire = io.Custom("TI_CONCEPTS")
"""Carries a tuple of nodes.concept.ConceptToLearn."""

LossMapWire = io.LossMap
"""Carries {"loss": [float, ...]}, which the core node Plot Loss Graph draws."""
