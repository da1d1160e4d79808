"""The tab Help."""

from __future__ import annotations

import gradio as gr

from geoseg.page.backend import Backend


def add_help_tab(backend: Backend, viewer: gr.HTML) -> None:
    """Add the contents of the tab Help."""
    gr.Markdown("### Keys")
