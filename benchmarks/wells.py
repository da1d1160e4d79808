"""Measure joints and grooves on synthetic wells: `python benchmarks/wells.py`.

The generator knows the joints and the grooves of each well. Joints are found in the logs; grooves
in the generator's masks (the geometry alone), and in the masks of a checkpoint. Write
benchmarks/wells.json and the table in docs/wells.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from geoseg.measurements import Log
from geoseg.segmenter import Segmenter
from geoseg.synthetic.logs import KnownWells, synthesize_known_well
from geoseg.wells.grooves import find_grooves
from geoseg.wells.joints import Joints, find_joints
from geoseg.wells.tracing import BRIDGE, LEAST_ROWS, label_grooves
from train.markdown_tables import replace_table

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "checkpoints" / "3000-ring-unet.safetensors"
OUTPUT = Path(__file__).with_suffix(".json")
DOCUMENT = ROOT / "docs" / "wells.md"
WELLS, ROWS, NULLS, SEED = 30, 8000, 0.05, 7000
DEEP = 0.02  # inches
ROWS_OFF = {"joints": 2, "grooves": 5}  # rows by which a found one may be off


class KnownGroove(NamedTuple):
    """Rows with a label, the groove's column in each, and its medians: inches, columns."""

    rows: NDArray[np.int64]
    column: NDArray[np.int64]
    depth: float
    width: float


def list_known_grooves(well: KnownWells) -> Iterator[KnownGroove]:
    """Yield the labelled grooves of a well, cut where more than BRIDGE measured rows lie between.

    A row counts where the label is in the mask: not at nulls.
    """
    image, mask = well.logs.images[0].numpy(), well.logs.masks[0].numpy()
    measured = np.r_[0, np.isfinite(image).any(1).cumsum()]
    scale = image.shape[1] / 36
    for number, depth, centre, width in zip(
        *(plane[0].numpy() for plane in well.tracks), strict=True
    ):
        column = np.floor(centre * scale).astype(int) % image.shape[1]
        visible = (number >= 0) & (mask[np.arange(len(mask)), column] == 1)
        for groove in np.unique(number[visible]):
            rows = np.flatnonzero(visible & (number == groove))
            gaps = measured[rows[1:]] - measured[rows[:-1] + 1]
            for part in np.split(rows, np.flatnonzero(gaps > BRIDGE) + 1):
                if len(part) >= LEAST_ROWS:
                    medians = float(np.median(depth[part])), float(np.median(width[part]) * scale)
                    yield KnownGroove(part, column[part], *medians)


def compare_joints(well: KnownWells, joints: Joints) -> dict[str, list[bool]]:
    """Return which known joints were found, the same of those with a measured top, and the right.

    The first two count known joints, the last those that were found.
    """
    image = well.logs.images[0].numpy()
    known = np.flatnonzero(np.diff(well.joints[0].numpy())) + 1
    tops = np.array([collar.top for collar in joints.collars], int)
    near = np.abs(known[:, None] - tops) <= ROWS_OFF["joints"]
    measured = [bool(np.isfinite(image[row : row + 3]).any()) for row in known]
    found = near.any(1).tolist()
    return {
        "joints found": found,
        "joints found, top measured": [f for f, m in zip(found, measured, strict=True) if m],
        "joints right": near.any(0).tolist(),
    }


def compare_grooves(well: KnownWells, mask: NDArray[np.bool_], joints: Joints) -> dict[str, list]:
    """Return what is found of the deep known grooves, and which of the found are known at all.

    A known groove is found where one found groove covers at least half of its rows within a column
    of 10 degrees; a found groove is right where known ones cover half of its marked rows.
    """
    log = Log(well.logs.images[0].numpy())
    found, number = find_grooves(mask, log, joints), label_grooves(mask, log)
    reach = max(1, round(log.image.shape[1] / 36))
    covered = np.zeros(len(found))
    result: dict[str, list] = {"grooves found": [], "ends off": [], "width off": [], "depth": []}
    for known in list_known_grooves(well):
        beside = (known.column[:, None] + np.arange(-reach, reach + 1)) % log.image.shape[1]
        seen = np.sort(number[known.rows[:, None], beside], axis=1)
        once = seen[(np.diff(seen, axis=1, prepend=-1) != 0) & (seen >= 0)]
        shared = np.bincount(once, minlength=len(found) + 1)
        covered += shared[: len(found)]
        if known.depth <= DEEP:
            continue
        best = int(shared.argmax())
        result["grooves found"].append(bool(2 * shared[best] >= len(known.rows)))
        if result["grooves found"][-1]:
            groove = found[best]
            off = max(abs(groove.top - known.rows[0]), abs(groove.bottom - known.rows[-1]))
            result["ends off"].append(int(off))
            result["width off"].append(groove.width - known.width)
            result["depth"].append(groove.depth / known.depth - 1)
    marked = np.array([groove.coverage * groove.length for groove in found])
    result["grooves right"] = (2 * covered >= marked).tolist()
    return result


