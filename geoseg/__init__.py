"""geoseg finds corrosion grooves in ultrasonic images of well pipes."""

from geoseg.checkpoint import (
    Card,
    CheckpointError,
    find_checkpoints,
    load_checkpoint,
    read_card,
    save_checkpoint,
)
from geoseg.metrics import scores
from geoseg.models import MODELS, Model, create_model
from geoseg.normalisation import Normalisation
from geoseg.segmenter import Segmentation, Segmenter

__all__ = [
    "MODELS",
    "Card",
    "CheckpointError",
    "Model",
    "Normalisation",
    "Segmentation",
    "Segmenter",
    "create_model",
    "find_checkpoints",
    "load_checkpoint",
    "read_card",
    "save_checkpoint",
    "scores",
]
