"""Joints of logs whose collars are known, and of real logs."""

import math

import numpy as np
import pytest

from geoseg.measurements import Log, read_npy_log
from geoseg.synthetic.logs import synthesize_known_well
from geoseg.wells.joints import find_joints

CLEAR = {"collar_height": 0.15, "collar": 6.0, "spikes": 1e-5, "strays": 1e-5, "nulls": 1e-6}


def make_well(seed, rows=4000, columns=36, **fixed):
    """Return the image of a synthetic well, and the first rows of its joints."""
    well = synthesize_known_well(rows, columns=columns, seed=seed, fixed={**CLEAR, **fixed})
    return well.logs.images[0].numpy(), np.flatnonzero(np.diff(well.joints[0].numpy())) + 1


def tops_of(joints):
    return np.array([collar.top for collar in joints.collars])


def share_found(known, joints, rows=2):
    """Return the share of known joints that were found, and of found ones that are known."""
    near = np.abs(known[:, None] - tops_of(joints)) <= rows
    return near.any(1).mean(), near.any(0).mean()


@pytest.mark.parametrize("columns", [36, 72])
@pytest.mark.parametrize("spacing", [80, 165, 345])
def test_known_joints_are_found(spacing, columns):
    image, known = make_well(spacing, columns=columns, joint_rows=spacing)
    joints = find_joints(Log(image))
    recall, precision = share_found(known, joints)
    assert recall >= 0.85
    assert precision >= 0.85
    assert joints.spacing == pytest.approx(np.median(np.diff(known)), rel=0.02)


def test_joints_cover_the_log_and_are_numbered():
    image, _ = make_well(4)
    joints = find_joints(Log(image))
    assert [joint.number for joint in joints.joints] == list(range(1, len(joints.collars) + 2))
    assert sum(joint.length for joint in joints.joints) == len(image)
    assert [joint.top for joint in joints.joints] == [0, *tops_of(joints)]
    complete = [joint.complete for joint in joints.joints]
    assert complete == [False, *[True] * (len(complete) - 2), False]
    for joint in joints.joints:
        assert joints.number_at(joint.top) == joints.number_at(joint.bottom) == joint.number


@pytest.mark.parametrize("seed", [6, 8, 11])
def test_speckle_and_nulls_are_borne(seed):
    image, known = make_well(seed, spikes=0.01, patchiness=0.5, nulls=0.05)
    recall, precision = share_found(known, find_joints(Log(image)))
    assert recall >= 0.85
    assert precision >= 0.85


def test_a_missing_collar_is_placed_by_the_spacing():
    image, known = make_well(6, joint_rows=165.0)
    assert len(known) > 10
    for row in known[[3, 7]]:
        image[row - 20 : row + 30] = np.nan
    joints = find_joints(Log(image))
    assert len(joints.collars) == len(known)
    assert np.abs(tops_of(joints) - known).max() < 20
    assert {i for i, collar in enumerate(joints.collars) if not collar.seen} >= {3, 7}


def test_a_pup_joint_is_found():
    image, known = make_well(7, joint_rows=165.0)
    cut = int(known[4]) + 60
    image = np.concatenate([image[:cut], image[known[6] :]])
    tops = tops_of(find_joints(Log(image)))
    assert np.abs(tops - cut).min() <= 2
    assert np.abs(tops - known[4]).min() <= 2


def test_collars_are_where_the_values_are_loud():
    image, _ = make_well(8, joint_rows=165.0)
    joints = find_joints(Log(image))
    thickness = [collar.bottom - collar.top + 1 for collar in joints.collars]
    assert 4 <= np.median(thickness) <= 7
    assert all(0 < collar.top <= collar.bottom < len(image) for collar in joints.collars)


@pytest.mark.parametrize("columns", [36, 72])
def test_a_rolled_log_has_the_same_joints(columns):
    image, _ = make_well(9, columns=columns)
    step = 10 if columns == 36 else 14
    assert find_joints(Log(np.roll(image, step, 1))).collars == find_joints(Log(image)).collars


def test_joints_do_not_depend_on_the_unit():
    image, _ = make_well(10)
    assert find_joints(Log(image * 64)).collars == find_joints(Log(image)).collars


@pytest.mark.parametrize("seed", range(6))
def test_joints_are_not_found_without_collars(seed):
    image, known = make_well(seed, joint_rows=1e5, spikes=0.01)
    assert len(known) <= 1
    joints = find_joints(Log(image))
    assert not joints.found
    assert joints.note.startswith("Joints were not found: no regularly spaced collars")
    assert joints.number_at(5) is None
    assert math.isnan(joints.spacing)


@pytest.mark.parametrize("shape", [(1, 36), (1, 8), (79, 72), (80, 36), (500, 24), (90, 360)])
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_blank_and_short_logs_have_no_joints(shape, value):
    assert not find_joints(Log(np.full(shape, value, np.float32))).found


@pytest.mark.parametrize(
    ("well", "spacing"), [(13, 337), (7, 171), (2, 157), (11, 343), (3, 337), (9, None)]
)
def test_joints_of_real_logs(real, well, spacing):
    joints = find_joints(read_npy_log(real / "wells" / f"well_{well}.npy"))
    if spacing:
        assert joints.spacing == pytest.approx(spacing, rel=0.02)
    else:
        assert joints.note.startswith("Joints were not found")
