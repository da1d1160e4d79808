"""The tab Synthetic in Chromium: pipes, their knobs, and toy letters."""

import numpy as np
import pytest

from benchmarks.browser import Screen

pytestmark = pytest.mark.browser


def pipes(screen: Screen) -> None:
    """Open the tab, and show synthetic pipes."""
    screen.press("y")
    screen.page.locator("#synthetic-start").click()
    screen.page.wait_for_function("geoseg.state.source === 'synthetic'")
    screen.settle()
    screen.page.locator("#synthetic-seed").wait_for()


def turn(screen: Screen, name: str, value: object) -> None:
    """Set a knob."""
    screen.page.locator(f"#synthetic-{name} input[type=range]").fill(str(value))
    screen.page.wait_for_function(f"geoseg.state.knobs.{name} === {value}")
    screen.settle()


def shown(screen: Screen, name: str) -> float:
    """Return what a knob's slider shows."""
    return float(screen.page.locator(f"#synthetic-{name} input[type=range]").input_value())


def hold(screen: Screen, label: str, on: bool) -> None:
    """Tick or untick a knob among those that are set by the user."""
    screen.page.locator("#synthetic-held").get_by_label(label).set_checked(on)
    screen.settle()


def choose(screen: Screen, letters: str) -> None:
    screen.page.locator("#synthetic-letters").get_by_label(letters).check()
    screen.page.wait_for_function(f"geoseg.state.letters === '{letters.lower()}'")
    screen.settle()


def test_pipes_can_be_browsed_changed_and_left(screen):
    screen.press("ArrowRight")
    name = screen.name
    pipes(screen)
    assert screen.name == "synthetic 1"
    assert "of 10,000" in screen.page.locator(".gs-count").inner_text()
    screen.press("ArrowRight", "ArrowRight")
    assert screen.name == "synthetic 3"
    screen.press("ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert screen.name == "synthetic 10000"
    screen.page.wait_for_function(
        "document.querySelector('#synthetic-seed input').value === '10000'"
    )
    screen.page.locator("#synthetic-seed input").fill("42")
    screen.page.wait_for_function("geoseg.scene.name === 'synthetic 42'")
    screen.page.locator("#synthetic-surprise").click()
    screen.page.wait_for_function("geoseg.scene.name !== 'synthetic 42'")
    screen.settle()
    assert screen.name.startswith("synthetic ")
    screen.page.locator("#synthetic-leave").click()
    screen.page.wait_for_function("geoseg.state.source === 'start'")
    screen.settle()
    assert screen.name == name
    screen.page.locator("#synthetic-start").wait_for()
    assert screen.page.locator("#synthetic-seed").is_hidden()


def test_a_knob_is_as_drawn_until_it_is_moved_and_can_be_released(screen):
    pipes(screen)
    before = screen.array("patch")
    drawn = screen.page.evaluate("geoseg.scene.facts.drawn")
    screen.page.wait_for_function(
        "document.querySelector('#synthetic-width input[type=range]').value > 1.4"
    )
    assert shown(screen, "width") == pytest.approx(drawn["width"], abs=0.06)
    assert screen.page.locator("#synthetic-release").is_disabled()
    turn(screen, "contrast", 0.15)
    assert screen.array("truth").any()
    assert np.nanmin(screen.array("patch")) < np.nanmin(before)
    held = screen.page.locator("#synthetic-held")
    screen.page.wait_for_function(
        "document.querySelectorAll('#synthetic-held input:checked').length === 1"
    )
    assert held.get_by_label("Groove depth").is_checked()
    hold(screen, "Groove depth", False)
    np.testing.assert_array_equal(screen.array("patch"), before)
    assert screen.state("knobs") == {}
    hold(screen, "White noise", True)
    assert screen.state("knobs") == {"noise": drawn["noise"]}
    turn(screen, "width", 4)
    assert list(screen.state("knobs")) == ["width", "noise"]  # in the order of the knobs
    screen.page.locator("#synthetic-release").click()
    screen.page.wait_for_function("!Object.keys(geoseg.state.knobs).length")
    screen.settle()
    np.testing.assert_array_equal(screen.array("patch"), before)


def test_a_fast_drag_of_a_knob_ends_at_its_last_value(screen):
    pipes(screen)
    screen.page.locator("#synthetic-width").scroll_into_view_if_needed()
    box = screen.page.locator("#synthetic-width input[type=range]").bounding_box()
    mouse, y = screen.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + 20, y)
    mouse.down()
    for step in range(21):
        mouse.move(box["x"] + 20 + step * (box["width"] - 60) / 20, y)
    mouse.up()
    screen.page.wait_for_function("geoseg.state.knobs.width > 4.5")
    screen.settle()
    value = screen.state("knobs.width")
    assert 4.5 < value < 6
    assert shown(screen, "width") == value
    patch = screen.array("patch")
    screen.press("ArrowRight", "ArrowLeft")
    np.testing.assert_array_equal(screen.array("patch"), patch)


