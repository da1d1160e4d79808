"""The page: one component that our scripts fill, the channels it talks on, and the server.

A channel is two hidden components: the page writes a message into the first, which fires, and reads
the answer out of the second. A job is a channel whose answers come bit by bit, and that can be
stopped. `page` and its scripts beside this file build everything that is seen.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import gradio as gr

from geoseg.page.api import endpoints
from geoseg.page.batches import Work
from geoseg.page.browse import Patches, PatchSet
from geoseg.page.catalogue import MOST, SIDE, catalogue
from geoseg.page.export import export
from geoseg.page.live import answer, at_first, describe, first_line
from geoseg.page.pipes import COUNT, KNOBS, Pipes, stamped
from geoseg.page.probe import probe
from geoseg.page.ranking import Ranking
from geoseg.page.request import MAX_NOISE, MAX_SEED, MAX_SHIFT, Request, fields, source, ticket
from geoseg.page.server import MAX_QUEUE, Page, options
from geoseg.page.uploads import (
    KEPT_SECONDS,
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_TOTAL_BYTES,
    read_uploads,
)
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
    "curves.js",
    "probe.js",
    "synthetic.js",
    "picture.js",
    "save.js",
    "sheets.js",
    "drawer.js",
    "page.js",
)
STYLES = ("page.css", "set.css", "probe.css")

# The system's own fonts: nothing is fetched from anywhere else, so the page works offline.
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
THEME = gr.themes.Base(font=list(FONTS), font_mono=["ui-monospace", "Consolas", "monospace"])

# The browser's ends of a channel (channels.js has the rest).
_ASK = """(window.geosegAsk ??= {})[%s] = value => { props.value = value; trigger('input'); };"""
_HEAR = """watch('value', () => window.geosegHear?.(%s, JSON.parse(props.value)));"""

Handler = Callable[..., Any]
_log = logging.getLogger("geoseg.page")


def build(segmenter: Segmenter, patches: PatchSet, shown: Sequence[str] | None = None) -> gr.Blocks:
    """The page for these models.

    `patches` is what everybody sees before uploading their own, `shown` the models that are ticked
    at first, by default those of `at_first`.
    """
    shown = at_first(segmenter) if shown is None else list(shown)
    # Live answers have a thread of their own, which keeps once what their work needs. Jobs compute
    # in short batches, and between them it is the turn of whoever waits.
    live = ThreadPoolExecutor(1, "live")
    work = Work(segmenter, threading.Lock())
    ranking = Ranking(work)

    def place(raw: Any, own: PatchSet | None) -> str:
        wanted = source(fields(raw))
        return "start" if wanted == "uploads" and own is None else wanted

    def chosen(raw: Any, own: PatchSet | None) -> Patches:
        sets = {"start": patches, "uploads": own, "synthetic": Pipes.parse(raw)}
        return stamped(sets[place(raw, own)] or patches, raw)

    async def look(raw: Any, own: PatchSet | None) -> str:
        request, found = Request.parse(raw, segmenter.names), chosen(raw, own)

        def see() -> dict[str, Any]:
            with work.turn:
                return answer(segmenter, found, request)

        message = await asyncio.get_running_loop().run_in_executor(live, see)
        return _written({**message, "source": place(raw, own)})

    def browse(raw: Any, own: PatchSet | None) -> str:
        return _written(catalogue(chosen(raw, own), raw))

    def pack(raw: Any, own: PatchSet | None) -> Iterator[dict[str, Any]]:
        yield from export(work, chosen(raw, own), raw)

    def examine(raw: Any, own: PatchSet | None) -> Iterator[dict[str, Any]]:
        yield from probe(work, chosen(raw, own), raw)

    def rank(raw: Any, own: PatchSet | None) -> Iterator[dict[str, Any]]:
        for message in ranking.answers(raw, chosen(raw, own)):
            yield {**message, "source": place(raw, own)}

    with Page(title="geoseg", analytics_enabled=False, fill_width=True) as demo:
        own = gr.State(None, time_to_live=KEPT_SECONDS)
        _html(asset("page.html"), _page_script(segmenter, patches, shown), elem_id="geoseg")
        # Without the queue an answer is a third sooner; the one thread takes its place.
        _channel("look", look, own, value={"models": shown}, queue=False)
        _channel("browse", browse, own, queue=False)
        _job("export", pack, own)
        _job("probe", examine, own)
        _job("rank", rank, own)
        _upload_channel(own)
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


def _channel(
    name: str, handler: Handler, *more: gr.State, value: Any = None, **options: Any
) -> None:
    """A channel of that name, whose handler gets each message and the states `more`."""
    ask = _html("", _ASK % json.dumps(name), value=value or {}, visible="hidden")
    hear = _html("", _HEAR % json.dumps(name), visible="hidden")
    ask.input(
        handler,
        [ask, *more],
        hear,
        show_progress="hidden",
        api_visibility="private",
        **{"trigger_mode": "always_last"} | options,
    )


def _written(answer: dict[str, Any]) -> str:
    """An answer as one text: Gradio, here and in the browser, looks into whatever is more."""
    return json.dumps(answer, allow_nan=False)


def _job(name: str, handler: Handler, own: gr.State) -> None:
    """A channel whose handler yields its answers; a message on `stop-NAME` ends it.

    Gradio's own `cancels` loses or repeats what is asked soon after. So a stop tells up to which
    ticket nobody waits any more, and a run looks at that between its answers.
    """
    stopped = gr.State({})  # one dict a user, which run and stop share

    def run(raw: Any, own: PatchSet | None, stopped: dict[str, int]) -> Iterator[Any]:
        mine = ticket(fields(raw))
        try:
            for message in handler(raw, own):
                yield _written(message)
                if mine <= stopped.get(name, -1):
                    return
        except Exception as error:  # a mistake of ours: the page must not wait for ever
            _log.exception("the job %s failed", name)
            yield _written({"ticket": mine, "error": "failed", "reason": first_line(error)})

    def stop(raw: Any, stopped: dict[str, int]) -> None:
        stopped[name] = max(ticket(fields(raw)), stopped.get(name, -1))

    _channel(
        name, run, own, stopped, trigger_mode="multiple", concurrency_id="jobs", concurrency_limit=1
    )
    ask = _html("", _ASK % json.dumps(f"stop-{name}"), value={}, visible="hidden")
    ask.input(
        stop,
        [ask, stopped],
        trigger_mode="multiple",
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def _upload_channel(own: gr.State) -> None:
    """Files arrive by Gradio's own component: it checks where they lie and how large they are."""

    def receive(uploaded: Any, before: PatchSet | None) -> tuple[PatchSet | None, str]:
        found = read_uploads(uploaded or [])
        receipt = {
            "accepted": len(found.entries),
            "rejected": [{"name": r.name, "reason": r.reason} for r in found.rejected],
            "at": time.time_ns(),  # two receipts that are the same would be heard once
        }
        return (found if found.entries else before), _written(receipt)

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
        # Not as `css`: Gradio rewrites that, and loses what it does not know, such as @container.
        head="<style>" + "\n".join(asset(name) for name in STYLES) + "</style>",
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
        "limits": {"files": MAX_FILES, "bytes": MAX_FILE_BYTES, "total": MAX_TOTAL_BYTES},
        "maxShift": MAX_SHIFT,
        "maxNoise": MAX_NOISE,
        "maxSeed": MAX_SEED,
        "small": {"side": SIDE, "most": MOST},
        "pipes": {"count": COUNT, "knobs": {name: knob._asdict() for name, knob in KNOBS.items()}},
        "words": json.loads(asset("words.json")),
    }
    code = "\n".join(asset(name) for name in SCRIPTS)
    return f"'use strict';\n{code}\nstart(element, {json.dumps(facts)});"
