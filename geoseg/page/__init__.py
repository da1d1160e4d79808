"""What the browser shows: patches and models side by side, live, and the endpoint behind them."""

from geoseg.page.api import choose
from geoseg.page.blocks import build, launch
from geoseg.page.browse import NoPatchesError, PatchSet, load_set
from geoseg.page.zerogpu import live_device

__all__ = ["NoPatchesError", "PatchSet", "build", "choose", "launch", "live_device", "load_set"]
