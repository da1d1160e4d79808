"""Files of measurements as people have them: units, nulls, row means, columns, axes, types."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from geoseg.measurements import MeasurementOptions
from geoseg.synthetic import synthesize

ROWS = 36
STACK = 3


@dataclass(frozen=True)
class Input:
    """One file, and what is known of its answer.

    Attributes:
        array: what the file holds.
        options: how it is to be read.
        same_as: the input whose mask it has, "" if none is known.
        notes: words of each note, in the order of the notes.
        refusal: words of the error, "" if it is accepted.
    """

    array: np.ndarray
    options: MeasurementOptions = field(default_factory=MeasurementOptions)
    same_as: str = ""
    notes: tuple[str, ...] = ()
    refusal: str = ""


def make_log(columns: int) -> np.ndarray:
    """Return a synthetic log in inches with grooves, float32 (ROWS, columns)."""
    image = synthesize(1, 7 * ROWS, columns=columns, seed=3)[0][0].numpy()
    return image[6 * ROWS :]


def make_inputs() -> dict[str, Input]:
    """Return the inputs by name."""
    inch = make_log(36)
    rows, column = np.zeros((36, 36), bool), np.zeros((36, 36), bool)
    rows[10:13] = column[:, 20] = True
    with_rows, with_column = np.where(rows, np.nan, inch), np.where(column, np.nan, inch)
    wall = (0.4 + np.linspace(0, 0.02, 36)[:, None] + inch).astype(np.float32)
    micrometres = inch * 25_400
    accepted = {
        "inch": Input(inch),
        "mm, float64": Input(inch * np.float64(25.4), same_as="inch", notes=("millimetres",)),
        "um, float32": Input(micrometres, same_as="inch", notes=("micrometres",)),
        "mil, float16": Input((1000 * inch).astype(np.float16), notes=("mil",)),
        "m": Input(inch * np.float64(0.0254), same_as="inch", notes=("metres",)),
        "mm, as told": Input(
            inch * np.float64(25.4), MeasurementOptions(unit="mm"), "inch", ("millimetres",)
        ),
        "big-endian": Input(inch.astype(">f8"), same_as="inch"),
        "Fortran order": Input(np.asfortranarray(inch), same_as="inch"),
        "counts, int16": Input(micrometres.round().astype(np.int16), notes=("micrometres",)),
        "counts, int32": Input((inch * 1e5).round().astype(np.int32), notes=("",)),
        "NaN": Input(with_rows, notes=("108 of 1,296",)),
        "-999.25": Input(np.nan_to_num(with_rows, nan=-999.25), same_as="NaN", notes=("-999.25",)),
        "-99 in a column": Input(np.nan_to_num(with_column, nan=-99.0), notes=("-99",)),
        "-999.25 / 25.4": Input(
            np.nan_to_num(with_rows, nan=-999.25 / 25.4), same_as="NaN", notes=("-39.34",)
        ),
        "-999.25 among um": Input(
            np.where(rows, -999.25, micrometres), same_as="NaN", notes=("-999.25", "micrometres")
        ),
        "-32768 among counts": Input(
            np.where(rows, -32768, micrometres.round()).astype(np.int16),
            notes=("-32768", "micrometres"),
        ),
        "thickness": Input(wall, same_as="inch", notes=("mean",)),
        "thickness, mm, 0 for nulls": Input(
            np.where(rows, 0, wall * 25.4),
            same_as="NaN",
            notes=("108 of 1,296", "mean", "millimetres"),
        ),
        "losses positive": Input(
            -inch, MeasurementOptions(losses="positive"), "inch", ("positive",)
        ),
        **{
            f"{columns} columns": Input(make_log(columns), notes=(f"{columns}",))
            for columns in (24, 72, 100, 360)
        },
        "stack": Input(np.stack([inch, np.roll(inch, 5, 1), wall])[..., None]),
    }
    refused = {
        "transposed": Input(make_log(36).T.copy(), refusal="transposed"),
        "mask": Input((inch < -0.03).astype(np.uint8), refusal="mask"),
        "only nulls": Input(np.full((36, 36), -999.25), refusal="only nulls"),
        "text": Input(np.full((36, 36), "0.01"), refusal="text"),
    }
    return accepted | refused


def write_input(folder: Path, number: int, array: np.ndarray) -> Path:
    """Write the file of an input; its name is that of a patch in a data set."""
    path = folder / f"well_1_patch_{number}.npy"
    np.save(path, array)
    return path
