"""Tables of a data set's wells, and of stitched logs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from rich.table import Table

from geoseg.dataset.check.report import DatasetReport, Leak
from geoseg.dataset.folder import SPLITS, format_count
from geoseg.dataset.stitching import NO_SPLIT, StitchedLog, Well


def make_summary_table(report: DatasetReport) -> Table:
    """Return a row for every well of every split, and one for the split.

    The last columns count patches that leak: those of `validation` that are in `train` under the
    same name, whose twin or neighbour in depth is, and copies or twins of another well's patches.
    """
    headings = ("patches", "missing", "columns", "null", "with groove", "groove")
    leaks = ("in train", "twin in train", "next to train", "in other wells")
    table = _make_table("split", "well", *headings, *leaks)
    for split in (name for name in SPLITS if name in report.dataset.splits):
        wells = [well for well in report.wells if split in report.splits[well.name]]
        for well in wells:
            table.add_row(split, well.name.rpartition("_")[2], *_make_cells(report, split, [well]))
        cells = _make_cells(report, split, wells)
        table.add_row(split, "all", *cells, style="bold", end_section=True)
    if any(np.isnan(well.correlation) for well in report.wells):
        table.caption = "?: no patches 2k and 2k + 1 show whether the columns are half of a log's."
        table.caption_justify = "left"
    for column in table.columns:  # rich cuts a word if its column is too narrow
        column.no_wrap = column.header in ("split", "columns")
    return table


def _make_cells(report: DatasetReport, split: str, wells: Sequence[Well]) -> list[str]:
    """Return the cells for the patches of some wells in a split."""
    names = {well.name for well in wells}
    in_wells = torch.tensor([name in names for name in report.names])
    chosen = report.dataset.in_splits(split) & in_wells
    patches = report.dataset.select(chosen)
    missing = sum(
        _count_missing(patches.indices[patches.wells == well].tolist())
        for well in set(patches.wells.tolist())
    )
    cells = [f"{len(patches):,}", f"{missing:,}", _format_columns(wells[0]) * (len(wells) == 1)]
    cells.append(f"{patches.images.isnan().float().mean():.1%}")
    masks = patches.masks[patches.labelled]
    if len(masks):
        share, pixels = masks.flatten(1).any(1).float().mean(), masks.float().mean()
        cells += [f"{share:.0%}", f"{pixels:.1%}"]
    else:
        cells += ["-", "-"]
    leaks = [report.leaks.get(name, Leak()) for name in names]
    cells += [
        f"{sum(part):,}" if split == "validation" else "-" for part in zip(*leaks, strict=True)
    ]
    duplicated = report.duplicated_patches & set(chosen.nonzero()[:, 0].tolist())
    return [*cells, f"{len(duplicated):,}"]


def _count_missing(indices: Iterable[int]) -> int:
    """Return the number of patches missing between the first and the last one."""
    present = set(indices)
    return max(present) - min(present) + 1 - len(present)


def _format_columns(well: Well) -> str:
    """Return the columns of the log, with a question mark if twins cannot be detected."""
    return f"{_format_width(well)}{'?' * bool(np.isnan(well.correlation))}"


def _format_width(well: Well) -> str:
    return f"{well.shape[1]}{' in twins' * well.has_twins}"


def make_stitching_table(rows: Iterable[Sequence[str]]) -> Table:
    """Return a table of stitched logs, one row of `make_stitching_row` each."""
    headings = ("patches", "rows", "no patch", "columns", "pairs", "correlation", "overlap")
    table = _make_table("log", *headings, "conflicts", "groove")
    for cells in rows:
        table.add_row(*cells)
    return table


def make_stitching_row(well: Well, log: StitchedLog) -> list[str]:
    """Return the row of one log."""
    correlation = "-" if np.isnan(well.correlation) else f"{well.correlation:+.2f}"
    missing = int((log.row_splits == NO_SPLIT).sum())
    groove = "-" if log.mask is None else f"{(log.mask == 1).mean():.1%}"
    return [
        *(well.name, f"{len(well.patches):,}", f"{len(log.image):,}", f"{missing:,}"),
        *(_format_width(well), f"{well.pairs:,}", correlation),
        *(format_count(well.overlap, "row"), f"{log.conflicts:,}", groove),
    ]


def _make_table(first: str, *others: str) -> Table:
    table = Table(first, box=None, collapse_padding=True, pad_edge=False)
    for heading in others:
        table.add_column(heading, justify="right")
    return table
