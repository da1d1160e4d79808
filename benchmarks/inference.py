"""Measure inference speed: `python benchmarks/inference.py`.

For each shipped family, in turn, in one process, for several rounds: run the plain model
(benchmarks/textbook.py) in eager float32, and the same weights in every other way. Write
benchmarks/inference.json, where results of other families, batches and contenders stay, and the
table in docs/performance.md. ONNX Runtime and OpenVINO take part if they are installed:
`pip install onnx onnxruntime openvino`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import contenders
import textbook
import torch
from rich.console import Console
from torch import Tensor
from training import describe

from geoseg.checkpoint import load_checkpoint
from geoseg.models import Model
from geoseg.synthetic import make_synthetic_dataset
from train.markdown_tables import replace_table

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = {
    "vanilla": "300-vanilla",
    "unet": "402-unet",
    "stacked": "200-stacked",
    "flexible_unet": "1004-flexible-unet",
    "ring_unet": "3000-ring-unet",
}
PLAIN = "plain eager"
OUTPUT = Path(__file__).with_suffix(".json")
DOCUMENT = ROOT / "docs" / "performance.md"


def size_on_disk(package: str) -> float:
    """Return the megabytes of an installed package."""
    spec = importlib.util.find_spec(package)
    assert spec
    assert spec.origin
    files = Path(spec.origin).parent.rglob("*")
    return round(sum(file.stat().st_size for file in files if file.is_file()) / 1e6)


def run_in_batches(forward: Callable[[Tensor], Tensor], images: Tensor, batch: int) -> Tensor:
    """Return logits of images (N, C, Z, A) in whole batches; skip the remainder."""
    whole = len(images) // batch * batch
    return torch.cat([forward(part).clone() for part in images[:whole].split(batch)])


@torch.inference_mode()
def measure(
    model: Model, images: Tensor, batch: int, chosen: list[str], rounds: int
) -> dict[str, dict[str, Any]]:
    """Run each contender in turn with the plain model; return medians, ratios and agreement."""
    assert model.card
    plain = textbook.load(textbook.MODELS[model.name](), model.state_dict()).eval()
    inputs, valid = model.card.normalisation(images)
    reference = run_in_batches(plain, inputs, batch).sigmoid() > model.card.threshold
    valid, x = valid[: len(reference), None], inputs[:batch]
    task = contenders.Task(model, plain, x, inputs)
    rows: dict[str, dict[str, Any]] = {}
    plain_seconds: list[float] = []
    for name in chosen:
        start = time.perf_counter()
        try:
            forward = contenders.CONTENDERS[name].prepare(task)
            forward(x)
        except Exception as error:  # a runtime may fail in any way; the others continue
            Console(stderr=True).print(f"{name} cannot run {model.name}: {error}", markup=False)
            continue
        preparation = time.perf_counter() - start
        mask = run_in_batches(forward, inputs, batch).sigmoid() > model.card.threshold
        drawn, own = time_in_turn(partial(plain, x), partial(forward, x), rounds)
        ratios = [a / b for a, b in zip(drawn, own, strict=True)]
        plain_seconds += drawn
        rows[name] = {
            "prepare_seconds": round(preparation, 2),
            "agreement": round((mask == reference)[valid].float().mean().item(), 6),
            "milliseconds": round(statistics.median(own) * 1000, 2),
            "ratio": round(statistics.median(ratios), 2),
            "least": round(min(ratios), 2),
            "most": round(max(ratios), 2),
        }
    return {PLAIN: {"milliseconds": round(statistics.median(plain_seconds) * 1000, 2)}, **rows}


def time_in_turn(
    one: Callable[[], Any], other: Callable[[], Any], rounds: int
) -> tuple[list[float], list[float]]:
    """Time two calls alternately for `rounds` rounds, in seconds, after one to warm up."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(rounds + 1):
        for call, seconds in zip((one, other), times, strict=True):
            start = time.perf_counter()
            call()
            if repeat:
                seconds.append(time.perf_counter() - start)
    return times


def table(results: dict[str, Any]) -> str:
    """Format the Markdown table: a row for each contender with its median ratio at every batch."""
    families = {name: results["families"][name] for name in FAMILIES if name in results["families"]}
    batches = sorted({int(batch) for family in families.values() for batch in family})
    lines = [
        f"| ratio to plain eager, batch {' / '.join(map(str, batches))} | {' | '.join(families)} "
        "| masks agree | ready in | on disk |",
        "|---" * (len(families) + 4) + "|",
    ]
    for name in [PLAIN, *results["contenders"]]:
        rows = [[family.get(str(b), {}).get(name) for b in batches] for family in families.values()]
        measured = [row for family in rows for row in family if row]
        cells = [" / ".join(_cell(row, name) for row in family) for family in rows]
        if name == PLAIN:
            cells += ["", "", ""]
        else:
            size = results["contenders"][name]
            ready = [family[0]["prepare_seconds"] for family in rows if family[0]]
            cells += [
                f"{min((row['agreement'] for row in measured), default=0):.2%}",
                f"{statistics.median(ready):.1f} s" if ready else "",
                f"{size} MB" if size else "",
            ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None, name: str) -> str:
    if row is None:
        return "\u2013"
    return f"{row['milliseconds']:,.1f} ms" if name == PLAIN else f"{row['ratio']:.2f}"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-f", "--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument(
        "-c", "--contenders", nargs="+", choices=contenders.CONTENDERS, metavar="NAME"
    )
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 256], metavar="N")
    parser.add_argument(
        "--rounds",
        type=int,
        default=60,
        help="a tenth of them for batches above 16 (default: %(default)s)",
    )
    arguments = parser.parse_args()
    console = Console()
    images = make_synthetic_dataset(15, 1280).images[: max(64, *arguments.batches)]
    chosen, absent = contenders.present(arguments.contenders)
    for name, package in absent.items():
        console.print(f"{name} is skipped: {package} is not installed")
    results: dict[str, Any] = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    families = results.setdefault("families", {})
    for family in arguments.families:
        model = load_checkpoint(ROOT / "checkpoints" / f"{FAMILIES[family]}.safetensors")
        for batch in arguments.batches:
            rounds = arguments.rounds if batch <= 16 else max(1, arguments.rounds // 10)
            rows = measure(model, images, batch, chosen, rounds)
            families.setdefault(family, {}).setdefault(str(batch), {}).update(rows)
            console.print(f"{family}, batch {batch}")
            console.print_json(data=rows)
            results |= {"device": describe(torch.device("cpu")), "torch": torch.__version__}
            sizes = {name: contenders.CONTENDERS[name].package for name in chosen}
            listed = results.get("contenders", {})
            listed |= {
                name: size_on_disk(package) if package else None for name, package in sizes.items()
            }
            results["contenders"] = {n: listed[n] for n in contenders.CONTENDERS if n in listed}
            OUTPUT.write_text(json.dumps(results, indent=2) + "\n")
    replace_table(DOCUMENT, "inference", table(results))


if __name__ == "__main__":
    main()
