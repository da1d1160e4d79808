"""How a run uses its hardware: chosen by itself, and every choice can be turned off."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geoseg.inference import native_precision

CHOICES = ("bf16", "channels-last", "fused", "compile", "graph", "memory")
# Compiling takes up to a minute: it must not outlast what it saves.
_PATCHES_WORTH_COMPILING = 500_000
# glibc's names for two of its settings, and the most to which it raises them by itself.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_GLIBC_MMAP, _GLIBC_TRIM = 32 << 20, 64 << 20
_ALL = (1 << 31) - 1


@dataclass(frozen=True)
class Tuning:
    """What is done for speed. The default is none of it.

    Attributes:
        precision: of the convolutions; weights, losses and optimiser stay float32.
        channels_last: keep the channels of a pixel together.
        fused: update all weights in one kernel.
        compile: let Inductor write the model's kernels.
        graph: on a GPU, record a whole step once and replay it.
        memory: on Linux, keep freed memory instead of returning it to the system at every step.
    """

    precision: torch.dtype = torch.float32
    channels_last: bool = False
    fused: bool = False
    compile: bool = False
    graph: bool = False
    memory: bool = False


PLAIN = Tuning()


def choose_tuning(
    device: torch.device,
    patches: int,
    *,
    precision: str = "auto",
    compile: bool = False,
    without: Collection[str] = (),
) -> Tuning:
    """What pays on `device` for a run that sees `patches` in all.

    Args:
        precision: as `choose_precision` takes it.
        compile: ask for it where it would not be chosen: it is for long runs on a GPU only, as it
            takes up to a minute.
        without: names of CHOICES to leave out.
    """
    gpu = device.type == "cuda"
    return Tuning(
        torch.float32 if "bf16" in without else choose_precision(precision, device),
        channels_last="channels-last" not in without,
        fused="fused" not in without,
        compile="compile" not in without
        and (compile or (gpu and patches >= _PATCHES_WORTH_COMPILING)),
        graph=gpu and "graph" not in without,
        memory="memory" not in without,
    )


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Turn "auto", "bf16" or "fp32" into a dtype.

    "auto" is bfloat16 where the processor multiplies it natively, else float32.
    """
    if name != "auto":
        return {"bf16": torch.bfloat16, "fp32": torch.float32}[name]
    return native_precision(device)


def describe_hardware(device: torch.device) -> str:
    """What computes: other hardware, other bits."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def keep_memory(keep: bool) -> None:
    """Tell glibc to keep all freed memory in this process, or as much as it ever does by itself.

    By itself it returns blocks above 32 MB to the system, at the latest, which fills each page with
    zeros when the next step asks for it again: a tenth of the time of a step. Elsewhere than on
    glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_MMAP_THRESHOLD, _ALL if keep else _GLIBC_MMAP)
        mallopt(_TRIM_THRESHOLD, _ALL if keep else _GLIBC_TRIM)


def compile_model(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The model's forward pass by Inductor, compiled at its first call and cached between runs.

    Where that fails, for want of a C++ compiler say, torch warns and the plain model is used.
    """
    import torch._dynamo  # takes a second, which a run without it should not pay

    torch._dynamo.config.suppress_errors = True
    return torch.compile(model, dynamic=False)


class RecordedStep:
    """A training step as one CUDA graph: the processor starts it whole, not kernel by kernel.

    Args:
        step: takes tensors, changes weights and optimiser state in place and gives a tensor; must
            not ask the GPU for a value.
        inputs: of the shapes that every call will have.
        state: gives everything the step changes, and may be asked at any time. Recording needs
            steps to warm up; they leave no trace there.
    """

    def __init__(
        self,
        step: Callable[..., Tensor],
        inputs: Sequence[Tensor],
        state: Callable[[], dict[str, Tensor]],
    ) -> None:
        self._inputs = [t.clone() for t in inputs]
        before = {name: t.clone() for name, t in state().items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # what is allocated or chosen once happens here
                step(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._answer = step(*self._inputs)
        for name, t in state().items():
            if name in before:
                t.copy_(before[name])
            else:  # moments and counters begin at zero
                t.zero_()

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Replay the step on `inputs`; what it gives is overwritten by the next call."""
        torch._foreach_copy_(self._inputs, list(inputs))
        self._graph.replay()
        return self._answer
