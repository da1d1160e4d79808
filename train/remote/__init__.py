"""Training on another machine: a notebook at Kaggle."""


class RemoteError(RuntimeError):
    """A training cannot be sent or fetched; the message says why and what to do."""
