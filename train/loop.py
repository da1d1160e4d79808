"""The one training path: a step, an epoch, and what must be known to go on from anywhere.

N patches of a set, B batch, Z depth, A azimuth.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from geoseg.losses import LOSSES, BatchTotals, distillation
from geoseg.models import Model
from train.distributed import SINGLE_PROCESS, ProcessGroup
from train.experiments import Experiment, Linear, Plateau
from train.optimizer import (
    average_model,
    load_moments,
    make_optimizers,
    moments,
    rate_factor,
    set_rate,
)
from train.sampling import IGNORED, Plan, PreparedSet
from train.state import State
from train.teacher import Teacher
from train.tuning import PLAIN, RecordedStep, Tuning, compile_model, keep_memory
from train.validation import Epoch, Scores, score

# What a plateau must remember; its other values are the recipe's, or the optimiser's.
_PLATEAU = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")


class TrainingError(RuntimeError):
    """Training cannot go on; the message says where and why."""


class Trainer:
    """One experiment on one set.

    Order and augmentation are functions of (seed, epoch, index) alone and the initial weights one
    of the seed, so `state` and `restore` carry everything else there is.

    Args:
        experiment: the recipe.
        train, validation: prepared sets, on the device to train on.
        renew: gives the training set of an epoch, from 2 on, as long as `train`; a function of the
            epoch alone. None keeps `train`.
        seed: of everything random.
        tuning: what to do for speed.
        ranks: the processes that share the work; every one makes the same Trainer.
        teacher: whom to learn from beside the labels, on the device; it is asked for every view.

    Attributes:
        model: being trained, on the device.
        epoch: how many are complete.
        step: how many steps of the next epoch are done.
    """

    def __init__(
        self,
        experiment: Experiment,
        train: PreparedSet,
        validation: PreparedSet,
        *,
        renew: Callable[[int], PreparedSet] | None = None,
        seed: int = 0,
        tuning: Tuning = PLAIN,
        ranks: ProcessGroup = SINGLE_PROCESS,
        teacher: Teacher | None = None,
    ) -> None:
        self.experiment, self.train, self.validation = experiment, train, validation
        self._renew, self._renewed = renew, 1
        self.seed, self.ranks, self.teacher = seed, ranks, teacher
        # Muon's rate, and what ranks exchange, would be recorded as they are at the first step.
        records = tuning.graph and ranks.alone and not experiment.muon
        self.tuning = tuning = replace(tuning, graph=records)
        self.device = train.pairs.device
        self.epoch = self.step = 0
        keep_memory(tuning.memory)
        torch.backends.cudnn.deterministic = True  # its fastest kernels add up in any order
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model: Model = experiment.create_model()
        self.model.to(self.device)
        if tuning.channels_last:
            nn.utils.convert_conv2d_weight_memory_format(self.model, torch.channels_last)
        self._forward = compile_model(self.model) if tuning.compile else self.model
        self._optimizers = make_optimizers(
            experiment, self.model, fused=tuning.fused, capturable=tuning.graph
        )
        self._average = experiment.average and average_model(self.model, experiment.average)
        schedule = experiment.schedule
        self._plateau = (
            ReduceLROnPlateau(
                self._optimizers[0], factor=schedule.factor, patience=schedule.patience
            )
            if isinstance(schedule, Plateau)
            else None
        )
        self._losses = torch.zeros(self.steps, device=self.device)
        self._pixels = train.count_pixels()
        self._recorded: RecordedStep | None = None

    @property
    def steps(self) -> int:
        """Steps in an epoch, the last one perhaps smaller."""
        return -(-len(self.train) // self.experiment.batch)

    @property
    def renews(self) -> bool:
        """Whether every epoch has a training set of its own."""
        return self._renew is not None

    @property
    def best_model(self) -> Model:
        """The model to validate and keep: the weights' average where the recipe wants one."""
        return cast(Model, self._average.module) if self._average else self.model

    def run_epoch(self, on_step: Callable[[int], bool]) -> Epoch | None:
        """Finish the epoch that has begun, or run the next, and validate.

        `on_step` hears how many patches each step took; when it answers False in any process the
        epoch ends there, with None. TrainingError for a loss that is not finite, in training or
        validation.
        """
        start = time.perf_counter()
        self._take_up(self.epoch + 1)
        ready, before = time.perf_counter(), self.step
        plan = Plan(self.experiment, self.train, self.seed, self.epoch + 1)
        self.model.train()
        while self.step < self.steps:
            self._set_rate()
            self._run_step(plan)
            self.step += 1
            if self.ranks.any(not on_step(len(plan.batches[self.step - 1])), self.device):
                return None
        self._check(self.step)
        trained = time.perf_counter()
        scores, rate = self.validate(), self._rate
        if self._plateau:
            self._plateau.step(scores.loss)
        sizes = torch.tensor([len(b) for b in plan.batches], device=self.device)
        seen = sizes[before:].sum().item()
        self.epoch, self.step = self.epoch + 1, 0
        return Epoch(
            self.epoch,
            (self._losses.double() * sizes).sum().item() / len(self.train),
            scores.loss,
            scores.metrics,
            scores.wells,
            scores.threshold,
            rate,
            seen / (trained - ready),
            time.perf_counter() - start,
        )

    def _take_up(self, epoch: int) -> None:
        """Have the training set of an epoch at hand."""
        if self._renew and self._renewed != epoch:
            self.train, self._renewed = self._renew(epoch), epoch
            self._pixels = self.train.count_pixels()

    @property
    def _rate(self) -> float:
        """Adam's learning rate."""
        return float(self._optimizers[0].param_groups[0]["lr"])

    def _set_rate(self) -> None:
        """Set the learning rates for the next step."""
        schedule = self.experiment.schedule
        if isinstance(schedule, Linear):
            done = self.epoch * self.steps + self.step
            factor = rate_factor(schedule, done, self.experiment.epochs * self.steps)
            rates = (self.experiment.learning_rate, self.experiment.muon)
            for optimizer, rate in zip(self._optimizers, rates, strict=False):
                assert rate is not None
                set_rate(optimizer, rate * factor)

    def _run_step(self, plan: Plan) -> None:
        """Take the next step of an epoch, by this process its share."""
        chosen = plan.batches[self.step]
        inputs = self.ranks.share(plan.batch(self.step)), self._pixels[chosen].sum()
        learn: Callable[..., Tensor] = partial(self._learn, patches=len(chosen))
        if self.tuning.graph and len(chosen) == self.experiment.batch:
            self._recorded = self._recorded or RecordedStep(learn, inputs, self._tensors)
            learn = self._recorded
        self._losses[self.step] = learn(*inputs)
        if self._average:
            self._average.update_parameters(self.model)

    def _learn(self, pair: Tensor, pixels: Tensor, patches: int) -> Tensor:
        """One step by a share `pair` (B, C + 1, Z, A) of a batch; gives the loss of the whole.

        `pixels`, 0-d, and `patches` are the numbers of the whole.
        """
        for parameter in self.model.parameters():
            parameter.grad = None
        loss = torch.zeros((), device=self.device)
        if len(pair):
            with self._autocast():
                logits = self._forward(pair[:, :-1])
                taught = self.teacher(pair) if self.teacher else None
            loss = self._loss(logits.float(), pair[:, -1:], BatchTotals(pixels, patches), taught)
            loss.backward()
        loss = loss.detach()
        if not self.ranks.alone:
            for parameter in self.model.parameters():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            self.ranks.add([loss, *(p.grad for p in self.model.parameters() if p.grad is not None)])
        if self.device.type == "cpu":  # a GPU would have to wait: there a later look finds it
            self._losses[self.step] = loss
            self._check(self.step + 1)
        for optimizer in self._optimizers:
            optimizer.step()
        return loss

    def _loss(
        self,
        logits: Tensor,
        truth: Tensor,
        whole: BatchTotals | None = None,
        taught: Tensor | None = None,
    ) -> Tensor:
        """By the labels alone, or by a teacher's logits as well."""
        experiment, valid = self.experiment, truth != IGNORED
        loss = LOSSES[experiment.loss](logits, truth == 1, valid, whole)
        if taught is None:
            return loss
        soft = distillation(logits, taught, experiment.temperature, valid, whole)
        return experiment.distillation * soft + (1 - experiment.distillation) * loss

    def _autocast(self) -> torch.autocast:
        precision = self.tuning.precision
        return torch.autocast(self.device.type, precision, enabled=precision != torch.float32)

    def _check(self, steps: int) -> None:
        """TrainingError where one of the first `steps` of this epoch had no finite loss."""
        bad = (~self._losses[:steps].isfinite()).nonzero()
        if len(bad):
            step = int(bad[0])
            plan = Plan(self.experiment, self.train, self.seed, self.epoch + 1)
            chosen = plan.batches[step].tolist()
            finite = self.train.inputs[chosen].isfinite().flatten(1).all(1).tolist()
            guilty = [i for i, sound in zip(chosen, finite, strict=True) if not sound] or chosen
            names = ", ".join(self.train.names[i] for i in guilty[:4])
            raise TrainingError(
                f"the loss is {self._losses[step].item()} at epoch {self.epoch + 1}, step "
                f"{step + 1} of {self.steps}: {names}"
                f"{f' and {len(guilty) - 4} more' * (len(guilty) > 4)}; look at these patches, or "
                "lower the learning rate"
            )

    def validate(self) -> Scores:
        """Score the validation set, all of it in every process."""
        logits = self.predict(self.validation)
        loss = self._loss(logits, self.validation.truth).item()
        if not math.isfinite(loss):
            raise TrainingError(
                "the weights give no finite logits any more; lower the learning rate"
            )
        return score(logits, self.validation, loss)

    @torch.inference_mode()
    def predict(self, prepared: PreparedSet) -> Tensor:
        """Logits (N, 1, Z, A) float32 of a whole set, in evaluation mode."""
        model = self.best_model.eval()
        batch = self.experiment.batch_validation or self.experiment.batch
        own = self.ranks.share(prepared.inputs)
        logits = torch.empty_like(own[:, :1])
        with self._autocast():
            for answer, part in zip(logits.split(batch), own.split(batch), strict=True):
                answer.copy_(model(part))
        return self.ranks.collect(logits, len(prepared))

    def state(self) -> State:
        """Everything that must be saved to go on bit for bit; a view, not a copy.

        TrainingError where loss or weights have left the finite numbers: such a state must not be
        kept.
        """
        self._check(self.step)
        if not all(p.isfinite().all() for p in self.best_model.parameters()):
            raise TrainingError("the weights are not finite any more; lower the learning rate")
        values = {
            "epoch": self.epoch,
            "step": self.step,
            "plateau": self._plateau and {k: vars(self._plateau)[k] for k in _PLATEAU},
            "rates": [float(o.param_groups[0]["lr"]) for o in self._optimizers],
        }
        return State({**self._tensors(), "losses": self._losses}, values)

    def restore(self, state: State) -> None:
        """Go on from where `state` was taken, by a Trainer made with the same arguments."""
        self.epoch, self.step = state.values["epoch"], state.values["step"]
        self._losses.copy_(state.tensors["losses"])
        self.model.load_state_dict(_part(state, "model"))
        if self._average:
            self._average.load_state_dict(_part(state, "average"))
        for number, optimizer in enumerate(self._optimizers):
            load_moments(optimizer, _part(state, f"optimizer{number}"))
            set_rate(optimizer, state.values["rates"][number])
        if self._plateau:
            self._plateau.load_state_dict(state.values["plateau"])

    def _tensors(self) -> dict[str, Tensor]:
        """What a step changes."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        if self._average:
            tensors |= {f"average.{k}": v for k, v in self._average.state_dict().items()}
        for number, optimizer in enumerate(self._optimizers):
            tensors |= {f"optimizer{number}.{k}": v for k, v in moments(optimizer).items()}
        return tensors


def _part(state: State, kind: str) -> dict[str, Tensor]:
    """The tensors of one kind, by the rest of their names."""
    named = (name.partition(".") for name in state.tensors)
    return {rest: state.tensors[f"{k}.{rest}"] for k, _, rest in named if k == kind}
