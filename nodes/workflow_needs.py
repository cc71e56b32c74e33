"""Workflow Needs: which embeddings a workflow names, and which are missing here."""

from comfy_api.latest import io, ui

from ..embeddings_io.needs import needs_of, report
from ..host.folders import library
from ..host.loaded_loras import bundled_names
from ..host.workflow_files import chosen_workflow
from .schema_fields import aliases
from .wires import CATEGORY


class WorkflowNeeds(io.ComfyNode):
    """Schema and hand-over of the checking node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_WorkflowNeeds",
            display_name="Workflow Needs",
            category=CATEGORY,
            description=(
                "Lists the embeddings that a workflow names in its texts, and which of them are "
                "missing here."
            ),
            **aliases("missing embeddings", "textual inversion"),
            is_output_node=True,
            inputs=[
                io.String.Input(
                    "workflow",
                    default="",
                    tooltip="Name of a workflow (json) or of a picture made with one (png, webp) "
                    "in the input folder. Empty for this workflow.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="report", tooltip="A line for every embedding, missing ones first."
                ),
                io.String.Output(display_name="missing", tooltip="The missing names, one a line."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def fingerprint_inputs(cls, workflow):
        return float("nan")

    @classmethod
    def execute(cls, workflow):
        needs = needs_of(chosen_workflow(workflow, cls.hidden), library(), bundled_names)
        missing = "\n".join(need.name for need in needs if need.source is None)
        return io.NodeOutput(report(needs), missing, ui=ui.PreviewText(report(needs)))
