"""Make hostile files from a seed: crafted ones, and mutations of these and of sound ones."""

import io
import struct
import zipfile
from collections.abc import Iterator

import numpy as np

from benchmarks.server import make_patch

NAMES = (
    "../../etc/passwd.npy",
    "..\\..\\windows\\win.ini",
    "/etc/passwd",
    "C:\\autoexec.bat",
    "con.npy",
    ".bashrc",
    "-rf.npy",
    "a" * 5000 + ".npy",
    "é" * 300 + ".npy",
    "\u202egnp.exe",
    "💀\u200d🛢️.npy",
    "<img src=x onerror=alert(1)>.npy",
    "$(reboot).npy",
    "; rm -rf ~ #.npy",
    "%2e%2e%2fpasswd",
    "%00.npy",
    "...",
    " ",
    "{path}",
    "data:;base64,AAAA",
    "http://127.0.0.1/a.npy",
)
HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1048576, 8192), }",  # 32 GiB
    "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999, 36), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 36), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (True, True), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 36), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1.5, 2), }",
    "{'descr': '<f4', 'fortran_order': 7, 'shape': (36, 36), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (36, 36), }",
    "{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (36, 36), }",
    "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (36, 36), }",
    "{'descr': '<U999999999', 'fortran_order': False, 'shape': (36, 36), }",
    "{'descr': '<c16', 'fortran_order': False, 'shape': (9, 9), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 1500 + ")" * 1500 + ", }",
    "[" * 3000,
    "{" * 3000,
    "__import__('os').system('touch /tmp/pwned')",
    "{'descr': '<f4'}",
    "'" * 900,
    "{'descr': '\N{SNOWMAN}', 'fortran_order': False, 'shape': (36, 36), }",
    "-" * 4000 + "1",
)


def npy(header: str, data: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    """Return a .npy file with an arbitrary header; `length` is the one that it claims to have."""
    text = header.encode("utf-8") + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def save(array: np.ndarray, pickled: bool = False) -> bytes:
    """Return the bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


def craft_files() -> list[bytes]:
    """Return one file for each known attack on a reader of arrays."""
    archive = io.BytesIO()
    np.savez_compressed(archive, patch=np.zeros((36, 36)))
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as inside:
        inside.writestr("mask.npy", bytes(2**26))
    plain = "{'descr': '<f4', 'fortran_order': False, 'shape': (36, 36), }"
    patch = make_patch(1)
    values = [np.nan, np.inf, -np.inf, -999.25, 1e38, -0.0, 5e-324]
    arrays = [np.full((36, 36), value) for value in values]
    arrays += [patch.astype(">f8"), np.asfortranarray(patch), patch[None, None], patch[0]]
    arrays += [np.zeros((1, 1)), np.zeros((3, 60_000), "<f4"), np.zeros((60_000, 3), "<f2")]
    arrays += [patch.astype("i2"), patch > 0, np.zeros((36, 36), "<U3"), np.zeros((36, 36), "<c8")]
    return [
        *(npy(header, patch.tobytes()) for header in HEADERS),
        *(npy(header, version=version) for header in HEADERS for version in (2, 3, 9)),
        npy(plain, length=65535),
        npy(plain, version=2, length=2**32 - 1),
        npy(plain, version=3, length=0),
        npy(plain, bytes(2**20 - 200)),
        *map(save, arrays),
        save(np.array([[{}, print]], dtype=object), pickled=True),
        b"\x80\x04\x95" + b"cposix\nsystem\n(S'touch /tmp/pwned'\ntR.",
        archive.getvalue(),
        bomb.getvalue(),
        b"",
        b"\x93",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00",
        bytes(4096),
        b"\x89PNG\r\n\x1a\n" + bytes(99),
        "well;depth\n1;2\n".encode("utf-16"),
    ]


def mutate(content: bytes, generator: np.random.Generator) -> bytes:
    """Flip bits of a file, cut it, or swap, repeat or overwrite a part of it."""
    data = bytearray(content)
    a, b = sorted(int(i) for i in generator.integers(0, len(data) + 1, 2))
    match int(generator.integers(6)):
        case 0:
            for place in generator.integers(0, min(len(data), 128), 3):
                data[place] ^= 1 << int(generator.integers(8))
        case 1:
            for place in generator.integers(0, len(data), 40):
                data[place] ^= 1 << int(generator.integers(8))
        case 2:
            del data[a:]
        case 3:
            data = data[a:b] + data[:a] + data[b:]
        case 4:
            data[a:a] = data[a:b]
        case 5:
            data[a:b] = generator.bytes(b - a)
    return bytes(data)


def hostile_files(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` names and contents: the crafted files, then mutations."""
    generator = np.random.default_rng(seed)
    crafted = craft_files()
    seeds = [
        *(save(make_patch(i)) for i in range(20)),
        *(k for k in crafted if 0 < len(k) < 20_000),
    ]
    for i in range(count):
        name = NAMES[i % len(NAMES)] if i % 3 == 0 else f"patch_{i}.npy"
        good = seeds[int(generator.integers(len(seeds)))]
        yield name, crafted[i] if i < len(crafted) else mutate(good, generator)
