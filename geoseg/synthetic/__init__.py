"""Synthetic pipes with known grooves."""

from geoseg.synthetic.datasets import fresh_dataset, sample_dataset, synthetic_dataset
from geoseg.synthetic.logs import Logs, synthesize

__all__ = ["Logs", "fresh_dataset", "sample_dataset", "synthesize", "synthetic_dataset"]
