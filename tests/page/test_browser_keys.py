"""The page without a mouse, in Chromium: focus, keys, and what a screen reader reads."""

import pytest

from benchmarks.browser import Screen
from benchmarks.server import MODELS

pytestmark = pytest.mark.browser
NAMES = list(MODELS)
COUNT = 66
FIRST = "well_3_patch_2.npy"  # of the large set

# Collects what a screen reader reads aloud.
LISTEN = """() => {
    window.heard = [];
    new MutationObserver(all => {
        for (const { target } of all) {
            const live = (target.closest ? target : target.parentElement)
                .closest('[aria-live], output, [role=status]');
            if (live && live.getAttribute('aria-live') !== 'off') heard.push(live.textContent);
        }
    }).observe(document.querySelector('.gs'),
        { subtree: true, childList: true, characterData: true });
}"""


@pytest.fixture(scope="module")
def url(large_set_url) -> str:
    """Return the address of the page of the large set."""
    return large_set_url


def focused(screen: Screen) -> str:
    """Return the name of what has the focus, nothing for the page itself."""
    return screen.page.evaluate("""() => { const at = document.activeElement;
        if (at === document.body || !at.checkVisibility() || at.disabled) return '';
        return at.getAttribute('aria-label') || at.textContent || at.className; }""")


def tab_to(screen: Screen, name: str) -> None:
    """Press Tab until what is called `name` has the focus."""
    for _ in range(80):
        if focused(screen) == name:
            return
        screen.page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {name}")


def test_keys_move_through_the_strip(screen):
    def active() -> str:
        return screen.page.evaluate("""() => { const film = document.querySelector('.gs-film');
            const cell = document.getElementById(film.getAttribute('aria-activedescendant'));
            return cell.getAttribute('aria-selected') + ' ' + cell.ariaPosInSet + '/'
                + cell.ariaSetSize + ' ' + cell.ariaLabel; }""")

    tab_to(screen, "Patches")
    assert screen.page.get_by_role("listbox", name="Patches").count() == 1
    assert active() == f"true 1/{COUNT} 1: {FIRST}"
    screen.press("ArrowRight", "ArrowRight")
    assert active() == f"true 3/{COUNT} 3: well_9_patch_5.npy"
    screen.press("End")
    assert active() == f"true {COUNT}/{COUNT} {COUNT}: {screen.name}"
    screen.press("Home")
    assert (screen.name, focused(screen)) == (FIRST, "Patches")
    # A click opens a thumbnail even if the current one is out of sight.
    screen.page.locator(".gs-film").evaluate("film => { film.scrollLeft = 1e5; film.blur(); }")
    screen.page.locator(".gs-cell", has=screen.page.locator("canvas")).last.click()
    screen.settle()
    assert screen.page.evaluate("geoseg.scene.index") == COUNT - 1


def test_a_model_is_chosen_by_the_button_that_is_its_name(screen):
    tab_to(screen, NAMES[2])
    button = screen.page.get_by_role("button", name=NAMES[2])
    assert button.get_attribute("aria-pressed") == "false"
    screen.press("Enter")
    assert (screen.state("focus"), button.get_attribute("aria-pressed")) == (NAMES[2], "true")
    screen.press("Shift+Tab")
    assert focused(screen) == NAMES[1]
    screen.press("Space")
    assert screen.state("focus") == NAMES[1]


def test_nothing_is_read_aloud_twice(screen):
    screen.page.evaluate(LISTEN)
    for sheet in (None, "w", "l", "y"):
        if sheet:
            screen.press(sheet)
        screen.page.evaluate("heard.length = 0")
        screen.press("ArrowRight", "e", "t", "PageDown")
        assert screen.page.evaluate("heard") == []
    threshold = screen.page.get_by_role("slider", name="Threshold")
    assert threshold.get_attribute("aria-valuetext") == "as trained"
    screen.slide("shift", 7)
    shift = screen.page.get_by_role("slider", name="Shift")
    assert shift.get_attribute("aria-valuetext") == "7 of 36"


