"""The one training path: a step, an epoch, a fit.

B batch, C channel, Z depth, A azimuth.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from geoseg.dataset import PatchDataset
from geoseg.losses import LOSSES
from geoseg.metrics import average_scores, count
from geoseg.models import Model
from geoseg.normalisation import Normalisation
from geoseg.transforms import draw_views, look
from train.experiments import Experiment

# What a null is in a truth: neither 0 nor 1, so neither loss nor metric counts it.
VOID = 255
THRESHOLDS = tuple(i / 20 for i in range(1, 20))


class TrainingError(RuntimeError):
    """Training cannot go on; the message says where and why."""


class PreparedSet(NamedTuple):
    """A set as the loop wants it: standardised once and on the device.

    `inputs` (N, Z, A) float32; `truth` (N, Z, A) uint8 of 0, 1 and VOID; `names` for messages.
    """

    inputs: Tensor
    truth: Tensor
    names: Sequence[str]


@dataclass(frozen=True)
class Epoch:
    """What one epoch brought.

    `metrics` are the five of the validation set, the mean over patches by the challenge's rule, at
    a probability of 0.5; `threshold` would have given the best IoU; `patches_per_second` is that of
    the training steps alone.
    """

    number: int
    loss: float
    validation_loss: float
    metrics: dict[str, float]
    threshold: float
    learning_rate: float
    patches_per_second: float
    seconds: float


def prepare(
    dataset: PatchDataset, normalisation: Normalisation, device: torch.device
) -> PreparedSet:
    """Standardise a labelled set and move it to `device`."""
    inputs, valid = normalisation(dataset.images)
    truth = torch.where(valid, dataset.masks, VOID)
    return PreparedSet(inputs[:, 0].to(device), truth.to(device), dataset.names)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Turn "auto", "bf16" or "fp32" into a dtype.

    "auto" is bfloat16 where the processor multiplies it natively, else float32.
    """
    if name != "auto":
        return {"bf16": torch.bfloat16, "fp32": torch.float32}[name]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Older releases of torch cannot tell, so they get float32.
        native = "avx512_bf16" in _cpu_features()
    return torch.bfloat16 if native else torch.float32


def _cpu_features() -> set[str]:
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return {name for name, there in capabilities.items() if there is True}


