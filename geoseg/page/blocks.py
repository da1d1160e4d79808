"""The page: one component that our scripts fill, the endpoints for programs, and the server.

`page.html` and its scripts beside this file build everything that is seen; what they ask goes by
the routes of `routes.py`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from importlib.resources import files

import gradio as gr

from geoseg.card import latest_per_architecture
from geoseg.measurements import DEFAULT, MeasurementOptions
from geoseg.page.api import MAX_WAITING, endpoints
from geoseg.page.browse import PatchSet
from geoseg.page.catalogue import MOST, SIDE
from geoseg.page.live import describe
from geoseg.page.pipes import COUNT, KNOBS
from geoseg.page.request import MAX_NOISE, MAX_SEED, MAX_SHIFT
from geoseg.page.routes import Desk
from geoseg.page.server import Page, options
from geoseg.page.uploads import MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES
from geoseg.segmenter import Segmenter

SCRIPTS = (
    "words.js",
    "visitor.js",
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


def build(
    segmenter: Segmenter,
    patches: PatchSet,
    shown: Sequence[str] | None = None,
    measurements: MeasurementOptions = DEFAULT,
) -> Page:
    """Build the page for these models.

    `patches` is what everybody sees before uploading their own, `shown` the models that are ticked
    at first, by default the `latest_per_architecture`. `measurements` say what uploads measure.
    """
    shown = latest_per_architecture(segmenter.cards) if shown is None else list(shown)
    with Page(title="geoseg", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(
            html_template=asset("page.html"),
            js_on_load=_script(segmenter, patches, shown),
            apply_default_css=False,
            elem_id="geoseg",
        )
        # Not queued by Gradio where one request has its answer, as over MCP.
        for name, function in endpoints(segmenter).items():
            gr.api(
                function,
                api_name=name,
                api_description=inspect.getdoc(function),
                queue=False,
                concurrency_id="programs",
            )
    page.desk = Desk(segmenter, patches, measurements)
    page.queue(max_size=MAX_WAITING, api_open=False)
    return page


def launch(
    page: Page, host: str, port: int, root_path: str = "", accounts: Sequence[str] = ()
) -> str:
    """Serve the page until `page.close()`, and return its address; OSError for a taken port.

    `root_path` is where a proxy shows it, `accounts` ("user:password") those who may enter, or all.
    """
    _, address, _ = page.launch(
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
        **options(accounts, page.desk.routes()),
    )
    return address


def asset(name: str) -> str:
    """Read one of the page's own files."""
    return files("geoseg.page").joinpath(name).read_text("utf-8")


def _script(segmenter: Segmenter, patches: PatchSet, shown: Sequence[str]) -> str:
    """Return all scripts in one scope, then the call that starts them with their settings."""
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
