"""Reading of .npy files: every array NumPy writes, and files that are damaged or hostile."""

import io
import os
import struct
import time
import tracemalloc
import warnings
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from geoseg.masks import read_mask
from geoseg.measurements import read_patch
from geoseg.patches import MAX_HEADER, AllNullError, PatchError, read_arrays

REAL_DTYPES = st.one_of(
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    st.just(np.dtype(np.longdouble)),
)
SIDE = st.integers(1, 5)
SHAPES = st.one_of(
    st.tuples(SIDE, SIDE), st.tuples(st.just(1), SIDE, SIDE), st.tuples(SIDE, SIDE, st.just(1))
)


def npy(array, version=None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), version=version)
    return file.getvalue()


def with_header(header: bytes, data: bytes = b"", version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def read_array(source) -> np.ndarray:
    _, (array,) = read_arrays(source)
    return array


VALID = npy(np.linspace(-0.1, 0.1, 12, dtype="<f4").reshape(3, 4))


@given(
    arrays=st.data(),
    dtype=REAL_DTYPES,
    shape=SHAPES,
    fortran=st.booleans(),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)
def test_every_real_array_reads_as_numpy_wrote_it(arrays, dtype, shape, fortran, version):
    array = arrays.draw(npst.arrays(dtype, shape))
    content = npy(np.asarray(array, order="F" if fortran else "C"), version)
    plane = shape if len(shape) == 2 else (shape[1:] if shape[0] == 1 else shape[:2])
    np.testing.assert_array_equal(read_array(content), array.reshape(plane))
    with np.errstate(all="raise"):
        try:
            patch = read_patch(content)
        except PatchError:  # nulls only, or a mask
            return
    assert patch.shape == plane
    assert patch.dtype == np.float32
    assert patch.dtype.isnative
    assert patch.flags.c_contiguous
    assert patch.flags.writeable
    assert not np.isinf(patch).any()


@given(
    groove=npst.arrays(np.bool_, st.tuples(SIDE, SIDE)),
    dtype=REAL_DTYPES | st.just(np.dtype(bool)),
    order=st.sampled_from("CF"),
)
def test_every_mask_reads_as_numpy_wrote_it(groove, dtype, order):
    mask = read_mask(npy(groove.astype(dtype, order=order)))
    assert mask.dtype == np.uint8
    assert mask.flags.c_contiguous
    np.testing.assert_array_equal(mask, groove)


def read_or_refuse(content: bytes) -> None:
    """Check that an accepted file is read as NumPy reads it, and that others are a PatchError."""
    for read in (read_array, read_mask):
        try:
            array = read(content)
        except PatchError:
            continue
        with warnings.catch_warnings():  # NumPy warns of a header of Python 2
            warnings.simplefilter("ignore")
            stored = np.load(io.BytesIO(content), allow_pickle=False).reshape(array.shape)
        np.testing.assert_array_equal(array, stored)


@given(content=st.binary(max_size=300), lead=st.sampled_from([b"", VALID[:6], VALID[:8]]))
def test_arbitrary_bytes_are_read_as_numpy_reads_them_or_refused(content, lead):
    read_or_refuse(lead + content)


HEADER_WORDS = st.one_of(
    st.sampled_from("{}()[],:'\"01349L\\\0\n"),
    st.sampled_from(["'descr'", "'fortran_order'", "'shape'", "True", "None", "(3, 4)"]),
    st.sampled_from(["'<f4'", "'>f8'", "'|b1'", "'|O'", "'<f16'", "'<c8'", "-1", "999999999999"]),
    st.text(max_size=3),
)


@given(words=st.lists(HEADER_WORDS, max_size=30))
def test_arbitrary_headers_are_read_as_numpy_reads_them_or_refused(words):
    read_or_refuse(with_header(" ".join(words).encode("utf-8", "replace"), bytes(48)))


@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_damaged_files_are_read_as_numpy_reads_them_or_refused(edits):
    content = bytearray(VALID)
    for place, value in edits:
        content[place] = value
    read_or_refuse(bytes(content))


@given(
    items=st.permutations(["'descr': '<f4'", "'fortran_order': False", "'shape': (3, 4)"]),
    double=st.booleans(),
    gap=st.sampled_from(["", " ", "\n", "   "]),
    end=st.sampled_from(["", ","]),
)
def test_keys_are_read_in_any_order_quotes_and_spacing(items, double, gap, end):
    text = gap + "{" + gap + f"{gap},{gap}".join(items) + end + gap + "}" + gap
    content = with_header(text.replace("'", '"' if double else "'").encode(), VALID[-48:])
    np.testing.assert_array_equal(read_array(content), read_array(VALID))


@pytest.mark.parametrize("character", [b"\x0b", b"\x0c", b"\0"])
@pytest.mark.parametrize("place", [-2, -1, 10, 14])
def test_control_characters_in_a_header_are_read_as_numpy_reads_them_or_refused(character, place):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4) }"
    read_or_refuse(with_header(header[:place] + character + header[place:], VALID[-48:]))


