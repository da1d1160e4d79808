"""geoseg finds corrosion grooves in ultrasonic images of well pipes."""

from geoseg.card import Card
from geoseg.checkpoint import (
    CheckpointError,
    find_checkpoints,
    load_checkpoint,
    read_card,
    save_checkpoint,
)
from geoseg.dataset import DatasetError, PatchDataset
from geoseg.masks import read_mask
from geoseg.measurements import Log, MeasurementOptions, interpret, read_logs, read_patch
from geoseg.metrics import scores
from geoseg.models import MODELS, Model, create_model
from geoseg.normalisation import Normalisation
from geoseg.original import import_original
from geoseg.patches import PatchError
from geoseg.quantisation import Quantisation
from geoseg.samples import read_sample
from geoseg.segmenter import Segmentation, Segmenter
from geoseg.synthetic import synthesize
from geoseg.wells.reading import read_log

__version__ = "0.1.0"

__all__ = [
    "MODELS",
    "Card",
    "CheckpointError",
    "DatasetError",
    "Log",
    "MeasurementOptions",
    "Model",
    "Normalisation",
    "PatchDataset",
    "PatchError",
    "Quantisation",
    "Segmentation",
    "Segmenter",
    "create_model",
    "find_checkpoints",
    "import_original",
    "interpret",
    "load_checkpoint",
    "read_card",
    "read_log",
    "read_logs",
    "read_mask",
    "read_patch",
    "read_sample",
    "save_checkpoint",
    "scores",
    "synthesize",
]
