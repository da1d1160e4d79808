"""Grooves of masks that are made by hand, and of synthetic wells."""

from dataclasses import astuple, fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.measurements import Log
from geoseg.synthetic.logs import synthesize_known_well
from geoseg.wells.grooves import Groove, find_grooves
from geoseg.wells.joints import Collar, Joint, Joints
from geoseg.wells.spans import find_spans
from geoseg.wells.tracing import BRIDGE, LEAST_ROWS, label_grooves

NO_JOINTS = Joints((), (), float("nan"), "none")


def make_log(rows=200, columns=36):
    return Log(np.zeros((rows, columns), np.float32))


def mark(mask, rows, first, width=3):
    """Mark a band: `first` is a column, or one for each row."""
    rows = np.arange(len(mask))[rows]
    columns = np.broadcast_to(first, rows.shape)[:, None] + np.arange(width)
    mask[rows[:, None], columns % mask.shape[1]] = 1


def find(mask, log=None, joints=NO_JOINTS, probability=None):
    log = log or Log(np.zeros(mask.shape, np.float32))
    return find_grooves(mask, log, joints, probability)


def test_one_groove_is_measured():
    mask = np.zeros((200, 36), np.uint8)
    mark(mask, slice(50, 150), 10)
    (groove,) = find(mask)
    assert (groove.top, groove.bottom, groove.length) == (50, 149, 100)
    assert (groove.azimuth_start, groove.azimuth_mean, groove.azimuth_end) == (11, 11, 11)
    assert (groove.width, groove.width_most, groove.drift, groove.coverage) == (3, 3, 0, 1)
    assert groove.joint_first is groove.joint_last is groove.probability is None


