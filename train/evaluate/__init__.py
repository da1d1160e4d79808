"""Score checkpoints: `python -m train.evaluate`."""
