"""The probe (perturbation curves) and the synthetic pipes, in Chromium."""

import re

import numpy as np
import pytest

from benchmarks.browser import Screen
from benchmarks.server import MODELS

pytestmark = pytest.mark.browser
NAMES = list(MODELS)
PROBES = 4


def drawn(screen: Screen) -> None:
    """Wait until every curve of the shown patch is drawn."""
    screen.page.get_by_text("All curves are drawn.").wait_for()


def probe(screen: Screen) -> None:
    screen.press("i")
    drawn(screen)


def chart(screen: Screen, number: int):
    return screen.page.locator(".gs-curves").nth(number)


def at_step(screen: Screen, number: int, step: int, steps: int) -> None:
    """Click on a step of a chart."""
    box = chart(screen, number).locator("svg").bounding_box()
    share = (34 + (384 - 44) * step / (steps - 1)) / 384
    screen.page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
    screen.settle()


def knob(screen: Screen, name: str, value: object) -> None:
    screen.page.locator(f"[data-knob={name}]").fill(str(value))
    screen.settle()


def pipes(screen: Screen) -> None:
    screen.press("y")
    screen.page.get_by_role("button", name="Show synthetic pipes").click()
    screen.settle()


def test_every_model_has_its_curves_and_its_verdict(screen):
    probe(screen)
    for number in range(PROBES):
        curves = chart(screen, number).locator("[data-model]")
        assert curves.evaluate_all("all => all.map(c => c.dataset.model)") == NAMES
        strokes = curves.evaluate_all("all => all.map(c => getComputedStyle(c).stroke)")
        assert len(set(strokes)) == len(NAMES)
    verdicts = screen.page.locator(".gs-verdicts li").all_inner_texts()
    assert "turns exactly" in verdicts[0]
    assert re.search(r"0\.\d\d at shift \d+", verdicts[2])


def test_curves_compare_with_the_labels_or_with_the_model_itself(screen):
    probe(screen)
    words = chart(screen, 0).get_attribute("aria-label")
    assert words.startswith("Shift, IoU with the labels.")
    screen.page.get_by_role("button", name="Agreement with itself").click()
    words = chart(screen, 0).get_attribute("aria-label")
    assert f"{NAMES[0]}: identical at all 36 shifts." in words
    assert re.search(rf"{NAMES[2]}: lowest 0\.\d\d at shift \d+\.", words)
    screen.press("ArrowLeft")  # to a patch without labels
    assert screen.name == "well_9_patch_20.npy"
    drawn(screen)
    assert screen.page.get_by_role("button", name="IoU with the labels").is_disabled()
    screen.press("ArrowLeft")
    drawn(screen)
    assert screen.state("measure") == "kept"


def test_curves_and_cards_show_the_same_score(screen):
    probe(screen)
    screen.slide("shift", 11)
    chart(screen, 0).focus()
    for _ in range(11):
        screen.page.keyboard.press("ArrowRight")
    said = chart(screen, 0).get_attribute("aria-valuetext")
    assert said.startswith("shift 11")
    for name in NAMES:
        shown = float(screen.shown_scores(name)[-1])
        told = float(re.search(rf"{name} ([\d.]+)", said)[1])
        assert told == pytest.approx(shown, abs=0.02)
    assert screen.name == "well_9_patch_0.npy", "the arrow keys browsed"


def test_a_click_or_enter_on_a_curve_moves_its_slider(screen):
    probe(screen)
    before = screen.array("patch")
    at_step(screen, 0, 12, 36)
    assert screen.state("shift") == 12
    np.testing.assert_array_equal(screen.array("patch"), np.roll(before, 12, 1))
    at_step(screen, 1, 4, 11)
    assert screen.state("noise") == 0.002
    chart(screen, 0).focus()
    for key in ("Home", "ArrowRight", "Enter"):
        screen.page.keyboard.press(key)
    screen.settle()
    assert screen.state("shift") == 1
    at_step(screen, 2, 4, 9)
    assert (screen.state("shift"), screen.state("noise")) == (1, 0.002)


