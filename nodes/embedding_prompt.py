"""Embedding Prompt: every reference in a text made to work, checked and reported."""

from comfy_api.latest import io, ui

from ..embeddings_io.prompt import expand_prompt, fingerprint, keyword_list, referenced_names
from ..host.folders import library
from ..host.running_prompt import writers_signature
from ..host.token_counts import report_for
from .missing_choice import missing_input
from .schema_fields import aliases
from .waiting import wait_first, wait_for_input
from .wires import CATEGORY


class EmbeddingPrompt(io.ComfyNode):
    """Schema and hand-over of the prompt node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_EmbeddingPrompt",
            display_name="Embedding Prompt",
            category=CATEGORY,
            description=(
                "Writes every embedding:name in a text so that ComfyUI's text encoder finds it, "
                "beside commas, brackets and weights too, and says what was found."
            ),
            **aliases("textual inversion", "embedding keywords"),
            inputs=[
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="The prompt. embedding:name may touch commas, quotes and brackets; "
                    "embedding:name:1.2 is read as (embedding:name:1.2).",
                ),
                missing_input(),
                io.String.Input(
                    "keywords",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="Names that are to work as plain words, without embedding: before "
                    "them; separated by commas or line breaks. Whole words only, case counts.",
                ),
                io.Boolean.Input(
                    "library_keywords",
                    default=False,
                    optional=True,
                    tooltip="Let the name of every embedding in the folders work as a plain word. "
                    "Mind embeddings that are called like common words.",
                ),
                wait_for_input(),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoder that the text is for. With it the report says how "
                    "many tokens are used and left in each window, and what it cannot read.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="text", tooltip="The prompt, for CLIP Text Encode."),
                io.String.Output(
                    display_name="report",
                    tooltip="A line for every embedding: its file, encoders, vectors and weight; "
                    "with a clip a line for the tokens used and left in each window.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            enable_expand=True,
        )

    @classmethod
    def fingerprint_inputs(cls, text, missing, keywords="", library_keywords=False, **_):
        words, everywhere = keyword_list(keywords or ""), bool(library_keywords)
        files = fingerprint(text, library(), words, library_keywords=everywhere)
        names = referenced_names(text, library(), words, library_keywords=everywhere)
        return f"{files}\n{writers_signature(names)}"

    @classmethod
    def execute(cls, text, missing, keywords="", library_keywords=False, clip=None, **_):
        words = keyword_list(keywords)
        if again := wait_first(cls, text, library(), words, library_keywords):
            return again
        expansion = expand_prompt(
            text, library(), missing=missing, keywords=words, library_keywords=library_keywords
        )
        report = report_for(expansion, clip)
        shown = ui.PreviewText(f"{expansion.text}\n\n{report}")
        return io.NodeOutput(expansion.text, report, ui=shown)
