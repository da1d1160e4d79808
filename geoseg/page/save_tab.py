"""The tab Save: pictures, arrays, a link, and the whole set as a zip file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from geoseg.page.backend import GONE, Backend, GoneError
from geoseg.page.export import ExportError, export
from geoseg.page.viewer import REQUEST

FILE = "geoseg.zip"
COPY = "Copy link"
_PICTURE = "() => { window.geoseg.savePicture(); return []; }"
_ARRAY = "() => { window.geoseg.saveArray('%s'); return []; }"
# Without a secure address browsers give no clipboard; then the user copies the link from its box.
_COPY = """async () => {
    const link = new URL(window.geoseg.link(), location.href).href;
    const copied = await navigator.clipboard?.writeText(link).then(() => true, () => false);
    const update = { __type__: 'update' };
    return [
        { ...update, value: copied ? 'Copied' : 'Copy it from here:' },
        { ...update, value: link, visible: true },
    ];
}"""
_COPY_AGAIN = "() => new Promise(done => { setTimeout(() => done(['%s']), 2000); })"


def add_save_tab(backend: Backend, viewer: gr.HTML) -> None:
    """Add the contents of the tab Save."""
    browser: dict[str, Any] = {"api_visibility": "private"}
    gr.Markdown(
        "### The view\nEvery panel as it is seen, zoomed or not, with names, scores, settings and "
        "legend."
    )
    gr.Button("Save PNG", size="md", elem_id="save-picture").click(
        None, None, None, js=_PICTURE, **browser
    )
    gr.Markdown(
        "### This patch, .npy\nFor numpy.load: float32, and uint8 for masks; shift, noise and "
        "threshold as they are set. Mask and probability are those of the chosen model."
    )
    with gr.Row():
        for kind in ("patch", "mask", "probability"):
            button = gr.Button(kind.capitalize(), min_width=90, size="md", elem_id=f"save-{kind}")
            button.click(None, None, None, js=_ARRAY % kind, **browser)
    gr.Markdown(
        "### A link to this\nOpens this patch again, with these models and settings. Your own "
        "files open in this tab only: nobody else can see them."
    )
    copy = gr.Button(COPY, size="md", elem_id="save-copy")
    link = gr.Textbox(label="Link", max_lines=3, visible=False, elem_id="save-link")
    event = copy.click(None, None, [copy, link], js=_COPY, **browser)
    event.then(None, None, copy, js=_COPY_AGAIN % COPY, **browser)
    _add_set(backend, viewer)


def _add_set(backend: Backend, viewer: gr.HTML) -> None:
    """Add what saves the whole set."""
    gr.Markdown(
        "### The whole set\nEvery patch by the models that are ticked; shift, noise and threshold "
        "as they are set."
    )
    masks = gr.Button("Masks, zip", size="md", elem_id="save-masks")
    both = gr.Button("Masks and probabilities, zip", size="md", elem_id="save-both")
    progress = gr.Textbox(
        label="Zip file of", interactive=False, visible=False, elem_id="save-progress"
    )
    cancel = gr.Button("Cancel", visible=False, size="md", elem_id="save-cancel")
    download = gr.DownloadButton(visible=False, variant="primary", size="md", elem_id="save-zip")

    def run(
        asked: Any,
        bar: gr.Progress = gr.Progress(),  # noqa: B008
        probabilities: bool = False,
    ) -> Iterator[dict[Any, Any]]:
        try:
            patches = backend.find_set(asked)
        except GoneError:
            raise gr.Error(GONE, print_exception=False) from None
        yield {
            cancel: gr.Button(visible=True),
            download: gr.DownloadButton(visible=False),
            progress: gr.Textbox(count(len(patches)), visible=True),
        }
        # Gradio gives out a copy of the file, at a path that only its content tells, and deletes it
        # when it is old.
        with tempfile.TemporaryDirectory(prefix="geoseg-export-") as own:
            path = Path(own) / FILE
            try:
                for step in export(backend.work, patches, asked, path, probabilities):
                    bar(step, desc="Segmenting", unit="masks")
            except ExportError as error:
                raise gr.Error(str(error), print_exception=False) from None
            label = f"Save {FILE}: {count(len(patches))}"
            yield {download: gr.DownloadButton(label, path, visible=True)}

    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

    def hide() -> tuple[gr.Button, gr.Textbox]:
        return gr.Button(visible=False), gr.Textbox(visible=False)

    events: list[dict[str, Any]] = []
    for button, probabilities in ((masks, False), (both, True)):
        event = button.click(
            partial(run, probabilities=probabilities),
            viewer,
            [cancel, download, progress],
            js=REQUEST,
            show_progress_on=progress,
            concurrency_id="sets",
            api_visibility="private",
        )
        for ended in (event.then, event.failure):  # `then` follows success and cancelling only
            ended(hide, None, [cancel, progress], **quick)
        events.append(event)
    cancel.click(None, None, None, cancels=events, **quick)


def count(patches: int) -> str:
    """Return a number of patches in words."""
    return "1 patch" if patches == 1 else f"{patches:,} patches"
