"""The page: Gradio's parts round the viewer, the endpoints for programs, and the server."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import gradio as gr

from geoseg.card import latest_per_architecture
from geoseg.measurements import DEFAULT, MeasurementOptions
from geoseg.page.api import endpoints
from geoseg.page.backend import Backend
from geoseg.page.browse import PatchSet
from geoseg.page.controls import add_controls, add_header, follow_viewer, wire_uploads
from geoseg.page.help_tab import add_help_tab
from geoseg.page.labels_tab import add_labels_tab
from geoseg.page.probe_tab import add_probe_tab
from geoseg.page.save_tab import add_save_tab
from geoseg.page.security import launch_options, protect
from geoseg.page.set_tab import add_set_tab
from geoseg.page.synthetic_tab import add_synthetic_tab
from geoseg.page.viewer import make_viewer
from geoseg.segmenter import Segmenter

# The system's own fonts: nothing is fetched from anywhere else, so the page works offline.
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
THEME = gr.themes.Base(
    primary_hue="cyan",
    neutral_hue="slate",
    spacing_size="sm",
    text_size="sm",
    radius_size="md",
    font=list(FONTS),
    font_mono=["ui-monospace", "Consolas", "monospace"],
)
TABS: dict[str, Callable[[Backend, gr.HTML], None]] = {
    "set": add_set_tab,
    "labels": add_labels_tab,
    "probe": add_probe_tab,
    "synthetic": add_synthetic_tab,
    "save": add_save_tab,
    "help": add_help_tab,
}
_OPEN_TAB = """() => {
    const tab = window.geoseg.tab(), update = { __type__: "update" };
    return [{ ...update, open: Boolean(tab) }, tab ? { ...update, selected: tab } : update];
}"""
MAX_WAITING = 64  # events of all users that wait for their turn


def build(
    segmenter: Segmenter,
    patches: PatchSet,
    shown: Sequence[str] | None = None,
    measurements: MeasurementOptions = DEFAULT,
) -> gr.Blocks:
    """Build the page for these models.

    `patches` is what everybody sees before uploading their own, `shown` the models that are ticked
    at first, by default the `latest_per_architecture`. `measurements` say what uploads measure.
    """
    shown = latest_per_architecture(segmenter.cards) if shown is None else list(shown)
    backend = Backend(segmenter, patches, measurements)
    with gr.Blocks(
        title="geoseg", analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)
    ) as page:
        upload, close = add_header()
        viewer = make_viewer(backend, shown)
        controls = add_controls(backend, viewer, shown)
        follow_viewer(viewer, controls, close)
        _add_sidebar(backend, viewer)
        wire_uploads(backend, viewer, upload, close)
        # Not queued by Gradio where one request has its answer, as over MCP.
        for name, function in endpoints(segmenter).items():
            gr.api(
                function,
                api_name=name,
                api_description=inspect.getdoc(function),
                queue=False,
                concurrency_id="programs",
            )
    page.queue(max_size=MAX_WAITING, api_open=False)
    return page


def _add_sidebar(backend: Backend, viewer: gr.HTML) -> None:
    """Add the tabs, which a key opens too."""
    with (
        gr.Sidebar(position="right", open=False, width=480) as sidebar,
        gr.Tabs(selected="set") as tabs,
    ):
        for name, add in TABS.items():
            with gr.Tab(name.capitalize(), id=name):
                add(backend, viewer)
    viewer.select(None, None, [sidebar, tabs], js=_OPEN_TAB, api_visibility="private")


def launch(
    page: gr.Blocks, host: str, port: int, root_path: str = "", accounts: Sequence[str] = ()
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
        footer_links=[],  # the tab Help leads to the description of the endpoints
        root_path=root_path,
        mcp_server=True,
        theme=THEME,
        head='<link rel="stylesheet" href="page/static/viewer.css">',
        **launch_options(host, root_path, accounts),
    )
    protect(page)
    return address
