"""The curves of runs as their user meets them: a command, and a picture or a page."""

import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from benchmarks.server import ROOT
from tests.helpers.synthetic_data import make_data
from tests.train.evaluate.test_page import Tags
from train.__main__ import main as train
from train.report import curves
from train.report.__main__ import main, picture
from train.report.history import RunHistory


def make_run(folder, epochs, best, **config):
    """A run that is best at one epoch; gives its folder."""
    folder.mkdir(parents=True)
    lines = []
    for epoch in range(1, epochs + 1):
        iou = 0.6 - 0.05 * abs(epoch - best) / epochs
        loss = math.exp(-epoch / epochs)
        lines.append({"epoch": epoch, "loss": loss, "validation_loss": loss + 0.1, "iou": iou})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def runs(tmp_path):
    first = make_run(tmp_path / "runs" / '300-<b>&"', 9, 4, loss="bce", data="<i>pipes</i>")
    return first, make_run(tmp_path / "runs" / "402-unet", 20, 20, loss="dice")


def points_of(page, colour):
    """The points of each line of a colour, by the order in which they are drawn."""
    lines = re.findall(r'<polyline points="([^"]+)" style="[^"]*stroke:(#\w+)', page)
    return [
        np.array([p.split(",") for p in text.split()], float) for text, c in lines if c == colour
    ]


def test_a_real_run_is_drawn_as_it_is_told(tmp_path, capsys):
    data = make_data(tmp_path / "data", 5, 60)
    command = ["-e", "3", "-nowb", "--cpu", "--epochs", "3", "--data", str(data)]
    assert train([*command, "-o", str(tmp_path / "runs")]) == 0
    capsys.readouterr()
    out = tmp_path / "new" / "curves.html"
    assert main([str(tmp_path / "runs"), "--out", str(out)]) == 0
    report = json.loads((tmp_path / "runs" / "3-unet-8-halving" / "report.json").read_text())
    said = capsys.readouterr().out
    assert said.splitlines()[1].split()[:3] == [
        *("3-unet-8-halving", f"{report['best']['iou']:.4f}", str(report["best"]["epoch"])),
    ]
    assert said.endswith(f"Drawn in {out}.\n")
    assert '<td class="words">bce</td>' in out.read_text()


def test_the_page_is_whole_and_safe_and_draws_every_run(runs, tmp_path):
    out = tmp_path / "curves.html"
    assert main([*map(str, runs), "--out", str(out)]) == 0
    page = out.read_text()
    tags = Tags(page.replace("/>", ">").replace("<polyline", "<img"))
    assert tags.open == []
    assert not {"script", "b", "link"} & set(tags.names)
    assert "&lt;i&gt;pipes" in page
    assert not re.search(r"(src|href)=|url\(", page), "nothing is fetched"
    for place, epochs in enumerate((9, 20)):
        drawn = points_of(page, curves.colour(place))
        assert [len(points) for points in drawn] == [epochs] * 3, "two losses and the IoU"
        training, validation, iou = drawn
        assert (training[:, 1] > validation[:, 1]).all(), "less is lower"
        assert iou[:, 1].argmin() + 1 == (4, 20)[place]
    for word in ("epoch", "Loss", "IoU", "validation, and training in pale"):
        assert f">{word}</text>" in page
    (first, *_), dots = points_of(page, curves.colour(0)), re.findall(r"<title>(.*?)</title>", page)
    assert dots[1] == "300-&lt;b&gt;&amp;&quot;: best IoU 0.6000 at epoch 4 of 9"
    assert first[0, 0] < first[-1, 0]


def test_the_dot_is_at_the_best_epoch(runs, tmp_path):
    out = tmp_path / "curves.html"
    assert main([str(runs[0]), "--out", str(out)]) == 0
    page = out.read_text()
    centres = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', page)
    _, validation, iou = points_of(page, curves.colour(0))
    assert [tuple(map(float, c)) for c in centres] == [tuple(validation[3]), tuple(iou[3])]


def test_the_picture_has_the_curves_and_a_legend(runs, tmp_path):
    out = tmp_path / "curves.PNG"
    assert main([str(runs[0].parent), "--out", str(out)]) == 0
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture).astype(int)
    foot = 2 * curves.HEIGHT
    assert pixels.shape == (foot + 2 * 66, 4 * curves.WIDTH, 3)
    for place in range(2):
        here = (abs(pixels - ImageColor.getrgb(curves.colour(place))) < 30).all(-1)
        left, right = np.split(here[:foot], 2, axis=1)
        assert min(left.sum(), right.sum()) > 500, "a line in each of the plots"
        rows = np.flatnonzero(here[foot:].any(1))
        assert abs(rows.mean() - 2 * 22 * (place + 0.5)) < 2, "and a key below"


