"""Train Concepts: several words on the same models, one after another or together."""

from comfy_api.latest import io, ui

from ..host.folders import records_folder, save_folder
from ..host.provenance import base_model_name
from .concepts_run import MODES, ConceptsRun
from .recipe_inputs import chosen_recipe, knob_input, preset_inputs
from .train_embedding import KNOBS
from .training_request import TrainingRequest
from .wires import CATEGORY, ConceptsWire, EmbeddingWire, OptionsWire


class TrainConcepts(io.ComfyNode):
    """Schema and hand-over of the node that learns several words."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_TrainConcepts",
            display_name="Train Concepts",
            category=CATEGORY,
            description=(
                "Learns a word for every connected Concept without loading the models anew, and "
                "saves each in the embeddings folder."
            ),
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The model that learns to draw the words."),
                io.Clip.Input("clip", tooltip="The text encoder of the same checkpoint."),
                io.Vae.Input("vae", tooltip="The VAE of the same checkpoint."),
                ConceptsWire.Input("concepts", tooltip="The words and their pictures."),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="auto",
                    tooltip="One after another learns each word alone. Together learns all in one "
                    "run, for pictures that show several. auto: together where a caption names "
                    "another concept.",
                ),
                *(knob_input(name) for name in KNOBS),
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    tooltip="Replace embeddings of these names; otherwise that is an error.",
                ),
                *preset_inputs(),
                OptionsWire.Input(
                    "options",
                    optional=True,
                    tooltip="More settings, from Training Options.",
                ),
            ],
            outputs=[
                EmbeddingWire.Output(
                    display_name="embeddings",
                    is_output_list=True,
                    tooltip="The learnt words, in the order of the concepts.",
                ),
                io.String.Output(
                    display_name="prompt_texts",
                    is_output_list=True,
                    tooltip="embedding:name of every word.",
                ),
                io.Image.Output(
                    display_name="previews",
                    is_output_list=True,
                    tooltip="For every word pictures of its initializer text, then of the word.",
                ),
                io.Image.Output(
                    display_name="plots",
                    is_output_list=True,
                    tooltip="The probe bank's curve of every word.",
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="Figures, notices and nearest words of every word.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def execute(cls, concepts, mode, options=None, **given):
        recipe, notices = chosen_recipe(given, KNOBS, [options] if options else None)
        node_id = cls.hidden.unique_id
        given |= {"recipe": recipe, "notices": notices, "node_id": node_id}
        given |= {"folder": save_folder(), "records": records_folder()}
        given["base_model"] = base_model_name(cls.hidden.prompt, node_id, "model")
        requests = [TrainingRequest(**vars(concept), **given) for concept in concepts]
        results = ConceptsRun(requests, mode).execute()
        words = [result.embedding for result in results]
        texts, pictures = [word.prompt_text for word in words], [each.previews for each in results]
        told = "\n\n".join(result.text for result in results)
        plots = [result.told.picture for result in results]
        return io.NodeOutput(words, texts, pictures, plots, told, ui=ui.PreviewText(told))
