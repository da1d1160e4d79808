"""Find the joints of a log by their collars: loud rows at a regular spacing. Z depth, A azimuth.

Each row has evidence that a joint begins there (`row_evidence`). The most likely sequence of
beginnings is found by dynamic programming: joints are within some per cent of the spacing, a few
are shorter (pup joints), and a collar that left no mark, or lies in nulls, is placed where the
spacing and the little evidence agree best.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geoseg.measurements import Log
from geoseg.wells.row_evidence import RowEvidence, measure_rows

Integers = NDArray[np.int64]

SPACINGS = (40, 1000)  # rows: a joint of 12 m at 30 cm to 1.2 cm a row
TRIALS = 4  # spacings that are tried, those of the highest autocorrelation
MAX_COLLAR = 12  # rows; real collars have 2 to 9
FIRST_COLLAR = 5  # rows assumed until the collars of the log are known
LOUD_SHARE = 0.25  # weight of the other rows of a collar beside the first, fitted as they are
LEAST_EVIDENCE = -3.0  # of a collar that left no mark: it is placed by the spacing
SHORTEST, LONGEST = 0.25, 2.2  # of a joint, in spacings
SPREAD = 0.06  # of most joints, as a share of the spacing
# Log odds, in all and by collar, above which joints are found. The best sequence in synthetic wells
# without collars has less than -0.9 by collar in 39 of 40 wells of 6,000 rows.
FOUND, FOUND_EACH = 12.0, -0.5


@dataclass(frozen=True)
class Collar:
    """Rows `top` to `bottom`, both included; `seen` is False if only the spacing places it."""

    top: int
    bottom: int
    seen: bool


@dataclass(frozen=True)
class Joint:
    """One pipe length: rows `top` to `bottom`, both included; it begins with its collar.

    `complete` is False for the first and the last, which the log cuts off. Numbers are 1, 2, ...
    """

    number: int
    top: int
    bottom: int
    complete: bool

    @property
    def length(self) -> int:
        """Rows."""
        return self.bottom - self.top + 1


@dataclass(frozen=True)
class Joints:
    """The joints of a log, from top to bottom, and the collars between them.

    Attributes:
        collars: as many as joints, less one.
        joints: they cover the log without gaps; () if none were found.
        spacing: median rows from collar to collar, NaN if none were found.
        note: a sentence if they were not found, else "".
    """

    collars: tuple[Collar, ...]
    joints: tuple[Joint, ...]
    spacing: float
    note: str = ""

    @property
    def found(self) -> bool:
        """Whether the log shows joints."""
        return bool(self.joints)

    def number_at(self, row: int) -> int | None:
        """Return the number of the joint at a row, None if no joints were found."""
        if not self.joints:
            return None
        return bisect_right(self.collars, row, key=lambda collar: collar.top) + 1


def find_joints(log: Log) -> Joints:
    """Find the joints and collars of a log (Z, A)."""
    rows = len(log.image)
    evidence = measure_rows(log.image)
    if rows < 2 * SPACINGS[0]:
        return _report_none(f"{rows} rows are too few for two collars")
    if not evidence.measured.any():
        return _report_none("the log holds no measurement")
    first = _combine(evidence, FIRST_COLLAR)
    trials = [_place_starts(first, spacing) for spacing in _propose_spacings(first)]
    starts, odds = max(trials, key=lambda trial: trial[1], default=(np.empty(0, int), -np.inf))
    if len(starts) >= 2:
        thickness = _measure_thickness(evidence, starts)
        spacing = float(np.median(np.diff(starts)))
        starts, odds = _place_starts(_combine(evidence, thickness), spacing)
    if len(starts) < 2 or odds < FOUND + FOUND_EACH * len(starts):
        return _report_none("no regularly spaced collars stand out from the wall and its speckle")
    return _assemble(evidence, starts, thickness, rows)


def _report_none(reason: str) -> Joints:
    return Joints((), (), float("nan"), f"Joints were not found: {reason}.")


def _combine(evidence: RowEvidence, thickness: int) -> NDArray[np.float64]:
    """Return the log odds that a joint begins at each row (Z,), with a collar of that thickness."""
    total = np.pad(evidence.loud.cumsum(dtype=float), (1, thickness), mode="edge")
    total[0] = 0
    loud = total[thickness : thickness + len(evidence.loud)] - total[: len(evidence.loud)]
    return np.maximum(evidence.start + LOUD_SHARE * loud, LEAST_EVIDENCE)


def _propose_spacings(odds: NDArray[np.float64]) -> list[float]:
    """Return the lags of the highest autocorrelation of the positive odds, averaged over +-5%."""
    signal = np.maximum(odds, 0)
    signal -= signal.mean()
    power = np.abs(np.fft.rfft(signal, 2 * len(signal))) ** 2
    correlation = np.fft.irfft(power)[: len(signal)]
    lags = np.arange(SPACINGS[0], min(SPACINGS[1], int(len(signal) / 1.1) - 1))
    if not lags.size:
        return []
    total = np.r_[0, correlation.cumsum()]
    reach = np.maximum(lags // 20, 1)
    mean = (total[lags + reach + 1] - total[lags - reach]) / (2 * reach + 1)
    chosen: list[float] = []
    for lag in lags[np.argsort(-mean, kind="stable")]:
        if all(abs(lag - other) > 0.1 * other for other in chosen):
            chosen.append(float(lag))
        if len(chosen) == TRIALS:
            break
    return chosen


def _place_starts(odds: NDArray[np.float64], spacing: float) -> tuple[Integers, float]:
    """Return the most likely rows at which joints of about that spacing begin, and the log odds.

    Candidates are the highest rows within two. Those within the shortest joint's length cannot
    follow each other, so that each such block is solved at once.
    """
    padded = np.pad(odds, 2, constant_values=-np.inf)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 5).max(1)
    rows = np.flatnonzero(odds >= highest)
    gain = _rate_lengths(spacing)
    shortest, longest = int(SHORTEST * spacing), len(gain) - 1
    # The first joint may be cut off anywhere.
    best = np.where(rows <= longest / 2, -np.log(spacing), -np.inf) + odds[rows]
    previous = np.full(len(rows), -1)
    blocks = np.searchsorted(rows, np.arange(shortest, len(odds) + shortest, max(shortest, 1)))
    for begin, end in pairwise(blocks.tolist()):
        if begin == end:
            continue
        from_ = np.searchsorted(rows, rows[begin] - longest)
        to = np.searchsorted(rows, rows[end - 1] - shortest, side="right")
        if from_ == to:
            continue
        length = rows[begin:end, None] - rows[from_:to]
        score = best[from_:to] + gain[length.clip(0, longest)]
        chosen = score.argmax(1)
        score = score[np.arange(end - begin), chosen] + odds[rows[begin:end]]
        better = score > best[begin:end]
        best[begin:end][better] = score[better]
        previous[begin:end][better] = from_ + chosen[better]
    last = int(np.where(len(odds) - rows <= longest / 2, best, -np.inf).argmax())
    total, path = float(best[last]), []
    while last >= 0:
        path.append(rows[last])
        last = int(previous[last])
    return np.array(path[::-1]), total


def _rate_lengths(spacing: float) -> NDArray[np.float64]:
    """Return the log density of a joint's length in rows, from 0 to the longest.

    Most joints are within SPREAD, some are cut or of another length, few are anything.
    """
    length = np.arange(int(LONGEST * spacing) + 1) / spacing
    off = np.maximum(np.abs(length - 1) - SPREAD, 0)
    density = 0.9 * np.exp(-((off / 0.015) ** 2) / 2) / (2 * SPREAD + 0.04)
    density += 0.05 * np.exp(-((off / 0.1) ** 2) / 2) / (2 * SPREAD + 0.25) + 0.02 / LONGEST
    result = np.log(density / spacing)
    result[length < SHORTEST] = -np.inf
    return result


def _measure_thickness(evidence: RowEvidence, starts: Integers) -> int:
    """Return how many rows below the starts are, on average, likelier a collar's than not."""
    below = (starts[:, None] + np.arange(MAX_COLLAR)).clip(0, len(evidence.loud) - 1)
    total = evidence.loud[below].mean(0).cumsum()
    return max(2, int(total.argmax()) + 1)


def _assemble(evidence: RowEvidence, starts: Integers, thickness: int, rows: int) -> Joints:
    collars = []
    for top in starts.tolist():
        loud = np.flatnonzero(evidence.loud[top : top + thickness + 2] > 0)
        thick = int(loud[-1]) + 1 if loud.size else thickness
        seen = bool(loud.size) or bool(evidence.start[top] > 0)
        collars.append(Collar(top, min(top + thick, rows) - 1, seen))
    tops = [0, *starts.tolist()]
    bottoms = [top - 1 for top in tops[1:]] + [rows - 1]
    joints = [
        Joint(i + 1, top, bottom, 0 < i < len(starts))
        for i, (top, bottom) in enumerate(zip(tops, bottoms, strict=True))
    ]
    return Joints(tuple(collars), tuple(joints), float(np.median(np.diff(starts))))
