"""Ways to run a trained model on a processor, compared by benchmarks/inference.py.

Each prepares a function from inputs (B, C, Z, A) float32 to logits (B, 1, Z, A) float32, for inputs
of one shape.
"""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from geoseg.inference import ModelRunner
from geoseg.models import Model

Forward = Callable[[Tensor], Tensor]


class Task(NamedTuple):
    """What to run: our model, the plain model with its weights, one input, and 64 or more samples.

    The samples (N, C, Z, A) calibrate the ranges of values.
    """

    model: Model
    plain: nn.Module
    x: Tensor
    samples: Tensor


class Contender(NamedTuple):
    """How to prepare the function, and the package that it needs beyond torch."""

    prepare: Callable[[Task], Forward]
    package: str | None = None


def _ours(precision: torch.dtype, recorded: bool) -> Contender:
    return Contender(lambda task: ModelRunner(task.model, precision, recorded))


def _autocast(task: Task) -> Forward:
    runner = ModelRunner(task.model, torch.float32, record=False)

    def forward(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return runner(x)

    return forward


def _script(task: Task) -> Forward:
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # torch.jit is deprecated and warns
        traced = torch.jit.trace(task.plain, task.x.clone())
        return torch.jit.optimize_for_inference(torch.jit.freeze(traced.eval()))


def _inductor(precision: torch.dtype, task: Task) -> Forward:
    import torch._inductor.config as inductor

    inductor.freezing = True
    torch._dynamo.reset()
    runner = ModelRunner(task.model, precision, record=False)
    return torch.compile(runner, dynamic=False)


def _openvino(precision: str, task: Task) -> Forward:
    import openvino

    with torch.inference_mode(False), torch.no_grad():
        x = task.x.clone()
        graph = openvino.convert_model(task.plain, example_input=x, input=[tuple(x.shape)])
    options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    options["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    request = openvino.Core().compile_model(graph, "CPU", options).create_infer_request()

    def forward(x: Tensor) -> Tensor:
        return torch.from_numpy(request.infer({0: x.numpy()}, share_inputs=True)[0])

    return forward


def _onnx(eight_bits: bool, task: Task) -> Forward:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # Threads that spin between calls would slow down the next contender.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter warns, but needs no further package
        path = Path(folder) / "model.onnx"
        with torch.inference_mode(False), torch.no_grad():
            x = task.x.clone()
            torch.onnx.export(task.plain, (x,), path, dynamo=False, input_names=["inputs"])
        if eight_bits:
            path = _quantise(path, task.samples[: max(64, len(x))].split(len(x)))
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"inputs": x.numpy()})[0])


def _quantise(path: Path, batches: Sequence[Tensor]) -> Path:
    """Quantise weights and activations to 8 bits; calibrate their ranges on `batches`."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter([{"inputs": batch.numpy()} for batch in batches])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    target = path.with_name("8bit.onnx")
    quantize_static(path, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True)
    return target


CONTENDERS: dict[str, Contender] = {
    "ours, eager": Contender(lambda task: task.model),
    "channels_last (`exact`)": _ours(torch.float32, False),
    "channels_last, recorded": _ours(torch.float32, True),
    "bf16 by autocast": Contender(_autocast),
    "bf16 weights": _ours(torch.bfloat16, False),
    "bf16 weights, recorded (`fast`)": _ours(torch.bfloat16, True),
    "torch.jit, frozen": Contender(_script),
    "Inductor, frozen": Contender(partial(_inductor, torch.float32)),
    "Inductor, frozen, bf16": Contender(partial(_inductor, torch.bfloat16)),
    "ONNX Runtime": Contender(partial(_onnx, False), "onnxruntime"),
    "ONNX Runtime, 8 bits": Contender(partial(_onnx, True), "onnxruntime"),
    "OpenVINO": Contender(partial(_openvino, "f32"), "openvino"),
    "OpenVINO, bf16": Contender(partial(_openvino, "bf16"), "openvino"),
}


def present(names: Sequence[str] | None = None) -> tuple[list[str], dict[str, str]]:
    """Split `names`, or all contenders, into installed ones and {name: missing package}."""
    requested = list(CONTENDERS if names is None else names)
    packages = {name: CONTENDERS[name].package for name in requested}
    absent = {n: p for n, p in packages.items() if p and not importlib.util.find_spec(p)}
    return [name for name in requested if name not in absent], absent
