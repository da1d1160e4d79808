"""What a model's checkpoint says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from geoseg.normalisation import Normalisation
from geoseg.quantisation import Quantisation

VERSION = "1"


@dataclass(frozen=True)
class Card:
    """What a checkpoint says of itself.

    Attributes:
        architecture, arguments: for `create_model`.
        normalisation: from raw measurements to the model's input.
        threshold: a probability above it is a groove; chosen on data left out of training.
        experiment: how it was trained; has "id" and "name" when `train` made it.
        data: on what it was trained, in words.
        metrics: its scores, by the name of what they were measured on.
        version: of this format.
        quantisation: how the file stores its weights; None for float32.
    """

    architecture: str
    arguments: dict[str, Any]
    normalisation: Normalisation
    threshold: float = 0.5
    experiment: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    version: str = VERSION
    quantisation: Quantisation | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}; it must be from 0 to 1")

    @property
    def provenance(self) -> dict[str, Any]:
        """What `save_checkpoint` takes to say the same of a model, but for how it is stored."""
        names = ("normalisation", "threshold", "experiment", "data", "metrics")
        return {name: getattr(self, name) for name in names}

    def to_metadata(self) -> dict[str, str]:
        """The strings that safetensors stores."""
        values = {k: v for k, v in asdict(self).items() if v is not None}
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
        return {"format": "pt", **texts}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Card:
        """The inverse of `to_metadata`; ValueError, KeyError or TypeError where it is not one."""
        if metadata["version"] != VERSION:
            raise ValueError(f"format version {metadata['version']!r}, this geoseg reads {VERSION}")
        return cls(
            architecture=metadata["architecture"],
            arguments=dict(json.loads(metadata["arguments"])),
            normalisation=Normalisation(**json.loads(metadata["normalisation"])),
            threshold=float(metadata["threshold"]),
            experiment=dict(json.loads(metadata["experiment"])),
            data=metadata["data"],
            metrics=dict(json.loads(metadata["metrics"])),
            version=metadata["version"],
            quantisation=Quantisation(**json.loads(metadata["quantisation"]))
            if "quantisation" in metadata
            else None,
        )


def latest_per_architecture(cards: Mapping[str, Card], most: int = 3) -> list[str]:
    """Of models by name the last one of each architecture, in their order; `most` of them.

    These are shown before anybody chooses: more would be slow and small.
    """
    last = {card.architecture: name for name, card in cards.items()}
    return [name for name in cards if name in last.values()][-most:]
