"""The card of a repository on the Hugging Face Hub, from what its checkpoints say of themselves."""

from __future__ import annotations

import re
import textwrap

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from geoseg.card import Card
from geoseg.hub import CHECKPOINT_SUFFIX, hub_address
from geoseg.models import Model
from train.cards import MEANING, details, recorded_scores, summary, trained_scores

# A score as checkpoints keep it -> the Hub's name for its kind, and what to call it.
_METRICS = {
    "micro_iou": ("iou", "IoU, all pixels pooled"),
    "iou": ("iou", "IoU, mean of patches"),
    "micro_dice": ("dice", "Dice, all pixels pooled"),
    "dice": ("dice", "Dice, mean of patches"),
    "precision": ("precision", "Precision, mean of patches"),
    "recall": ("recall", "Recall, mean of patches"),
    "accuracy": ("accuracy", "Accuracy, mean of patches"),
    "ece": ("ece", "Expected calibration error"),
}


def model_card(
    models: dict[str, Model],
    sizes: dict[str, int],
    repo: str,
    licence: str,
    *,
    revision: str | None = None,
    project: str = "",
) -> ModelCard:
    """The card of `repo`, "user/name", with these checkpoints; `sizes` are those of their files.

    `revision` is the branch that they are on, None for the main one; `project` where geoseg can be
    cloned from, "" where nobody knows.
    """
    results = [result for name, model in models.items() for result in _results(name, model)]
    data = ModelCardData(
        library_name="geoseg",
        license=licence,
        pipeline_tag="image-segmentation",
        tags=["image-segmentation", "geoscience", "well-integrity", "corrosion", "pytorch"],
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        model_name=repo.split("/")[1],
        eval_results=results or None,
    )
    table = [summary(models, sizes), MEANING] if len(models) > 1 else []
    body = [
        f"# {repo.split('/')[1]}",
        "Finds corrosion grooves in ultrasonic images of well pipes: from a patch of wall "
        "thickness, depth by azimuth, to the probability of a groove at every pixel.",
        "## Use",
        _use(addresses(list(models), repo, revision), project),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(models)),
        *table,
        *(details(name, model) for name, model in models.items()),
    ]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(body) + "\n")


def addresses(names: list[str], repo: str, revision: str | None) -> dict[str, str]:
    """Where on the Hub each checkpoint of a repository is, by its name.

    >>> addresses(["a"], "me/grooves", None), addresses(["a", "b"], "me/grooves", "v2")["b"]
    ({'a': 'hf://me/grooves'}, 'hf://me/grooves@v2/b.safetensors')
    """
    only = len(names) == 1
    return {
        n: hub_address(repo, revision, "" if only else f"{n}{CHECKPOINT_SUFFIX}") for n in names
    }


def _results(name: str, model: Model) -> list[EvalResult]:
    """The scores that were recorded, or without any those that the trainer took.

    Those against a proxy of the truth are left to the text, which says so.
    """
    card = _card(model)
    recorded = {
        kind: scores
        for kind, scores in recorded_scores(card).items()
        if not kind.startswith("proxy")
    }
    return [
        EvalResult(
            task_type="image-segmentation",
            task_name="Corrosion grooves",
            dataset_type=re.sub(r"\W+", "-", kind).strip("-") or "patches",
            dataset_name=f"{kind}: {scores['on']}",
            metric_type=_METRICS[key][0],
            metric_name=f"{_METRICS[key][1]} ({name})",
            metric_value=round(float(scores[key]), 4),
        )
        for kind, scores in (recorded or trained_scores(card)).items()
        for key in _METRICS
        if key in scores
    ]


def _use(addresses: dict[str, str], project: str) -> str:
    name, address = next(iter(addresses.items()))
    geoseg = "the `geoseg` project"
    if project:
        page = project.removesuffix(".git")
        geoseg = f"[geoseg]({page}) (`git clone {project} geoseg && pip install -e geoseg`)"
    return textwrap.dedent(f"""\
        With {geoseg}, in Python:

        ```python
        import geoseg

        segmenter = geoseg.Segmenter(["{address}"])
        patch = geoseg.read_patch("well_2_patch_0.npy")  # (depth, azimuth) float32, NaN at nulls
        found = segmenter.segment(patch)["{name}"]
        found.mask, found.probability  # uint8 and float32 of the same shape
        ```

        masks of whole logs, and the page in the browser:

        ```sh
        python -m train.predict {address} "my_logs/*.npy" -o masks
        python app.py --checkpoints {address.removesuffix(f"/{name}{CHECKPOINT_SUFFIX}")}
        ```""")


def _limits(models: dict[str, Model]) -> list[str]:
    told = [_card(model) for model in models.values()]
    limits = [
        "A mask is a proposal to a person who knows the well; no decision should rest on it alone.",
        "An image has a column for every 10 degrees, 36 round the pipe; one of 72 is seen as its "
        "even and its odd columns. Values are wall thickness minus the mean of their row.",
    ]
    if all(card.data.startswith("synthetic") for card in told):
        limits.append("Trained on synthetic pipes only, never on a real one.")
    if any(not card.data for card in told):
        limits.append("Not every checkpoint says on what it was trained.")
    turns = {name: _turns(_card(model)) for name, model in models.items()}
    if changing := [name for name, share in turns.items() if share is not None and share < 1]:
        limits.append(f"The mask can change where the pipe is turned: {', '.join(changing)}.")
    if unknown := [name for name, share in turns.items() if share is None]:
        limits.append(
            f"Nobody has measured whether the mask turns with the pipe: {', '.join(unknown)}."
        )
    if any(kind.startswith("proxy") for card in told for kind in card.metrics):
        limits.append("A proxy mask is what other models agree on; it is not the truth.")
    if not any(_results(name, model) for name, model in models.items()):
        limits.append("Nothing was measured: there are no scores.")
    return limits


def _turns(card: Card) -> float | None:
    """The share of patches whose mask turns with the pipe; None where nobody measured it."""
    key = "same_mask_at_every_shift"
    scores = recorded_scores(card).values()
    return min((float(s[key]) for s in scores if key in s), default=None)


def _card(model: Model) -> Card:
    assert model.card
    return model.card