def summarise_grooves(counts: dict[str, list]) -> dict[str, float]:
    """Return the figures of all wells together."""
    ends, width = np.array(counts["ends off"]), np.abs(counts["width off"])
    return {
        "grooves": len(counts["grooves found"]),
        "recall": round(float(np.mean(counts["grooves found"])), 4),
        "precision": round(float(np.mean(counts["grooves right"])), 4),
        "ends within 5 rows": round(float((ends <= ROWS_OFF["grooves"]).mean()), 4),
        "median rows off": float(np.median(ends)),
        "width within 1 column": round(float((width <= 1).mean()), 4),
        "depth bias": round(float(np.nanmedian(counts["depth"])), 4),
        "depth error": round(float(np.nanmedian(np.abs(counts["depth"]))), 4),
    }


def measure(wells: int, rows: int, checkpoint: Path | None) -> dict[str, Any]:
    """Measure `wells` wells of 36 and 72 columns in turn."""
    segmenter = Segmenter([checkpoint]) if checkpoint else None
    totals: dict[str, dict[str, list]] = {"joints": {}, "generator's masks": {}}
    seconds = 0.0
    for i in range(wells):
        columns = 36 * (1 + i % 2)
        well = synthesize_known_well(rows, columns=columns, seed=SEED + i, fixed={"nulls": NULLS})
        image, mask = well.logs.images[0].numpy(), well.logs.masks[0].numpy()
        start = time.perf_counter()
        joints = find_joints(Log(image))
        find_grooves(mask, Log(image), joints)
        seconds += time.perf_counter() - start
        parts = {"joints": compare_joints(well, joints)}
        parts["generator's masks"] = compare_grooves(well, mask == 1, joints)
        if segmenter:
            (name,) = segmenter.names
            predicted = segmenter.probabilities(image)[name] > segmenter.cards[name].threshold
            parts[f"masks of {name}"] = compare_grooves(well, predicted, joints)
        for part, counts in parts.items():
            for key, values in counts.items():
                totals.setdefault(part, {}).setdefault(key, []).extend(values)
    found = totals.pop("joints")
    return {
        "wells": wells,
        "rows": rows,
        "joints": {
            "joints": len(found["joints found"]),
            "recall": round(float(np.mean(found["joints found"])), 4),
            "recall, top measured": round(float(np.mean(found["joints found, top measured"])), 4),
            "precision": round(float(np.mean(found["joints right"])), 4),
        },
        **{part: summarise_grooves(counts) for part, counts in totals.items()},
        "rows_per_second": round(wells * rows / seconds),
    }


def table(results: dict[str, Any]) -> str:
    """Format the Markdown table."""
    joints = results["joints"]
    lines = [
        f"| {results['wells']} wells of {results['rows']:,} rows | number | recall | precision "
        "| ends within 5 rows | width within 1 column | depth bias | depth error |",
        "|---" * 8 + "|",
        f"| joints, within 2 rows | {joints['joints']:,} | {joints['recall']:.3f} "
        f"({joints['recall, top measured']:.3f} where measured) | {joints['precision']:.3f} "
        "| | | | |",
    ]
    for part in (part for part in results if "masks" in part):
        row = results[part]
        lines.append(
            f"| grooves deeper than 0.02 inch, {part} | {row['grooves']:,} | {row['recall']:.3f} "
            f"| {row['precision']:.3f} | {row['ends within 5 rows']:.1%} "
            f"| {row['width within 1 column']:.1%} | {row['depth bias']:+.1%} "
            f"| {row['depth error']:.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="two short wells; write nothing")
    arguments = parser.parse_args()
    if arguments.fast:
        Console().print_json(data=measure(2, 2000, None))
        return
    results = measure(WELLS, ROWS, CHECKPOINT)
    OUTPUT.write_text(json.dumps(results, indent=2) + "\n")
    replace_table(DOCUMENT, "wells", table(results))
    Console().print_json(data=results)


if __name__ == "__main__":
    main()
