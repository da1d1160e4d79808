"""The original project: the models of its experiments, and its published weights."""

from geoseg.original.model_table import model_of
from geoseg.original.weights import import_original

__all__ = ["import_original", "model_of"]
