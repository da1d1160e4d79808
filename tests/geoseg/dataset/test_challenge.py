"""The challenge's csv: what is written is read back, and faulty rows are rejected."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from geoseg import DatasetError
from geoseg.dataset.challenge import read_masks, replace_labels, write_masks
from geoseg.synthetic import make_synthetic_dataset


@pytest.fixture
def masks():
    generator = np.random.default_rng(3)
    return {f"well_1_patch_{i}": generator.integers(0, 2, (36, 36), np.uint8) for i in range(5)}


def format_csv(masks):
    """Format masks as the challenge's own files."""
    header = "," + ",".join(str(i) for i in range(1296))
    rows = (f"{name}," + ",".join(map(str, mask.ravel())) for name, mask in masks.items())
    return "\n".join([header, *rows]) + "\n"


def test_written_masks_are_read_back(masks, tmp_path):
    path = tmp_path / "y.csv"
    write_masks(path, masks)
    assert path.read_text() == format_csv(masks)
    read, rejections = read_masks(path)
    assert list(read) == list(masks)
    assert rejections == []
    for name, mask in masks.items():
        assert np.array_equal(read[name].reshape(36, 36), mask)


def with_index(text: str) -> str:
    """Add the index that pandas writes if a table is saved twice."""
    header, *rows = text.splitlines()
    return "\n".join([f",Unnamed: 0{header}", *(f"{i},{row}" for i, row in enumerate(rows))])


CHANGES = {
    "npy": lambda text: text.replace("well_1_patch_2,", "well_1_patch_2.npy,"),
    "path": lambda text: text.replace("\nwell_1", "\ndata\\images/well_1"),
    "upper case": lambda text: text.upper(),
    "floats": lambda text: text.replace(",1,", ",1.0,"),
    "digits": lambda text: text.replace(",1,", ", 1.000,").replace(",0,", ",0e0,"),
    "booleans": lambda text: text.replace(",1,", ",True,").replace(",0,", ",FALSE,"),
    "quotes": lambda text: text.replace(",1,", ',"1",').replace(
        "well_1_patch_2", '"well_1_patch_2"'
    ),
    "no header": lambda text: text.split("\n", 1)[1],
    "from Excel": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "empty line": lambda text: text + "\n",
    "semicolons": lambda text: text.replace(",", ";"),
    "separator named": lambda text: "sep=;\n" + text.replace(",", ";"),
    "tabs": lambda text: text.replace(",", "\t"),
    "spaces": lambda text: text.replace(",", " "),
    "decimal commas": lambda text: text.replace(",", ";").replace(";1;", ";1,0;"),
    "decimal commas in quotes": lambda text: text.replace(",1,", ',"1,0",'),
    "index": with_index,
    "index without header": lambda text: with_index(text).split("\n", 1)[1],
    "well after the name": lambda text: re.sub(r"(?m)^(well\S+?)?,", r"\1,7,", text),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_spellings_are_read_equally(masks, change, tmp_path):
    path = tmp_path / "y.csv"
    path.write_bytes(CHANGES[change](format_csv(masks)).encode())
    read, rejections = read_masks(path)
    assert not rejections
    assert {name: mask.tobytes() for name, mask in read.items()} == {
        name: mask.tobytes() for name, mask in masks.items()
    }


def test_csv_of_the_cases(cases):
    plain, rejections = read_masks(cases / "22-csv/plain.csv")
    assert not rejections
    for name in ("semicolon.csv", "bool.csv"):
        read, rejections = read_masks(cases / "22-csv" / name)
        assert not rejections
        assert list(read) == list(plain)
        assert all(np.array_equal(read[k], plain[k]) for k in plain)


def test_faulty_rows_are_rejected(masks, tmp_path):
    lines = format_csv(masks).splitlines()
    lines[2] = lines[2] + ",0"
    lines[3] = lines[3][:-1] + "2"
    lines.append(lines[5])
    path = tmp_path / "y.csv"
    path.write_text("\n".join(lines))
    read, rejections = read_masks(path)
    assert list(read) == ["well_1_patch_0", "well_1_patch_3"]
    assert Counter(r.kind for r in rejections) == {
        "misaligned row": 1,
        "other values than 0 and 1": 1,
        "name more than once": 1,
    }
    reasons = {r.kind: f"{r.name}: {r.reason}" for r in rejections}
    assert reasons["misaligned row"].startswith("row 3 (well_1_patch_1): has 1,297 values")
    assert "'2'" in reasons["other values than 0 and 1"]
    assert reasons["name more than once"].startswith("row 7 (well_1_patch_4): has the name of")


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"\xff\xfe\x00", b"\x00\n"])
def test_csv_without_usable_row_is_an_error(content, tmp_path):
    path = tmp_path / "y.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="csv"):
        read_masks(path)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_masks(tmp_path / "none.csv")


@pytest.fixture(scope="module")
def dataset():
    return make_synthetic_dataset(2, 12, seed=4)


def write_labels(dataset, path):
    names = [name.split("/")[-1] for name in dataset.names]
    write_masks(path, dict(zip(names, dataset.masks.numpy(), strict=True)))
    return path


def test_labels_in_a_csv_equal_those_of_the_folder(dataset, tmp_path):
    unlabelled = replace(
        dataset,
        masks=torch.zeros_like(dataset.masks),
        labelled=torch.zeros_like(dataset.labelled),
    )
    read = replace_labels(unlabelled, write_labels(dataset, tmp_path / "y.csv"))
    assert read.masks.equal(dataset.masks)
    assert read.labelled.all()
    assert read.rejections == ()


def test_transposed_masks_are_refused(dataset, tmp_path):
    turned = replace(dataset, masks=dataset.masks.mT)
    path = write_labels(turned, tmp_path / "y.csv")
    with pytest.raises(DatasetError, match=r"y\.csv lie across the pipe, so its masks are transpo"):
        replace_labels(dataset, path)


def test_names_without_image_or_row_are_rejected(dataset, tmp_path):
    path = write_labels(dataset, tmp_path / "y.csv")
    path.write_text(path.read_text().replace("\nwell_1_patch_0,", "\nwell_77_patch_0,"))
    read = replace_labels(dataset, path)
    assert read.labelled.sum() == len(dataset) - 1
    assert not read.labelled[dataset.names.index("train/images/well_1_patch_0.npy")]
    assert [(r.name, r.kind) for r in read.rejections] == [
        ("well_77_patch_0", "row without an image"),
        ("well_1_patch_0", "image without a row"),
    ]


def test_csv_for_another_data_set_is_an_error(dataset, masks, tmp_path):
    path = tmp_path / "y.csv"
    write_masks(path, {f"well_9_patch_{i}": mask for i, mask in enumerate(masks.values())})
    with pytest.raises(DatasetError, match="is well_9_patch_0, the first image well_1"):
        replace_labels(dataset, path)
