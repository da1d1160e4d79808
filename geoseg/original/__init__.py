"""The original project: its names, the models of its experiments, its published weights."""

from geoseg.original.names import create_original, rename_weights
from geoseg.original.table import model_of

__all__ = ["create_original", "model_of", "rename_weights"]
