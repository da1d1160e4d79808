"""The original project: its names, the models of its experiments, and its published weights."""

from geoseg.original.model_table import model_of
from geoseg.original.names import create_original, rename_weights
from geoseg.original.weights import import_original

__all__ = ["create_original", "import_original", "model_of", "rename_weights"]