def test_the_strip_follows_the_knobs(screen):
    pipes(screen)
    picture = """() => { const c = document.querySelector('.gs-cell canvas');
        return c && c.width && c.style.visibility === 'visible' ? c.toDataURL() : ''; }"""
    screen.page.wait_for_function(f"({picture})() !== ''")
    before = screen.page.evaluate(picture)
    turn(screen, "nulls", 0.5)
    screen.page.wait_for_function(f"![{before!r}, ''].includes(({picture})())")
    assert screen.page.locator(".gs-cell").count() < 60


def test_a_link_restores_the_pipe_its_knobs_and_its_letters(screen, open_page):
    pipes(screen)
    screen.press("ArrowRight")
    turn(screen, "width", 4)
    turn(screen, "collar", 0.2)
    choose(screen, "Easy")
    screen.page.wait_for_function("/letters=easy/.test(location.hash)")
    other = open_page(link=screen.page.evaluate("location.href"))
    assert other.name == "synthetic 2"
    assert other.state("knobs") == {"width": 4, "collar": 0.2}
    np.testing.assert_array_equal(other.array("patch"), screen.array("patch"))
    other.press("y")  # a tab that is opened for the first time
    other.page.locator("#synthetic-seed").wait_for()
    assert other.page.locator("#synthetic-seed input").input_value() == "2"
    assert (shown(other, "width"), shown(other, "collar")) == (4, 0.2)
    assert other.page.locator("#synthetic-letters").get_by_label("Easy").is_checked()


def test_letters_replace_the_label_of_the_patch(screen, tmp_path):
    truth, patch = screen.array("truth"), screen.array("patch")
    screen.press("y")
    choose(screen, "Easy")
    letters = screen.array("truth")
    assert not np.array_equal(letters, truth)
    np.testing.assert_allclose(screen.array("patch"), patch - 0.1 * letters, atol=1e-6)
    choose(screen, "Trivial")
    assert set(np.unique(screen.array("patch"))) == {0, np.float32(-0.1)}
    np.save(tmp_path / "low.npy", np.zeros((6, 36), np.float32))
    screen.upload(tmp_path / "low.npy")
    assert "6 rows and 36 columns hold no letter" in screen.page.locator(".gs-notice").inner_text()
    screen.press("Escape", "r")
    assert screen.state("letters") == "none"
    screen.page.wait_for_function(
        "document.querySelector('#synthetic-letters input[value=none]').checked"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_tab_fits_a_phone(open_page, scheme):
    screen = open_page(360, 800, scheme)
    pipes(screen)
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= 360
    for box in screen.page.locator("#synthetic-width, #synthetic-held, #synthetic-letters").all():
        place = box.bounding_box()
        assert place["x"] >= 0
        assert place["x"] + place["width"] <= 360
