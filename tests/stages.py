"""What tests ask of a step, whatever its kind."""

from vlm_inspect.core.stages import ConvStage, EmbeddingStage, LinearStage, MlpStage, NormStage


def sizes(stage):
    """Its sizes in order: what it reads first, what it writes last."""
    match stage:
        case LinearStage():
            return (stage.in_features, stage.out_features)
        case ConvStage():
            return (stage.in_channels, stage.out_channels)
        case EmbeddingStage():
            return (*(stage.grid or (stage.num_embeddings,)), stage.embedding_dim)
        case MlpStage():
            return stage.sizes
        case NormStage():
            return (stage.width,)
        case _:
            return stage.shape
