"""The command `python -m train.report`: its pictures, its pages and its messages."""

import ast
import io
import json
import math
import re
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageColor

from tests.helpers import ROOT
from tests.helpers.html import check_page
from tests.helpers.synthetic_data import make_data
from train.__main__ import main as train
from train.report import curves
from train.report.__main__ import main
from train.report.history import RunHistory, read_history


def make_run(folder, epochs, best, **config):
    """Write a run that is best at one epoch; return its folder."""
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


def draw(draw_chart, *histories):
    """Return the axes of a chart and the points of each of its lines, in drawing order."""
    axes = Figure().subplots()
    draw_chart(axes, histories)
    return axes, [line.get_xydata().tolist() for line in axes.lines]


def test_real_run_is_drawn(tmp_path, capsys):
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


def test_charts_show_every_epoch_of_every_run(runs):
    histories = [read_history(run) for run in runs]
    axes, losses = draw(curves.draw_loss, *histories)
    assert losses[:4] == [
        [list(point) for point in history.series(key)]
        for history in histories
        for key in ("loss", "validation_loss")
    ]
    colours = [curves.run_colour(index) for index in (0, 1)]
    assert [line.get_color() for line in axes.lines] == [
        *(colour for colour in colours for _ in range(2)),
        *colours,
    ]
    assert [line.get_alpha() or 1 for line in axes.lines] == [0.5, 1, 0.5, 1, 1, 1]
    _, ious = draw(curves.draw_iou, *histories)
    assert ious[:2] == [[list(point) for point in history.series("iou")] for history in histories]


def test_dot_marks_the_best_epoch(runs):
    history = read_history(runs[0])
    for chart, key in ((curves.draw_loss, "validation_loss"), (curves.draw_iou, "iou")):
        axes, lines = draw(chart, history)
        assert lines[-1] == [[4, history.best[key]]]
        assert [line.get_marker() for line in axes.lines[-2:]] == ["", "o"]


@pytest.mark.parametrize(("last_loss", "scale"), [(0.11, "linear"), (0.1, "log"), (0, "linear")])
def test_loss_axis_is_logarithmic_from_one_order_of_magnitude(last_loss, scale):
    records = [
        {"epoch": epoch, "loss": loss, "validation_loss": 0.5, "iou": 0.5}
        for epoch, loss in ((1, 1), (2, last_loss))
    ]
    axes, _ = draw(curves.draw_loss, RunHistory("run", records, {}, []))
    assert axes.get_yscale() == scale
    assert ("logarithmic" in axes.get_title(loc="left")) == (scale == "log")
    low, high = axes.get_ylim()
    assert (low == 0) == (scale == "linear")
    assert low <= last_loss < 1 < high


def test_page_is_complete_and_escapes_names(runs, tmp_path):
    out = tmp_path / "curves.html"
    assert main([*map(str, runs), "--out", str(out)]) == 0
    page = out.read_text()
    tags = check_page(page)
    assert "b" not in tags
    assert tags.count("svg") == 2
    assert "&lt;i&gt;pipes" in page
    for word in ("epoch", "Loss", "IoU", "validation, and training in pale"):
        assert f">{word}</text>" in page
    titles = re.findall(r"<title>(.*?)</title>", page)
    assert titles[1] == "300-&lt;b&gt;&amp;&quot;: best IoU 0.6000 at epoch 4 of 9"
    assert len(titles) == 1 + 4, "a tooltip for each dot"
    for place in range(2):
        assert page.count(curves.run_colour(place)) > 5
    assert main([*map(str, runs), "--out", str(out)]) == 0
    assert out.read_text() == page, "the same runs make the same file"


