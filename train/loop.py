"""The training loop: steps, epochs, and the state to resume from after any step.

N patches of a set, B batch, Z depth, A azimuth.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from geoseg.losses import LOSSES, BatchTotals, distillation
from geoseg.models import Model
from train.distributed import SINGLE_PROCESS, ProcessGroup
from train.experiments import Experiment
from train.optimizer import (
    get_moments,
    load_moments,
    make_averaged_model,
    make_optimizers,
    set_learning_rate,
)
from train.sampling import IGNORED, EpochPlan, PreparedSet
from train.schedules import Linear, Plateau, learning_rate_factor
from train.state import State
from train.teacher import Teacher
from train.tuning import NO_TUNING, RecordedStep, Tuning, compile_model, keep_freed_memory
from train.validation import EpochResult, ValidationScores, compute_scores

# The state of ReduceLROnPlateau; its other values are the recipe's or the optimiser's.
_PLATEAU_STATE = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")


class TrainingError(RuntimeError):
    """Training cannot continue; the message says where and why."""


class Trainer:
    """Trains one experiment on one data set.

    Order and augmentations are functions of (seed, epoch, index) alone, and the initial weights of
    the seed; `state` returns everything else that a resumed run needs.

    Args:
        experiment: the recipe.
        train_set, validation_set: on the device to train on.
        make_train_set: returns the training set of an epoch, from 2 on, with as many patches as
            `train_set`; a function of the epoch alone. None keeps `train_set`.
        seed: of all random numbers.
        tuning: the choices made for speed.
        group: the processes that share the work; each of them makes the same Trainer.
        teacher: on the device; it is evaluated on every augmented batch.

    Attributes:
        model: the trained model, on the device.
        epoch: the number of complete epochs.
        step: the number of complete steps of the next epoch.
    """

    def __init__(
        self,
        experiment: Experiment,
        train_set: PreparedSet,
        validation_set: PreparedSet,
        *,
        make_train_set: Callable[[int], PreparedSet] | None = None,
        seed: int = 0,
        tuning: Tuning = NO_TUNING,
        group: ProcessGroup = SINGLE_PROCESS,
        teacher: Teacher | None = None,
    ) -> None:
        self.experiment = experiment
        self.train_set, self.validation_set = train_set, validation_set
        self.make_train_set, self._train_set_epoch = make_train_set, 1
        self.seed, self.group, self.teacher = seed, group, teacher
        # A graph would freeze Muon's learning rate and what the processes exchange.
        can_record = tuning.graph and group.is_single and not experiment.muon
        self.tuning = tuning = replace(tuning, graph=can_record)
        self.device = train_set.pairs.device
        self.epoch = self.step = 0
        keep_freed_memory(tuning.memory)
        torch.backends.cudnn.deterministic = True  # the fastest kernels sum in any order
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
        self._average = experiment.average and make_averaged_model(self.model, experiment.average)
        self._plateau: ReduceLROnPlateau | None = None
        if isinstance(experiment.schedule, Plateau):
            self._plateau = ReduceLROnPlateau(self._optimizers[0], **asdict(experiment.schedule))
        self._losses = torch.zeros(self.steps, device=self.device)
        self._valid_pixels = train_set.count_valid_pixels()
        self._recorded: RecordedStep | None = None

    @property
    def steps(self) -> int:
        """The number of steps in an epoch; the last one may have fewer patches."""
        return -(-len(self.train_set) // self.experiment.batch)

    @property
    def evaluated_model(self) -> Model:
        """The model to validate and save: the moving average if the recipe has one."""
        return cast(Model, self._average.module) if self._average else self.model

    def run_epoch(self, on_step: Callable[[int], bool]) -> EpochResult | None:
        """Run the rest of the current epoch and validate.

        `on_step` gets the number of patches of each step. If it returns False in any process, the
        epoch stops there and None is returned. Raise TrainingError if a training or validation
        loss is not finite.
        """
        start = time.perf_counter()
        if self.make_train_set and self._train_set_epoch != self.epoch + 1:
            self._train_set_epoch = self.epoch + 1
            self.train_set = self.make_train_set(self._train_set_epoch)
            self._valid_pixels = self.train_set.count_valid_pixels()
        train_start, first_step = time.perf_counter(), self.step
        plan = EpochPlan(self.experiment, self.train_set, self.seed, self.epoch + 1)
        self.model.train()
        while self.step < self.steps:
            self._set_learning_rates()
            self._run_step(plan)
            self.step += 1
            if self.group.any(not on_step(len(plan.batches[self.step - 1])), self.device):
                return None
        self._check_losses(self.step)
        train_end = time.perf_counter()
        scores = self.validate()
        learning_rate = float(self._optimizers[0].param_groups[0]["lr"])
        if self._plateau:
            self._plateau.step(scores.loss)
        sizes = torch.tensor([len(b) for b in plan.batches], device=self.device)
        patches = sizes[first_step:].sum().item()
        self.epoch, self.step = self.epoch + 1, 0
        return EpochResult(
            self.epoch,
            (self._losses.double() * sizes).sum().item() / len(self.train_set),
            *scores,
            learning_rate,
            patches / (train_end - train_start),
            time.perf_counter() - start,
        )

    def _set_learning_rates(self) -> None:
        schedule = self.experiment.schedule
        if isinstance(schedule, Linear):
            done = self.epoch * self.steps + self.step
            factor = learning_rate_factor(schedule, done, self.experiment.epochs * self.steps)
            rates = (self.experiment.learning_rate, self.experiment.muon)
            for optimizer, rate in zip(self._optimizers, rates, strict=False):
                assert rate is not None
                set_learning_rate(optimizer, rate * factor)

    def _run_step(self, plan: EpochPlan) -> None:
        """Run the next step of an epoch on this process's shard of the batch."""
        indices = plan.batches[self.step]
        shard = self.group.shard(plan.make_batch(self.step))
        inputs = shard, self._valid_pixels[indices].sum()
        update: Callable[..., Tensor] = partial(self._update_weights, patches=len(indices))
        if self.tuning.graph and len(indices) == self.experiment.batch:
            self._recorded = self._recorded or RecordedStep(update, inputs, self._tensors)
            update = self._recorded
        self._losses[self.step] = update(*inputs)
        if self._average:
            self._average.update_parameters(self.model)

    def _update_weights(self, shard: Tensor, valid_pixels: Tensor, patches: int) -> Tensor:
        """Update the weights by a shard (B, C + 1, Z, A) of a batch; return the batch's loss.

        `valid_pixels`, 0-d, and `patches` are the counts of the whole batch.
        """
        for parameter in self.model.parameters():
            parameter.grad = None
        loss = torch.zeros((), device=self.device)
        if len(shard):
            with self._autocast():
                logits = self._forward(shard[:, :-1])
                teacher_logits = self.teacher(shard) if self.teacher else None
            batch = BatchTotals(valid_pixels, patches)
            loss = self._compute_loss(logits.float(), shard[:, -1:], batch, teacher_logits)
            loss.backward()
        loss = loss.detach()
        if not self.group.is_single:
            for parameter in self.model.parameters():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            self.group.all_reduce([loss, *gradients])
        if self.device.type == "cpu":  # on a GPU this would wait; the end of the epoch checks it
            self._losses[self.step] = loss
            self._check_losses(self.step + 1)
        for optimizer in self._optimizers:
            optimizer.step()
        return loss

    def _compute_loss(
        self,
        logits: Tensor,
        labels: Tensor,
        batch: BatchTotals | None = None,
        teacher_logits: Tensor | None = None,
    ) -> Tensor:
        """Return the loss by the labels, mixed with the teacher's if there are its logits."""
        experiment, valid = self.experiment, labels != IGNORED
        loss = LOSSES[experiment.loss](logits, labels == 1, valid, batch)
        if teacher_logits is None:
            return loss
        soft = distillation(logits, teacher_logits, experiment.temperature, valid, batch)
        return experiment.distillation * soft + (1 - experiment.distillation) * loss

    def _autocast(self) -> torch.autocast:
        precision = self.tuning.precision
        return torch.autocast(self.device.type, precision, enabled=precision != torch.float32)

    def _check_losses(self, steps: int) -> None:
        """Raise TrainingError if a loss in the first `steps` of this epoch is not finite."""
        bad_steps = (~self._losses[:steps].isfinite()).nonzero()
        if len(bad_steps):
            step = int(bad_steps[0])
            plan = EpochPlan(self.experiment, self.train_set, self.seed, self.epoch + 1)
            indices = plan.batches[step]
            finite = self.train_set.inputs[indices].isfinite().flatten(1).all(1)
            culprits = (indices if finite.all() else indices[~finite]).tolist()
            names = ", ".join(self.train_set.names[i] for i in culprits[:4])
            if len(culprits) > 4:
                names += f" and {len(culprits) - 4} more"
            raise TrainingError(
                f"the loss is {self._losses[step].item()} at epoch {self.epoch + 1}, step "
                f"{step + 1} of {self.steps}: {names}; check these patches, or lower the learning "
                "rate"
            )

    def validate(self) -> ValidationScores:
        """Score the whole validation set, in every process."""
        logits = self.predict(self.validation_set)
        loss = self._compute_loss(logits, self.validation_set.labels).item()
        if not math.isfinite(loss):
            raise TrainingError("the logits are no longer finite; lower the learning rate")
        return compute_scores(logits, self.validation_set, loss)

    @torch.inference_mode()
    def predict(self, prepared: PreparedSet) -> Tensor:
        """Return logits (N, 1, Z, A) float32 of a whole set, in evaluation mode."""
        model = self.evaluated_model.eval()
        batch = self.experiment.batch_validation or self.experiment.batch
        shard = self.group.shard(prepared.inputs)
        logits = torch.empty_like(shard[:, :1])
        with self._autocast():
            for output, inputs in zip(logits.split(batch), shard.split(batch), strict=True):
                output.copy_(model(inputs))
        return self.group.gather(logits, len(prepared))

    def state(self) -> State:
        """Return all that is needed to resume bit for bit; the tensors are not copied.

        Raise TrainingError if a loss or a weight is not finite: such a state must not be saved.
        """
        self._check_losses(self.step)
        if not all(p.isfinite().all() for p in self.evaluated_model.parameters()):
            raise TrainingError("the weights are no longer finite; lower the learning rate")
        values = {
            "epoch": self.epoch,
            "step": self.step,
            "plateau": self._plateau and {k: vars(self._plateau)[k] for k in _PLATEAU_STATE},
            "rates": [float(o.param_groups[0]["lr"]) for o in self._optimizers],
        }
        return State({**self._tensors(), "losses": self._losses}, values)

    def restore(self, state: State) -> None:
        """Restore the `state` of a Trainer that was made with the same arguments."""
        self.epoch, self.step = state.values["epoch"], state.values["step"]
        self._losses.copy_(state.tensors["losses"])
        self.model.load_state_dict(_select_tensors(state, "model"))
        if self._average:
            self._average.load_state_dict(_select_tensors(state, "average"))
        for number, optimizer in enumerate(self._optimizers):
            load_moments(optimizer, _select_tensors(state, f"optimizer{number}"))
            set_learning_rate(optimizer, state.values["rates"][number])
        if self._plateau:
            self._plateau.load_state_dict(state.values["plateau"])

    def _tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a step changes."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        if self._average:
            tensors |= {f"average.{k}": v for k, v in self._average.state_dict().items()}
        for number, optimizer in enumerate(self._optimizers):
            tensors |= {f"optimizer{number}.{k}": v for k, v in get_moments(optimizer).items()}
        return tensors


def _select_tensors(state: State, kind: str) -> dict[str, Tensor]:
    """Return the tensors named `<kind>.<name>`, by name."""
    named = ((name.removeprefix(f"{kind}."), name) for name in state.tensors)
    return {short: state.tensors[name] for short, name in named if short != name}
