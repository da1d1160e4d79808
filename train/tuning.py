"""Hardware tuning: chosen automatically, and each choice can be turned off."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geoseg.inference import native_precision

CHOICES = ("bf16", "channels-last", "fused", "compile", "graph", "memory")
# Compiling takes up to a minute, which a short run does not win back.
_PATCHES_WORTH_COMPILING = 500_000
# glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, and the most to which it raises them itself.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_GLIBC_MMAP, _GLIBC_TRIM = 32 << 20, 64 << 20
_UNLIMITED = (1 << 31) - 1


@dataclass(frozen=True)
class Tuning:
    """The choices made for speed. The default is none of them.

    Attributes:
        precision: of the convolutions; weights, losses and optimiser state stay float32.
        channels_last: store the channels of a pixel together.
        fused: let the optimiser update all weights in one kernel.
        compile: compile the model with Inductor.
        graph: on a GPU, record a whole step as a CUDA graph and replay it.
        memory: on Linux, keep freed memory in the process instead of returning it at every step.
    """

    precision: torch.dtype = torch.float32
    channels_last: bool = False
    fused: bool = False
    compile: bool = False
    graph: bool = False
    memory: bool = False


NO_TUNING = Tuning()


def choose_tuning(
    device: torch.device,
    patches: int,
    *,
    precision: str = "auto",
    compile: bool = False,
    without: Collection[str] = (),
) -> Tuning:
    """Choose the tuning for a run that sees `patches` in all on `device`.

    Args:
        precision: "fp32", "bf16", or "auto", which is bf16 if the processor multiplies it natively.
        compile: compile in any case; by default only long runs on a GPU do.
        without: names of CHOICES to turn off.
    """
    is_gpu = device.type == "cuda"
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}.get(precision)
    is_worth_compiling = is_gpu and patches >= _PATCHES_WORTH_COMPILING
    return Tuning(
        torch.float32 if "bf16" in without else dtype or native_precision(device),
        channels_last="channels-last" not in without,
        fused="fused" not in without,
        compile="compile" not in without and (compile or is_worth_compiling),
        graph=is_gpu and "graph" not in without,
        memory="memory" not in without,
    )


def keep_freed_memory(keep: bool) -> None:
    """Let glibc keep all freed memory in this process, or only as much as its defaults allow.

    By default glibc returns every block above 32 MB to the system, which then fills each page with
    zeros when the next step allocates it again: a tenth of the time of a step.
    """
    mallopt = sys.platform == "linux" and getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_MMAP_THRESHOLD, _UNLIMITED if keep else _GLIBC_MMAP)
        mallopt(_TRIM_THRESHOLD, _UNLIMITED if keep else _GLIBC_TRIM)


def compile_model(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the model's forward pass compiled by Inductor.

    It is compiled at the first call and cached between runs. If that fails, for example without a
    C++ compiler, torch warns and uses the plain model.
    """
    import torch._dynamo  # imported here because it takes a second

    torch._dynamo.config.suppress_errors = True
    return torch.compile(model, dynamic=False)


class RecordedStep:
    """A training step as one CUDA graph, which the CPU launches at once, not kernel by kernel.

    Args:
        step: takes tensors, changes weights and optimiser state in place and returns a tensor; it
            must not read a value from the GPU.
        inputs: with the shapes of every later call.
        get_state: returns all tensors that the step changes. Recording needs warm-up steps; their
            effect on these tensors is undone.
    """

    def __init__(
        self,
        step: Callable[..., Tensor],
        inputs: Sequence[Tensor],
        get_state: Callable[[], dict[str, Tensor]],
    ) -> None:
        self._inputs = [t.clone() for t in inputs]
        initial = {name: t.clone() for name, t in get_state().items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # allocations and the choice of kernels happen here
                step(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = step(*self._inputs)
        for name, t in get_state().items():
            if name in initial:
                t.copy_(initial[name])
            else:  # moments and counters start at zero
                t.zero_()

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Replay the step on `inputs`; the next call overwrites the returned tensor."""
        torch._foreach_copy_(self._inputs, list(inputs))
        self._graph.replay()
        return self._output
