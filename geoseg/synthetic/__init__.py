"""Pipes with known grooves, from physics alone."""

from geoseg.synthetic.logs import Logs, synthesize

__all__ = ["Logs", "synthesize"]
