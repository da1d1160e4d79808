"""Synthetic pipes with known grooves."""

from geoseg.synthetic.datasets import (
    make_fresh_dataset,
    make_sample_dataset,
    make_synthetic_dataset,
)
from geoseg.synthetic.logs import Logs, synthesize

__all__ = [
    "Logs",
    "make_fresh_dataset",
    "make_sample_dataset",
    "make_synthetic_dataset",
    "synthesize",
]