def test_shape_written_by_python_2_is_read():
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 4L), }"
    np.testing.assert_array_equal(read_array(with_header(header, VALID[-48:])), read_array(VALID))


@pytest.mark.parametrize(
    "items",
    [
        ["'descr': '<f4'", "'shape': (3, 4)"],
        ["'descr': '<f4'", "'descr': '<f4'", "'shape': (3, 4)"],
        ["'descr': '<f4'", "'fortran_order': False", "'shape': (3, 4)", "'x': 1"],
    ],
)
def test_missing_or_unknown_key_is_refused(items):
    with pytest.raises(PatchError, match="damaged header"):
        read_array(with_header(b"{" + ", ".join(items).encode() + b"}", VALID[-48:]))


@given(cut=st.integers(0, len(VALID) - 1))
def test_every_truncated_file_is_refused(cut):
    with pytest.raises(PatchError, match=r"truncated|empty"):
        read_array(VALID[:cut])


@given(extra=st.binary(min_size=1, max_size=64))
def test_trailing_bytes_are_refused(extra):
    with pytest.raises(PatchError, match="extra bytes"):
        read_array(VALID + extra)


HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (%d, %d)}"


@pytest.mark.parametrize(
    "content",
    [
        with_header((HUGE % (65536, 65536)).encode()),  # 32 GiB
        with_header((HUGE % (8192, 8192)).encode()),  # 512 MiB: as many elements as are allowed
        with_header((HUGE % (2**63, 2**63)).encode()),  # overflows any machine integer
        with_header((HUGE % (10**1900, 10**1900)).encode()),
        VALID[:6] + b"\x02\x00" + b"\xff" * 4 + VALID,  # a header of 4 GiB
        with_header(b"{'descr': '<f8', 'fortran_order': False, 'shape': " + b"(" * 3000),
    ],
    ids=["32 GiB", "512 MiB", "beyond int64", "1900 digits", "4 GiB header", "nested"],
)
def test_no_memory_is_allocated_for_declared_sizes(content):
    tracemalloc.start()
    try:
        with pytest.raises(PatchError):
            read_array(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000


@pytest.mark.parametrize(
    "filler", [b" ", b"(", b",", b"1", b"1,", b"1 ,", b"\n", b"'shape': (1,1),", b"{ "]
)
@pytest.mark.parametrize("start", [b"", b"{", b"{'shape': (", b"{'shape': (1, 1)", b"{'descr': '"])
def test_hostile_header_is_refused_within_a_tenth_of_a_second(filler, start):
    header = (start + filler * MAX_HEADER)[:MAX_HEADER]
    begin = time.process_time()
    with pytest.raises(PatchError):
        read_array(with_header(header))
    assert time.process_time() - begin < 0.1


PLANE = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"hello, world", "is not a .npy file"),
        (b"PK\x03\x04 and so on", "npz"),
        (b"\x80\x04\x95 and so on", "is a pickle"),
        (VALID[:6] + b"\x04\x00" + VALID[8:], "unknown .npy version"),
        (with_header(b" " * (MAX_HEADER + 1)), "header of 4,097 bytes"),
        (npy(PLANE.astype("c8")), "complex numbers"),
        (npy(PLANE.astype(bool)), "true/false"),
        (npy(PLANE.astype("U2")), "holds text"),
        (npy(PLANE.astype("M8[s]")), "unknown type"),
        (npy(np.zeros((2, 3), [("a", "f4")])), "structured type"),
        (with_header(b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }"), "objects"),
        (with_header(b"{'descr': '<f3', 'fortran_order': False, 'shape': (2, 3), }"), "unknown"),
        (with_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3), }"), "damaged"),
        (with_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (True, 1)}"), "damaged"),
        (npy(np.float32(1)), r"shape \(\)"),
        (npy(np.zeros(36, "f4")), r"shape \(36,\)"),
        (npy(np.zeros((2, 3, 4, 5), "f4")), r"shape \(2, 3, 4, 5\)"),
        (npy(np.zeros((1, 1, 3, 4), "f4")), r"shape \(1, 1, 3, 4\)"),
        (npy(np.zeros((0, 36), "f4")), r"shape \(0, 36\)"),
        (with_header((HUGE % (2**14, 2**13)).encode()), "more than 67,108,864 pixels"),
    ],
)
def test_unusable_file_is_refused_with_its_fault(content, words):
    with pytest.raises(PatchError, match=words) as caught:
        read_array(content)
    assert str(caught.value).isprintable()
    assert str(caught.value).endswith(".")


