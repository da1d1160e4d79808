"""The tab Probe: how the masks hold when the patch is turned, noisy, louder, or loses rows."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import gradio as gr
import pandas as pd  # type: ignore[import-untyped]

from geoseg.evaluation.perturbations import GAIN
from geoseg.page.backend import GONE, Backend, GoneError
from geoseg.page.probe import PROBES, Curve, Curves, probe
from geoseg.page.request import Request, fields, number
from geoseg.page.viewer import message

YIELD_SECONDS = 0.5  # from one redrawing of the plots to the next
HEIGHT = 150  # of a plot
# A model has its colour whoever else is shown; each stands out on white and on the dark theme.
COLOURS = ("#1f86c7", "#d9661f", "#12967a", "#c65a9b", "#9a7d0a", "#74808c", "#7e6fe0", "#0b96a3")
IOU, KEPT = ("IoU with the truth", "iou"), ("Agreement with its own mask", "kept")
KEPT_SECONDS = 4 * 3600  # of the curves of a user who is away
NOTHING = "Nothing is probed yet."
NO_MODEL = "No model is ticked; tick one below the panels."


class Plot(NamedTuple):
    """A probe's axis, the format of its values, and a value in words.

    `steps` are the values where they grow by a factor: as names, they stand evenly apart.
    """

    axis: str
    text: str
    words: str
    steps: tuple[float, ...] = ()


PLOTS = {
    "shift": Plot("Shift, columns", "{:.0f}", "shift {}"),
    "noise": Plot("Noise, inch", "{:g}", "noise {}"),
    "gain": Plot("Gain, factor", "{:.2g}", "gain {}", GAIN),
    "nulls": Plot("Lost rows", "{:.0f}", "{} lost rows", (0, *(2**i for i in range(17)))),
}
SETTINGS = ("shift", "noise")  # probes whose values the viewer can be set to


def add_probe_tab(backend: Backend, viewer: gr.HTML) -> None:
    """Add the contents of the tab Probe."""
    names = backend.segmenter.names
    gr.Markdown("One thing of this patch changes at a time; the rest stays as the sliders have it.")
    with gr.Row():
        start = gr.Button("Probe this patch", variant="primary", size="md", elem_id="probe-start")
        cancel = gr.Button("Cancel", visible=False, size="md", elem_id="probe-cancel")
    subject = gr.Textbox(
        NOTHING, label="Curves of", lines=1, max_lines=3, interactive=False, elem_id="probe-subject"
    )
    measure = gr.Radio([IOU, KEPT], value="iou", label="What the curves show")
    words = gr.Markdown(visible=False, elem_id="probe-words")
    with gr.Row(visible=False) as buttons:
        lowest = {
            name: gr.Button(f"Go to the lowest {name}", size="sm", elem_id=f"probe-{name}-lowest")
            for name in SETTINGS
        }
    plots = {name: make_plot(name, names) for name in PROBES}
    kept = gr.State({}, time_to_live=KEPT_SECONDS)
    drawn = [measure, words, buttons, *plots.values()]

    def draw(curves: dict[str, Curves], chosen: str) -> dict[Any, Any]:
        chosen = chosen if has_truth(curves) else "kept"
        choices = [IOU, KEPT] if has_truth(curves) else [KEPT]
        updates = [
            gr.Radio(choices, value=chosen),
            gr.Markdown(describe(curves, chosen, names), visible=True),
            gr.Row(visible=True),
            *(
                gr.LinePlot(tabulate(name, found, chosen, names), visible=bool(found.models))
                for name, found in curves.items()
            ),
        ]
        return dict(zip(drawn, updates, strict=True))

    def run(
        asked: Any,
        chosen: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[dict[Any, Any]]:
        try:
            patches = backend.find_set(asked)
        except GoneError:
            raise gr.Error(GONE, print_exception=False) from None
        request = Request.parse(asked, names)
        if not request.models:
            raise gr.Error(NO_MODEL, print_exception=False)
        name = patches.entry(patches.find(request.name, request.index)).name
        settings = describe_settings(request, fields(asked).get("threshold"))
        yield {cancel: gr.Button(visible=True), subject: f"{name}: {settings}"}
        told = time.monotonic()
        curves: dict[str, Curves] = {}
        for done, total, curves in probe(backend.work, patches, asked):
            progress((done, total), desc="Probing", unit="images")
            if time.monotonic() - told > YIELD_SECONDS:
                told = time.monotonic()
                yield draw(curves, chosen)
        yield {**draw(curves, chosen), kept: curves}

    def redraw(curves: dict[str, Curves], chosen: str) -> dict[Any, Any]:
        return draw(curves, chosen) if curves else {measure: chosen}

    def go(curves: dict[str, Curves], chosen: str, name: str) -> dict[str, Any]:
        worst = find_lowest(curves[name], chosen)
        return message("set", **({} if worst is None else {name: worst[1]}))

    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    event = start.click(
        run,
        [viewer, measure],
        [*drawn, subject, kept, cancel],
        js="(_, measure) => [window.geoseg.request(), measure]",
        show_progress_on=subject,
        concurrency_id="sets",
        api_visibility="private",
    )
    for ended in (event.then, event.failure):  # `then` follows success and cancelling only
        ended(lambda: gr.Button(visible=False), None, cancel, **quick)
    cancel.click(None, None, None, cancels=[event], **quick)
    measure.input(redraw, [kept, measure], drawn, **quick)
    for name in SETTINGS:
        lowest[name].click(partial(go, name=name), [kept, measure], viewer, **quick)


def make_plot(name: str, names: Sequence[str]) -> gr.LinePlot:
    """Make the plot of a probe, which is shown once it has curves."""
    plot = PLOTS[name]
    return gr.LinePlot(
        x="value",
        y="mean",
        color="model",
        color_map={model: colour(model, names) for model in names},
        x_title=plot.axis,
        colors_in_legend=[],  # the list above the plots has them
        y_title="IoU",
        y_lim=[0, 1],
        sort=[plot.text.format(step) for step in plot.steps] or None,
        x_axis_format="~g" if name == "noise" else None,
        tooltip=["low", "high"],
        height=HEIGHT,
        visible=False,
        elem_id=f"probe-{name}",
    )


def tabulate(name: str, found: Curves, measure: str, names: Sequence[str]) -> pd.DataFrame:
    """Return the points of one probe's curves.

    Every model has a row without a mean, so that a plot has all models, in their order, from the
    beginning: Gradio sets a plot's colours and its points one after the other.
    """
    text = PLOTS[name].text.format if PLOTS[name].steps else float
    rows = [(text(found.at[0]), float("nan"), model, None, None) for model in names]
    for model, curve in found.models.items():
        values = _range(curve, measure)
        if values is not None:
            ranges = (part.tolist() for part in values)
            for at, mean, low, high in zip(found.at, *ranges, strict=True):
                rows.append((text(at), mean, model, low, high))
    table = pd.DataFrame(rows, columns=["value", "mean", "model", "low", "high"])
    return table.round({"mean": 3, "low": 3, "high": 3})


def has_truth(curves: dict[str, Curves]) -> bool:
    """Tell whether the curves were compared with a truth; so it is where there is none yet."""
    known = [c for found in curves.values() for c in found.models.values() if isinstance(c, Curve)]
    return not known or known[0].iou is not None


def find_lowest(found: Curves, measure: str, model: str = "") -> tuple[float, float] | None:
    """Return the lowest mean, of one model or of all, and the value where it is; None for none."""
    curves = [c for name, c in found.models.items() if model in ("", name)]
    ranges = [values for curve in curves if (values := _range(curve, measure)) is not None]
    means = [(m, at) for r in ranges for m, at in zip(r.mean.tolist(), found.at, strict=True)]
    return min(((m, at) for m, at in means if m == m), default=None)  # not NaN


def describe(curves: dict[str, Curves], measure: str, names: Sequence[str]) -> str:
    """Return a Markdown list of the lowest value of each model's curves, or why it has none."""
    models = {model: None for found in curves.values() for model in found.models}
    lines = [f"Lowest {'IoU with the truth' if measure == 'iou' else 'agreement with itself'}:"]
    for model in models:
        parts = [_words(name, found, measure, model) for name, found in curves.items()]
        mark = f'<span style="color:{colour(model, names)}">&#9632;</span>'
        lines.append(f"{mark} **{plain(model)}** {plain(', '.join(dict.fromkeys(parts)))}")
    return "\n\n".join(lines)