def test_a_closed_sheet_returns_the_focus(screen):
    screen.press("w")
    tab_to(screen, "Copy link")
    screen.press("Escape")
    assert focused(screen) == "Save"
    screen.press("w")
    tab_to(screen, "Copy link")
    screen.press("i")
    assert focused(screen) == "Close this panel"
    screen.press("Enter")
    assert focused(screen) == "Probe"


def test_buttons_that_disappear_pass_the_focus_on(screen):
    screen.press("y")
    tab_to(screen, "Show synthetic pipes")
    screen.press("Enter")
    assert focused(screen) == "Surprise me"
    knob = screen.page.get_by_role("slider", name="Groove depth")
    knob.fill("0.1")
    screen.settle()
    tab_to(screen, "Groove depth as the pipe drew it")
    screen.press("Enter")
    assert "Groove depth" in focused(screen)
    screen.press("ArrowRight")
    assert screen.name == "synthetic 2", "the arrows browse"
    screen.press("Tab")
    assert focused(screen) == "Groove depth"
    knob.fill("0.05")
    screen.settle()
    tab_to(screen, "All as drawn")
    screen.press("Enter")
    assert focused(screen)
    screen.page.locator(".gs-sheet").get_by_role("button", name="Back to the set").focus()
    screen.press("Enter")
    assert focused(screen) == "Show synthetic pipes"
    screen.press("Enter")
    screen.page.locator("[data-do=back]").focus()
    screen.press("Enter")
    assert focused(screen) == "Open .npy files"


def test_on_a_phone_tab_stays_in_the_sheet_that_covers_the_page(open_page):
    screen = open_page(390, 844)
    inside = "document.querySelector('.gs-drawer').contains(document.activeElement)"
    screen.page.get_by_role("button", name="Save", exact=True).click()
    assert screen.page.evaluate(inside)
    for _ in range(30):
        screen.page.keyboard.press("Tab")
        assert screen.page.evaluate(f"{inside} || document.activeElement === document.body")
    screen.page.get_by_label("Close this panel").click()
    assert focused(screen) == "Save"
    assert screen.page.locator("[inert]").count() == 0
    screen.press("l")  # leaves room for the patch
    assert screen.page.locator("[inert]").count() == 0
    screen.press("w")
    assert screen.page.locator("[inert]").count() == 2
    screen.page.set_viewport_size({"width": 1366, "height": 768})
    screen.page.wait_for_function("!document.querySelector('[inert]')")


def test_keys_pan_the_zoomed_picture(screen):
    def corner() -> tuple[float, ...]:
        return tuple(
            screen.page.locator(".gs-patch canvas").evaluate("""canvas => {
            const [at, frame] = [canvas, canvas.parentElement].map(n => n.getBoundingClientRect());
            return [(at.x - frame.x) / frame.width, (at.y - frame.y) / frame.height]; }""")
        )

    screen.press("Shift+ArrowRight")
    assert (screen.name, corner()) == (FIRST, (0, 0))
    screen.press("+", "+")
    middle = corner()
    screen.press("Shift+ArrowRight", "Shift+ArrowDown")
    assert corner() == pytest.approx((middle[0] - 0.2, middle[1] - 0.2), abs=1e-3)
    screen.press(*["Shift+ArrowLeft"] * 9, *["Shift+ArrowUp"] * 9)
    assert corner() == pytest.approx((0, 0), abs=1e-3)
    assert screen.name == FIRST


def test_without_full_screen_there_is_no_button_and_no_key(browser, url):
    context = browser.new_context()
    context.add_init_script(
        "Object.defineProperty(document, 'fullscreenEnabled', { value: false })"
    )
    screen = Screen(context.new_page(), url)
    assert screen.page.locator("[data-do=full]").is_hidden()
    screen.press("f", "?")
    assert "full screen" not in screen.page.locator(".gs-help dl").inner_text().lower()
    assert screen.faults == []
    context.close()


@pytest.mark.parametrize("box", ["#gs-seed", "#gs-pipe"])
def test_enter_leaves_the_seed_box(screen, box):
    screen.press("y")
    screen.page.get_by_role("button", name="Show synthetic pipes").click()
    screen.settle()
    screen.page.locator(box).fill("7")
    screen.press("Enter")
    before = screen.name
    screen.press("ArrowRight")
    assert screen.name != before