def test_leading_axis_of_one_is_dropped_before_a_trailing_one():
    values = np.arange(3, dtype="f4")
    assert read_array(npy(values.reshape(1, 3, 1))).shape == (3, 1)
    assert read_array(npy(values.reshape(1, 1, 3))).shape == (1, 3)
    assert read_array(npy(values.reshape(3, 1, 1))).shape == (3, 1)


@pytest.mark.parametrize("value", [2, -1, 0.5, 254, np.nan, -999.25])
def test_mask_with_another_value_is_refused_with_that_value(value):
    mask = np.zeros((2, 3))
    mask[1, 2] = value
    with pytest.raises(PatchError, match=f"value {value:g},"):
        read_mask(npy(mask))


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "null", "surrogate"])
def test_path_without_a_regular_file_is_refused_without_its_folder(tmp_path, kind):
    path = str(tmp_path / f"{kind}.npy")
    if kind == "folder":
        os.mkdir(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "null":
        path += "\0"
    elif kind == "surrogate":
        path += "\udc80"
    with pytest.raises(PatchError, match=rf"^{kind}\.npy") as caught:
        read_array(path)
    assert tmp_path.name not in str(caught.value)
    assert str(caught.value).isprintable()


def test_path_that_the_system_refuses_is_refused_with_the_reason():
    with pytest.raises(PatchError, match=r"cannot be read \(File name too long\)"):
        read_array("/tmp/" + "a" * 300)


def test_path_and_bytes_give_equal_arrays(tmp_path):
    path = tmp_path / "same.npy"
    path.write_bytes(VALID)
    np.testing.assert_array_equal(read_array(path), read_array(VALID))
    np.testing.assert_array_equal(read_array(str(path)), read_array(VALID))


@pytest.mark.parametrize("content", [VALID[:-1], VALID + b"x", b"", b"PK"])
def test_path_and_bytes_give_equal_errors(tmp_path, content):
    path = tmp_path / "same.npy"
    path.write_bytes(content)
    with pytest.raises(PatchError) as by_bytes:
        read_array(content)
    with pytest.raises(PatchError) as by_path:
        read_array(path)
    assert str(by_path.value) == str(by_bytes.value).replace("The file", "same.npy")


def test_real_patches_and_masks_are_read(real):
    images = sorted((real / "patches").glob("*/images/*.npy"))
    all_null = []
    for path in images:
        stored = np.load(path)
        try:
            patch = read_patch(path)
        except AllNullError:
            all_null.append(path.name)
            continue
        assert patch.shape == (36, 36)
        np.testing.assert_array_equal(patch, np.where(np.abs(stored) < 900, stored, np.nan))
        assert np.nanmax(np.abs(patch)) < 2  # no null code is left
    assert all_null == ["well_3_patch_459.npy", "well_3_patch_460.npy"]
    for path in (real / "patches").glob("*/labels/*.npy"):
        np.testing.assert_array_equal(read_mask(path), np.load(path))


def archive(tmp_path, **arrays):
    path = tmp_path / "mask.npz"
    np.savez_compressed(path, **arrays)
    return path


def test_mask_is_read_from_an_archive(tmp_path):
    mask = np.eye(6, dtype=np.uint8)
    path = archive(tmp_path, other=np.zeros(3), mask=mask)
    assert np.array_equal(read_mask(path), mask)
    assert np.array_equal(read_mask(path.read_bytes()), mask)


def test_unknown_labels_are_accepted_only_on_request(tmp_path):
    mask = np.array([[0, 1, 255]], np.uint8)
    path = archive(tmp_path, mask=mask)
    assert np.array_equal(read_mask(path, unknown=True), mask)
    with pytest.raises(PatchError, match="holds the value 255"):
        read_mask(path)
    with pytest.raises(PatchError, match=r"holds the value 2, .* 255 where it is unknown"):
        read_mask(archive(tmp_path, mask=mask + 1), unknown=True)


def test_archive_without_a_mask_or_as_an_image_is_refused(tmp_path):
    path = archive(tmp_path, label=np.eye(3))
    with pytest.raises(PatchError, match=r"mask\.npz has no array 'mask'"):
        read_mask(path)
    with pytest.raises(PatchError, match="zip archive"):
        read_array(path)
    with pytest.raises(PatchError, match="Python objects, which are never loaded"):
        read_mask(archive(tmp_path, mask=np.array([[None]], dtype=object)))


def test_damaged_archive_is_read_or_refused_with_a_patch_error(tmp_path):
    whole = archive(tmp_path, mask=np.eye(40, dtype=np.uint8)).read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 3):
            damaged[place] ^= int(generator.integers(1, 256))
        cut = int(generator.integers(1, len(whole) + 1))
        for content in (bytes(damaged), whole[:cut]):
            with suppress(PatchError):
                assert read_mask(content).shape == (40, 40)


def test_compressed_archive_is_not_expanded_without_limit(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("mask.npy", bytes(50_000_000))
    with pytest.raises(PatchError, match=r"is not a \.npy file"):
        read_mask(path)
