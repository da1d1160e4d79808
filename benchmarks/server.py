"""Run the real `python app.py` on a free port, with generated patches and small models."""

import os
import queue
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from geoseg.checkpoint import save_checkpoint
from geoseg.models import create_model
from geoseg.normalisation import Normalisation

ROOT = Path(__file__).resolve().parent.parent
MODELS = {
    "200-stacked": ("stacked", {"width": 8}),
    "300-vanilla": ("vanilla", {"widths": [8, 8, 8, 8]}),
    "402-unet": ("unet", {}),
}

# bf16 rounding of random weights says nothing about trained models, so it is off.
EXACT = ("--device", "cpu", "--precision", "exact")
APP = (sys.executable, str(ROOT / "app.py"), *EXACT)


def start_process(command: Sequence[str], environment: Mapping[str, str]) -> Any:
    """Start a command with its output in a pipe, `stdout` of the process."""
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def make_patch(seed: int) -> np.ndarray:
    """Return noise (36, 36), float32, with one dark column, as a groove is."""
    generator = np.random.default_rng(seed)
    patch = generator.normal(0, 0.01, (36, 36)).astype(np.float32)
    patch[:, 7 * seed % 36] -= 0.03
    return patch


def make_folder(root: Path, count: int = 5) -> Path:
    """Write `count` patches with labels in the data set's layout; return the folder of the patches.

    The third patch has nulls; the last has no label.
    """
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    for i in range(count):
        patch = make_patch(i + 1)
        label = np.zeros((36, 36), np.uint8)
        label[:, 7 * (i + 1) % 36] = 1
        if i == 2:
            patch[4:7] = np.nan
        np.save(root / "images" / f"well_9_patch_{i * 5}.npy", patch)
        if i < count - 1:
            np.save(root / "labels" / f"well_9_patch_{i * 5}.npy", label)
    return root / "images"


def make_checkpoints(folder: Path) -> Path:
    """Write small models of random weights that mark about a tenth of a patch; return `folder`.

    Their probabilities spread as those of a trained model do.
    """
    torch.manual_seed(1)
    inputs, _ = Normalisation()(torch.from_numpy(make_patch(1))[None])
    for name, (architecture, arguments) in MODELS.items():
        model = create_model(architecture, **arguments)
        weight, bias = list(model.parameters())[-2:]
        with torch.no_grad():
            logits = model(inputs)
            scale = 2 / logits.std()
            weight *= scale
            bias.copy_((bias - logits.mean()) * scale)
            threshold = model(inputs).sigmoid().quantile(0.9).item()
        path = folder / f"{name}.safetensors"
        save_checkpoint(path, model, threshold=threshold, experiment={"id": int(name[:3])})
    return folder


class Server:
    """A running app.py: its address, its process, and its output since it is ready.

    `start` starts the process; tests set one that is faster.
    """

    start: ClassVar[Callable[[Sequence[str], Mapping[str, str]], Any]] = staticmethod(start_process)

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = type(self).start(
            command,
            {
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "GRADIO_SERVER_PORT": str(port),
                # Gradio leaves an event loop open; a warning amid an import breaks Python 3.11.
                "PYTHONWARNINGS": "default,ignore:unclosed event loop:ResourceWarning",
                **environment,
            },
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read_output, daemon=True).start()
        printed: list[str] = []
        while not printed or "geoseg is at" not in printed[-1]:
            line = self._lines.get(timeout=120)
            if not line:
                raise RuntimeError("app.py stopped:\n" + "".join(printed))
            printed.append(line)

    def output(self) -> list[str]:
        """Return the lines printed since the previous call."""
        return [self._lines.get() for _ in range(self._lines.qsize())]

    def memory(self) -> int:
        """Return the resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def _read_output(self) -> None:
        with self.process.stdout:
            for line in self.process.stdout:
                self._lines.put(line)
        self._lines.put("")


@contextmanager
def running(
    arguments: Sequence[str] = (), program: Sequence[str] = APP, **environment: str
) -> Iterator[Server]:
    """Run app.py until the block ends; give the server."""
    server = Server([*program, *arguments], environment)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


@contextmanager
def serve(arguments: Sequence[str], **environment: str) -> Iterator[str]:
    """Run app.py until the block ends; give its address."""
    with running(arguments, **environment) as server:
        yield server.url
