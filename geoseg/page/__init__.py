"""The page in the browser, patches and models side by side, and the server behind it."""

from geoseg.input_files import NoPatchesError
from geoseg.page.api import choose
from geoseg.page.app import build, launch
from geoseg.page.browse import PatchSet, load_set
from geoseg.page.zerogpu import live_device

__all__ = ["NoPatchesError", "PatchSet", "build", "choose", "launch", "live_device", "load_set"]
