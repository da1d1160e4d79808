"""The page: three parts that talk, and the server they run on.

`request` holds what the browser wants and fires when that changes; `page` draws each answer;
`uploads` takes files. All the rest is ours: the scripts beside this file build it inside `page`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import gradio as gr

from geoseg.page.api import endpoints
from geoseg.page.browse import PatchSet
from geoseg.page.live import MAX_NOISE, MAX_SHIFT, Request, answer, at_first, describe
from geoseg.page.server import MAX_QUEUE, Page, options
from geoseg.page.uploads import KEPT_SECONDS, MAX_FILE_BYTES, MAX_FILES, read_uploads
from geoseg.segmenter import Segmenter

SCRIPTS = ("maps.js", "colours.js", "panels.js", "legend.js", "controls.js", "page.js")

# The system's own fonts: nothing is fetched from anywhere else, so the page works offline.
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
THEME = gr.themes.Base(font=list(FONTS), font_mono=["ui-monospace", "Consolas", "monospace"])

# A request that arrives from JavaScript at any time; the handler is called by `gr.on`.
_REQUEST = "window.geosegSend = value => { props.value = value; trigger('input'); };"
_RECEIPT = "watch('value', () => window.geoseg.received(props.value));"


def build(segmenter: Segmenter, patches: PatchSet, shown: Sequence[str] | None = None) -> gr.Blocks:
    """The page for these models.

    `patches` is what everybody sees before uploading their own, `shown` the models that are ticked
    at first, by default those of `at_first`.
    """
    shown = at_first(segmenter) if shown is None else list(shown)
    first = {"ticket": 0, "source": "start", "models": shown}

    def update(raw: Any, own: PatchSet | None) -> dict[str, Any]:
        request = Request.parse(raw, segmenter.names)
        mine = request.source == "uploads" and own is not None
        message = answer(segmenter, own if mine and own else patches, request)
        return {**message, "source": "uploads" if mine else "start"}

    def receive(uploaded: Any, own: PatchSet | None) -> tuple[PatchSet | None, dict[str, Any]]:
        found = read_uploads(uploaded or [])
        receipt = {
            "accepted": len(found.entries),
            "rejected": [{"name": r.name, "reason": r.reason} for r in found.rejected],
        }
        return (found if found.entries else own), receipt

    with Page(title="geoseg", analytics_enabled=False, fill_width=True) as demo:
        own = gr.State(None, time_to_live=KEPT_SECONDS)
        page = _html(asset("page.html"), _page_script(segmenter, patches, shown), elem_id="geoseg")
        request = _html("", _REQUEST, value=first, visible="hidden")
        receipt = _html("", _RECEIPT, visible="hidden")
        with gr.Column(elem_id="geoseg-upload"):  # page.css hides it; controls.js hands it files
            upload = gr.UploadButton(file_count="multiple")
        gr.on(
            [demo.load, request.input],
            update,
            [request, own],
            page,
            trigger_mode="always_last",
            show_progress="hidden",
            concurrency_id="models",
            concurrency_limit=1,
            api_visibility="private",
        )
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
        # Not queued by Gradio: one request has its answer, and MCP needs no second one.
        for name, function in endpoints(segmenter).items():
            gr.api(
                function,
                api_name=name,
                api_description=inspect.getdoc(function),
                queue=False,
                concurrency_id="programs",
            )
    return demo.queue(max_size=MAX_QUEUE, api_open=False)


def launch(
    demo: gr.Blocks, host: str, port: int, root_path: str = "", accounts: Sequence[str] = ()
) -> str:
    """Serve the page until `demo.close()`, and return its address; OSError for a taken port.

    `root_path` is where a proxy shows it, `accounts` ("user:password") those who may enter, or all.
    """
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
        root_path=root_path,
        mcp_server=True,
        theme=THEME,
        css=asset("page.css"),
        **options(accounts),
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
    }
    code = "\n".join(asset(name) for name in SCRIPTS)
    return f"'use strict';\n{code}\nstart(element, props, watch, {json.dumps(facts)});"