class Trainer:
    """One experiment on one set.

    Order and augmentation of an epoch are a function of (seed, epoch number) alone, the initial
    weights one of the seed.

    Args:
        experiment: the recipe.
        train, validation: prepared sets, on the device to train on.
        seed: of everything random.
        precision: of the convolutions; weights and losses stay float32.

    Attributes:
        model: being trained, channels_last on the device.
    """

    def __init__(
        self,
        experiment: Experiment,
        train: PreparedSet,
        validation: PreparedSet,
        *,
        seed: int = 0,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.experiment, self.train, self.validation = experiment, train, validation
        self.seed, self.precision = seed, precision
        self.device = train.inputs.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model: Model = experiment.create_model()
        self.model.to(self.device)
        nn.utils.convert_conv2d_weight_memory_format(self.model, torch.channels_last)
        self.loss = LOSSES[experiment.loss]
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), experiment.learning_rate, fused=True
        )
        plateau = experiment.plateau
        self.scheduler = plateau and ReduceLROnPlateau(
            self.optimizer, factor=plateau.factor, patience=plateau.patience
        )

    @property
    def steps(self) -> int:
        """Steps in an epoch, the last one perhaps smaller."""
        return -(-len(self.train.inputs) // self.experiment.batch)

    def run_epoch(self, number: int, on_step: Callable[[int], bool]) -> Epoch | None:
        """Train for epoch `number` (from 1) and validate.

        `on_step` hears how many patches each step took; when it answers False the epoch ends there,
        with None. TrainingError for a loss that is not finite, in training or validation.
        """
        start = time.perf_counter()
        learning_rate = self.optimizer.param_groups[0]["lr"]
        total, seen = 0.0, 0
        self.model.train()
        for step, (images, truth, selection) in enumerate(self._batches(number), 1):
            with self._autocast():
                logits = self.model(images[:, None])[:, 0].float()
            loss = self._loss(logits, truth)
            value = loss.item()
            if not math.isfinite(value):  # before it reaches the weights
                raise TrainingError(
                    f"the loss is {value} at epoch {number}, step {step} of {self.steps}: "
                    f"{self._blame(logits, selection)}; look at these patches, or lower the "
                    "learning rate"
                )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total, seen = total + value * len(selection), seen + len(selection)
            if not on_step(len(selection)):
                return None
        trained = time.perf_counter()
        validation_loss, metrics, threshold = self.validate()
        if self.scheduler:
            self.scheduler.step(validation_loss)
        return Epoch(
            number,
            total / seen,
            validation_loss,
            metrics,
            threshold,
            learning_rate,
            seen / (trained - start),
            time.perf_counter() - start,
        )

    def _blame(self, logits: Tensor, selection: Tensor) -> str:
        """The patches of a batch that gave no finite logits, or the batch where none stands out."""
        broken = selection[~logits.isfinite().flatten(1).all(1)]
        guilty = (broken if len(broken) else selection).tolist()
        names = ", ".join(self.train.names[i] for i in guilty[:4])
        return f"{names}{f' and {len(guilty) - 4} more' * (len(guilty) > 4)}"

    def _loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        groove, valid = truth[:, None] == 1, truth[:, None] != VOID
        return self.loss(logits[:, None], groove, valid)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, self.precision, enabled=self.precision != torch.float32
        )

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Images (B, Z, A), truths (B, Z, A) and which patches they are (B,)."""
        # On the CPU, so that every device sees the same order.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        count = len(self.train.inputs)
        order = torch.randperm(count, generator=generator)
        views = draw_views(
            count,
            self.train.inputs.shape[-1],
            roll=self.experiment.roll,
            flip=self.experiment.flip,
            generator=generator,
        )
        for chosen in torch.arange(count).split(self.experiment.batch):
            selection = order[chosen].to(self.device)
            taken = type(views)(*(v[chosen].to(self.device) for v in views))
            images = look(self.train.inputs, taken, selection)
            yield images, look(self.train.truth, taken, selection), selection

    def validate(self) -> tuple[float, dict[str, float], float]:
        """The validation set's loss, its five metrics at 0.5, and the best threshold."""
        logits = self.predict(self.validation)
        truth = self.validation.truth
        loss = self._loss(logits, truth).item()
        if not math.isfinite(loss):
            raise TrainingError(
                "the weights give no finite logits any more; lower the learning rate"
            )
        counts = count(logits > 0, truth == 1, truth != VOID)
        return loss, average_scores(counts), best_threshold(logits, truth)

    @torch.inference_mode()
    def predict(self, prepared: PreparedSet) -> Tensor:
        """Logits (N, Z, A) float32 of a whole set, in evaluation mode."""
        self.model.eval()
        parts = []
        with self._autocast():
            for part in prepared.inputs.split(self._validation_batch):
                parts.append(self.model(part[:, None])[:, 0].float())
        return torch.cat(parts)

    @property
    def _validation_batch(self) -> int:
        return self.experiment.batch_validation or self.experiment.batch


def best_threshold(logits: Tensor, truth: Tensor) -> float:
    """The threshold on probability with the best mean IoU over patches, challenge rule.

    Args: logits (N, Z, A); truth (N, Z, A) of 0, 1 and VOID. Tried: 0.05 to 0.95 in steps of 0.05.
    """
    probability, groove, valid = logits.sigmoid(), truth == 1, truth != VOID

    def iou(threshold: float) -> float:
        counts = count(probability > threshold, groove, valid)
        return average_scores(counts)["iou"]

    # Of equals the one nearest to 0.5: a sure model leaves a wide choice.
    return max(THRESHOLDS, key=lambda threshold: (iou(threshold), -abs(threshold - 0.5)))
