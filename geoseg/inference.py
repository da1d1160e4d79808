"""How a model answers soonest: fewer bits where they are native, and operations recorded once.

B batch, C channels in, O channels out, Z depth, A azimuth.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

# Recorded are single images of up to four patches: for more pixels the kernels themselves are what
# takes time, and a batch has no such use for it.
_MOST_PIXELS = 4 * 36 * 36
# The recordings of a model that are kept; each holds its weights once more.
_MOST_SHAPES = 8
# One at a time in a process: torch.fx patches modules as long as it looks at one.
_RECORDING = threading.Lock()
_FUSED: dict[Any, str] = {
    torch.ops.aten.relu.default: "relu",
    torch.ops.aten.relu_.default: "relu",
    torch.ops.aten.leaky_relu.default: "leaky_relu",
    torch.ops.aten.leaky_relu_.default: "leaky_relu",
}
Forward = Callable[[Tensor], Tensor]


def native_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where `device` multiplies it natively, else float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Older releases of torch cannot tell, so they get float32.
        capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        native = capabilities.get("avx512_bf16") is True
    return torch.bfloat16 if native else torch.float32


class Runner:
    """A model that gives the same logits sooner. It keeps a copy; `model` stays what it was.

    A single image of up to 5,184 pixels is answered by a recording, made when its shape first
    comes: a flat list of operations, with the weights in the order that oneDNN's kernels want and
    activations inside the convolutions, or on a GPU one CUDA graph. It is compared with the model
    before it is used. Where it cannot be made, or answers otherwise, the model runs as it is.

    Args:
        model: in evaluation mode, on its device.
        precision: what it computes in, float32 or bfloat16.
        record: False leaves recording out.

    Safe to use from several threads.
    """

    def __init__(self, model: nn.Module, precision: torch.dtype, record: bool = True) -> None:
        self._model = copy.deepcopy(model).to(precision)
        nn.utils.convert_conv2d_weight_memory_format(self._model, torch.channels_last)
        self._precision, self._record = precision, record
        self._recordings: OrderedDict[tuple[int, ...], Forward] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, C, Z, A) float32 -> logits (B, O, Z, A) float32."""
        x = inputs.to(dtype=self._precision, memory_format=torch.channels_last)
        small = len(x) == 1 and x.shape[-2] * x.shape[-1] <= _MOST_PIXELS
        forward = self._recording(x) if small and self._record else self._model
        return forward(x).float()

    def _recording(self, x: Tensor) -> Forward:
        shape = tuple(x.shape)
        with self._lock:
            if shape not in self._recordings:
                self._recordings[shape] = record(self._model, x) or self._model
                if len(self._recordings) > _MOST_SHAPES:
                    self._recordings.popitem(last=False)
            self._recordings.move_to_end(shape)
            return self._recordings[shape]


def record(model: nn.Module, x: Tensor) -> Forward | None:
    """What answers as `model` for every input like `x`, and sooner; None where that is not to be.

    It leans on parts of torch that are not promised to stay, so whatever they raise is no error.
    """
    try:
        with _RECORDING, torch.inference_mode(False), torch.no_grad():
            x = x.clone(memory_format=torch.channels_last)
            recorded = _trace(model, x)
            forward = _CudaGraph(recorded, x) if x.is_cuda else _pack(recorded)
            expected, found = model(x), forward(x)
    except Exception:
        return None
    size = expected.abs().max().clamp(min=1)
    near = (found - expected).abs().max() <= torch.finfo(x.dtype).eps ** 0.5 * size
    return forward if near else None


def _trace(model: nn.Module, x: Tensor) -> fx.GraphModule:
    """The operations on `x`, one after the other; what depends on weights alone is computed now."""
    module = make_fx(model)(x)
    known: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            known[node] = attrgetter(node.target)(module)
        elif node.op == "call_function" and not set(node.all_input_nodes) - known.keys():
            arguments, keywords = map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*arguments, **keywords)
    for number, (node, value) in enumerate(known.items()):
        if isinstance(value, Tensor) and node.users.keys() - known.keys():
            _give(module, node, f"constant_{number}", value)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _give(module: fx.GraphModule, node: fx.Node, name: str, value: Tensor) -> None:
    """Let those who use `node` take `value` instead."""
    module.register_buffer(name, value.detach())
    with module.graph.inserting_before(node):
        node.replace_all_uses_with(module.graph.get_attr(name))


def _pack(module: fx.GraphModule) -> fx.GraphModule:
    """Put every convolution's weights in the order its kernel wants, and what follows inside it."""
    for number, node in enumerate(list(module.graph.nodes)):
        if node.target is not torch.ops.aten.convolution.default:
            continue
        x, weight, bias, stride, padding, dilation, transposed, _, groups = node.args
        if transposed or weight.op != "get_attr":
            continue
        how = (padding, stride, dilation, groups)
        shape = list(x.meta["val"].shape)
        value = attrgetter(weight.target)(module)
        packed = torch.ops.mkldnn._reorder_convolution_weight(value, *how, shape)
        module.register_buffer(f"packed_{number}", packed)
        last, fused, slope = _activation(node)
        with module.graph.inserting_before(node):
            packed = module.graph.get_attr(f"packed_{number}")
            quick = module.graph.call_function(
                torch.ops.mkldnn._convolution_pointwise.default,
                (x, packed, bias, *how, fused, slope, ""),
            )
        quick.meta = last.meta
        last.replace_all_uses_with(quick)
        if last is not node:
            module.graph.erase_node(last)
        module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _activation(node: fx.Node) -> tuple[fx.Node, str, list[Any]]:
    """The activation that alone takes what `node` gives, or `node` itself: (it, name, slope)."""
    user = next(iter(node.users))
    if len(node.users) > 1 or user.target not in _FUSED:
        return node, "none", []
    name = _FUSED[user.target]
    slope = user.args[1] if len(user.args) > 1 else 0.01  # torch's own default is not written out
    return user, name, [slope] if name == "leaky_relu" else []


class _CudaGraph:
    """A forward pass that the processor starts as a whole; calls take turns."""

    def __init__(self, forward: Forward, x: Tensor) -> None:
        self._forward = forward  # owns the constants that the graph reads
        self._input, self._lock = x.clone(), threading.Lock()
        aside = torch.cuda.Stream(x.device)
        aside.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(aside):
            for _ in range(3):  # kernels are chosen and memory is found before it counts
                forward(self._input)
        torch.cuda.current_stream(x.device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may go on with the GPU meanwhile.
        with torch.cuda.graph(self._graph, stream=aside, capture_error_mode="thread_local"):
            self._output = forward(self._input)

    def __call__(self, x: Tensor) -> Tensor:
        with self._lock:
            self._input.copy_(x)
            self._graph.replay()
            return self._output.clone()
