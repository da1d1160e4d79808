"""The tab Set: every patch scored by the models that are ticked."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from geoseg.page.backend import GONE, Backend, GoneError
from geoseg.page.probe_tab import colour, plain
from geoseg.page.request import fields, models
from geoseg.page.set_scores import SetScores
from geoseg.page.set_table import DISAGREEMENT, EVERY_WELL, PLACE, SetTable, count, tabulate
from geoseg.page.viewer import message

MEAN, POOLED = "Mean of patches", "All pixels pooled"
IN_PLACE = "Place in the set"
FILE = "geoseg-scores.csv"
KEPT_SECONDS = 4 * 3600  # of the tables of a user who is away
YIELD_SECONDS = 0.5
FOCUS = "(...choices) => [...choices.slice(0, -1), window.geoseg.state.focus]"  # of the viewer
ENDLESS = "Synthetic pipes have no end; python -m train.evaluate scores models on a set of them."
NO_MODEL = "No model is ticked; tick one below the panels."
NOTHING = "Nothing is scored yet. Every patch as it was recorded, at each model's own threshold."


def score_set(backend: Backend, asked: Any, progress: gr.Progress) -> Iterator[SetTable | None]:
    """Score the set that a message of the viewer asks for; gr.Error where that is impossible.

    Yields None every YIELD_SECONDS, where the work can be cancelled, and at last the table.
    """
    try:
        patches = backend.find_set(asked)
    except GoneError:
        raise gr.Error(GONE, print_exception=False) from None
    names = models(fields(asked), backend.segmenter.names)
    if not patches.names:
        raise gr.Error(ENDLESS, print_exception=False)
    if not names:
        raise gr.Error(NO_MODEL, print_exception=False)
    told = 0.0
    for step in backend.scorer.score(patches, names):
        if isinstance(step, SetScores):
            yield tabulate(patches, step)
        elif time.monotonic() - told > YIELD_SECONDS:
            told = time.monotonic()
            doing = f"{step.model} scores" if step.model else "Comparing the models"
            progress((step.done, step.total), desc=doing, unit="patches")
            yield None


def add_set_tab(backend: Backend, viewer: gr.HTML) -> None:
    """Add the contents of the tab Set."""
    names = backend.segmenter.names
    colours = {name: colour(name, names) for name in names}
    with gr.Row():
        start = gr.Button("Score the set", variant="primary", size="md", elem_id="score-set")
        cancel = gr.Button("Cancel", visible=False, size="md", elem_id="score-cancel")
    subject = gr.Textbox(
        NOTHING, label="Scores of", lines=1, max_lines=6, interactive=False, elem_id="score-subject"
    )
    with gr.Column(visible=False) as results:
        with gr.Row():
            well = gr.Dropdown(
                [EVERY_WELL], value=EVERY_WELL, label="Well", min_width=120, elem_id="score-well"
            )
            metric = gr.Dropdown(
                ["IoU"], value="IoU", label="Score", min_width=120, elem_id="score-metric"
            )
        average = gr.Radio([MEAN, POOLED], value=MEAN, label="Average", elem_id="score-average")
        averages = gr.Dataframe(
            label="Averages", interactive=False, max_height=260, elem_id="score-averages"
        )
        legend = gr.Markdown(elem_id="score-legend")  # a plot cuts its own off
        by_well = gr.LinePlot(
            x="Well",
            y="Score",
            color="Model",
            color_map=colours,
            y_lim=[0, 1],
            x_title=" ",
            colors_in_legend=[],
            height=190,
            label="By well",
            elem_id="score-wells",
        )
        spread = gr.BarPlot(
            x="Score",
            y="Patches",
            x_lim=[0, 1],
            height=160,
            label="How many patches have which score",
            elem_id="score-spread",
        )
        # Of ours, as the menu of a table's header opens beside the screen in a sidebar.
        order = gr.Dropdown(
            [(IN_PLACE, PLACE)], value=PLACE, label="Order of the patches", elem_id="score-order"
        )
        table = gr.Dataframe(
            label="Patches: a click shows one",
            interactive=False,
            show_search="filter",
            max_height=420,
            elem_id="score-patches",
        )
        download = gr.DownloadButton("Save the scores, csv", size="md", elem_id="score-csv")
    kept = gr.State(None, time_to_live=KEPT_SECONDS)
    choices = [kept, well, metric, average, order, viewer]
    drawn = [averages, legend, by_well, spread, table]

    def draw(
        scored: SetTable | None, well: str, metric: str, average: str, order: str, focus: Any
    ) -> dict[Any, Any]:
        if scored is None:
            return {}
        pooled, model = average == POOLED, focus if focus in scored.models else scored.models[0]
        wells = scored.by_well(metric, pooled)
        several = wells["Well"].nunique() > 1
        return {
            averages: scored.averages(well, pooled),
            legend: gr.Markdown(describe_colours(scored.models, names), visible=several),
            by_well: gr.LinePlot(wells, visible=several),
            spread: gr.BarPlot(
                scored.spread(metric, model, well),
                label=f"{metric} of every patch, {model}",
            ),
            table: scored.patches(metric, well, order),
        }

    def run(
        asked: Any,
        well_name: str,
        metric_name: str,
        average_name: str,
        order_name: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[dict[Any, Any]]:
        scored: SetTable | None = None
        for step in score_set(backend, asked, progress):
            yield {cancel: gr.Button(visible=True)}
            scored = step
        assert scored is not None  # the last step
        wells = [EVERY_WELL, *dict.fromkeys(scored.wells)]
        well_name = well_name if well_name in wells else EVERY_WELL
        scores = scored.score_names
        metric_name = metric_name if metric_name in scores else scores[-1]
        order_name = order_name if order_name in scored.orders else PLACE
        # Gradio gives out a copy of the file, at a path that only its content tells.
        with tempfile.TemporaryDirectory(prefix="geoseg-scores-") as own:
            path = Path(own) / FILE
            path.write_text(scored.csv(), "utf-8", newline="")
            yield {
                **draw(
                    scored,
                    well_name,
                    metric_name,
                    average_name,
                    order_name,
                    fields(asked).get("focus"),
                ),
                kept: scored,
                results: gr.Column(visible=True),
                subject: describe(scored),
                well: gr.Dropdown(wells, value=well_name),
                metric: gr.Dropdown(scores, value=metric_name),
                order: gr.Dropdown(describe_orders(scored), value=order_name),
                download: gr.DownloadButton(value=path),
                viewer: message("scores", **scored.describe()),
            }

    def show(event: gr.SelectData) -> dict[str, Any]:
        number, name = event.row_value[:2]
        return message("jump", index=int(number) - 1, name=str(name))

    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    event = start.click(
        run,
        [viewer, well, metric, average, order],
        [*drawn, kept, results, subject, well, metric, order, download, cancel, viewer],
        js="(_, ...choices) => [window.geoseg.request(), ...choices]",
        show_progress_on=subject,
        concurrency_id="sets",
        api_visibility="private",
    )
    for ended in (event.then, event.failure):  # `then` follows success and cancelling only
        ended(lambda: (gr.Button(visible=False), message("ended")), None, [cancel, viewer], **quick)
    cancel.click(None, None, None, cancels=[event], **quick)
    for choice in (well, metric, average, order):
        choice.input(draw, choices, drawn, js=FOCUS, **quick)
    table.select(show, None, viewer, **quick)


def describe_orders(scored: SetTable) -> list[tuple[str, str]]:
    """Return the orders of the patches in words, each with its name."""
    words = {PLACE: IN_PLACE, DISAGREEMENT: "Disagreement, highest first"}
    return [(words.get(name, f"{name}, lowest first"), name) for name in scored.orders]


def describe_colours(models: Sequence[str], names: Sequence[str]) -> str:
    """Return Markdown of the models, each with its colour in the plots."""
    return " &emsp; ".join(
        f'<span style="color:{colour(model, names)}">&#9632;</span> {plain(model)}'
        for model in models
    )


def describe(scored: SetTable) -> str:
    """Return what was scored, by which models, and what they left out."""
    labelled = int(scored.labelled.sum())
    labels = "" if labelled == len(scored.names) else f", {labelled:,} with labels"
    line = f"{scored.label or 'The set'}: {count(len(scored.names))}{labels}; "
    line += f"{', '.join(scored.models)}, each at its own threshold"
    return "\n".join([line, *scored.left_out])
