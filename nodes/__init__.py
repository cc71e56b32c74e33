"""The pack's nodes, one file each."""

from comfy_api.latest import ComfyExtension, io

from .bundle_into_lora import BundleIntoLora
from .concept import Concept
from .convert_embedding import ConvertEmbedding
from .dataset_folder import DatasetFolder
from .describe_embedding import DescribeEmbedding
from .embedding_carrier import EmbeddingCarrier
from .embedding_prompt import EmbeddingPrompt
from .embeddings_from_lora import EmbeddingsFromLora
from .encode_embedding_prompt import EncodeEmbeddingPrompt
from .load_embedding import LoadEmbedding
from .save_embedding import SaveEmbedding
from .train_concepts import TrainConcepts
from .train_embedding import TrainEmbedding
from .training_options import TrainingOptions
from .workflow_needs import WorkflowNeeds


class TextualInversionExtension(ComfyExtension):
    """What ComfyUI asks for the list of nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            TrainEmbedding,
            TrainingOptions,
            DatasetFolder,
            Concept,
            TrainConcepts,
            LoadEmbedding,
            SaveEmbedding,
            EmbeddingPrompt,
            ConvertEmbedding,
            DescribeEmbedding,
            EmbeddingsFromLora,
            BundleIntoLora,
            EncodeEmbeddingPrompt,
            EmbeddingCarrier,
            WorkflowNeeds,
        ]
