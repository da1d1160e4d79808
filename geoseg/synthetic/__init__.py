"""Pipes with known grooves, from physics alone."""

from geoseg.synthetic.logs import Logs, synthesize
from geoseg.synthetic.datasets import fresh_dataset, sample_dataset, synthetic_dataset

__all__ = ["Logs", "fresh_dataset", "sample_dataset", "synthesize", "synthetic_dataset"]
