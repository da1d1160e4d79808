"""The model card of a repository on the Hugging Face Hub, from the metadata of its checkpoints."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from geoseg.hub import CHECKPOINT_SUFFIX, hub_address
from geoseg.models import Model
from train.cards import (
    TABLE_NOTE,
    describe_checkpoint,
    find_recorded_scores,
    find_trained_scores,
    get_card,
    make_summary_table,
)
from train.git import CloneError, find_origin

# Name of a score in checkpoints -> the Hub's metric type and the name to show.
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


def make_model_card(
    models: dict[str, Model], files: Sequence[Path], repo: str, license: str, revision: str | None
) -> ModelCard:
    """Return the model card of the repository "user/name" with these checkpoints.

    `files` are those of the models; `license` is the Hub's identifier; `revision` is the branch of
    the checkpoints, None for the main one.
    """
    results = [result for name, model in models.items() for result in _make_results(name, model)]
    data = ModelCardData(
        library_name="geoseg",
        license=license,
        pipeline_tag="image-segmentation",
        tags=["image-segmentation", "geoscience", "well-integrity", "corrosion", "pytorch"],
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        model_name=repo.split("/")[1],
        eval_results=results or None,
    )
    table = [make_summary_table(models, files), TABLE_NOTE] if len(models) > 1 else []
    body = [
        f"# {repo.split('/')[1]}",
        "Finds corrosion grooves in ultrasonic images of well pipes: from a patch of wall "
        "thickness, depth by azimuth, to the probability of a groove at every pixel.",
        "## Use",
        _describe_use(next(iter(models)), repo, revision),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _list_limits(models)),
        *table,
        *(describe_checkpoint(name, model) for name, model in models.items()),
    ]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(body) + "\n")


def _make_results(name: str, model: Model) -> list[EvalResult]:
    """Return the recorded scores or, if there are none, those of the trainer.

    Scores against a proxy are omitted: only the text can say that a proxy is not a label.
    """
    card = get_card(model)
    recorded = {k: s for k, s in find_recorded_scores(card).items() if not k.startswith("proxy")}
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
        for kind, scores in (recorded or find_trained_scores(card)).items()
        for key in _METRICS
        if key in scores
    ]


def _describe_use(name: str, repo: str, revision: str | None) -> str:
    address = hub_address(repo, revision, f"{name}{CHECKPOINT_SUFFIX}")
    try:
        url = find_origin()
        page = url.removesuffix(".git")
        geoseg = f"[geoseg]({page}) (`git clone {url} geoseg && pip install -e geoseg`)"
    except CloneError:
        geoseg = "the `geoseg` project"
    return textwrap.dedent(f"""\
        With {geoseg}, in Python:

        ```python
        import geoseg

        segmenter = geoseg.Segmenter(["{address}"])
        patch = geoseg.read_patch("well_2_patch_0.npy")  # (depth, azimuth) float32, NaN at nulls
        result = segmenter.segment(patch)["{name}"]
        result.mask, result.probability  # uint8 and float32 of the same shape
        ```

        On the command line, for logs of any length, and as a page in the browser:

        ```sh
        python -m geoseg segment "my_logs/*.npy" --checkpoint {address} -o masks
        python app.py --checkpoints {hub_address(repo, revision)}
        ```""")


def _list_limits(models: dict[str, Model]) -> list[str]:
    cards = {name: get_card(model) for name, model in models.items()}
    limits = [
        "A mask is a proposal for a person who knows the well; do not base a decision on it alone.",
        "An image has one column per 10 degrees, 36 around the pipe; one of 72 is segmented as its "
        "even and its odd columns. Values are wall thickness minus the mean of their row.",
    ]
    if all(card.data.startswith("synthetic") for card in cards.values()):
        limits.append("Trained on synthetic pipes only, not on real ones.")
    if any(not card.data for card in cards.values()):
        limits.append("Not every checkpoint says what it was trained on.")
    key = "same_mask_at_every_shift"  # the share of patches
    shares = {
        name: [float(s[key]) for s in find_recorded_scores(card).values() if key in s]
        for name, card in cards.items()
    }
    if changing := [name for name, share in shares.items() if share and min(share) < 1]:
        limits.append(f"A shift of the pipe can change the mask: {', '.join(changing)}.")
    if unknown := ", ".join(name for name, share in shares.items() if not share):
        limits.append(f"Whether a shift of the pipe changes the mask was not measured: {unknown}.")
    if any(kind.startswith("proxy") for card in cards.values() for kind in card.metrics):
        limits.append("A proxy mask is one that other models agree on; it is not a label.")
    if not any(_make_results(name, model) for name, model in models.items()):
        limits.append("No scores were measured.")
    return limits