def _words(name: str, found: Curves, measure: str, model: str) -> str:
    """Return where one curve is lowest, or why there is none."""
    curve = found.models.get(model)
    if not isinstance(curve, Curve):
        return curve or "\u2026"
    worst = find_lowest(found, measure, model)
    if worst is None:
        return "nothing measured"
    if name == "shift" and measure == "kept" and worst[0] == 1:
        return "turns exactly" if curve.marked else "marks nothing"
    place = PLOTS[name].words.format(PLOTS[name].text.format(worst[1]))
    return f"{worst[0]:.2f} at {place}"


def colour(model: str, names: Sequence[str]) -> str:
    """Return the colour of a model's curves, by its place in `names`."""
    return COLOURS[names.index(model) % len(COLOURS)]


def _range(curve: Curve | str, measure: str) -> Any:
    if isinstance(curve, str):
        return None
    return curve.kept if measure == "kept" else curve.iou


def describe_settings(request: Request, threshold: Any) -> str:
    """Return the settings of a message in words."""
    noise = f"noise {request.noise:.4f} of seed {request.seed}"
    limit = "as trained" if threshold is None else f"{number(threshold, 0, 1):.2f}"
    parts = [f"shift {request.shift}" if request.shift else "", noise if request.noise else ""]
    return ", ".join([*filter(None, parts), f"threshold {limit}"])


def plain(text: str) -> str:
    """Return Markdown that shows a text as it is."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", html.escape(text))
