"""What a file is by its first bytes, with the remedy, where another kind of file is expected."""

from __future__ import annotations

HEAD = 512  # bytes that are enough

SAFETENSORS = "is a safetensors checkpoint"
_LFS = "is a Git LFS pointer, not the file itself; run `git lfs pull`"
_PICKLE = "is a pickle, which may run code when opened; save the values in another format"
_KINDS = (
    (b"version https://git-lfs.github.com/", _LFS),
    (b"\x1f\x8b", "is compressed by gzip; unpack it with gunzip"),
    (b"\x93NUMPY", "is a .npy array"),
    *((b"\x80" + bytes([version]), _PICKLE) for version in (2, 3, 4, 5)),
    (b"\x89PNG", "is a PNG picture"),
    (b"\xff\xd8\xff", "is a JPEG picture"),
    (b"II*\x00", "is a TIFF picture"),
    (b"MM\x00*", "is a TIFF picture"),
    (b"\x89HDF", "is an HDF5 or MATLAB file"),
    (b"MATLAB 5.0", "is a MATLAB file"),
    (b"%PDF", "is a PDF document"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it"),
    (b"Rar!", "is a RAR archive; unpack it"),
)
_WEB = (b"<!doctype html", b"<html")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def describe_foreign_file(head: bytes) -> str | None:
    """Return what a file is that begins with `head`, such as "is a .npy array"; None if unknown.

    The predicate of a sentence, with the remedy where there is one. HEAD bytes suffice.
    """
    if not head:
        return "is empty; export it again"
    if head.startswith(b"PK"):
        # torch.save writes a zip archive of a pickle and the values.
        if b"data.pkl" in head or b"/version" in head or b".format_version" in head:
            return (
                "was written by torch.save, which stores a pickle; save the weights with "
                "safetensors.torch.save_file"
            )
        return "is an .npz or zip archive; save each array to its own file"
    if head.lstrip().lower().startswith(_WEB):
        return "is a web page, not the file itself; download the raw file"
    if head.startswith(_UTF_16):
        return "is text in UTF-16; save it in UTF-8"
    # safetensors: the length of the header, and the header in JSON.
    if head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") < 2**40:
        return SAFETENSORS
    return next((what for start, what in _KINDS if head.startswith(start)), None)
