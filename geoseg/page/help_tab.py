"""The tab Help: keys, colours, limits, and the way to the endpoints for programs."""

from __future__ import annotations

import gradio as gr

from geoseg.page.backend import Backend
from geoseg.page.uploads import MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES
from geoseg.page.users import KEPT_SECONDS

# As static/keys.js has them: a test compares the two.
KEYS = [
    ("ArrowLeft ArrowRight", "previous and next patch, round and round"),
    ("PageUp PageDown", "choose the model that is laid over the patch"),
    ("e", "errors, or the plain mask"),
    ("p", "probability, and back"),
    ("u", "uncertainty, and back"),
    ("d", "disagreement of the models, and back"),
    ("t", "outline of the truth"),
    ("a", "grey range: fixed, percentiles, all"),
    ("c", "colour-blind palette"),
    ("+ = - 0", "zoom in, out, and back; so do the wheel, two fingers and a double click"),
    (
        "Shift+ArrowLeft Shift+ArrowRight Shift+ArrowUp Shift+ArrowDown",
        "move the picture that is zoomed",
    ),
    ("f", "full screen"),
    ("/", "go to a patch by name"),
    ("r", "reset every setting"),
    ("s", "tab Set"),
    ("l", "tab Labels"),
    ("k x", "in Labels: keep or doubt the label that is shown"),
    ("i", "tab Probe"),
    ("y", "tab Synthetic"),
    ("w", "tab Save"),
    ("?", "this help"),
    ("Escape", "close a message, or the tabs"),
]
_NAMES = {
    "ArrowLeft": "\u2190",
    "ArrowRight": "\u2192",
    "ArrowUp": "\u2191",
    "ArrowDown": "\u2193",
    "PageUp": "Page Up",
    "PageDown": "Page Down",
    "Escape": "Esc",
}
COLOURS = [
    ("background, correct", "black", "black"),
    ("groove, correct", "green", "white"),
    ("groove missed", "red", "orange"),
    ("false alarm", "blue", "blue"),
    ("groove, says the model, where errors are not shown", "light blue", "light blue"),
    ("outline of the true groove", "yellow", "yellow"),
    ("no measurement", "hatched", "hatched"),
]
SEEN = (
    "A patch is one window of a pipe's unrolled wall: depth runs down, the circumference runs "
    "across, so the right edge touches the left one. Shift turns the pipe, truth and noise "
    "included; a model that knows the pipe is round gives the same mask, turned. Noise depends "
    "only on its seed."
)


def add_help_tab(backend: Backend, viewer: gr.HTML) -> None:
    """Add the contents of the tab Help."""
    gr.Markdown(f"### Keys\n{list_keys()}", elem_id="help-keys")
    gr.Markdown(f"### Colours\n{list_colours()}", elem_id="help-colours")
    gr.Markdown(f"### What you see\n{SEEN}")
    gr.Markdown(f"### Limits\n{describe_limits()}", elem_id="help-limits")
    gr.Markdown(
        "### Programs\nPrograms call the same functions, from Python, JavaScript, a shell or an "
        "agent (MCP): *Use via API or MCP* at the foot of the page shows how.",
        elem_id="help-programs",
    )


def list_keys() -> str:
    """Return the Markdown list of the keys."""
    return "\n".join(f"- {_show(keys)} {action}" for keys, action in KEYS)


def _show(keys: str) -> str:
    return " ".join(f"`{_show_one(key)}`" for key in keys.split())


def _show_one(key: str) -> str:
    *held, last = key.split("+") if len(key) > 1 else [key]
    shown = _NAMES.get(last, last.upper() if last.isalpha() and len(last) == 1 else last)
    return "+".join([*held, shown])


def list_colours() -> str:
    """Return the Markdown list of the colours, in both palettes."""
    names = {
        (usual, safe): usual if usual == safe else f"{usual} or {safe}"
        for _, usual, safe in COLOURS
    }
    return "\n".join(f"- **{names[usual, safe]}**: {what}" for what, usual, safe in COLOURS)


def describe_limits() -> str:
    """Return what can be opened, and how long it is kept."""
    file, total, hours = MAX_FILE_BYTES // 2**20, MAX_TOTAL_BYTES // 2**20, KEPT_SECONDS // 3600
    return (
        f"Open up to {MAX_FILES} .npy files of {file} MB each, {total} MB in all. Only you see "
        f"them; they are forgotten when you have not looked at them for {hours} hours."
    )
