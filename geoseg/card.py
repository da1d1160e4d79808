"""The card of a checkpoint: its metadata, which says how to rebuild the model and what it is."""

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
    """The metadata of a checkpoint.

    Attributes:
        architecture, arguments: for `create_model`.
        normalisation: from raw measurements to the model's input.
        threshold: a probability above it is a groove; chosen on data left out of training.
        experiment: how the model was trained; has "id" and "name" when `train` made it.
        data: what the model was trained on, in words.
        metrics: scores, by the name of the data they were measured on.
        columns: of the images that the model was trained on, a full turn of the pipe.
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
    columns: int = 36
    version: str = VERSION
    quantisation: Quantisation | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}; it must be from 0 to 1")
        if self.columns < 1:
            raise ValueError(f"columns are {self.columns}; there must be at least 1")

    @property
    def provenance(self) -> dict[str, Any]:
        """What `save_checkpoint` needs to write the same card, except for the quantisation."""
        names = ("normalisation", "threshold", "experiment", "data", "metrics", "columns")
        return {name: getattr(self, name) for name in names}

    def to_metadata(self) -> dict[str, str]:
        """Return the card as the strings that safetensors stores."""
        values = {k: v for k, v in asdict(self).items() if v is not None}
        if self.columns == 36:  # as in the data set
            del values["columns"]
        if self.quantisation:
            values["quantisation"]["per"] = "channel"
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
        return {"format": "pt", **texts}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Card:
        """Invert `to_metadata`; raise ValueError, KeyError or TypeError if that is impossible."""
        if metadata["version"] != VERSION:
            raise ValueError(f"format version {metadata['version']!r}, this geoseg reads {VERSION}")
        quantisation = None
        if "quantisation" in metadata:
            stored = dict(json.loads(metadata["quantisation"]))
            if (per := stored.pop("per", "channel")) != "channel":
                raise ValueError(f"per is {per!r}; only one scale per channel can be read")
            quantisation = Quantisation(**stored)
        names = ("arguments", "experiment", "metrics")
        mappings: dict[str, Any] = {name: dict(json.loads(metadata[name])) for name in names}
        return cls(
            architecture=metadata["architecture"],
            normalisation=Normalisation(**json.loads(metadata["normalisation"])),
            threshold=float(metadata["threshold"]),
            data=metadata["data"],
            columns=int(metadata.get("columns", "36")),
            quantisation=quantisation,
            **mappings,
        )


def latest_per_architecture(cards: Mapping[str, Card], limit: int = 3) -> list[str]:
    """Return the names of the last `limit` models that are the last of their architecture.

    The page shows these models by default: more would be slow and small.
    """
    last = {card.architecture: name for name, card in cards.items()}
    return [name for name in cards if name in last.values()][-limit:]
