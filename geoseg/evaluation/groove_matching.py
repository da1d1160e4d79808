"""Scores of grooves instead of pixels; azimuth is circular in all of them.

Masks and labels are bool (B, Z, A): B patches or logs, Z depth, A azimuth. Clear both where nothing
was measured or the label is unknown, and such pixels do not count.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.evaluation.morphology import dilate_columns, find_centre_lines, label_components

Components = NDArray[np.int64]


def tolerant_dice(mask: Tensor, label: Tensor, columns: int = 1) -> Tensor:
    """Return the Dice of each image, (B,) float64, where an edge may be `columns` off.

    The harmonic mean of the share of mask pixels with a label pixel within `columns` in their row,
    and of the share of label pixels with such a mask pixel. 1 if both are empty, 0 if one is.
    """
    return _harmonic_mean(
        mask & dilate_columns(label, columns), mask, label & dilate_columns(mask, columns), label
    )


def centreline_dice(mask: Tensor, label: Tensor) -> Tensor:
    """Return the clDice of each image, (B,) float64: do centre lines lie in the other's groove?

    The harmonic mean of topology precision and topology sensitivity (Shit et al., "clDice", CVPR
    2021, equation 2), with `find_centre_lines` as the skeleton. It does not depend on width. 1 if
    both are empty, 0 if one is.
    """
    mask_line, label_line = find_centre_lines(mask), find_centre_lines(label)
    return _harmonic_mean(mask_line & label, mask_line, label_line & mask, label_line)


def _harmonic_mean(right: Tensor, predicted: Tensor, found: Tensor, labelled: Tensor) -> Tensor:
    """Return the harmonic mean of right / predicted and found / labelled pixels of each image."""
    a, n, b, m = (x.flatten(1).sum(1).double() for x in (right, predicted, found, labelled))
    precision, recall = a / n.clamp(min=1), b / m.clamp(min=1)
    mean = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return torch.where(n + m == 0, 1.0, mean)


class GrooveMatches(NamedTuple):
    """How many grooves were found, each counted once; lengths in rows, widths in columns.

    A groove is a connected component of a mask. A labelled groove is found if the mask comes within
    a column of it in at least half of its rows; a predicted groove is right by the same rule, with
    mask and label exchanged. Errors are those of each found groove's best match, the predicted
    groove that shares most pixels with it: predicted minus labelled. A width is the mean over the
    groove's rows. NaN where there is nothing to divide by.

    Attributes:
        true, found: number of labelled grooves, and of those that were found.
        predicted, right: number of predicted grooves, and of those that are right.
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


def match_grooves(mask: Tensor, label: Tensor) -> GrooveMatches:
    """Compare the grooves of masks with those of labels."""
    true, predicted = (label_components(m).numpy() for m in (label, mask))
    found = _mostly_covered(true, dilate_columns(mask, 1).numpy())
    right = _mostly_covered(predicted, dilate_columns(label, 1).numpy())
    matched, match = _best_matches(true, predicted)
    matched, match = matched[found[matched]], match[found[matched]]
    width_errors, length_errors = (
        measure(predicted)[match] - measure(true)[matched] for measure in (_widths, _lengths)
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
        *_bias_and_error(width_errors),
        *_bias_and_error(length_errors),
    )


def _lengths(components: Components, where: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Count the rows in which each component has a pixel (at `where`); 0, the background, has none.

    In a sorted row each component begins once; the 0 in front keeps 0 from beginning anywhere.
    """
    rows = np.sort(components if where is None else components * where, axis=-1)
    begins = np.diff(rows, axis=-1, prepend=0) != 0
    return np.bincount(rows[begins], minlength=components.max(initial=0) + 1).astype(float)


def _widths(components: Components) -> NDArray[np.float64]:
    return np.bincount(components.ravel()) / np.maximum(_lengths(components), 1)


def _mostly_covered(components: Components, other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which components meet the other mask in at least half of their rows."""
    return 2 * _lengths(components, other) >= _lengths(components)


def _best_matches(true: Components, predicted: Components) -> tuple[Components, Components]:
    """Return the labelled components that overlap any, and the best match of each."""
    both = (true > 0) & (predicted > 0)
    base = predicted.max(initial=0) + 1
    pairs, shared = np.unique(true[both] * base + predicted[both], return_counts=True)
    by_overlap = pairs[np.argsort(-shared, kind="stable")]
    matched, first = np.unique(by_overlap // base, return_index=True)
    return matched, by_overlap[first] % base


def _bias_and_error(errors: NDArray[np.float64]) -> tuple[float, float]:
    if not len(errors):
        return math.nan, math.nan
    return float(errors.mean()), float(np.abs(errors).mean())
