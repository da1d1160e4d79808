"""Publish checkpoints on the Hugging Face Hub: `python -m train.publish`."""
