"""The tab Save."""

from __future__ import annotations

import gradio as gr

from geoseg.page.backend import Backend


def add_save_tab(backend: Backend, viewer: gr.HTML) -> None:
    """Add the contents of the tab Save."""
    gr.Markdown("### The view")