def test_a_groove_crosses_the_seam_and_drifts():
    mask = np.zeros((400, 36), np.uint8)
    mark(mask, slice(0, 400), 25 + np.arange(400) // 20)
    (groove,) = find(mask)
    assert groove.drift == pytest.approx(5, abs=0.05)
    assert groove.azimuth_start == pytest.approx(26, abs=0.5)
    assert groove.azimuth_end == pytest.approx(26 + 19 - 36, abs=0.5)
    assert groove.azimuth_mean == pytest.approx(35.5, abs=0.1)


@pytest.mark.parametrize(("gap", "count"), [(BRIDGE, 1), (BRIDGE + 1, 2)])
def test_gaps_are_bridged_as_annotators_do(gap, count):
    mask = np.zeros((300, 36), np.uint8)
    mark(mask, slice(20, 100), 10)
    mark(mask, slice(100 + gap, 250), 11)
    grooves = find(mask)
    assert len(grooves) == count
    if count == 1:
        assert grooves[0].coverage == pytest.approx(1 - gap / 230)


def test_null_rows_do_not_count_in_a_gap():
    mask, log = np.zeros((300, 36), np.uint8), make_log(300)
    mark(mask, slice(20, 100), 10)
    mark(mask, slice(180, 250), 10)
    assert len(find(mask, log)) == 2
    log.image[105:155] = np.nan
    assert len(find(mask, log)) == 1


def test_a_gap_to_another_azimuth_is_not_bridged():
    mask = np.zeros((300, 36), np.uint8)
    mark(mask, slice(20, 100), 10)
    mark(mask, slice(110, 200), 16)
    assert len(find(mask)) == 2


def test_grooves_that_cross_stay_two():
    mask = np.zeros((150, 36), np.uint8)
    step = np.arange(150) * 20 // 150
    mark(mask, slice(None), 5 + step)
    mark(mask, slice(None), 25 - step)
    first, second = find(mask)
    assert (first.length, second.length) == (150, 150)
    assert {round(groove.azimuth_start) for groove in (first, second)} == {6, 26}


@pytest.mark.parametrize(("rows", "count"), [(LEAST_ROWS - 1, 0), (LEAST_ROWS, 1)])
def test_specks_are_left_out(rows, count):
    mask = np.zeros((100, 36), np.uint8)
    mark(mask, slice(30, 30 + rows), 10)
    assert len(find(mask)) == count


def test_joints_and_probability():
    mask = np.zeros((200, 36), np.uint8)
    mark(mask, slice(50, 150), 10)
    joints = Joints(
        (Collar(60, 64, True), Collar(120, 124, True)),
        (Joint(1, 0, 59, False), Joint(2, 60, 119, True), Joint(3, 120, 199, False)),
        60,
    )
    probability = np.where(mask == 1, 0.75, 0.1).astype(np.float32)
    probability[60, 11] = np.nan
    (groove,) = find(mask, joints=joints, probability=probability)
    assert (groove.joint_first, groove.joint_last) == (1, 3)
    assert groove.probability == pytest.approx(0.75)


@pytest.mark.parametrize("columns", [36, 72])
def test_depth_is_that_of_the_wall_beside_and_reads_less_below_the_row_mean(columns):
    width = 4 * columns // 36
    mask, image = np.zeros((100, columns), np.uint8), np.zeros((100, columns), np.float32)
    mark(mask, slice(None), 10, width)
    image[mask == 1] = -0.05
    image -= image.mean(1, keepdims=True)
    (groove,) = find(mask, Log(image))
    assert groove.depth == pytest.approx(0.05, rel=1e-4)
    assert groove.reading == pytest.approx(0.05 * (1 - 4 / 36), rel=1e-4)
    assert groove.depth_most == pytest.approx(0.05, rel=1e-4)


def test_collars_do_not_count_in_the_depth():
    mask, image = np.zeros((100, 36), np.uint8), np.zeros((100, 36), np.float32)
    mark(mask, slice(None), 10)
    image[mask == 1] = -0.03
    image[40:46] = np.where(np.arange(36) % 2, 0.2, -0.2)
    joints = Joints((Collar(40, 45, True),), (Joint(1, 0, 39, False), Joint(2, 40, 99, False)), 40)
    (groove,) = find(mask, Log(image), joints)
    assert groove.depth_most == pytest.approx(0.03)


def test_a_groove_of_nulls_has_no_depth():
    mask, log = np.zeros((100, 36), np.uint8), make_log(100)
    mark(mask, slice(10, 60), 10)
    log.image[:, 8:16] = np.nan
    (groove,) = find(mask, log)
    assert np.isnan([groove.depth, groove.depth_most, groove.reading]).all()


def make_blobs(seed, rows, columns, specks=0.01):
    """Return a random mask of wandering bands with gaps and a share of specks, and a log."""
    random = np.random.default_rng(seed)
    mask = random.random((rows, columns)) < specks
    for _ in range(3):
        path = random.integers(columns) + random.integers(-1, 2, rows).cumsum() // 2
        band = np.zeros((rows, columns), bool)
        mark(band, slice(None), path, int(random.integers(1, 5)))
        mask |= band & (random.random((rows, 1)) < 0.95)
    return mask, Log(random.normal(0, 0.01, (rows, columns)).astype(np.float32))


@given(st.integers(0, 10**6), st.integers(1, 71))
def test_a_rolled_log_has_rolled_grooves(seed, step):
    mask, log = make_blobs(seed, 120, 72)
    grooves = find(mask, log)
    rolled = find(np.roll(mask, step, 1), Log(np.roll(log.image, step, 1)))
    assert len(rolled) == len(grooves)
    for one, other in zip(sorted(grooves, key=order), sorted(rolled, key=order), strict=True):
        turned = replace(
            one,
            **{
                name: (getattr(one, name) + step) % 72
                for name in ("azimuth_start", "azimuth_end", "azimuth_mean")
            },
        )
        compare(turned, other)


def order(groove):
    """Order grooves by what a shift does not change."""
    return groove.top, groove.bottom, groove.coverage, groove.width, round(groove.drift, 6)


def test_a_flipped_mask_has_flipped_grooves():
    """Bands that drift apart: where parts of two grooves fit equally, either may be joined."""
    mask = np.zeros((200, 72), np.uint8)
    mark(mask, slice(10, 180), 3 + np.arange(170) // 10)
    mark(mask, slice(0, 200), 40, 5)
    mask[60:80], mask[100:150, 40:45] = 0, 0
    image = np.random.default_rng(0).normal(0, 0.01, mask.shape).astype(np.float32)
    grooves = find(mask, Log(image))
    flipped = [
        replace(
            groove,
            top=199 - groove.bottom,
            bottom=199 - groove.top,
            azimuth_start=groove.azimuth_end,
            azimuth_end=groove.azimuth_start,
            drift=-groove.drift,
        )
        for groove in find(mask[::-1], Log(image[::-1]))
    ]
    assert len(grooves) == 3
    for one, other in zip(sorted(grooves, key=order), sorted(flipped, key=order), strict=True):
        compare(one, other)


def compare(one, other):
    """Check that all values are equal, azimuths on the ring of 72 columns."""
    difference = np.array(astuple(one), float) - np.array(astuple(other), float)
    ring = [field.name.startswith("azimuth") for field in fields(Groove)]
    difference[ring] = (difference[ring] + 36) % 72 - 36
    assert np.nan_to_num(np.abs(difference)).max() < 1e-4


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 40))
def test_every_row_of_a_mask_is_cut_into_spans(seed, rows, columns):
    mask = np.random.default_rng(seed).random((rows, columns)) < 0.5
    spans = find_spans(mask)
    drawn = np.zeros_like(mask)
    for number, (row, first, width) in enumerate(
        zip(spans.row, spans.first, spans.width, strict=True)
    ):
        place = (first + np.arange(width)) % columns
        assert (spans.number[row, place] == number).all()
        assert not mask[row, first - 1]
        assert not mask[row, (first + width) % columns]
        drawn[row, place] = True
    full = mask.all(1)
    np.testing.assert_array_equal(drawn[~full], mask[~full])
    assert not drawn[full].any()


