"""Servers, data and inputs that several tests share; see tests/README.md."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