def test_curves_that_are_known_are_not_requested_again(screen):
    probe(screen)
    screen.page.evaluate("""() => {
        const { call } = geoseg.channels;
        window.asked = [];
        geoseg.channels.call = (name, message, heard) => {
            if (name === 'probe') asked.push(message);
            call(name, message, heard);
        };
    }""")
    screen.press("ArrowRight")
    drawn(screen)
    screen.press("ArrowLeft")
    drawn(screen)
    screen.slide("shift", 5)  # the shift curve does not depend on it; the others do
    screen.page.wait_for_function("asked.length === 2")
    drawn(screen)
    asked = screen.page.evaluate("asked.map(m => [m.index, m.probes.join()])")
    assert asked == [[1, "shift,noise,gain,nulls"], [0, "noise,gain,nulls"]]


def test_a_stale_run_ends_and_the_next_one_completes(screen):
    screen.page.evaluate("""() => {
        const { call } = geoseg.channels;
        let runs = 0;
        window.heard = [];
        geoseg.channels.call = (name, message, hear) => {
            const run = runs += 1;
            call(name, message, (answer, last) => {
                if (name === 'probe' && !answer.waiting) heard.push([run, answer.done, answer.of]);
                hear(answer, last);
            });
        };
    }""")
    screen.press("i")
    for _ in range(3):
        screen.page.wait_for_function("geoseg.sheets.find(s => s.name === 'probe').running")
        screen.press("ArrowRight")
    drawn(screen)
    heard = screen.page.evaluate("heard")
    final = [entry for entry in heard if entry[0] == heard[-1][0]]
    steps = [done for _, done, _ in final]
    assert steps == sorted(set(steps)), "a step ran twice"
    assert (steps[0], steps[-1]) == (0, final[0][2])
    assert screen.page.evaluate("geoseg.scene.index") == 3


def test_a_run_can_be_stopped_and_continued(screen):
    # Small models finish before a click from here arrives.
    screen.page.evaluate("""() => new Promise(resolve => {
        const press = () => {
            const stop = document.querySelector('.gs-sheet .gs-work button');
            if (!stop || stop.textContent !== 'Stop' || !stop.checkVisibility()) return;
            watch.disconnect();
            stop.click();
            resolve();
        };
        const watch = new MutationObserver(press);
        watch.observe(document.querySelector('.gs-drawer'),
            { subtree: true, childList: true, attributes: true, characterData: true });
        document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'i', bubbles: true }));
    })""")
    stop = screen.page.locator(".gs-work button")
    screen.page.get_by_text("Stopped.").wait_for()
    assert stop.inner_text() == "Go on"
    stop.click()
    drawn(screen)
    assert stop.is_hidden()


def test_synthetic_pipes_can_be_browsed_changed_and_left(screen):
    screen.press("ArrowRight")
    pipes(screen)
    assert screen.name == "synthetic 1"
    assert screen.page.locator(".gs-count").inner_text() == "of 10,000"
    screen.press("ArrowRight", "ArrowRight")
    assert screen.name == "synthetic 3"
    assert screen.page.locator("#gs-pipe").input_value() == "3"
    screen.press("ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert screen.name == "synthetic 10000"
    before = screen.array("patch")
    knob(screen, "contrast", 0.15)
    assert screen.array("truth").any()
    assert np.nanmin(screen.array("patch")) < np.nanmin(before)
    assert float(screen.shown_scores(NAMES[0])[0]) > 0
    screen.page.get_by_role("button", name="Groove depth as the pipe drew it").click()
    screen.settle()
    np.testing.assert_array_equal(screen.array("patch"), before)
    screen.page.locator(".gs-jump").fill("42")
    screen.page.keyboard.press("Enter")
    screen.settle()
    assert screen.name == "synthetic 42"
    screen.page.get_by_role("button", name="Surprise me").click()
    screen.settle()
    assert screen.name.startswith("synthetic ")
    screen.page.get_by_role("button", name="Back to the set").first.click()
    screen.settle()
    assert screen.name == "well_9_patch_5.npy"


def test_a_fast_drag_of_a_pipe_slider_ends_at_its_last_value(screen):
    pipes(screen)
    box = screen.page.locator("[data-knob=width]").bounding_box()
    mouse, y = screen.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + 20, y)
    mouse.down()
    for step in range(30):
        mouse.move(box["x"] + 20 + step * 10, y)
    mouse.up()
    screen.settle()
    value = screen.state("knobs.width")
    assert 4.5 < value < 6
    assert screen.page.evaluate("geoseg.scene.facts.drawn.width") != value
    patch = screen.array("patch")
    screen.press("ArrowRight", "ArrowLeft")
    np.testing.assert_array_equal(screen.array("patch"), patch)