@pytest.mark.parametrize("shape", [(1, 36), (1, 1), (40, 360), (300, 8)])
@pytest.mark.parametrize("value", [0, 1])
def test_masks_without_a_groove(shape, value):
    mask = np.full(shape, value, np.uint8)
    assert find(mask) == []
    assert find(mask, Log(np.full(shape, np.nan, np.float32))) == []
    assert (label_grooves(mask, Log(np.zeros(shape, np.float32))) == -1).all()


def test_the_grooves_of_a_synthetic_well_are_labelled_in_their_order():
    well = synthesize_known_well(3000, columns=72, seed=12)
    mask, log = well.logs.masks[0].numpy(), Log(well.logs.images[0].numpy())
    grooves, number = find(mask, log), label_grooves(mask, log)
    assert len(grooves) == number.max() + 1 > 3
    assert [groove.top for groove in grooves] == sorted(groove.top for groove in grooves)
    for i, groove in enumerate(grooves):
        rows = np.flatnonzero((number == i).any(1))
        assert (rows[0], rows[-1]) == (groove.top, groove.bottom)
        assert len(rows) == round(groove.coverage * groove.length)
    assert (number[mask == 1] >= 0).mean() > 0.98


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"the mask has the shape \(5, 36\), its log \(6, 36\)"):
        find(np.zeros((5, 36), np.uint8), make_log(6))
    with pytest.raises(ValueError, match="the probability has the shape"):
        find(np.zeros((6, 36), np.uint8), make_log(6), probability=np.zeros((6, 35), np.float32))


@pytest.mark.long
def test_200000_rows_take_seconds():
    import time

    from geoseg.wells.joints import find_joints

    well = synthesize_known_well(20000, columns=72, seed=1, fixed={"nulls": 0.05})
    image, mask = (np.tile(part[0].numpy(), (10, 1)) for part in well.logs)
    start = time.perf_counter()
    joints = find_joints(Log(image))
    assert len(find_grooves(mask, Log(image), joints)) > 10
    assert time.perf_counter() - start < 20  # 5 on two cores without other work
