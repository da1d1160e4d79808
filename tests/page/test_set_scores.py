"""Scores of a whole set: equal to the library's, cached, and stopped on request."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest
import torch

from benchmarks.server import make_patch
from geoseg.evaluation.label_errors import find_label_errors
from geoseg.metrics import Counts, average_scores, score, scores
from geoseg.page import PatchSet, batches
from geoseg.page import set_scores as module
from geoseg.page.batches import Work
from geoseg.page.browse import Entry
from geoseg.page.set_scores import ModelAnswers, SetScorer, SetScores
from geoseg.segmenter import Segmenter
from geoseg.synthetic import make_synthetic_dataset

NAMES = ("200-stacked", "300-vanilla", "402-unet")


class Watched(Segmenter):
    """A segmenter that lists its calls; it raises `fault` for the model `broken`."""

    asked: list[tuple[str, int]]
    fault: Exception | None = None
    broken: str = ""

    def probabilities(self, images, names=None, *, interpret=True):
        self.asked.append((names[0], len(images)))
        if self.fault and names[0] == self.broken:
            raise self.fault
        return super().probabilities(images, names, interpret=interpret)


@pytest.fixture
def segmenter(checkpoints) -> Watched:
    made = Watched(sorted(checkpoints.iterdir()), "cpu")
    made.asked = []
    return made


@pytest.fixture
def scorer(segmenter) -> SetScorer:
    return SetScorer(Work(segmenter, threading.Lock()))


@pytest.fixture
def patches() -> PatchSet:
    """Return patches of two shapes in turn; one is all null, one has nulls, one has no label."""
    made = make_synthetic_dataset(4, 9, seed=3)
    entries = []
    for i in range(9):
        patch, truth = make_patch(i + 1), made.masks[i].numpy().astype(np.uint8)
        if i % 2:
            patch, truth = patch[:20], truth[:20]
        if i == 2:
            patch[4:9] = np.nan
        if i == 3:
            patch[:] = np.nan
        entries.append(Entry(f"well_{i % 2}_patch_{i}.npy", patch, None if i == 4 else truth))
    return PatchSet("", tuple(entries))


def unlabelled(patches: PatchSet) -> PatchSet:
    return PatchSet("Your files", tuple(Entry(e.name, e.patch) for e in patches.entries))


def score_set(scorer: SetScorer, patches: PatchSet, names=NAMES) -> SetScores:
    *steps, scores = scorer.score(patches, names)
    assert steps[0].done == 0
    return scores


def columns(counts: np.ndarray) -> Counts:
    return Counts(*torch.from_numpy(counts).double().unbind(1))


def test_scores_from_counts_are_those_of_the_library(scorer, segmenter, patches):
    found = score_set(scorer, patches)
    for name in NAMES:
        limit, counts = segmenter.cards[name].threshold, found.models[name].counts
        table = {metric: values.numpy() for metric, values in score(columns(counts)).items()}
        for i, entry in enumerate(patches.entries):
            probability = segmenter.probabilities(entry.patch, [name])[name]
            truth = np.zeros(entry.patch.shape) if entry.truth is None else entry.truth
            expected = scores(probability, truth, threshold=limit)
            for metric, value in expected.items():
                np.testing.assert_allclose(table[metric][i], value, atol=1e-12)
        assert not counts[3].any()
    labelled = [i for i, e in enumerate(patches.entries) if e.truth is not None and i % 2 == 0]
    images = np.stack([patches.entry(i).patch for i in labelled])
    truths = np.stack([patches.entry(i).truth for i in labelled])
    for average in ("macro", "micro"):
        expected = scores(
            segmenter.probabilities(images, [name])[name], truths, threshold=limit, average=average
        )
        averages = average_scores(columns(counts[labelled]), average=average)
        assert averages == pytest.approx(expected, abs=1e-12)


def test_disagreement_is_the_mean_of_one_minus_iou_over_pairs(scorer, segmenter, patches):
    found = score_set(scorer, patches)
    for i, entry in enumerate(patches.entries):
        if i == 3:
            assert np.isnan(found.disagreement[i])
            continue
        masks = [r.mask for r in segmenter.segment(entry.patch).values()]
        pairs = [(0, 1), (0, 2), (1, 2)]
        expected = np.mean([1 - scores(masks[a], masks[b])["iou"] for a, b in pairs])
        assert found.disagreement[i] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(score_set(scorer, patches, NAMES[:1]).disagreement).all()


def test_masks_that_are_all_empty_agree():
    model = ModelAnswers(
        np.array([[0, 0, 0, 4]], np.int32), {(2, 2): np.zeros((1, 2, 2), bool)}, 0.5
    )
    assert module.disagreement({(2, 2): np.array([0])}, [model, model], 1).tolist() == [0]


@pytest.fixture
def agreeing(monkeypatch):
    """Return a set of two shapes whose models find every groove, and some labels are wrong."""
    made = make_synthetic_dataset(4, 60, seed=11)
    keep = (made.masks.flatten(1).sum(1) > 60).nonzero().flatten()[:20]
    truths, entries = made.masks[keep] == 1, []
    for i, truth in enumerate(truths.numpy()):
        image = np.where(truth, 0.9999, 0.0001).astype(np.float32)
        label = np.roll(truth, 3, 1) if i in (5, 8) else truth & (i != 2)
        rows = 36 if i % 2 else 24
        kept = None if i == 7 else label[:rows].astype(np.uint8)
        entries.append(Entry(str(i), image[:rows], kept))
    monkeypatch.setattr(
        Watched, "probabilities", lambda _, images, names, **__: {names[0]: images.copy()}
    )
    return PatchSet("", tuple(entries))


def test_label_errors_are_those_of_the_library_in_order(scorer, segmenter, agreeing, monkeypatch):
    monkeypatch.setattr(module, "_JUDGED_PIXELS", 3 * 36 * 36)  # so that several steps are needed
    limits = [segmenter.cards[name].threshold for name in NAMES]
    expected = []
    for parity in (0, 1):
        places = [i for i in range(parity, 20, 2) if i != 7]
        images = torch.stack([torch.from_numpy(agreeing.entry(i).patch) for i in places])
        truth = torch.stack([torch.from_numpy(agreeing.entry(i).truth) == 1 for i in places])
        found = find_label_errors(images.expand(3, -1, -1, -1), limits, truth)
        expected += [s._replace(patch=places[s.patch]) for s in found]
    scores = score_set(scorer, agreeing)
    assert scores.suspects == sorted(expected, key=lambda s: -s.doubt)
    assert {s.patch for s in scores.suspects} == {2, 5, 8}


def test_adding_a_model_runs_only_that_model(scorer, segmenter, patches):
    first = score_set(scorer, patches, NAMES[:2])
    segmenter.asked.clear()
    second = score_set(scorer, patches)
    assert {name for name, _ in segmenter.asked} == {NAMES[2]}
    assert second.models[NAMES[0]] is first.models[NAMES[0]]
    segmenter.asked.clear()
    steps = list(scorer.score(patches, NAMES))
    assert not segmenter.asked
    assert [type(step) for step in steps] == [module.Step, SetScores]
    assert steps[0].total == 0


def test_results_belong_to_one_set_and_are_freed_with_it(scorer, segmenter, patches):
    mine, yours = unlabelled(patches), unlabelled(patches)
    model = score_set(scorer, mine).models[NAMES[0]]
    assert all(answers.dtype == np.bool_ for answers in model.answers.values())
    segmenter.asked.clear()
    assert score_set(scorer, yours).suspects == []
    assert segmenter.asked, "the results of another user's uploads were returned"
    gone = weakref.ref(mine)
    del mine
    gc.collect()
    assert gone() is None
    assert len(scorer._known) == 1


def test_patches_of_one_shape_form_growing_batches(scorer, segmenter):
    patches = PatchSet("", tuple(Entry(str(i), make_patch(1)) for i in range(40)))
    score_set(scorer, patches, NAMES[2:])
    sizes = [size for _, size in segmenter.asked]
    assert sizes[0] == 2, "a batch of one would be recorded"
    assert max(sizes) > 1
    assert sum(sizes) in (40, 41)  # a last single patch is computed twice


def test_a_slow_model_gets_small_batches(scorer, segmenter, monkeypatch):
    monkeypatch.setattr(batches, "BATCH_SECONDS", 0)
    patches = PatchSet("", tuple(Entry(str(i), make_patch(1)) for i in range(5)))
    score_set(scorer, patches, NAMES[2:])
    assert segmenter.asked == [(NAMES[2], 2)] * 3  # the last single patch is computed twice


def test_live_requests_run_before_the_next_batch(segmenter, monkeypatch):
    monkeypatch.setattr(batches, "BATCH_SECONDS", 0)
    turn, waited = threading.Lock(), []

    def slow(_, images, names, **__):
        segmenter.asked.append(names[0])
        time.sleep(0.004)
        return {names[0]: np.zeros_like(images)}

    monkeypatch.setattr(Watched, "probabilities", slow)
    patches = PatchSet("", tuple(Entry(str(i), make_patch(1)) for i in range(300)))

    def live():
        for _ in range(20):
            before = len(segmenter.asked)
            with turn:
                waited.append(len(segmenter.asked) - before)
            time.sleep(0.002)

    thread = threading.Thread(target=live)
    steps = SetScorer(Work(segmenter, turn)).score(patches, NAMES[2:])
    next(steps), next(steps)
    thread.start()
    list(steps)
    thread.join()
    assert np.mean(waited) < 2


@pytest.mark.parametrize(
    ("fault", "reason", "tries"),
    [
        (ValueError("height 20 is odd;\nand more"), "height 20 is odd;", 0),
        (RuntimeError("out of memory"), "out of memory", 2),
        (MemoryError(), "there is not enough memory", 2),
    ],
)
def test_errors_of_a_model_become_one_sentence(scorer, segmenter, patches, fault, reason, tries):
    segmenter.fault, segmenter.broken = fault, NAMES[1]
    scores = score_set(scorer, patches)
    broken = scores.models[NAMES[1]]
    assert (broken.reason, broken.left_out, broken.counts.any()) == (reason, 9, False)
    assert scores.models[NAMES[2]].reason == ""
    assert not np.isnan(scores.disagreement[0]), "the other two can still be compared"
    segmenter.asked.clear()
    score_set(scorer, patches)
    assert [name for name, _ in segmenter.asked] == [NAMES[1]] * tries


def test_patches_of_an_unsupported_size_are_left_out(segmenter, patches):
    whole = Watched.probabilities

    class Choosy(Watched):
        def probabilities(self, images, names=None, *, interpret=True):
            if images.shape[-2] == 20 and names == [NAMES[0]]:
                raise ValueError("20 rows are too few")
            return whole(self, images, names, interpret=interpret)

    segmenter.__class__ = Choosy
    scores = score_set(SetScorer(Work(segmenter, threading.Lock())), patches)
    model = scores.models[NAMES[0]]
    assert (model.left_out, model.reason) == (4, "20 rows are too few")
    assert [bool(row.any()) for row in model.counts] == [i % 2 == 0 for i in range(9)]


def test_closing_the_generator_stops_the_work(scorer, segmenter, patches):
    steps = scorer.score(patches, NAMES)
    next(steps), next(steps)
    steps.close()
    asked = len(segmenter.asked)
    assert asked == 1
    assert not scorer._work.turn.locked()
    score_set(scorer, patches)


def test_steps_count_patches_and_labels(scorer, patches):
    *steps, _ = scorer.score(patches, NAMES)
    assert {step.total for step in steps} == {3 * 9 + 8}
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == 35