def test_picture_has_curves_and_a_legend(runs, tmp_path):
    out = tmp_path / "curves.PNG"
    assert main([str(runs[0].parent), "--out", str(out)]) == 0
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    foot = 3.9 * 200
    rows_of_keys = []
    for place in range(2):
        here = (abs(pixels - ImageColor.getrgb(curves.run_colour(place))) < 30).all(-1)
        left, right = np.split(here[: int(foot)], [here.shape[1] // 2], axis=1)
        assert min(left.sum(), right.sum()) > 500, "a line in each of the charts"
        rows_of_keys.append(int(foot) + np.flatnonzero(here[int(foot) :].any(1)).mean())
    assert foot < rows_of_keys[0] < rows_of_keys[1] - 20, "a key for each run"


@pytest.mark.parametrize("epochs", [1, 2, 97, 5000])
def test_short_and_long_runs(epochs, tmp_path):
    run = make_run(tmp_path / "run", epochs, 1)
    for out in (tmp_path / "a.png", tmp_path / "a.html"):
        assert main([str(run), "--out", str(out)]) == 0
    for chart in (curves.draw_loss, curves.draw_iou):
        axes, _ = draw(chart, read_history(run))
        ticks = [label.get_text() for label in axes.get_xticklabels()]
        assert ticks[0] == "1"
        assert len(ticks) == len(set(ticks)) <= 11


def test_runs_beyond_the_palette_have_distinct_colours_visible_in_light_and_dark():
    colours = [curves.run_colour(place) for place in range(40)]
    assert len(set(colours)) == 40
    for colour in colours[6:]:  # the first six are Okabe and Ito's
        rgb = np.array(ImageColor.getrgb(colour)) / 255
        assert 0.18 < rgb**2.2 @ (0.2126, 0.7152, 0.0722) < 0.22


def test_single_epoch_is_a_dot_in_the_middle(tmp_path):
    history = read_history(make_run(tmp_path / "run", 1, 1))
    axes, lines = draw(curves.draw_loss, history)
    assert axes.get_xlim() == (0, 2)
    assert {x for ((x, _),) in lines} == {1}
    assert [line.get_marker() for line in axes.lines] == ["o", "o", "o"]
    assert [line.get_alpha() for line in axes.lines] == [0.5, None, None]


@pytest.mark.parametrize("decades", [1.01, 2, 5, 5.5, 9, 12, 40, 300])
def test_tick_labels_of_the_loss_do_not_overlap(decades):
    records = [
        {"epoch": epoch, "loss": loss, "validation_loss": 2 * loss, "iou": 0.5}
        for epoch, loss in ((1, 1e8), (100_000, 10 ** (8 - decades)))
    ]
    figure = Figure((5.2, 3.9), layout="constrained")
    axes = figure.subplots()
    curves.draw_loss(axes, [RunHistory("run", records, {}, [])])
    figure.draw_without_rendering()
    for axis, (low, high), direction in (
        (axes.xaxis, axes.get_xlim(), "intervalx"),
        (axes.yaxis, axes.get_ylim(), "intervaly"),
    ):
        ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        ends = sorted(
            getattr(tick.label1.get_window_extent(), direction).tolist() for tick in ticks
        )
        assert len(ends) > 2
        assert all(end < start for (_, end), (start, _) in pairwise(ends))


LONG = "/a-folder-of-runs" * 5


@pytest.mark.parametrize(
    "names",
    [
        (f"{LONG}/seed-1/300-vanilla", f"{LONG}/seed-2/300-vanilla"),
        (f"1{LONG}", f"2{LONG}"),
        ("W" * 120 + "1", "W" * 120 + "2"),
        ("größe", "gräße"),
        ("_hidden", "$x^2$"),
        ("a  b" * 30, "a b" * 30),
    ],
)
def test_legend_has_whole_distinct_names(names, caplog):
    record = {"epoch": 100_000, "loss": 0.1, "validation_loss": 0.2, "iou": 0.5}
    histories = [RunHistory(name, [record], {}, []) for name in names]
    with Image.open(io.BytesIO(curves.make_curve_png(histories))) as picture:
        background = (np.asarray(picture.convert("RGB")) == 255).all(-1)
    assert background[[0, -1]].all(), "nothing is cut at the edges"
    assert background[:, [0, -1]].all(), "nothing is cut at the edges"
    figure = curves.make_curve_figure(histories)
    shown = [text.get_text().replace("\n", "") for text in figure.legends[0].get_texts()]
    best = ": best IoU 0.5000 at epoch 100,000 of 100,000"
    assert shown == [name + best for name in names]
    assert shown[0] != shown[1]
    assert not caplog.records, "matplotlib finds every font"


def test_runs_with_the_same_name_are_named_by_path_and_drawn_once(tmp_path, capsys):
    folders = [make_run(tmp_path / name / "300-vanilla", 3, 2) for name in "ab"]
    out = str(tmp_path / "a.html")
    assert main([*map(str, folders), str(tmp_path / "a"), "--out", out]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:3]]
    assert "".join(names) != "300-vanilla300-vanilla"
    text = Path(out).read_text()
    assert [
        text.count(f'background:{curves.run_colour(i)}"></i><span class="name">{f}</span>')
        for i, f in enumerate(folders)
    ] == [1, 1]


def test_damaged_lines_are_left_out_and_named(runs, tmp_path, capsys):
    lines = runs[0] / "metrics.jsonl"
    good = lines.read_text().splitlines()
    bad = ['{"epoch": 2, "lo', '{"epoch": 3, "loss": NaN, "validation_loss": 1, "iou": 0.5}', "7"]
    bad += ['{"epoch": "5", "loss": 1, "validation_loss": 1, "iou": 1}']
    lines.write_text("\n".join([good[0], *bad, *good[5:]]) + "\n")
    out = tmp_path / "a.html"
    assert main([str(runs[0]), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert '300-<b>&": left out damaged lines of metrics.jsonl: 2, 3, 4, 5.' in said
    history = read_history(runs[0])
    for chart, count in ((curves.draw_loss, 2), (curves.draw_iou, 1)):
        _, lines = draw(chart, history)
        assert [len(points) for points in lines[:-1]] == [5] * count


def test_run_without_a_complete_line_is_left_out_and_the_others_are_drawn(runs, tmp_path, capsys):
    torn = make_run(tmp_path / "runs" / "torn", 3, 1)
    (torn / "metrics.jsonl").write_text('{"epoch": 1, "lo')
    out = tmp_path / "a.html"
    assert main([str(tmp_path / "runs"), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.err == (
        f"report: {torn / 'metrics.jsonl'} cannot be drawn: it has no complete epoch; left out\n"
    )
    assert "2 runs" in out.read_text()


def test_deeply_nested_json_is_damage(runs, tmp_path, capsys):
    with (runs[0] / "metrics.jsonl").open("a") as file:
        file.write("[" * 200_000)
    (runs[0] / "config.json").write_text("[" * 200_000)
    assert main([str(runs[0]), "--out", str(tmp_path / "a.html")]) == 0
    assert "left out damaged lines of metrics.jsonl: 10." in capsys.readouterr().out


def test_errors_are_one_sentence_and_write_nothing(runs, tmp_path, capsys):
    out, empty, torn = (tmp_path / name for name in ("a.html", "empty", "torn"))
    for folder, text in ((empty, ""), (torn, "{\n{\n")):
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(text)
    for folder, words in (
        (tmp_path / "none", "holds no run; name a folder with a metrics.jsonl"),
        (runs[0] / "config.json", "holds no run; name a folder"),
        (empty, "holds no run; name a folder"),
        (torn, "cannot be drawn: it has no complete epoch; left out\n"),
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
def test_table_fits_the_page(browser, tmp_path, width):
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


def test_missing_matplotlib_exits_2_and_names_the_command_that_installs_it(
    runs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main([str(runs[0]), "--out", str(tmp_path / "a.html")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("report: charts need matplotlib")
    assert "pip install -e '.[report]'" in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "a.html").exists()


def test_matplotlib_is_imported_only_inside_functions():
    for path in ROOT.glob("train/**/*.py"):
        for node in ast.parse(path.read_text()).body:
            statement = ast.unparse(node)
            assert not statement.startswith(("import matplotlib", "from matplotlib")), path
