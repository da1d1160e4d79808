"""The former names of `synthetic_patches`, for modules that still use them."""

from geoseg.page.synthetic_patches import COUNT, KNOBS
from geoseg.page.synthetic_patches import LetteredPatches as Stamped
from geoseg.page.synthetic_patches import SyntheticPatches as Pipes
from geoseg.page.synthetic_patches import with_letters as stamped

__all__ = ["COUNT", "KNOBS", "Pipes", "Stamped", "stamped"]
