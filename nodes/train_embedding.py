"""Train Embedding: learn a new word from pictures, through the connected models themselves."""

from comfy_api.latest import io, ui

from ..host.folders import save_folder
from ..host.provenance import base_model_name
from ..training.recipe import Recipe
from .recipe_inputs import knob_input
from .training_run import TrainingRequest, TrainingRun
from .wires import CATEGORY, EmbeddingWire, LossMapWire, OptionsWire

KNOBS = ("kind", "num_vectors", "steps", "learning_rate", "batch_size", "seed")


class TrainEmbedding(io.ComfyNode):
    """Schema and hand-over of the training node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_TrainEmbedding",
            display_name="Train Embedding",
            category=CATEGORY,
            description=(
                "Learns a new word from a few pictures (Textual Inversion) and saves it in the "
                "embeddings folder, to be used in prompts as embedding:name."
            ),
            is_input_list=True,
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The model that learns to draw the word."),
                io.Clip.Input("clip", tooltip="The text encoder of the same checkpoint."),
                io.Vae.Input("vae", tooltip="The VAE of the same checkpoint."),
                io.Image.Input(
                    "images",
                    tooltip="3 to 10 pictures of what the word means; a batch or a list, of any "
                    "size. Vary everything that is not part of the word.",
                ),
                io.String.Input(
                    "name",
                    default="my-word",
                    tooltip="Name of the file and of the word: embedding:name. Letters without "
                    "accents, digits, '_', '-' and '.', at most 100.",
                ),
                io.String.Input(
                    "initializer_text",
                    default="object",
                    tooltip="A word or two that come near, such as 'dog' or 'painting'. The "
                    "nearer, the faster and the more editable.",
                ),
                *(knob_input(name) for name in KNOBS),
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    tooltip="Replace an embedding of this name; otherwise that is an error.",
                ),
                OptionsWire.Input(
                    "options",
                    optional=True,
                    tooltip="More settings, from Training Options.",
                ),
                io.String.Input(
                    "captions",
                    optional=True,
                    force_input=True,
                    tooltip="A caption for every picture, as a list or one a line; {} marks the "
                    "word's place. Without it ready-made sentences are used.",
                ),
            ],
            outputs=[
                EmbeddingWire.Output(display_name="embedding", tooltip="The learnt word."),
                io.String.Output(
                    display_name="prompt_text",
                    tooltip="embedding:name; wire it into a prompt, so that it waits for the "
                    "training.",
                ),
                io.Image.Output(
                    display_name="previews",
                    tooltip="Pictures of the initializer text, then of the learnt word, at the "
                    "same seeds.",
                ),
                LossMapWire.Output(
                    display_name="loss",
                    tooltip="The probe bank's loss through the run, for Plot Loss Graph.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def execute(cls, images, options=None, captions=None, **inputs):
        given = {name: values[0] for name, values in inputs.items()}
        chosen = {name: given.pop(name) for name in KNOBS} | (options[0] if options else {})
        given |= {"images": images, "captions": captions or (), "recipe": Recipe(**chosen)}
        given |= {"folder": save_folder(), "node_id": cls.hidden.unique_id}
        base_model = base_model_name(cls.hidden.prompt, cls.hidden.unique_id, "model")
        result = TrainingRun(TrainingRequest(base_model=base_model, **given)).execute()
        word, losses = result.embedding, {"loss": result.curve}
        shown = ui.PreviewImage(result.previews, cls=cls).as_dict() | result.report()
        return io.NodeOutput(word, word.prompt_text, result.previews, losses, ui=shown)
