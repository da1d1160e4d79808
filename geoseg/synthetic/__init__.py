"""Pipes with known grooves, from physics alone."""

from geoseg.synthetic.logs import Logs, synthesize
from geoseg.synthetic.slices import sample_dataset, synthetic_dataset

__all__ = ["Logs", "sample_dataset", "synthesize", "synthetic_dataset"]
