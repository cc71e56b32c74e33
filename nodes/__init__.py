"""The pack's nodes, one file each."""

from comfy_api.latest import ComfyExtension, io

from .embedding_prompt import EmbeddingPrompt
from .load_embedding import LoadEmbedding
from .save_embedding import SaveEmbedding
from .train_embedding import TrainEmbedding
from .training_options import TrainingOptions


class TextualInversionExtension(ComfyExtension):
    """What ComfyUI asks for the list of nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            TrainEmbedding,
            TrainingOptions,
            LoadEmbedding,
            SaveEmbedding,
            EmbeddingPrompt,
        ]
