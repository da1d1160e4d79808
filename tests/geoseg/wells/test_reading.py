"""Logs of every format: round trips, what is chosen and said, and damaged files."""

from pathlib import Path

import numpy as np
import pytest

from geoseg.measurements import Log, MeasurementOptions
from geoseg.patches import PatchError
from geoseg.samples import read_sample
from geoseg.wells.reading import read_log
from geoseg.wells.writing import MASK, PROBABILITY, write_log
from tests.helpers import SHARED

ROWS, COLUMNS = 90, 72


def make_image(rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    random = np.random.default_rng(1)
    round_the_pipe = np.sin(np.arange(columns) / columns * 2 * np.pi)
    image = 0.015 * round_the_pipe + random.normal(0, 0.004, (rows, columns))
    image += np.roll(image, 1, axis=1)  # neighbours are alike, as in a pipe
    return (image - image.mean(1, keepdims=True)).astype(np.float32)


def make_dlis(
    path: Path, frames: dict[str, dict[str, np.ndarray]], depth_unit="0.1 in", **parameters
):
    """Write frames of channels; the first channel of each is its index of depth."""
    import logging

    dliswriter = pytest.importorskip("dliswriter")
    logging.getLogger("dliswriter").setLevel(logging.ERROR)
    file = dliswriter.DLISFile()
    logical = file.add_logical_file()
    logical.add_origin("test")
    for frame, channels in frames.items():
        added = []
        for number, (name, data) in enumerate(channels.items()):
            units = depth_unit if number == 0 else "in" if data.ndim == 2 else None
            added.append(
                logical.add_channel(name, data=data, units=units, dataset_name=f"{frame}{name}")
            )
        logical.add_frame(frame, channels=added, index_type="BOREHOLE-DEPTH")
    for name, value in parameters.items():
        logical.add_parameter(name, values=[value])
    file.write(str(path), output_chunk_size=2**26)
    return path


@pytest.fixture(scope="module")
def dlis(tmp_path_factory):
    """Write a file as the ultrasonic casing tool's: bottom-up, in 0.1 in, waveforms, two images."""
    image = make_image()
    depth = (12000 - 0.6 * np.arange(ROWS)) * 10
    channels = {
        "TDEP": depth,
        "WF": np.ones((ROWS, 500), np.float32),
        "T2BK": image,
        "IRBK": -image,
    }
    other = {"TDEP": depth[:5], "GR": np.ones(5)}
    path = tmp_path_factory.mktemp("dlis") / "well.dlis"
    return make_dlis(path, {"60B": channels, "10B": other}, CSIZ=9.625, THNO=0.545)


def test_a_dlis_file_reads_as_it_was_written(dlis):
    log = read_log(dlis)
    np.testing.assert_array_equal(log.image, make_image())
    np.testing.assert_allclose(log.depth, 12000 - 0.6 * np.arange(ROWS), rtol=1e-12)
    assert (log.depth_unit, log.channel, log.unit) == ("in", "T2BK", "inch")
    assert (log.nominal, log.diameter, log.name) == (0.545, 9.625, "well.dlis")
    assert "T2BK" in log.notes[0]


def test_a_radius_is_turned_so_that_losses_are_negative(dlis):
    log = read_log(dlis, channel="IRBK")
    np.testing.assert_array_equal(log.image, make_image())
    assert "sign" in log.assumptions


def test_bytes_and_paths_of_a_dlis_file_give_the_same(dlis):
    log, path_log = read_log(dlis.read_bytes()), read_log(dlis)
    np.testing.assert_array_equal(log.image, path_log.image)
    assert log.notes == path_log.notes


@pytest.mark.parametrize(("channel", "frame"), [("XXXX", None), (None, "10B"), ("T2BK", "10B")])
def test_images_that_are_not_there_are_answered_with_those_that_are(dlis, channel, frame):
    with pytest.raises(PatchError, match="it has T2BK in frame 60B"):
        read_log(dlis, channel=channel, frame=frame)


def test_a_tie_between_images_lists_them(tmp_path):
    image, depth = make_image(), np.arange(ROWS) * 1.0
    frames = {name: {"DEPT": depth, "AAAA": image} for name in ("A", "B")}
    path = make_dlis(tmp_path / "tie.dlis", frames, "m")
    with pytest.raises(PatchError, match=r"AAAA in frame A .*; AAAA in frame B"):
        read_log(path)
    assert read_log(path, frame="B").depth_unit == "m"


def test_a_header_that_is_not_credible_is_not_believed(tmp_path):
    frames = {"A": {"DEPT": np.arange(ROWS) * 1.0, "T2BK": make_image()}}
    log = read_log(make_dlis(tmp_path / "zero.dlis", frames, "ft", CSIZ=0.0, THNO=0.0))
    assert log.nominal is None
    assert log.diameter is None


def test_a_truncated_dlis_file_is_one_sentence(dlis, tmp_path):
    content = dlis.read_bytes()
    for cut in np.linspace(0, len(content) - 1, 50).astype(int):
        path = tmp_path / "cut.dlis"
        path.write_bytes(content[:cut])
        with pytest.raises(PatchError) as caught:
            read_log(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("extension", ["dlis", "las", "csv"])
@pytest.mark.parametrize("step", [0.1, -0.1])
def test_results_read_back_equal(tmp_path, extension, step):
    random = np.random.default_rng(2)
    probability = random.random((ROWS, COLUMNS)).astype(np.float32)
    probability[3:5] = np.nan
    mask = (probability > 0.5).astype(np.uint8)
    depth = 1234.5 + step * np.arange(ROWS)
    path = tmp_path / f"result.{extension}"
    write_log(path, Log(make_image(), "well", depth=depth, depth_unit="m"), mask, probability)
    if extension == "csv":
        table = np.loadtxt(path, delimiter=",", skiprows=1)
        found_depth, found = table[:, 0], table[:, 1 : COLUMNS + 1]
    elif extension == "las":
        lasio = pytest.importorskip("lasio")
        las = lasio.read(str(path))
        found_depth = las.index
        found = np.stack([las[f"{MASK}{n}"] for n in range(1, COLUMNS + 1)], 1)
        assert las.curves[0].unit == "m"
    else:
        dlis_module = pytest.importorskip("dlisio").dlis
        with dlis_module.load(str(path)) as (file,):
            curves = file.frames[0].curves()
            found_depth, found = curves["TDEP"], curves[MASK]
            assert file.frames[0].direction == ("INCREASING" if step > 0 else "DECREASING")
            np.testing.assert_array_equal(curves[PROBABILITY][5], probability[5])
    np.testing.assert_array_equal(found_depth, depth)
    np.testing.assert_array_equal(found, mask)


def make_las(
    values: np.ndarray, depth: np.ndarray, *, delimiter=" ", unit="FT", null=-999.25, wrap="NO"
) -> str:
    curves = "".join(f" IMG{n}.IN : {n}\n" for n in range(1, values.shape[1] + 1))
    rows = "".join(
        delimiter.join([f"{z:.3f}", *(f"{value:.6f}" for value in row)]) + "\n"
        for z, row in zip(depth, values, strict=True)
    )
    if wrap == "YES":
        rows = rows.replace(" ", "\n")
    names = {" ": "SPACE", ",": "COMMA", "\t": "TAB"}
    return (
        f"~Version\n VERS. 2.0 :\n WRAP. {wrap} :\n DLM. {names[delimiter]} :\n"
        f"~Well\n STRT.FT {depth[0]} :\n"
        f" STOP.FT {depth[-1]} :\n STEP.FT 0 :\n NULL. {null} :\n"
        f"~Curve\n DEPT .{unit} :\n{curves}~A\n{rows}"
    )


@pytest.mark.parametrize("delimiter", [" ", ",", "\t"])
@pytest.mark.parametrize("wrap", ["NO", "YES"])
def test_a_las_file_reads_as_it_was_written(delimiter, wrap):
    if wrap == "YES" and delimiter != " ":
        pytest.skip("wrapped LAS is delimited by spaces")
    image = make_image().round(6)
    depth = 500 - 0.125 * np.arange(ROWS)
    values = image.copy()
    values[7, 3:9] = -7.5  # the header's own null code
    text = make_las(values, depth, delimiter=delimiter, null=-7.5, wrap=wrap)
    log = read_log(text.encode())
    image[7, 3:9] = np.nan
    np.testing.assert_allclose(log.image, image, atol=2e-6)
    np.testing.assert_array_equal(log.depth, depth)
    assert (log.depth_unit, log.channel, log.unit) == ("ft", "IMG", "inch")


@pytest.mark.parametrize(("unit", "factor"), [("CM", 1 / 2.54), ("MM", 1 / 25.4)])
def test_values_in_the_unit_of_the_file_become_inches(unit, factor):
    image = make_image()
    text = make_las(image / factor, np.arange(float(ROWS))).replace(".IN :", f".{unit} :")
    log = read_log(text.encode())
    np.testing.assert_allclose(log.image, image, atol=2e-6)
    assert log.inches == pytest.approx(factor)
    assert "converted to inches" in " ".join(log.notes)


def test_depths_in_tenths_of_an_inch_are_scaled():
    text = make_las(make_image(), 9869040.0 - 12 * np.arange(ROWS), unit=".1IN")
    log = read_log(text.encode())
    assert log.depth[0] == pytest.approx(986904.0)
    assert log.depth_unit == "in"


def test_a_truncated_las_file_is_said_to_be_one():
    text = make_las(make_image(), np.arange(ROWS) * 1.0)
    content = text.encode()
    refused = 0
    for cut in np.linspace(0, len(content) - 12, 50).astype(int):
        try:
            log = read_log(content[:cut])
        except PatchError:
            refused += 1
        else:  # cut between two rows, or within the last number of one
            assert "may be truncated" in log.assumptions["depth"]
    assert refused > 40


@pytest.mark.parametrize(
    ("separator", "decimal", "heading", "unit"),
    [
        (",", ".", "DEPTH_m", "m"),
        (";", ",", "MD (ft)", "ft"),
        ("\t", ".", "tdep [0.1 in]", "in"),
        (" ", ".", "", ""),
    ],
)
def test_a_csv_file_reads_as_it_was_written(separator, decimal, heading, unit):
    image = make_image().round(6)
    depth = 100 + 0.5 * np.arange(ROWS)
    lines = []
    for z, row in zip(depth, image, strict=True):
        cells = [f"{v:.6f}" for v in ([z, *row] if heading else row)]
        lines.append(separator.join(cells).replace(".", decimal))
    if heading:
        lines.insert(0, separator.join([heading, *(f"c{n}" for n in range(COLUMNS))]))
    log = read_log("\r\n".join(lines).encode("utf-8-sig"))
    np.testing.assert_allclose(log.image, image, atol=2e-6)
    assert log.depth_unit == unit
    if heading:
        np.testing.assert_allclose(log.depth, depth * (0.1 if "0.1" in heading else 1))
    else:
        assert log.depth is None


@pytest.mark.parametrize("trailing", ["", ","])
@pytest.mark.parametrize(
    ("first", "heading", "note", "depth"),
    [
        (None, None, "", None),
        (None, [*range(COLUMNS)], "", None),
        (None, [10 * n for n in range(COLUMNS)], "", None),
        (np.arange(ROWS), ["", *range(COLUMNS)], "counts the rows", None),
        (np.arange(ROWS), None, "counts the rows", None),
        (
            900 + 0.5 * np.arange(ROWS),
            ["Measured Depth (ft)", *range(COLUMNS)],
            "taken for the depths",
            "ft",
        ),
        (900 - 0.1 * np.arange(ROWS), ["Tiefe", *range(COLUMNS)], "taken for the depths", ""),
        (900 + 0.1 * np.arange(ROWS), None, "taken for the depths", ""),
    ],
)
def test_headers_indices_and_depths_of_a_csv_file_are_no_measurements(
    first, heading, note, depth, trailing
):
    image = make_image().round(6)
    rows = image if first is None else np.column_stack([first, image])
    lines = [",".join(f"{value:.6f}" for value in row) + trailing for row in rows]
    if heading:
        lines.insert(0, ",".join(map(str, heading)) + trailing)
    log = read_log("\n".join(lines).encode())
    np.testing.assert_allclose(log.image, image, atol=2e-6)
    assert (log.depth is None) == (depth is None)
    if depth is not None:
        np.testing.assert_allclose(log.depth, first)
        assert log.depth_unit == depth
    notes = " ".join(log.notes)
    assert note in notes
    assert ("last column is empty" in notes) == bool(trailing)
    assert "null" not in notes


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"a,b\n1,2\n3", b"<html>no</html>"])
def test_what_is_no_log_is_one_sentence(content):
    with pytest.raises(PatchError) as caught:
        read_log(content)
    assert "\n" not in str(caught.value)


