"""Operate the sheets "Set" and "Doubts" of the page."""

import csv
from pathlib import Path

from benchmarks.browser import Screen

# What ships, and what is wrong in the set that the fixture `spoilt_set` makes.
SHIPPED = ["1004-flexible-unet", "1004-flexible-unet-8bit"]
FORMULA = '=HYPERLINK("x"),<img src=x onerror=alert(1)>.npy'  # a formula in a spreadsheet
EMPTIED, SHIFTED = "well_1_patch_2.npy", "well_2_patch_5.npy"  # labels


def order(screen: Screen) -> list[str]:
    """Return the names of the patches in the order of the strip."""
    return screen.page.evaluate("geoseg.state.order.map(i => geoseg.strip.list.names[i])")


def download(screen: Screen, sheet: str, tmp_path: Path) -> list[dict[str, str]]:
    """Export the table of a sheet; return its rows."""
    with screen.page.expect_download() as event:
        screen.page.locator(f"{sheet} button", has_text="Export CSV").click()
    event.value.save_as(tmp_path / "table.csv")
    assert b"\r\n" in (tmp_path / "table.csv").read_bytes()
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file, strict=True))
