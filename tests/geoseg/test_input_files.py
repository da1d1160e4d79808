"""Lists of input files: hidden files, upper case and surplus folders are treated alike."""

import shutil

import pytest

from geoseg.input_files import NoPatchesError, find_files, find_images, find_label

NAMES = ["WELL_1_PATCH_1.NPY", "well_1_patch_2.npy", "well_1_patch_10.Npy"]
HIDDEN = [".DS_Store", "._well_1_patch_1.npy", "Thumbs.db", "desktop.ini"]


@pytest.fixture
def images(tmp_path):
    """Write images and hidden files in `data/Images`, and labels in upper case."""
    folder = tmp_path / "data" / "Images"
    for name in [*NAMES, *HIDDEN]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        (folder.parent / "LABELS").mkdir(exist_ok=True)
        (folder.parent / "LABELS" / name.upper()).touch()
    (folder.parent / "__MACOSX").mkdir()
    return folder


@pytest.mark.parametrize("source", [".", "..", "../..", "*.npy", "../**/*.npy", "*"])
def test_files_of_a_folder_its_parents_and_a_glob(images, source):
    assert [file.name for file in find_files(images / source)] == NAMES


def test_each_file_of_several_sources_is_listed_once(images):
    assert [f.name for f in find_images([images / NAMES[1], images])] == [NAMES[1], *NAMES[::2]]


def test_upper_case_file_of_the_cases(cases):
    folder = cases / "17-upper-case"
    (file,) = find_files(folder)
    assert file.name == "WELL_1_PATCH_13.NPY"
    assert find_files(folder / "images" / "*.npy") == [file]


def test_label_is_found_in_whatever_case(images):
    assert find_label(images / NAMES[1]).name == "WELL_1_PATCH_2.NPY"
    assert find_label(images / "well_7_patch_1.npy") is None
    assert find_label(images.parent / "LABELS" / NAMES[0]) is None


def test_names_that_differ_in_case_alone_are_refused(images):
    shutil.copy(images / NAMES[1], images / NAMES[1].upper())
    with pytest.raises(ValueError, match=r"have one name, and their results would share a folder"):
        find_images([images])
    (images.parent / "labels").mkdir()
    with pytest.raises(NoPatchesError, match="holds LABELS and labels; keep one of them"):
        find_label(images / NAMES[0])


def test_folder_of_several_folders_is_refused(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split / "images").mkdir(parents=True)
        (tmp_path / split / "images" / "a.npy").touch()
    with pytest.raises(NoPatchesError, match="name the folder of the images"):
        find_files(tmp_path)