def test_the_strip_follows_the_pipe_sliders(screen):
    pipes(screen)
    picture = """() => { const c = document.querySelector('.gs-cell canvas');
        return c.width && c.style.visibility === 'visible' ? c.toDataURL() : ''; }"""
    screen.page.wait_for_function(f"({picture})() !== ''")
    before = screen.page.evaluate(picture)
    knob(screen, "nulls", 0.5)
    screen.page.wait_for_function(f"![{before!r}, ''].includes(({picture})())")
    assert screen.page.locator(".gs-cell").count() < 60


def test_a_link_restores_the_pipe_its_sliders_and_its_toy_labels(screen, open_page, browser, url):
    pipes(screen)
    screen.press("ArrowRight")
    knob(screen, "width", 4)
    knob(screen, "collar", 0.2)
    screen.page.get_by_role("button", name="Easy").click()
    screen.settle()
    screen.page.wait_for_function("/toy=easy/.test(location.hash)")
    address = screen.page.evaluate("location.href")
    page = browser.new_context().new_page()
    page.goto(address)
    page.wait_for_function("window.geoseg && geoseg.scene && geoseg.settled")
    assert page.locator(".gs-jump").input_value() == "synthetic 2"
    assert page.evaluate("geoseg.state.knobs") == {"width": 4, "collar": 0.2}
    same = page.evaluate("Array.from(geoseg.scene.patch).map(v => v !== v ? null : v)")
    ours = screen.page.evaluate("Array.from(geoseg.scene.patch).map(v => v !== v ? null : v)")
    assert same == ours
    page.goto(f"{url}/#source=uploads&knobs=width:1e9,depth:3,collar:x,__proto__:1&toy=hard")
    page.reload()
    page.wait_for_function("window.geoseg && geoseg.scene && geoseg.settled")
    state = page.evaluate("[geoseg.state.source, geoseg.state.knobs, geoseg.state.toy]")
    assert state == ["start", {"width": 6}, "none"]
    page.context.close()


def test_toy_labels_replace_the_label_of_the_patch(screen, tmp_path):
    truth, patch = screen.array("truth"), screen.array("patch")
    screen.press("y")
    screen.page.get_by_role("button", name="Easy").click()
    screen.settle()
    letters = screen.array("truth")
    assert not np.array_equal(letters, truth)
    np.testing.assert_allclose(screen.array("patch"), patch - 0.1 * letters, atol=1e-6)
    assert "letters for labels" in screen.page.locator(".gs-patch .gs-note").inner_text()
    screen.page.get_by_role("button", name="Trivial").click()
    screen.settle()
    assert set(np.unique(screen.array("patch"))) == {0, np.float32(-0.1)}
    np.save(tmp_path / "low.npy", np.zeros((6, 36), np.float32))
    screen.upload(tmp_path / "low.npy")
    assert "6 rows and 36 columns hold no letter" in screen.page.locator(".gs-notice").inner_text()
    screen.press("Escape", "r")
    assert screen.state("toy") == "none"


@pytest.mark.parametrize("sheet", ["i", "y"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_sheets_fit_a_phone_and_every_control_has_a_name(open_page, sheet, scheme):
    screen = open_page(390, 844, scheme)
    if sheet == "y":
        pipes(screen)
    else:
        probe(screen)
    across = screen.page.evaluate("""Math.max(...[...document.querySelectorAll('.gs-drawer *')]
        .map(element => element.getBoundingClientRect().right))""")
    assert across <= 390
    nameless = screen.page.evaluate("""[...document.querySelectorAll(
        '.gs-drawer :is(button, input, [role=slider], [role=group])')].filter(
        e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).length""")
    assert nameless == 0
