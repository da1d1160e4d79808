"""The page: one component that our scripts fill, the channels it talks on, and the server.

A channel is two hidden components: the page writes a message into the first, which fires, and reads
the answer out of the second. A job is a channel whose answers come bit by bit, and that can be
stopped. `page` and its scripts beside this file build everything that is seen.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import Any

import gradio as gr
from gradio import processing_utils

from geoseg.page.api import endpoint
from geoseg.page.browse import PatchSet
from geoseg.page.catalogue import MOST, SIDE, catalogue
from geoseg.page.live import answer, at_first, describe
from geoseg.page.ranking import Ranking
from geoseg.page.request import MAX_NOISE, MAX_SEED, MAX_SHIFT, Request, fields
from geoseg.page.uploads import KEPT_SECONDS, MAX_FILE_BYTES, MAX_FILES, read_uploads
from geoseg.segmenter import Segmenter

SCRIPTS = (
    "words.js",
    "channels.js",
    "maps.js",
    "looks.js",
    "colours.js",
    "panels.js",
    "zoom.js",
    "legend.js",
    "link.js",
    "controls.js",
    "strip.js",
    "csv.js",
    "ranks.js",
    "chart.js",
    "set.js",
    "doubts.js",
    "sheets.js",
    "drawer.js",
    "page.js",
)
STYLES = ("page.css", "set.css")
HOUR = 3600

# The system's own fonts: nothing is fetched from anywhere else, so the page works offline.
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
THEME = gr.themes.Base(font=list(FONTS), font_mono=["ui-monospace", "Consolas", "monospace"])

# The browser's ends of a channel (channels.js has the rest).
_ASK = """(window.geosegAsk ??= {})[%s] = value => { props.value = value; trigger('input'); };"""
_HEAR = """watch('value', () => window.geosegHear?.(%s, props.value));"""

Handler = Callable[[Any, PatchSet | None], Any]


def build(segmenter: Segmenter, patches: PatchSet, shown: Sequence[str] | None = None) -> gr.Blocks:
    """The page for these models.

    `patches` is what everybody sees before uploading their own, `shown` the models that are ticked
    at first, by default those of `at_first`.
    """
    shown = at_first(segmenter) if shown is None else list(shown)
    one_at_a_time = threading.Lock()  # of the live answers: two at once would both be late
    ranking = Ranking(segmenter, one_at_a_time)

    def chosen(raw: Any, own: PatchSet | None) -> PatchSet:
        return own if own is not None and fields(raw).get("source") == "uploads" else patches

    def look(raw: Any, own: PatchSet | None) -> dict[str, Any]:
        request, found = Request.parse(raw, segmenter.names), chosen(raw, own)
        with one_at_a_time:
            message = answer(segmenter, found, request)
        return {**message, "source": "start" if found is patches else "uploads"}

    def browse(raw: Any, own: PatchSet | None) -> dict[str, Any]:
        return catalogue(chosen(raw, own), raw)

    def rank(raw: Any, own: PatchSet | None) -> Iterator[dict[str, Any]]:
        found = chosen(raw, own)
        for message in ranking.answers(raw, found):
            yield {**message, "source": "start" if found is patches else "uploads"}

    with gr.Blocks(
        title="geoseg", analytics_enabled=False, fill_width=True, delete_cache=(HOUR, HOUR)
    ) as demo:
        own = gr.State(None, time_to_live=KEPT_SECONDS)
        _html(asset("page.html"), _page_script(segmenter, patches, shown), elem_id="geoseg")
        # Without the queue an answer is a third sooner; the lock takes its place.
        _channel("look", look, own, queue=False)
        _channel("browse", browse, own, queue=False)
        _job("rank", rank, own)
        _upload_channel(own)
        gr.api(endpoint(segmenter), api_name="segment", concurrency_id="models")
    return demo


def _channel(name: str, handler: Handler, own: gr.State, **options: Any) -> Any:
    """A channel of that name, whose handler gets each message and the user's own patches."""
    ask = _html("", _ASK % json.dumps(name), value={}, visible="hidden")
    hear = _html("", _HEAR % json.dumps(name), visible="hidden")
    return ask.input(
        handler,
        [ask, own],
        hear,
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
        **options,
    )


def _job(name: str, handler: Handler, own: gr.State) -> None:
    """A channel whose handler yields its answers; a message on `stop-NAME` ends it."""
    event = _channel(name, handler, own, concurrency_id="jobs", concurrency_limit=1)
    stop = _html("", _ASK % json.dumps(f"stop-{name}"), value={}, visible="hidden")
    stop.input(None, cancels=[event], queue=False, api_visibility="private")


def _upload_channel(own: gr.State) -> None:
    """Files arrive by Gradio's own component: it checks where they lie and how large they are."""

    def receive(uploaded: Any, before: PatchSet | None) -> tuple[PatchSet | None, dict[str, Any]]:
        found = read_uploads(uploaded or [])
        receipt = {
            "accepted": len(found.entries),
            "rejected": [{"name": r.name, "reason": r.reason} for r in found.rejected],
        }
        return (found if found.entries else before), receipt

    receipt = _html("", _HEAR % json.dumps("upload"), visible="hidden")
    with gr.Column(elem_id="geoseg-upload"):  # page.css hides it; controls.js hands it files
        upload = gr.UploadButton(file_count="multiple")
    # Without preprocessing the handler gets Gradio's checked FileData, original names included.
    upload.upload(
        receive,
        [upload, own],
        [own, receipt],
        preprocess=False,
        show_progress="hidden",
        concurrency_id="files",
        api_visibility="private",
    )


def launch(demo: gr.Blocks, host: str, port: int) -> str:
    """Serve the page until `demo.close()`, and return its address; OSError for a taken port."""
    # Gradio fetches any URL that it is given in place of an upload. Nobody needs that here.
    processing_utils.async_ssrf_protected_download = _refuse
    _, address, _ = demo.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        inbrowser=False,
        ssr_mode=False,
        pwa=False,
        run_history=False,
        enable_monitoring=False,
        show_error=True,
        footer_links=["api"],  # page.css hides the footer; the help dialog has the link
        allowed_paths=[],
        max_file_size=MAX_FILE_BYTES,
        mcp_server=True,
        theme=THEME,
        css="\n".join(asset(name) for name in STYLES),
    )
    return address


def asset(name: str) -> str:
    """One of the page's own files."""
    return files("geoseg.page").joinpath(name).read_text("utf-8")


def _html(template: str, script: str, **options: Any) -> gr.HTML:
    return gr.HTML(html_template=template, js_on_load=script, apply_default_css=False, **options)


def _page_script(segmenter: Segmenter, patches: PatchSet, shown: Sequence[str]) -> str:
    """All scripts in one scope, then the call that starts them with what they must know."""
    facts = {
        "models": describe(segmenter),
        "shown": shown,
        "count": len(patches.entries),
        "label": patches.label,
        "limits": {"files": MAX_FILES, "bytes": MAX_FILE_BYTES},
        "maxShift": MAX_SHIFT,
        "maxNoise": MAX_NOISE,
        "maxSeed": MAX_SEED,
        "small": {"side": SIDE, "most": MOST},
        "words": json.loads(asset("words.json")),
    }
    code = "\n".join(asset(name) for name in SCRIPTS)
    return f"'use strict';\n{code}\nstart(element, {json.dumps(facts)});"


async def _refuse(url: str, cache_dir: str) -> str:
    raise gr.Error("Addresses are not fetched; upload the file.", print_exception=False)
