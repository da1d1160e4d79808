"""Data sets of patches: load a folder, split it, download, check and stitch it."""

from geoseg.dataset.folder import DatasetError, Rejection
from geoseg.dataset.loading import CACHE_NAME, PatchDataset
from geoseg.dataset.splits import (
    Split,
    leave_wells_out,
    random_split,
    split_by_folder,
    split_into_folds,
)

__all__ = [
    "CACHE_NAME",
    "DatasetError",
    "PatchDataset",
    "Rejection",
    "Split",
    "leave_wells_out",
    "random_split",
    "split_by_folder",
    "split_into_folds",
]
