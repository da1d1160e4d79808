"""What the tests of `python -m train.remote` share."""

from pathlib import Path

from train.remote.__main__ import main

RUN = "3-unet-8-halving"
SMALL = ["--", "--epochs", "1", "--cpu", "--precision", "fp32"]
COMMAND = ["-e", "3", "-u", "me"]


def read_output(capsys) -> str:
    """Return what was printed to both streams, on one line."""
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def fetch(folder: Path, *options: str) -> int:
    """Fetch the run into folder/runs; return the exit code."""
    return main([*COMMAND, "--fetch", "-o", str(folder / "runs"), *options])


def push(folder: Path, *options: str) -> int:
    """Write a notebook into `folder` and push it; return the exit code."""
    clone = ["--clone", "https://example.org/geoseg.git"]  # faster than to pack the code
    return main([*COMMAND, *clone, "-p", "--folder", str(folder), *options, *SMALL])
