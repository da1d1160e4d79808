"""The tab Synthetic: pipes made on the spot from a seed and a few knobs, and toy letters."""

from __future__ import annotations

import json
import re
from typing import Any

import gradio as gr

from geoseg.page.backend import Backend
from geoseg.page.request import fields, number, source
from geoseg.page.synthetic_patches import COUNT, KNOBS
from geoseg.page.viewer import REQUEST, message, tell

LABELS = {
    "width": "Groove width, columns",
    "contrast": "Groove depth, inch",
    "drift": "Groove drift, columns in 100 rows",
    "collar": "Collar height, inch; 0 for none",
    "lattice": "Lattice amplitude, inch; 0 for none",
    "noise": "White noise, inch",
    "nulls": "Lost rows, share",
}
LETTERS = [
    ("None: the patch and its own labels", "none"),
    ("Trivial: the letters alone, 0.1 inch deep, on nothing", "trivial"),
    ("Easy: the letters are added to the patch, 0.1 inch deep", "easy"),
    ("Medium: what lies under the letters is multiplied by four", "medium"),
]
_JUMP = """(seed) => {
    if (seed) window.geoseg.jump(Math.min(Math.max(Math.round(seed), 1), %d) - 1);
    return [];
}"""
_SURPRISE = "() => { window.geoseg.jump(Math.floor(Math.random() * %d)); return []; }"
# Knobs in the order of the server's, so that the same settings are the same state.
_TURN = """(value) => {
    const { state, facts, set } = window.geoseg, knobs = { ...state.knobs, [%(name)s]: value };
    const order = Object.keys(facts.synthetic.knobs).filter(name => name in knobs);
    set({ knobs: Object.fromEntries(order.map(name => [name, knobs[name]])) });
    return [];
}"""
_HOLD = """(held) => {
    const { state, scene, facts, set } = window.geoseg, drawn = scene?.facts.drawn || {};
    const order = Object.keys(facts.synthetic.knobs).filter(name => held.includes(name));
    set({ knobs: Object.fromEntries(order.map(name => [name, state.knobs[name] ?? drawn[name]])) });
    return [];
}"""
_RELEASE = "() => { window.geoseg.set({ knobs: {} }); return []; }"
# The updates of the controls, in the order in which `add_synthetic_tab` has them.
DRAWN = """() => {
    const { state, scene, facts } = window.geoseg, drawn = scene?.facts.drawn || {};
    const here = state.source === 'synthetic', update = { __type__: 'update' };
    const names = Object.keys(facts.synthetic.knobs), held = Object.keys(state.knobs);
    return [
        { ...update, visible: !here }, ...Array(3).fill({ ...update, visible: here }),
        here ? { ...update, value: state.index + 1 } : update,
        { ...update, value: held }, { ...update, interactive: held.length > 0 },
        { ...update, value: state.letters },
        ...names.map(name => {
            const value = state.knobs[name] ?? drawn[name], { step } = facts.synthetic.knobs[name];
            if (value === undefined) return update;
            return { ...update, value: Number((Math.round(value / step) * step).toFixed(4)) };
        }),
    ];
}"""


def add_synthetic_tab(backend: Backend, viewer: gr.HTML) -> None:
    """Add the contents of the tab Synthetic."""
    gr.Markdown(
        "Pipes made from physics alone, so every groove is known. Each seed is another pipe; "
        "the arrow keys browse them."
    )
    with gr.Row():
        start = gr.Button(
            "Show synthetic pipes", variant="primary", size="md", elem_id="synthetic-start"
        )
        surprise = gr.Button("Surprise me", visible=False, size="md", elem_id="synthetic-surprise")
        leave = gr.Button(
            "Back to the patches", visible=False, size="md", elem_id="synthetic-leave"
        )
    with gr.Column(visible=False) as pipe:
        seed = gr.Number(
            1,
            label=f"Seed of the pipe, 1 to {COUNT:,}",
            precision=0,
            minimum=1,
            maximum=COUNT,
            elem_id="synthetic-seed",
        )
        knobs = {
            name: gr.Slider(
                knob.low,
                knob.high,
                knob.low,
                step=knob.step,
                label=LABELS[name],
                buttons=[],
                elem_id=f"synthetic-{name}",
            )
            for name, knob in KNOBS.items()
        }
        held = gr.CheckboxGroup(
            [(re.split("[,;]", LABELS[name])[0], name) for name in KNOBS],
            label="Set by you; the others as the pipe drew them, a collar in some patches only",
            elem_id="synthetic-held",
        )
        release = gr.Button(
            "All as drawn", interactive=False, size="md", elem_id="synthetic-release"
        )
    gr.Markdown(
        "The original's letters on whatever patch is shown; they become its true labels. A model "
        "trained on grooves finds few of them: they test a pipeline, not a pipe."
    )
    letters = gr.Radio(LETTERS, value="none", label="Toy labels", elem_id="synthetic-letters")
    before = gr.State({})

    def show(asked: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        index = int(number(fields(asked).get("index"), 0, 2**31))
        left = {"source": source(fields(asked)), "index": index}
        return left, message("set", source="synthetic", index=0, name="")

    def go_back(left: dict[str, Any]) -> dict[str, Any]:
        return message("set", **{"source": "start", "index": 0, "name": "", **left})

    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    start.click(show, viewer, [before, viewer], js=REQUEST, **quick)
    leave.click(go_back, before, viewer, **quick)
    browser: dict[str, Any] = {"api_visibility": "private"}
    seed.input(None, seed, None, js=_JUMP % COUNT, **browser)
    surprise.click(None, None, None, js=_SURPRISE % COUNT, **browser)
    for name, slider in knobs.items():
        slider.input(None, slider, None, js=_TURN % {"name": json.dumps(name)}, **browser)
    held.input(None, held, None, js=_HOLD, **browser)
    release.click(None, None, None, js=_RELEASE, **browser)
    letters.input(None, letters, None, js=tell("letters"), **browser)
    controls = [start, leave, surprise, pipe, seed, held, release, letters, *knobs.values()]
    viewer.input(None, None, controls, js=DRAWN, **browser)
