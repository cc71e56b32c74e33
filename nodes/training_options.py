"""Training Options: the knobs beyond those of Train Embedding, grouped."""

from comfy_api.latest import io

from ..training.recipe import default, knobs
from .recipe_inputs import knob_input
from .train_embedding import KNOBS
from .wires import CATEGORY, OptionsWire

OPTIONS = tuple(name for name in knobs() if name not in KNOBS)


class TrainingOptions(io.ComfyNode):
    """Schema and hand-over of the options node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_TrainingOptions",
            display_name="Training Options",
            category=CATEGORY,
            description="Settings for Train Embedding beyond the usual ones.",
            inputs=[knob_input(name) for name in OPTIONS],
            outputs=[
                OptionsWire.Output(
                    display_name="options",
                    tooltip="The settings that differ from the defaults.",
                )
            ],
        )

    @classmethod
    def execute(cls, **values):
        changed = {name: value for name, value in values.items() if value != default(name)}
        return io.NodeOutput(changed)
