"""Encode Embedding Prompt: a text with embeddings in it, checked and encoded by any CLIP."""

from comfy_api.latest import io, ui

from ..embeddings_io.prompt import fingerprint, keyword_list, referenced_names
from ..embeddings_io.vocabulary import BARE_NAMES
from ..host.folders import library
from ..host.loaded_loras import loaded_lora_words
from ..host.prompt_encoding import encode_prompt, memory_of
from ..host.running_prompt import writers_signature
from .missing_choice import missing_input
from .schema_fields import aliases
from .waiting import wait_first, wait_for_input
from .wires import CATEGORY, EmbeddingWire

SOCKETS = ("embedding_1", "embedding_2", "embedding_3", "embedding_4")


class EncodeEmbeddingPrompt(io.ComfyNode):
    """Schema and hand-over of the encoding node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_EncodeEmbeddingPrompt",
            display_name="Encode Embedding Prompt",
            category=CATEGORY,
            description=(
                "CLIP Text Encode that understands every embedding in the prompt, beside commas "
                "and quotes, in slices and formulas, stops at missing ones, and says what it used."
            ),
            **aliases("clip text encode", "embedding keywords", "textual inversion"),
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder; words that it knows are used."),
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip='The prompt. embedding:name, embedding:"my cat", embedding:name[0:2], '
                    '<name> and \\{0.6*embedding:cat + 0.4*"tiger"\\}.',
                ),
                missing_input(),
                *(
                    EmbeddingWire.Input(
                        socket,
                        optional=True,
                        tooltip="An embedding that the prompt calls by its name; it wins over a "
                        "file of that name.",
                    )
                    for socket in SOCKETS
                ),
                io.Combo.Input(
                    "bare_names",
                    options=list(BARE_NAMES),
                    default="off",
                    optional=True,
                    tooltip="Names and trigger words that work without embedding: before them: "
                    "none, those of connected embeddings, or the whole library's as well.",
                ),
                io.String.Input(
                    "keywords",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="Names that are to work as plain words, separated by commas or line "
                    "breaks. Whole words only, case counts.",
                ),
                wait_for_input(),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="Ordinary conditioning, for any sampler."
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="A line for every embedding, for warnings, and for the tokens used "
                    "and left in each window.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            enable_expand=True,
        )

    @classmethod
    def fingerprint_inputs(cls, text=None, keywords="", bare_names="off", **_):
        words, everywhere = keyword_list(keywords or ""), bare_names == "library"
        files = fingerprint(text, library(), words, library_keywords=everywhere)
        names = referenced_names(text, library(), words, library_keywords=everywhere)
        return f"{files}\n{writers_signature(names)}"

    @classmethod
    def execute(cls, clip, text, missing, bare_names="off", keywords="", **connected):
        words, everywhere = keyword_list(keywords), bare_names == "library"
        if again := wait_first(cls, text, library(), words, everywhere):
            return again
        wires = [connected.get(socket) for socket in SOCKETS]
        encoded = encode_prompt(
            clip,
            text,
            library(),
            memory_of(clip, wires, loaded_lora_words(cls.hidden)),
            missing=missing,
            keywords=words,
            bare_names=bare_names,
        )
        shown = ui.PreviewText(encoded.report)
        return io.NodeOutput(encoded.conditioning, encoded.report, ui=shown)
