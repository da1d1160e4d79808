"""Scores of a whole set: each model's errors, their disagreement, likely label errors.

N patches of a set, n of one shape, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import NamedTuple, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.evaluation.label_errors import LabelError, find_label_errors
from geoseg.metrics import count
from geoseg.page.batches import Work, by_shape
from geoseg.page.browse import Patches
from geoseg.page.live import first_line

MOST_SUSPECTS = 200  # labels in one list; nobody reviews more at a sitting
_JUDGED_PIXELS = 32 * 36 * 36  # whose labels are doubted in one go

Shape = tuple[int, ...]
Answers = NDArray[np.float32] | NDArray[np.bool_]
Groups = dict[Shape, NDArray[np.intp]]


class Step(NamedTuple):
    """The progress of a job: `done` of `total`, patches times models; the last was `model`."""

    done: int
    total: int
    model: str


@dataclass(frozen=True, eq=False)
class ModelAnswers:
    """The results of one model on a set.

    Attributes:
        counts: int32 (N, 4), pixels of each patch that are true positive, false positive, false
            negative, true negative at the model's own threshold. A patch without a truth counts as
            labelled empty; all are 0 where nothing was measured or the model failed.
        answers: by shape (n, Z, A): float32 probabilities, NaN at nulls, where some patch has a
            truth; else bool masks, which are all that is needed of them.
        threshold: above it is a groove.
        left_out: how many patches the model could not take, and `reason`, a sentence, why.
        lasting: False where a second try may go better.
    """

    counts: NDArray[np.int32]
    answers: dict[Shape, Answers]
    threshold: float
    left_out: int = 0
    reason: str = ""
    lasting: bool = True

    def masks(self, shape: Shape) -> NDArray[np.bool_]:
        """Return the masks of the patches of a shape, bool (n, Z, A)."""
        answers = self.answers[shape]
        if answers.dtype == np.bool_:
            return answers.astype(np.bool_, copy=False)
        return answers > np.float32(self.threshold)


@dataclass(frozen=True, eq=False)
class SetScores:
    """The results of several models on a set.

    Attributes:
        models: by model.
        disagreement: float32 (N,), see `disagreement`.
        suspects: labels most likely wrong, worst first, by their place in the set.
    """

    models: dict[str, ModelAnswers]
    disagreement: NDArray[np.float32]
    suspects: list[LabelError]


@dataclass
class _Known:
    models: dict[str, ModelAnswers] = field(default_factory=dict)
    suspects: dict[tuple[str, ...], list[LabelError]] = field(default_factory=dict)


class SetScorer:
    """Scores of sets, cached: one more model costs that model alone.

    What is known of a set is kept as long as the set itself: of the start set for everybody, of
    uploads for their user, as nobody else holds that set. A model is read from its file once, so
    its name stands for the file. A labelled set takes as much memory again for every model, another
    a quarter of that.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._segmenter = work.segmenter
        self._known: WeakKeyDictionary[Patches, _Known] = WeakKeyDictionary()

    def score(self, patches: Patches, names: Sequence[str]) -> Iterator[Step | SetScores]:
        """Score a set with the models `names`; yield steps, one before any work, then results.

        What a model cannot do becomes its `reason`; nothing is raised.
        """
        known = self._known.setdefault(patches, _Known())
        groups = by_shape(patches)
        models = {name: known.models[name] for name in names if name in known.models}
        missing = [name for name in names if name not in models]
        judged = patches.labelled if len(names) > 1 else 0
        done, total = 0, len(missing) * len(patches) + judged * (tuple(names) not in known.suspects)
        yield Step(done, total, next(iter(missing), ""))
        for name in missing:
            for part in self._judge(patches, groups, name):
                if isinstance(part, ModelAnswers):
                    models[name] = part
                else:
                    done += part
                    yield Step(done, total, name)
            if models[name].lasting:
                known.models[name] = models[name]
        models = {name: models[name] for name in names}
        suspects = known.suspects.get(tuple(names))
        if suspects is None:
            suspects = []
            for found, part in self._doubt(patches, groups, list(models.values())):
                suspects += found
                done += part
                yield Step(done, total, "")
            suspects = sorted(suspects, key=lambda s: (-s.doubt, s.patch))[:MOST_SUSPECTS]
            if all(model.lasting for model in models.values()):
                known.suspects[tuple(names)] = suspects
        differ = disagreement(groups, list(models.values()), len(patches))
        yield SetScores(models, differ, suspects)

    def _judge(self, patches: Patches, groups: Groups, name: str) -> Iterator[int | ModelAnswers]:
        """Score one model; yield the number of patches of every batch, then its answers."""
        counts = np.zeros((len(patches), 4), np.int32)
        answers: dict[Shape, Answers] = {}
        failures, lasting, left_out = [], True, 0
        for shape, indices in groups.items():
            labelled = any(patches.entry(i).truth is not None for i in indices)
            parts: list[Answers] = []
            at = 0
            try:
                for found in self._work.run(name, indices, partial(_images, patches)):
                    batch = indices[at : at + len(found)]
                    mask = found > np.float32(self._segmenter.cards[name].threshold)
                    counts[batch] = _count(mask, _truths(patches, batch), ~np.isnan(found))
                    parts.append(found if labelled else mask)
                    at += len(batch)
                    yield len(batch)
                answers[shape] = cast(Answers, np.concatenate(parts))
            # A size that it cannot take, a damaged file; no memory.
            except (ValueError, RuntimeError, MemoryError) as error:
                failures.append(first_line(error))
                lasting = lasting and isinstance(error, ValueError)
                counts[indices] = 0
                left_out += len(indices)
                yield len(indices) - at
        limit = self._segmenter.cards[name].threshold  # by now that of the file that was loaded
        yield ModelAnswers(counts, answers, limit, left_out, next(iter(failures), ""), lasting)

    def _doubt(
        self, patches: Patches, groups: Groups, models: Sequence[ModelAnswers]
    ) -> Iterator[tuple[list[LabelError], int]]:
        """Yield the label errors among some patches at a time, and the number of those patches."""
        for shape, indices in groups.items():
            able = [model for model in models if shape in model.answers]
            known = [k for k, i in enumerate(indices) if patches.entry(i).truth is not None]
            if len(able) < 2:
                continue
            limits = [model.threshold for model in able]
            at_once = max(1, _JUDGED_PIXELS // int(np.prod(shape)))
            for start in range(0, len(known), at_once):
                places = known[start : start + at_once]
                answers = np.stack([model.answers[shape][places] for model in able])
                truth = _truths(patches, indices[places])
                with self._work.turn:
                    found = find_label_errors(
                        torch.from_numpy(answers), limits, truth, MOST_SUSPECTS
                    )
                yield [s._replace(patch=int(indices[places[s.patch]])) for s in found], len(places)


def disagreement(
    groups: Groups, models: Sequence[ModelAnswers], patches: int
) -> NDArray[np.float32]:
    """Measure how far the masks of models differ on each patch, (N,): 0 if all are the same, to 1.

    The mean of 1 - IoU over all pairs of models that could take the patch; two empty masks are the
    same. NaN where there is no such pair, or nothing was measured.
    """
    total, pairs = np.zeros(patches), np.zeros(patches)
    for one, other in combinations(models, 2):
        for shape in one.answers.keys() & other.answers.keys():
            a, b = one.masks(shape), other.masks(shape)
            both, any_ = ((m.sum((1, 2))) for m in (a & b, a | b))
            total[groups[shape]] += np.where(any_ > 0, 1 - both / np.maximum(any_, 1), 0)
            pairs[groups[shape]] += one.counts[groups[shape]].any(1)
    return np.divide(total, pairs, out=np.full(patches, np.nan), where=pairs > 0).astype(np.float32)


def _images(patches: Patches, indices: NDArray[np.intp]) -> NDArray[np.float32]:
    """Stack the patches of one shape, (n, Z, A)."""
    return np.stack([patches.entry(i).patch for i in indices])


def _truths(patches: Patches, indices: NDArray[np.intp]) -> Tensor:
    """Stack the labels of patches of one shape, bool (n, Z, A); empty for those without."""
    entries = [patches.entry(i) for i in indices]
    empty = np.zeros_like(entries[0].patch, bool)
    return torch.from_numpy(np.stack([empty if e.truth is None else e.truth == 1 for e in entries]))


def _count(mask: NDArray[np.bool_], truth: Tensor, valid: NDArray[np.bool_]) -> NDArray[np.int32]:
    counts = count(torch.from_numpy(mask), truth, torch.from_numpy(valid))
    return torch.stack(counts, 1).int().numpy()
