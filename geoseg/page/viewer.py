"""The viewer: the one component of ours, drawn on canvases by the modules in `static/`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from geoseg.page.backend import Backend
from geoseg.page.catalogue import MOST, SIDE
from geoseg.page.live import describe
from geoseg.page.request import MAX_NOISE, MAX_SEED, MAX_SHIFT
from geoseg.page.synthetic_patches import COUNT, KNOBS

STATIC = Path(__file__).parent / "static"
# The request of the viewer as it stands, for the input of an event: `inputs=[viewer], js=REQUEST`.
REQUEST = "() => [window.geoseg.request()]"

_serial = itertools.count(1)


def make_viewer(backend: Backend, shown: Sequence[str], first: str = "") -> gr.HTML:
    """Make the viewer; `shown` are the models that are ticked, `first` is the patch shown first."""
    patches = backend.patches
    facts = {
        "models": describe(backend.segmenter),
        "shown": list(shown),
        "count": len(patches),
        "name": first,
        "maxShift": MAX_SHIFT,
        "maxNoise": MAX_NOISE,
        "maxSeed": MAX_SEED,
        "thumbnails": {"side": SIDE, "most": MOST},
        "synthetic": {"count": COUNT, "knobs": {k: v._asdict() for k, v in KNOBS.items()}},
    }

    # Gradio marks the functions, which bound methods do not admit.
    async def look(message: Any) -> dict[str, Any]:
        return await backend.look(message)

    async def browse(message: Any) -> dict[str, Any]:
        return await backend.browse(message)

    return gr.HTML(
        {},
        html_template='<div class="gs"></div>',
        js_on_load="import(new URL('page/static/viewer.js', document.baseURI)).then(module => "
        f"module.start(element, {json.dumps(facts)}, {{ server, trigger, watch, props }}))",
        server_functions=[look, browse],
        apply_default_css=False,
        elem_id="viewer",
    )


def message(kind: str, **values: Any) -> dict[str, Any]:
    """Return a value of the viewer: it does what `kind` says, each time, as no two are equal."""
    return {"kind": kind, "serial": next(_serial), **values}


def tell(key: str) -> str:
    """Return the `js` of an event that sets one of the viewer's settings to its first input."""
    return f"(value) => {{ window.geoseg?.control({json.dumps(key)}, value); return []; }}"


def act(name: str) -> str:
    """Return the `js` of a button that does what a key of the viewer does (`actions.js`)."""
    return f"() => {{ window.geoseg?.actions[{json.dumps(name)}](); return []; }}"
