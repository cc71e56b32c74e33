"""Train Embedding: learn a new word from pictures, through the connected models themselves."""

from comfy_api.latest import io, ui

from ..host.folders import records_folder, save_folder
from ..host.provenance import base_model_name
from .recipe_inputs import chosen_recipe, knob_input, preset_inputs
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
                    "nearer, the faster and the more editable. auto asks the model for the word.",
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
                    tooltip="A caption for every picture, as a list or one a line; the name or {} "
                    "marks the word's place. Without it ready-made sentences are used.",
                ),
                *preset_inputs(),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="White is what should be learnt: a mask for every picture, or one for "
                    "all. Without it the alpha of the pictures counts. Load Image's mask is the "
                    "other way round; put Invert Mask between.",
                ),
                EmbeddingWire.Input(
                    "initializer",
                    optional=True,
                    tooltip="Start from this embedding's vectors instead of the initializer text.",
                ),
                io.Image.Input(
                    "good_images",
                    optional=True,
                    tooltip="For kind negative: good pictures like the bad ones. The word then "
                    "learns what sets the bad apart, not what both show.",
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
                io.Image.Output(
                    display_name="plot",
                    tooltip="The probe bank's curve, the step that was kept, and how well each "
                    "picture agrees with the others.",
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="Figures, notices, nearest words and norm of each vector, and the "
                    "difficulty of each picture.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def execute(cls, images, options=None, captions=None, masks=None, good_images=None, **inputs):
        given = {name: values[0] for name, values in inputs.items()}
        recipe, notices = chosen_recipe(given, KNOBS, options)
        given |= {"images": images, "captions": captions or (), "recipe": recipe}
        given |= {"masks": masks or (), "good_images": good_images or (), "notices": notices}
        given |= {"records": records_folder(), "folder": save_folder()}
        given |= {"node_id": cls.hidden.unique_id}
        base_model = base_model_name(cls.hidden.prompt, cls.hidden.unique_id, "model")
        result = TrainingRun(TrainingRequest(base_model=base_model, **given)).execute()
        word, losses = result.embedding, {"loss": result.curve}
        plot = result.told.picture
        shown = ui.PreviewImage(result.previews, cls=cls).as_dict() | result.report()
        shown["images"] = shown["images"] + ui.PreviewImage(plot, cls=cls).as_dict()["images"]
        return io.NodeOutput(
            word, word.prompt_text, result.previews, losses, plot, result.text, ui=shown
        )
