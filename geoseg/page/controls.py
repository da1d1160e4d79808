"""The native controls of the viewer: uploads, models, sliders, and what the panels show.

Most work in the browser alone: their `js` tells the viewer, which asks the server where it must.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

from geoseg.page.backend import Backend
from geoseg.page.request import MAX_NOISE, MAX_SEED
from geoseg.page.uploads import file_name, uploaded_bytes
from geoseg.page.viewer import REQUEST, act, message, tell

DISPLAYS = [
    ("Errors", "errors"),
    ("Mask", "mask"),
    ("Probability", "probability"),
    ("Uncertainty", "uncertainty"),
    ("Disagreement", "disagreement"),
]
OPTIONS = [
    ("Each model's threshold", "own"),
    ("Outline of the truth", "truth"),
    ("Colour-blind palette", "safe"),
]
GREYS = [("Grey \u00b10.05", "fixed"), ("1\u201399 %", "percentile"), ("All", "full")]


def add_header() -> tuple[gr.UploadButton, gr.Button]:
    """Add the title, and the buttons that open and close the user's own files."""
    with gr.Row(elem_id="header"):
        gr.Markdown(
            "**geoseg** &nbsp; Corrosion grooves in ultrasonic images of pipes",
            elem_id="title",
            min_width=300,
        )
        for label, action in (("Reset", "reset"), ("Full screen", "full")):
            button = gr.Button(label, scale=0, size="md", min_width=110)
            button.click(None, None, None, js=act(action), api_visibility="private")
        close = gr.Button("Close your files", scale=0, size="md", visible=False, min_width=150)
        upload = gr.UploadButton(
            "Open .npy files",
            file_count="multiple",
            # No `file_types`: the browser would leave out other files without a word.
            scale=0,
            min_width=150,
            size="md",
            elem_id="upload",
        )
    return upload, close


def add_controls(backend: Backend, viewer: gr.HTML, shown: Sequence[str]) -> dict[str, Any]:
    """Add the rows of controls below the viewer, and return them by their key in its state."""
    names = list(backend.segmenter.names)
    threshold = backend.segmenter.cards[shown[0] if shown else names[0]].threshold
    columns = max(entry.patch.shape[1] for entry in backend.patches.entries)
    with gr.Row(equal_height=True, elem_id="sliders"):
        controls: dict[str, Any] = {
            "shift": gr.Slider(
                0,
                columns - 1,
                0,
                step=1,
                label="Shift, columns",
                min_width=160,
                elem_id="control-shift",
            ),
            "noise": gr.Slider(
                0,
                MAX_NOISE,
                0,
                step=0.0001,
                label="Noise, inch",
                min_width=160,
                elem_id="control-noise",
            ),
            "seed": gr.Number(
                0,
                label="Seed",
                elem_id="control-seed",
                precision=0,
                minimum=0,
                maximum=MAX_SEED,
                min_width=80,
                scale=0,
            ),
            "threshold": gr.Slider(
                0,
                1,
                threshold,
                step=0.01,
                label="Threshold",
                min_width=160,
                elem_id="control-threshold",
            ),
            "opacity": gr.Slider(
                0, 100, 35, step=5, label="Overlay, %", min_width=140, elem_id="control-opacity"
            ),
        }
    plain: dict[str, Any] = {"container": False, "show_label": False}
    with gr.Row(equal_height=True, elem_id="choices"):
        controls["display"] = gr.Radio(
            DISPLAYS, value="errors", label="What the models show", min_width=560, **plain
        )
        controls["options"] = gr.CheckboxGroup(
            OPTIONS, value=["own", "truth"], label="Options", min_width=300, **plain
        )
    with gr.Row(equal_height=True):
        controls["models"] = gr.CheckboxGroup(
            names, value=list(shown), label="Models", scale=5, min_width=320, **plain
        )
        controls["grey"] = gr.Radio(
            GREYS, value="fixed", label="Grey range", scale=2, min_width=330, **plain
        )
    for key, control in controls.items():
        control.input(None, control, None, js=tell(key), api_visibility="private")
    return controls


def follow_viewer(viewer: gr.HTML, controls: dict[str, Any], close: gr.Button) -> None:
    """Set the controls when the viewer's state changes by a key, a link or a reset."""
    viewer.input(
        None,
        None,
        [*controls.values(), close],
        js=f"() => window.geoseg.controls({json.dumps([*controls, 'close'])})",
        api_visibility="private",
    )


def wire_uploads(
    backend: Backend, viewer: gr.HTML, upload: gr.UploadButton, close: gr.Button
) -> None:
    """Read what the user uploads, show it, and forget it when it is closed."""

    def take(files: Any, asked: Any, request: gr.Request) -> dict[str, Any]:
        named = [(file_name(file), uploaded_bytes(file)) for file in (files or [])]
        key = asked.get("user") if isinstance(asked, dict) else None
        found = backend.keep_uploads(named, key, request.client.host if request.client else "")
        rejected = [reject._asdict() for reject in found.rejected]
        return message("uploads", accepted=len(found), rejected=rejected)

    def forget(asked: Any) -> dict[str, Any]:
        if isinstance(asked, dict) and asked.get("source") == "uploads":
            backend.forget_uploads(asked.get("user"))
        return message("set", source="start", index=0, name="")

    upload.upload(
        take,
        [upload, viewer],
        viewer,
        js="(files) => [files, window.geoseg.request()]",
        show_progress="hidden",
        concurrency_limit=4,
        # Gradio would refuse all files for one that is no .npy, and leave an empty one for each.
        preprocess=False,
        api_visibility="private",
    )
    close.click(
        forget, viewer, viewer, js=REQUEST, show_progress="hidden", api_visibility="private"
    )
