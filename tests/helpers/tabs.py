"""Operate the tabs "Set" and "Labels" of the page."""

from benchmarks.browser import Screen

# What ships, and what is wrong in the set that the fixture `spoilt_set` makes.
SHIPPED = ["1004-flexible-unet", "1004-flexible-unet-8bit"]
FORMULA = '=HYPERLINK("x"),<img src=x onerror=alert(1)>.npy'  # a formula in a spreadsheet
EMPTIED, SHIFTED = "well_1_patch_2.npy", "well_2_patch_5.npy"  # labels

ROW = "[role=row][data-index]"  # of one of Gradio's tables


def order(screen: Screen) -> list[str]:
    """Return the names of the patches in the order of the strip."""
    return screen.page.evaluate("geoseg.state.order.map(i => geoseg.strip.list.names[i])")


def cells(screen: Screen, table: str) -> list[list[str]]:
    """Return the texts of a table's rows, as far as they are in sight."""
    return screen.page.locator(f"{table} {ROW}").evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('[role=gridcell]')]"
        ".map(cell => cell.innerText.trim()))"
    )


def choose(screen: Screen, dropdown: str, option: str) -> None:
    """Choose an option of one of Gradio's dropdowns."""
    screen.page.locator(f"{dropdown} input").click()
    screen.page.locator("li[role=option]", has_text=option).click()
