"""What the viewer's numeric modules are tested on: a scene, states, links, orders, steps."""

from types import SimpleNamespace

import numpy as np

ROWS, COLUMNS = 7, 9
THRESHOLDS = {"first": 0.5, "second": 0.7}
# The order of the patches, the one that is shown, the step, and the one that comes then.
STEPS = [
    (None, 0, -1, 4),
    (None, 4, 1, 0),
    ([3, 1], 3, 1, 1),
    ([3, 1], 1, 1, 3),
    ([3, 1], 0, 1, 3),
    ([3, 1], 0, -1, 1),
]
CHOICES = {
    "display": ["errors", "mask", "probability", "uncertainty", "disagreement"],
    "grey": ["fixed", "percentile", "full"],
    "palette": ["classic", "safe"],
    "letters": ["none", "trivial", "easy", "medium"],
    "source": ["start", "uploads", "synthetic"],
}
KNOBS = {name: {"low": 1, "high": 9, "step": 0.5} for name in ("width", "collar")}
FACTS = {
    "models": [{"name": name, "threshold": 0.5} for name in ("first", "second", "third")],
    "shown": ["first", "second"],
    "count": 12,
    "name": "usual",
    "maxShift": 35,
    "maxNoise": 0.05,
    "maxSeed": 2**31 - 1,
    "synthetic": {"count": 100, "knobs": KNOBS},
}
HASHES = {
    "": {},
    "#shift=-4&noise=1e9&seed=2.6&opacity=x&threshold=": {"shift": 0, "noise": 0.05, "seed": 3},
    "#display=constructor&grey=all&models=third,nobody&focus=nobody&__proto__=1": {
        "models": ["third"],
        "focus": "third",
    },
    "#source=synthetic&knobs=width:99,collar:,constructor:1,x:2": {
        "source": "synthetic",
        "knobs": {"width": 9},
        "name": "",
    },
    "#patch=a%26b&truth=no&threshold=2": {"name": "a&b", "truth": False, "threshold": 1},
}


def draw_scene(random):
    """Draw a patch with nulls, its label, and two models' probabilities, one across the seam."""
    patch = random.normal(0, 0.04, (ROWS, COLUMNS)).astype(np.float32)
    null = random.random((ROWS, COLUMNS)) < 0.1
    null[2, :3] = True
    null[3:6, [0, -1]] = False
    patch[null] = np.nan
    truth = random.random((ROWS, COLUMNS)) < 0.3
    probability = random.random((2, ROWS, COLUMNS)).astype(np.float32)
    probability[:, null] = np.nan
    probability[0, 3:5, [0, -1]] = 0.9
    probability[0, 5, [0, -1]] = [0.1, 0.9]
    return SimpleNamespace(patch=patch, truth=truth, probability=probability, null=null)


def draw_state(random):
    """Draw the fields of a state that a link holds."""
    source = str(random.choice(CHOICES["source"]))
    models = [m["name"] for m in FACTS["models"] if random.random() < 0.5]
    return {
        "name": str(random.choice(["plain", "a&b=c #1", "\u00fc\u2192 %41+,:"])),
        **{key: str(random.choice(values)) for key, values in CHOICES.items()},
        "source": source,
        "knobs": {"width": float(random.uniform(1, 9))} if source == "synthetic" else {},
        "models": models,
        "focus": models[-1] if models else "second",
        "shift": int(random.integers(36)),
        "noise": float(random.uniform(0, 0.05)),
        "seed": int(random.integers(2**31)),
        "truth": bool(random.random() < 0.5),
        "threshold": float(random.random()) if random.random() < 0.5 else None,
        "opacity": int(random.integers(101)),
        "sort": str(random.choice(["file", "iou first", "doubt"])),
        "well": str(random.choice(["all", "3", "null"])),
    }


def plain(array):
    """Return a flat list in which None stands for NaN."""
    return [None if value != value else float(value) for value in np.asarray(array).ravel()]


_RANDOM = np.random.default_rng(17)
SCENE = draw_scene(_RANDOM)
STATES = [draw_state(_RANDOM) for _ in range(100)]
_VALUES = np.array([0.5, np.nan, 0.25, 0.5, 0.75])
# The value of each patch or None, and which patches are wanted.
ORDERS = [
    (None, [True] * 5),
    (None, [True, False, True, True, False]),
    (_VALUES, [True] * 5),
    (_VALUES, [True, True, False, True, True]),
]