@pytest.mark.parametrize("epochs", [1, 2, 97, 5000])
def test_short_and_long_runs(epochs, tmp_path):
    run = make_run(tmp_path / "run", epochs, 1)
    for out in (tmp_path / "a.png", tmp_path / "a.html"):
        assert main([str(run), "--out", str(out)]) == 0
    ticks = re.findall(r'text-anchor:middle">([\d,]+)<', out.read_text())
    for axis in (ticks[: len(ticks) // 2], ticks[len(ticks) // 2 :]):
        assert axis[0] == "1"
        assert len(axis) == len(set(axis)) <= 11


def test_more_runs_than_colours_have_one_each_that_shows_in_light_and_dark():
    colours = [curves.colour(place) for place in range(40)]
    assert len(set(colours)) == 40
    for shade in colours[6:]:  # before them come Okabe and Ito's
        parts = [part / 255 for part in ImageColor.getrgb(shade)]
        assert 0.18 < curves.luminance(parts) < 0.22


def test_a_single_epoch_is_off_the_axis_and_pale_in_training(tmp_path):
    out = tmp_path / "a.html"
    assert main([str(make_run(tmp_path / "run", 1, 1)), "--out", str(out)]) == 0
    dots = re.findall(r'<circle cx="([\d.]+)" .*?style="([^"]*)"', out.read_text())
    assert {float(x) for x, _ in dots} == {56 + 444 / 2}
    assert ["opacity" in style for _, style in dots] == [True, False, False, False, False]


def test_numbers_beside_an_axis_leave_each_other_room(tmp_path):
    run, out = tmp_path / "run", tmp_path / "a.html"
    run.mkdir()
    for decades in (1.01, 2, 5, 5.5, 9, 12, 40, 300):
        lines = [
            {"epoch": epoch, "loss": loss, "validation_loss": 2 * loss, "iou": 0.5}
            for epoch, loss in ((1, 1e8), (100_000, 10 ** (8 - decades)))
        ]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert main([str(run), "--out", str(out)]) == 0
        loss = out.read_text().split("</svg>")[0]
        ticks = re.findall(r'y="([\d.]+)" style="font:11px[^"]*end">', loss)
        gaps = -np.diff(np.array(ticks, float))
        assert len(ticks) > 2
        assert gaps.min() > 13, decades


LONG = "/a-folder-of-runs" * 5


@pytest.mark.parametrize(
    "names",
    [
        (f"{LONG}/seed-1/300-vanilla", f"{LONG}/seed-2/300-vanilla"),
        (f"1{LONG}", f"2{LONG}"),
        ("W" * 120 + "1", "W" * 120 + "2"),
        ("größe", "gräße"),
        ("水", "管"),
        ("a\nb", "a\tb"),
    ],
)
def test_distinct_names_are_distinct_and_whole_in_the_picture(names):
    record = {"epoch": 100_000, "loss": 0.1, "validation_loss": 0.2, "iou": 0.5}
    legends = []
    for name in names:
        with Image.open(io.BytesIO(picture([RunHistory(name, [record], {}, [])]))) as drawn:
            pixels = np.asarray(drawn)
        ground = (pixels == 255).all(-1)
        assert ground[[0, -1]].all(), "nothing is cut at the edges"
        assert ground[:, [0, -1]].all(), "nothing is cut at the edges"
        legend = ground[2 * curves.HEIGHT :]
        assert legend[:, 2 * (curves.WIDTH + 46) : 2 * (curves.WIDTH + 54)].all(), "a gap"
        legends.append(legend)
    assert legends[0].shape == legends[1].shape
    assert (legends[0] != legends[1]).sum() > 3


def test_runs_of_one_name_are_told_apart_and_none_is_drawn_twice(tmp_path, capsys):
    folders = [make_run(tmp_path / name / "300-vanilla", 3, 2) for name in "ab"]
    out = str(tmp_path / "a.html")
    assert main([*map(str, folders), str(tmp_path / "a"), "--out", out]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:3]]
    assert "".join(names) != "300-vanilla300-vanilla"
    text = Path(out).read_text()
    assert [
        text.count(f'background:{curves.colour(i)}"></i><span class="name">{f}</span>')
        for i, f in enumerate(folders)
    ] == [1, 1]


def test_a_damaged_line_is_left_out_and_said(runs, tmp_path, capsys):
    lines = runs[0] / "metrics.jsonl"
    good = lines.read_text().splitlines()
    bad = ['{"epoch": 2, "lo', '{"epoch": 3, "loss": NaN, "validation_loss": 1, "iou": 0.5}', "7"]
    bad += ['{"epoch": "5", "loss": 1, "validation_loss": 1, "iou": 1}']
    lines.write_text("\n".join([good[0], *bad, *good[5:]]) + "\n")
    out = tmp_path / "a.html"
    assert main([str(runs[0]), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert '300-<b>&": left out damaged lines 2, 3, 4, 5 of metrics.jsonl.' in said
    assert [len(points) for points in points_of(out.read_text(), curves.colour(0))] == [5] * 3


def test_a_run_without_a_whole_line_is_left_out_and_the_others_are_drawn(runs, tmp_path, capsys):
    torn = make_run(tmp_path / "runs" / "torn", 3, 1)
    (torn / "metrics.jsonl").write_text('{"epoch": 1, "lo')
    out = tmp_path / "a.html"
    assert main([str(tmp_path / "runs"), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.err == (
        f"report: {torn / 'metrics.jsonl'} cannot be drawn: its only line is damaged; left out\n"
    )
    assert "2 runs" in out.read_text()


def test_brackets_without_end_are_damage(runs, tmp_path, capsys):
    with (runs[0] / "metrics.jsonl").open("a") as file:
        file.write("[" * 200_000)
    (runs[0] / "config.json").write_text("[" * 200_000)
    assert main([str(runs[0]), "--out", str(tmp_path / "a.html")]) == 0
    assert "left out damaged line 10 of metrics.jsonl." in capsys.readouterr().out


def test_mistakes_are_one_sentence_and_write_nothing(runs, tmp_path, capsys):
    out, empty, torn = (tmp_path / name for name in ("a.html", "empty", "torn"))
    for folder, text in ((empty, ""), (torn, "{\n{\n")):
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(text)
    for folder, words in (
        (tmp_path / "none", "is not there; name a folder with a metrics.jsonl"),
        (runs[0] / "config.json", "holds no run; name a folder"),
        (empty, "cannot be drawn: it has no complete epoch yet\n"),
        (torn, "cannot be drawn: all 2 lines are damaged\n"),
    ):
        others = [] if folder in (empty, torn) else [str(runs[0])]
        assert main([*others, str(folder), "--out", str(out)]) == 2
        message = capsys.readouterr().err
        assert message.startswith(f"report: {folder}")
        assert words in message
        assert message.count("\n") == 1
    assert not out.exists()
    with pytest.raises(SystemExit) as stop:
        main([str(runs[0]), "--out", "a.pdf"])
    assert stop.value.code == 2
    assert "must end in .png or .html" in capsys.readouterr().err
    out.mkdir()
    assert main([str(runs[0]), "--out", str(out)]) == 1
    assert "cannot be written: it is a folder" in capsys.readouterr().err


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 960])
def test_the_table_is_not_cut_off(browser, tmp_path, width):
    data = "8,192 patches of 12 wells in /data/pipes (6,553 to train on; validation wells 5, 7, 11)"
    for name in ("300-vanilla", "a-name-with-many-words" * 5):
        make_run(tmp_path / "runs" / name, 9, 4, loss="bce", data=data)
    out = tmp_path / "a.html"
    assert main([str(tmp_path / "runs"), "--out", str(out)]) == 0
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(out.as_uri())
    assert page.evaluate("""() => {
        const wide = document.querySelector(".wide");
        return wide.scrollWidth <= wide.clientWidth;
    }""")
    aligned = "cell => getComputedStyle(cell).textAlign"
    assert page.locator("tbody tr:first-child td").evaluate_all(
        f"cells => cells.map({aligned})"
    ) == [*["right"] * 4, "left", "left"]
    height = "name => name.getClientRects()[0].height"
    short, long = (page.locator(".name").nth(place).evaluate(height) for place in (0, 1))
    assert short < 30 < long, "a short name has one row"
    page.close()


def test_a_name_that_the_terminal_cannot_show(tmp_path):
    run = make_run(tmp_path / "水", 3, 2)
    command = [sys.executable, "-m", "train.report", str(run), "--out", str(tmp_path / "a.png")]
    latin = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, cwd=ROOT, env=latin, capture_output=True, check=True)
    assert b"\\u6c34" in done.stdout
    assert (tmp_path / "a.png").exists()
