"""The ways in which measurements come to a model: each a function from a bench to its answers."""

import ast
import base64
import contextlib
import io
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg import DatasetError, PatchDataset, PatchError, Segmenter, interpret, read_logs
from geoseg.__main__ import main as run_geoseg
from geoseg.dataset.challenge import read_masks
from geoseg.measurements import MeasurementOptions
from tests.helpers.agents import as_data_url, call_tools
from tests.helpers.inputs import Input
from tests.helpers.requests import ask, call, send_files, upload_paths
from train.evaluate.__main__ import main as run_evaluate

USER = "somebody-who-uploads-files"


@dataclass(frozen=True)
class Answer:
    """Masks (Z, A) of the patches of one file and the notes on it, or the sentence of its refusal.

    `scores` are what an evaluation gave the patches, whose labels are the masks expected.
    """

    masks: tuple[np.ndarray, ...] = ()
    notes: tuple[str, ...] = ()
    refusal: str = ""
    scores: tuple[float, ...] = ()


Answers = Mapping[str, Answer]


@dataclass(frozen=True)
class Bench:
    """What every way needs: a model, a server that runs it, and the files of the inputs."""

    segmenter: Segmenter
    checkpoint: Path
    url: str
    folder: Path
    inputs: Mapping[str, Input]
    files: Mapping[str, Path]

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.segmenter.names[0]


def read_by_python(bench: Bench) -> Answers:
    """`geoseg.read_logs`, then `Segmenter.segment`."""
    answers = {}
    for name, path in bench.files.items():
        try:
            logs = read_logs(path, bench.inputs[name].options)
        except PatchError as error:
            answers[name] = Answer(refusal=str(error))
        else:
            masks = [bench.segmenter.segment(log)[bench.model].mask for log in logs]
            answers[name] = Answer(tuple(masks), _join([log.notes for log in logs]))
    return answers


def pass_arrays(bench: Bench) -> Answers:
    """`Segmenter.probabilities` of the arrays as they are in the files."""
    answers = {}
    threshold = bench.segmenter.cards[bench.model].threshold
    for name, one in bench.inputs.items():
        images = one.array[..., 0] if one.array.ndim == 4 else one.array
        with _logged() as said:
            try:
                if one.options != MeasurementOptions():
                    images = interpret(images, one.options)
                found = bench.segmenter.probabilities(images)[bench.model]
            except (PatchError, TypeError) as error:
                answers[name] = Answer(refusal=str(error))
                continue
        notes = images.notes if one.options != MeasurementOptions() else tuple(said)
        masks = (found > threshold).reshape(-1, *found.shape[-2:])
        answers[name] = Answer(tuple(masks), notes)
    return answers


def run_segment(bench: Bench) -> Answers:
    """`python -m geoseg segment`, once for all files that are read with the same options."""
    answers = {}
    for number, (options, names) in enumerate(_group(bench).items()):
        out = bench.folder / f"segment{number}"
        files = [str(bench.files[name]) for name in names]
        command = ["segment", *files, "-o", str(out), "--checkpoint", str(bench.checkpoint)]
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            run_geoseg([*command, *_write_options(options)])
        for name in names:
            results = out / bench.files[name].stem
            if not results.is_dir():
                answers[name] = Answer(refusal=_find_line(errors, bench.files[name].name))
                continue
            mask = np.load(results / "mask.npy")
            notes = json.loads((results / "summary.json").read_text())["notes"]
            answers[name] = Answer(tuple(mask.reshape(-1, *mask.shape[-2:])), tuple(notes))
    return answers


