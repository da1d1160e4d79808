"""What was assumed of measurements, in Chromium: beside the name, and of files left out."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.server import make_folder, make_patch, serve
from geoseg.masks import interpret_mask
from tests.helpers.tabs import ROW

pytestmark = pytest.mark.browser
NOTE = interpret_mask(np.diag([255] * 4), "").notes[0]


@pytest.fixture(scope="module")
def url(checkpoints, tmp_path_factory) -> Iterator[str]:
    """Run the page on a set whose first label holds 0 and 255."""
    images = make_folder(tmp_path_factory.mktemp("noted"))
    label = images.parent / "labels" / "well_9_patch_0.npy"
    np.save(label, 255 * np.load(label))
    with serve(["-i", str(images), "--checkpoints", str(checkpoints)]) as address:
        yield address


def test_a_note_stands_beside_the_name_and_in_the_table_of_scores(screen, tmp_path):
    notes = screen.page.locator(".gs-notes")
    said = notes.inner_text()
    assert "well_9_patch_0.npy" in said
    assert NOTE in said
    screen.press("s")
    screen.page.locator("#score-set").click()
    screen.page.locator(f"#score-patches {ROW}").first.wait_for()
    with screen.page.expect_download() as event:
        screen.page.locator("#score-csv").click()
    event.value.save_as(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = {row["name"]: row["notes"] for row in csv.DictReader(file)}
    assert [NOTE in rows[name] for name in sorted(rows)] == [True, False, False, False, False]
    screen.press("Escape", "ArrowRight")
    assert "well_9_patch_0" not in notes.inner_text()


def test_many_notes_wrap_and_nothing_is_cut_off(screen):
    few = screen.page.locator(".gs-notes").bounding_box()["height"]
    screen.page.evaluate("text => { geoseg.scene.notes = Array(12).fill(text); }", NOTE)
    screen.press("e")
    taller = "h => document.querySelector('.gs-notes').offsetHeight > 2 * h"
    screen.page.wait_for_function(taller, arg=few)
    hidden = "n => n.scrollHeight > n.clientHeight || n.scrollWidth > n.clientWidth"
    assert not screen.page.locator(".gs-notes").evaluate(hidden)


def test_a_stack_opens_as_its_patches_and_other_files_are_named(screen, tmp_path: Path):
    np.save(tmp_path / "stack.npy", np.stack([make_patch(1), make_patch(2)]))
    (tmp_path / "lfs.npy").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "zip.npy").write_bytes(b"PK\3\4")
    screen.upload(*(tmp_path / f"{name}.npy" for name in ("stack", "lfs", "zip")))
    assert screen.name == "stack.npy [0]"
    screen.press("ArrowRight")
    assert screen.name == "stack.npy [1]"
    left_out = screen.page.locator(".gs-notice li").all_inner_texts()
    assert [line.split()[0] for line in left_out] == ["lfs.npy", "zip.npy"]
    assert "zip archive" in left_out[1]
