"""Score checkpoints: `python -m train.evaluate`, or `evaluate(segmenter, dataset)`."""

from train.evaluate.assessment import evaluate

__all__ = ["evaluate"]
