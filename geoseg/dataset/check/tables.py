"""What a folder holds, a row for every well, and what was stitched, a row for every log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from rich.table import Table

from geoseg.dataset.check.report import DatasetReport, Leak
from geoseg.dataset.folder import SPLITS, format_count
from geoseg.dataset.stitching import Log, Well


def summary(found: DatasetReport) -> Table:
    """A row for every well of every split, and one for the split.

    The last columns count patches whose answer may be known: those that are in `train` under the
    same name, whose twin or neighbour in depth is, and copies or twins of another well's.
    """
    table = _table(
        "split", "well", "patches", "missing", "columns", "null", "with groove", "groove"
    )
    for heading in ("in train", "twin in train", "next to train", "in other wells"):
        table.add_column(heading, justify="right")
    for split in (name for name in SPLITS if name in found.dataset.splits):
        wells = [well for well in found.wells if split in found.splits[well.name]]
        for well in wells:
            cells = _cells(found, split, [well])
            table.add_row(split, well.number, *cells)
        table.add_row(split, "all", *_cells(found, split, wells), style="bold", end_section=True)
    if any(np.isnan(well.likeness) for well in found.wells):
        table.caption = (
            "?: no patches 2k and 2k + 1 to tell by whether the columns are half of a log's."
        )
        table.caption_justify = "left"
    for column in table.columns:  # a word is cut where its column is too narrow
        column.no_wrap = column.header in ("split", "columns")
    return table


def _cells(found: DatasetReport, split: str, wells: Sequence[Well]) -> list[str]:
    """What to say of the patches of some wells in a split."""
    names = {well.name for well in wells}
    chosen = found.dataset.in_splits(split) & torch.tensor([name in names for name in found.names])
    patches = found.dataset.select(chosen)
    gaps = sum(
        _gaps(patches.indices[patches.wells == w].tolist()) for w in set(patches.wells.tolist())
    )
    cells = [f"{len(patches):,}", f"{gaps:,}", _columns(wells[0]) if len(wells) == 1 else ""]
    cells.append(f"{patches.images.isnan().float().mean():.1%}")
    masks = patches.masks[patches.labelled]
    if len(masks):
        share, pixels = masks.flatten(1).any(1).float().mean(), masks.float().mean()
        cells += [f"{share:.0%}", f"{pixels:.1%}"]
    else:
        cells += ["-", "-"]
    leaks = [found.leaks.get(name, Leak()) for name in names]
    cells += [
        f"{sum(part):,}" if split == "validation" else "-" for part in zip(*leaks, strict=True)
    ]
    return [*cells, f"{len(found.elsewhere & set(chosen.nonzero()[:, 0].tolist())):,}"]


def _gaps(indices: Iterable[int]) -> int:
    """Patches that are missing between the first and the last one."""
    there = set(indices)
    return max(there) - min(there) + 1 - len(there)


def _columns(well: Well) -> str:
    """Of the log, as far as that can be told."""
    return f"{well.shape[1]}{' in twins' * well.twins}{'?' * bool(np.isnan(well.likeness))}"


def stitched(rows: Iterable[Sequence[str]]) -> Table:
    """What was done for each log, of rows that `row` gives."""
    table = _table("log", "patches", "rows", "no patch", "columns", "pairs", "likeness", "overlap")
    for heading in ("disputed", "groove"):
        table.add_column(heading, justify="right")
    for cells in rows:
        table.add_row(*cells)
    return table


def row(well: Well, log: Log) -> list[str]:
    """What was done for one log."""
    rows, columns = log.image.shape
    likeness = "-" if np.isnan(well.likeness) else f"{well.likeness:+.2f}"
    groove = "-" if log.mask is None else f"{(log.mask == 1).mean():.1%}"
    return [
        *(well.name, f"{len(well.patches):,}", f"{rows:,}", f"{log.missing:,}"),
        *(f"{columns}{' in twins' * well.twins}", f"{well.pairs:,}", likeness),
        *(format_count(well.overlap, "row"), f"{log.disputed:,}", groove),
    ]


def _table(first: str, *others: str) -> Table:
    table = Table(first, box=None, collapse_padding=True, pad_edge=False)
    for heading in others:
        table.add_column(heading, justify="right")
    return table
