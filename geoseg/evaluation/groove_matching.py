"""Scores that see grooves rather than pixels; azimuth is circular in all of them.

Masks and truths are bool (B, Z, A): B patches or logs, Z depth, A azimuth. Clear both where
nothing was measured or nothing is known, and such pixels count nowhere.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.evaluation.morphology import centre_lines, label_components, near

Labels = NDArray[np.int64]


def tolerant_dice(mask: Tensor, truth: Tensor, columns: int = 1) -> Tensor:
    """Dice of each image, (B,) float64, where an edge may be `columns` off.

    The harmonic mean of the share of predicted pixels that have a true one within `columns` in
    their row, and of the share of true pixels that have a predicted one. 1 where both are empty, 0
    where one is.
    """
    return _harmonic(mask & near(truth, columns), mask, truth & near(mask, columns), truth)


def centreline_dice(mask: Tensor, truth: Tensor) -> Tensor:
    """clDice of each image, (B,) float64: does each middle line run inside the other's groove?

    The harmonic mean of topology precision and topology sensitivity (Shit et al., "clDice", CVPR
    2021, equation 2), with `centre_lines` as the skeleton. Blind to width. 1 where both are empty,
    0 where one is.
    """
    mask_line, true_line = centre_lines(mask), centre_lines(truth)
    return _harmonic(mask_line & truth, mask_line, true_line & mask, true_line)


def _harmonic(right: Tensor, predicted: Tensor, found: Tensor, true: Tensor) -> Tensor:
    """Harmonic mean of right / predicted and found / true, all counted by image."""
    a, n, b, m = (x.flatten(1).sum(1).double() for x in (right, predicted, found, true))
    precision, recall = a / n.clamp(min=1), b / m.clamp(min=1)
    mean = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return torch.where(n + m == 0, 1.0, mean)


class GrooveMatches(NamedTuple):
    """How grooves, each counted once, were found; lengths in rows, widths in columns.

    A groove is a connected part of a mask. A true one is found where the prediction comes within a
    column of it in at least half of its rows; a predicted one is right likewise. Errors are taken
    between each found groove and the predicted one that shares most pixels with it, predicted minus
    true; a width is the mean over the groove's rows. NaN where there is nothing to divide by.

    Attributes:
        true, found: how many grooves there are, and how many of them were found.
        predicted, right: how many were predicted, and how many of them are right.
        precision, recall: right / predicted and found / true.
        width_bias, width_error: mean and mean absolute error of the width.
        length_bias, length_error: the same of the length.
    """

    true: int
    found: int
    predicted: int
    right: int
    precision: float
    recall: float
    width_bias: float
    width_error: float
    length_bias: float
    length_error: float


def match_grooves(mask: Tensor, truth: Tensor) -> GrooveMatches:
    """Compare the grooves of masks with those of truths."""
    true, predicted = (label_components(m).numpy() for m in (truth, mask))
    found = _covered(true, near(mask, 1).numpy())
    right = _covered(predicted, near(truth, 1).numpy())
    ours, theirs = _partners(true, predicted)
    ours, theirs = ours[found[ours]], theirs[found[ours]]
    width, length = (
        measure(predicted)[theirs] - measure(true)[ours] for measure in (_widths, _lengths)
    )
    n_true, n_found = len(found) - 1, int(found[1:].sum())
    n_predicted, n_right = len(right) - 1, int(right[1:].sum())
    return GrooveMatches(
        n_true,
        n_found,
        n_predicted,
        n_right,
        n_right / n_predicted if n_predicted else math.nan,
        n_found / n_true if n_true else math.nan,
        *_bias_and_error(width),
        *_bias_and_error(length),
    )


def _lengths(labels: Labels, where: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """In how many rows each part has a pixel (at `where`); 0, the background, in none."""
    # Sorted, each part that a row meets begins once; a 0 before the row makes 0 begin nowhere.
    met = np.sort(labels if where is None else labels * where, axis=-1)
    begins = np.diff(met, axis=-1, prepend=0) != 0
    return np.bincount(met[begins], minlength=labels.max(initial=0) + 1).astype(float)


def _widths(labels: Labels) -> NDArray[np.float64]:
    return np.bincount(labels.ravel()) / np.maximum(_lengths(labels), 1)


def _covered(labels: Labels, close: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which parts are in at least half of their rows `close` to the other mask."""
    return 2 * _lengths(labels, close) >= _lengths(labels)


def _partners(true: Labels, predicted: Labels) -> tuple[Labels, Labels]:
    """True parts that are touched, and for each the predicted one that shares most pixels."""
    both = (true > 0) & (predicted > 0)
    many = predicted.max(initial=0) + 1
    pairs, shared = np.unique(true[both] * many + predicted[both], return_counts=True)
    most = pairs[np.argsort(-shared, kind="stable")]
    ours, first = np.unique(most // many, return_index=True)
    return ours, most[first] % many


def _bias_and_error(errors: NDArray[np.float64]) -> tuple[float, float]:
    if not len(errors):
        return math.nan, math.nan
    return float(errors.mean()), float(np.abs(errors).mean())
