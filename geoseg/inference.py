"""Fast forward passes: native low precision, and operations recorded once per input shape.

The recording is our own because it halves the time of a single patch (benchmarks/inference.py).

B batch, C channels in, O channels out, Z depth, A azimuth.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

# With more pixels, or more images than one, the kernels themselves take most of the time.
_MAX_RECORDED_PIXELS = 4 * 36 * 36
_MAX_RECORDINGS = 8  # kept for each model; each holds a copy of its weights
_RECORDING_LOCK = threading.Lock()  # torch.fx patches modules while it traces one
_FUSABLE_ACTIVATIONS: dict[Any, str] = {
    torch.ops.aten.relu.default: "relu",
    torch.ops.aten.relu_.default: "relu",
    torch.ops.aten.leaky_relu.default: "leaky_relu",
    torch.ops.aten.leaky_relu_.default: "leaky_relu",
}
_logger = logging.getLogger(__name__)
Forward = Callable[[Tensor], Tensor]


def native_precision(device: torch.device) -> torch.dtype:
    """Return bfloat16 if `device` multiplies it natively, else float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:  # older releases of torch do not say, so they get float32
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        native = capabilities.get("avx512_bf16", False)
    return torch.bfloat16 if native else torch.float32


class ModelRunner:
    """Runs a copy of a model faster; the logits stay the same within the precision.

    `model` is in evaluation mode on its device; `precision` is float32 or bfloat16. Unless `record`
    is False, a single image of up to 5,184 pixels runs through a recording, made for each new input
    shape: a flat list of operations, with the weights in the order of oneDNN's kernels and
    activations fused into the convolutions, or on a GPU one CUDA graph. Safe to use from several
    threads.
    """

    def __init__(self, model: nn.Module, precision: torch.dtype, record: bool = True) -> None:
        self._model = copy.deepcopy(model).to(precision)
        nn.utils.convert_conv2d_weight_memory_format(self._model, torch.channels_last)
        self._precision, self._record = precision, record
        self._recordings: OrderedDict[tuple[int, ...], Forward] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return logits (B, O, Z, A) float32 for inputs (B, C, Z, A) float32."""
        x = inputs.to(dtype=self._precision, memory_format=torch.channels_last)
        small = len(x) == 1 and x.shape[-2] * x.shape[-1] <= _MAX_RECORDED_PIXELS
        forward = self._get_recording(x) if small and self._record else self._model
        return forward(x).float()

    def _get_recording(self, x: Tensor) -> Forward:
        shape = tuple(x.shape)
        with self._lock:
            if shape not in self._recordings:
                self._recordings[shape] = record_forward(self._model, x) or self._model
                if len(self._recordings) > _MAX_RECORDINGS:
                    self._recordings.popitem(last=False)
            self._recordings.move_to_end(shape)
            return self._recordings[shape]


def record_forward(model: nn.Module, x: Tensor) -> Forward | None:
    """Return a faster function that equals `model` for every input like `x`.

    Return None, and log a warning, if it differs or cannot be recorded: the recording uses parts of
    torch that may change in any release.
    """
    try:
        with _RECORDING_LOCK, torch.inference_mode(False), torch.no_grad():
            x = x.clone(memory_format=torch.channels_last)
            recorded = _trace(model, x)
            forward = _CudaGraph(recorded, x) if x.is_cuda else _pack_convolutions(recorded)
            expected, found = model(x), forward(x)
    except Exception as error:
        _warn_once(f"cannot be recorded ({type(error).__name__}: {error})")
        return None
    scale = expected.abs().max().clamp(min=1)
    difference = (found - expected).abs().max()
    if difference <= torch.finfo(x.dtype).eps ** 0.5 * scale:
        return forward
    _warn_once(f"differs from the model by {difference.item():.2g} when recorded")
    return None


@lru_cache(maxsize=32)
def _warn_once(problem: str) -> None:
    _logger.warning("the forward pass %s; the model runs unrecorded, which is slower", problem)


def _trace(model: nn.Module, x: Tensor) -> fx.GraphModule:
    """Return the operations on `x` in order; what depends on weights alone is computed now."""
    module = make_fx(model)(x)
    constants: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            constants[node] = attrgetter(node.target)(module)
        elif node.op == "call_function" and not set(node.all_input_nodes) - constants.keys():
            arguments, keywords = map_arg((node.args, node.kwargs), constants.__getitem__)
            constants[node] = node.target(*arguments, **keywords)
    for number, (node, value) in enumerate(constants.items()):
        if isinstance(value, Tensor) and node.users.keys() - constants.keys():
            module.register_buffer(f"constant_{number}", value.detach())
            with module.graph.inserting_before(node):
                node.replace_all_uses_with(module.graph.get_attr(f"constant_{number}"))
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _pack_convolutions(module: fx.GraphModule) -> fx.GraphModule:
    """Reorder the weights of every convolution for its kernel, and fuse the activation after it."""
    for number, node in enumerate(list(module.graph.nodes)):
        if node.target is not torch.ops.aten.convolution.default:
            continue
        x, weight, bias, stride, padding, dilation, transposed, _, groups = node.args
        if transposed or weight.op != "get_attr":
            continue
        geometry = (padding, stride, dilation, groups)
        shape = list(x.meta["val"].shape)
        value = attrgetter(weight.target)(module)
        packed = torch.ops.mkldnn._reorder_convolution_weight(value, *geometry, shape)
        module.register_buffer(f"packed_{number}", packed)
        last = next(iter(node.users))
        if len(node.users) > 1 or last.target not in _FUSABLE_ACTIVATIONS:
            last = node
        activation = _FUSABLE_ACTIVATIONS.get(last.target, "none")
        # The graph omits the slope if it is torch's default.
        slope = [*last.args[1:], 0.01][:1] if activation == "leaky_relu" else []
        with module.graph.inserting_before(node):
            packed = module.graph.get_attr(f"packed_{number}")
            fused = module.graph.call_function(
                torch.ops.mkldnn._convolution_pointwise.default,
                (x, packed, bias, *geometry, activation, slope, ""),
            )
        fused.meta = last.meta
        last.replace_all_uses_with(fused)
        if last is not node:
            module.graph.erase_node(last)
        module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


class _CudaGraph:
    """A forward pass that the processor launches as a whole; calls run one at a time."""

    def __init__(self, forward: Forward, x: Tensor) -> None:
        self._forward = forward  # owns the constants that the graph reads
        self._input, self._lock = x.clone(), threading.Lock()
        stream = torch.cuda.Stream(x.device)
        stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(stream):
            for _ in range(3):  # kernels are chosen and memory is allocated before the capture
                forward(self._input)
        torch.cuda.current_stream(x.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile.
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._output = forward(self._input)

    def __call__(self, x: Tensor) -> Tensor:
        with self._lock:
            self._input.copy_(x)
            self._graph.replay()
            return self._output.clone()