def ask_rest(bench: Bench) -> Answers:
    """`POST /gradio_api/run/segment`, once a file."""
    answers = {}
    for name, path in bench.files.items():
        options = bench.inputs[name].options
        files = [
            {"path": place, "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}
            for place in upload_paths(bench.url, path)
        ]
        arguments = (files, None, 0, 0.0, 0, None, False, options.losses, options.unit)
        answers[name] = _take_program(call(bench.url, "segment", *arguments), bench.model)
    return answers


def ask_mcp(bench: Bench) -> Answers:
    """Call the tool `segment`, once a file, in one connection."""
    calls = []
    for name, path in bench.files.items():
        options = bench.inputs[name].options
        patch = [as_data_url(path.read_bytes())]
        arguments = {"patch": patch, "losses": options.losses, "unit": options.unit}
        calls.append(("segment", arguments))
    _, results = call_tools(bench.url, *calls)
    return {
        name: _take_program(text if failed else ast.literal_eval(text), bench.model)
        for name, (failed, text) in zip(bench.files, results, strict=True)
    }


def upload_to_page(bench: Bench) -> Answers:
    """Upload all files that need no option, in one form; look at each patch."""
    names = {bench.files[n].name: n for n in bench.files if not _write_options(_options(bench, n))}
    sent = [(path.name, path.read_bytes()) for path in bench.files.values() if path.name in names]
    reply = send_files(bench.url, USER, sent).json
    answers = {names[r["name"]]: Answer(refusal=r["reason"]) for r in reply["rejected"]}
    found: dict[str, list[Answer]] = {}
    for index in range(reply["accepted"]):
        seen = ask(bench.url, "look", USER, source="uploads", index=index)
        model = seen["models"][0]
        probability = np.frombuffer(base64.b64decode(model["probability"]), "<f4")
        mask = (probability > model["threshold"]).reshape(seen["shape"])
        name = names[seen["name"].partition(" [")[0]]
        found.setdefault(name, []).append(Answer((mask,), tuple(seen["notes"])))
    for name, parts in found.items():
        masks = tuple(mask for part in parts for mask in part.masks)
        answers[name] = Answer(masks, _join([part.notes for part in parts]))
    return answers


def load_data_sets(bench: Bench) -> Answers:
    """`PatchDataset.load`, as training does, of a folder for each file."""
    answers = {}
    threshold = bench.segmenter.cards[bench.model].threshold
    for name in bench.files:
        try:
            dataset = PatchDataset.load(_data_set(bench, name), options=_options(bench, name))
        except DatasetError as error:
            answers[name] = Answer(refusal=str(error))
            continue
        images = dataset.images.numpy()
        found = bench.segmenter.probabilities(images, interpret=False)[bench.model]
        answers[name] = Answer(tuple(found > threshold), dataset.notes)
    return answers


def run_evaluation(bench: Bench) -> Answers:
    """`python -m train.evaluate`, once for the folder of each file."""
    answers = {}
    for name, path in bench.files.items():
        report, csv = bench.folder / f"{path.stem}.json", bench.folder / f"{path.stem}.csv"
        command = [bench.checkpoint, "--data", _data_set(bench, name), "--split", "train"]
        command += ["--json", report, "--submission", csv]
        command += _write_options(_options(bench, name))
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            code = run_evaluate([str(word) for word in command])
        if code:
            answers[name] = Answer(refusal=errors.getvalue())
            continue
        found = json.loads(report.read_text())
        shape = bench.inputs[name].array.shape
        masks, _ = read_masks(csv, int(np.prod(shape)))
        answers[name] = Answer(
            tuple(mask.reshape(shape) for mask in masks.values()),
            tuple(found["notes"]),
            scores=tuple(found["patches"][bench.model].values()),
        )
    return answers


WAYS: dict[str, Callable[[Bench], Answers]] = {
    "read_logs": read_by_python,
    "arrays": pass_arrays,
    "segment": run_segment,
    "REST": ask_rest,
    "MCP": ask_mcp,
    "page": upload_to_page,
    "data set": load_data_sets,
    "evaluation": run_evaluation,
}


def write_data_set(bench: Bench, name: str, masks: tuple[np.ndarray, ...]) -> None:
    """Write the data set of one file, its label the mask that is expected of it."""
    path, root = bench.files[name], _data_set(bench, name)
    for kind in ("images", "labels"):
        (root / "train" / kind).mkdir(parents=True)
    (root / "train" / "images" / path.name).write_bytes(path.read_bytes())
    label = masks[0] if masks else np.zeros((36, 36), np.uint8)
    np.save(root / "train" / "labels" / path.name, label)


def _data_set(bench: Bench, name: str) -> Path:
    return bench.folder / f"data-{bench.files[name].stem}"


def _options(bench: Bench, name: str) -> MeasurementOptions:
    return bench.inputs[name].options


def _write_options(options: MeasurementOptions) -> list[str]:
    """Return the options of a command line that differ from the defaults."""
    default = MeasurementOptions()
    chosen = {"--losses": options.losses, "--unit": options.unit}
    usual = {"--losses": default.losses, "--unit": default.unit}
    return [word for key, value in chosen.items() if value != usual[key] for word in (key, value)]


def _group(bench: Bench) -> dict[MeasurementOptions, list[str]]:
    groups: dict[MeasurementOptions, list[str]] = {}
    for name, one in bench.inputs.items():
        groups.setdefault(one.options, []).append(name)
    return groups


def _take_program(answer: Any, model: str) -> Answer:
    """Return the answer of an endpoint: of one file, or of the patches of a stack."""
    if isinstance(answer, str):
        return Answer(refusal=answer)
    patches = answer["patches"]
    masks = tuple(np.array(patch["models"][model]["mask"]) for patch in patches)
    return Answer(masks, _join([tuple(patch["notes"]) for patch in patches]))


def _find_line(text: io.StringIO, name: str) -> str:
    return next((line for line in text.getvalue().splitlines() if name in line), "")


def _join(notes: list[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(note for one in notes for note in one)


@contextlib.contextmanager
def _logged():
    """Collect what the library logs."""
    said: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, collector = logging.getLogger("geoseg"), Collector(logging.WARNING)
    logger.addHandler(collector)
    try:
        yield said
    finally:
        logger.removeHandler(collector)