def test_one_row_is_a_log(tmp_path):
    np.save(tmp_path / "row.npy", make_image(1, 36))
    assert read_log(tmp_path / "row.npy").image.shape == (1, 36)


def test_a_folder_of_patches_is_the_log_that_they_were_cut_from(tmp_path):
    log = make_image(144, 72)
    (tmp_path / "test" / "images").mkdir(parents=True)
    for i in range(8):
        rows = slice(i // 2 * 36, i // 2 * 36 + 36)
        np.save(tmp_path / "test" / "images" / f"well_4_patch_{i}.npy", log[rows, i % 2 :: 2])
    np.testing.assert_array_equal(read_log(tmp_path).image, log)


def test_real_files():
    folder = SHARED / "wells"
    if not folder.is_dir():
        pytest.skip("needs ../shared/wells beside the repository")
    log = read_log(folder / "P11-A-02_image_rows.las")
    assert log.image.shape == (3300, 16)
    assert log.channel == "ABDCM"
    with pytest.raises(PatchError, match=r"no azimuthal image of .* TIME, TDEP, TENS_SL"):
        read_log(folder / "206_05a-3_DWL_WIRE.dlis")
    with pytest.raises(PatchError, match=r"no azimuthal image of .* DEPT, URAN"):
        read_log(folder / "autodepthindex_point_one_inch.las")


def test_what_the_user_says_overrules_the_file(dlis):
    log = read_log(dlis, MeasurementOptions(unit="mm"))
    np.testing.assert_allclose(log.image * 25.4, make_image(), rtol=1e-5)
    assert read_sample("well_2_patch_4").shape == (36, 36)
