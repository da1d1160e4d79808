"""The page: segment patches live in the browser.

python app.py
python app.py -i "data/validation/images/well_13*.npy" -e 200 402 300 --preload
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

ROOT = Path(__file__).resolve().parent
SAMPLES = ROOT / "geoseg" / "samples" / "validation" / "images"
CHECKPOINTS = ROOT / "checkpoints"
MAX_LISTED = 10  # unusable files listed on the console before the rest is counted


@dataclass(frozen=True)
class Options:
    """The command line; the help of each option says what it means."""

    input: tuple[str, ...]
    experiments: tuple[str, ...]
    checkpoints: str
    preload: bool
    device: str
    precision: Literal["fast", "exact"]
    host: str
    port: int
    root_path: str
    accounts: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, load the models, and serve the page until Ctrl-C or SIGTERM."""
    options = parse_options(arguments)
    _check_address(options.host, options.port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the upload folder is removed
    try:
        with _private_environment():
            serve(options)
    except KeyboardInterrupt:  # while loading
        sys.exit(130)


def serve(options: Options) -> None:
    """Build the page and serve it until Ctrl-C."""
    # Imported here so that --help and mistakes are fast, and after the upload folder is set.
    from geoseg.page import build, launch, live_device, load_set
    from geoseg.segmenter import Segmenter

    try:
        patches = load_set(options.input or [str(SAMPLES)], "" if options.input else "Samples")
        for line in describe_rejected(patches.rejected):
            print(line, file=sys.stderr)
        paths = select_checkpoints(options.checkpoints, options.experiments)
        segmenter = Segmenter(paths, live_device(options.device), options.precision)
        if options.preload:
            segmenter.preload()
    # ValueError if patches or checkpoints cannot be used; OSError if a path is invalid;
    # RuntimeError if the home directory cannot be determined.
    except (ValueError, OSError, RuntimeError) as error:
        _exit(str(error))
    page = build(segmenter, patches, segmenter.names if options.experiments else None)
    host, port = options.host, options.port
    try:
        url = launch(page, host, port, options.root_path, options.accounts)
    except OSError:
        _exit(f"port {port} of {host} is taken; choose another with --port")
    print(f"{len(patches.entries):,} patches, {len(segmenter.names)} models on {segmenter.device}")
    print(f"geoseg is at {url} (Ctrl-C stops it)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
    finally:
        page.close(verbose=False)


def parse_options(arguments: Sequence[str] | None) -> Options:
    """Parse the command line; exit with code 2 and one sentence if it is wrong."""
    values = vars(make_parser().parse_args(arguments))
    typed = values.pop("auth")
    accounts = tuple(line.strip() for line in typed if line.strip())
    # The message does not repeat what was typed: it may be a password. An empty list is an error,
    # because it would let everybody in.
    if (typed and not accounts) or not all(re.fullmatch("[^:]+:.+", user) for user in accounts):
        _exit("--auth, or a line of GEOSEG_AUTH, is USER:PASSWORD; neither may be empty")
    values |= {name: tuple(values[name]) for name in ("input", "experiments")}
    return Options(**values, accounts=accounts)


class Parser(argparse.ArgumentParser):
    """Reports an error in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        _exit(message)


def _exit(message: str) -> NoReturn:
    print(f"app.py: {message}", file=sys.stderr)
    sys.exit(2)


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(prog="app.py", description="Segment patches of pipe logs live in the browser.")
    _add_content_options(parser.add_argument_group("content").add_argument)
    _add_model_options(parser.add_argument_group("models").add_argument)
    _add_server_options(parser.add_argument_group("server").add_argument)
    return parser


def _add_content_options(add: Callable[..., object]) -> None:
    add(
        "-i",
        "--input",
        nargs="+",
        default=(),
        metavar="GLOB",
        help="patches to browse: .npy files, folders or quoted globs, which may contain **; labels "
        "are read from the labels/ folder beside an images/ folder (default: packaged samples)",
    )
    add(
        "-e",
        "--experiments",
        nargs="+",
        default=(),
        metavar="ID",
        help="models to show, in this order, by experiment id (200), name (stacked) or file name "
        "(200-stacked) (default: all, with the last of each architecture selected, at most three)",
    )
    add(
        "--checkpoints",
        default=str(CHECKPOINTS),
        metavar="DIR",
        help="folder of <id>-<name>.safetensors, or of runs, or hf://user/repo on the Hugging Face "
        "Hub (default: checkpoints/ beside app.py)",
    )


def _add_model_options(add: Callable[..., object]) -> None:
    add("--preload", action="store_true", help="load and warm up every model before serving")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: %(default)s")
    add(
        "--precision",
        choices=["fast", "exact"],
        default="fast",
        help="fast: bf16 if the processor supports it, 99.9%% of pixels the same; exact: float32, "
        "as in python -m train.evaluate (default: %(default)s)",
    )


def _add_server_options(add: Callable[..., object]) -> None:
    add(
        "--host",
        type=_host,
        default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="address to listen on; 0.0.0.0 admits other machines (default: %(default)s)",
    )
    add(
        "--port",
        type=_port,
        default=os.environ.get("GRADIO_SERVER_PORT", "7860"),
        help="port to listen on (default: %(default)s)",
    )
    add(
        "--root-path",
        type=_root_path,
        default=os.environ.get("GRADIO_ROOT_PATH", ""),
        metavar="PATH",
        help="path or address of the page behind a proxy, such as /geoseg or "
        "https://example.org/geoseg; the whole address if the proxy forwards its own Host",
    )
    add(
        "--auth",
        nargs="+",
        default=os.environ.get("GEOSEG_AUTH", "").splitlines(),
        metavar="USER:PASSWORD",
        help="only these users may open the page and the endpoints; the environment variable "
        "GEOSEG_AUTH, one user a line, is safer: other users of this machine can read a command "
        "line",
    )


def select_checkpoints(folder: str, wanted: Sequence[str]) -> list[Path]:
    """Return the files of the wanted experiments, in that order, or all; ValueError lists them."""
    from geoseg.checkpoint import checkpoint_name, find_checkpoints
    from geoseg.hub import is_hub_address
    from geoseg.page import choose

    if not (Path(folder).is_dir() or is_hub_address(folder)):
        raise ValueError(f"checkpoint folder {folder!r} does not exist")
    files = {checkpoint_name(path): path for path in find_checkpoints(folder)}
    if not files:
        raise ValueError(f"{folder!r} holds no checkpoint; train one with python -m train")
    if not wanted:
        return list(files.values())
    chosen: dict[str, Path] = {}
    for experiment in wanted:
        names = choose(tuple(files), experiment)
        if not names:
            raise ValueError(
                f"no checkpoint {experiment!r} in {folder!r}; there are {', '.join(files)}"
            )
        chosen.update((name, files[name]) for name in names)
    return list(chosen.values())


def describe_rejected(rejected: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Describe the files that cannot be shown, one line each."""
    for name, reason in rejected[:MAX_LISTED]:
        yield reason if name in reason else f"{name}: {reason}"
    if len(rejected) > MAX_LISTED:
        yield f"and {len(rejected) - MAX_LISTED:,} more files"


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def _host(text: str) -> str:
    """Put brackets around an IPv6 address, as in a URL."""
    return f"[{text}]" if ":" in text and not text.startswith("[") else text


def _root_path(text: str) -> str:
    if text and not re.fullmatch(r"(https?:/)?(/[\w.~:-]+)+/?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a path like /geoseg nor an address")
    return text.rstrip("/")


def _check_address(host: str, port: int) -> None:
    """Exit if the address cannot be used, before anything slow is loaded."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        family, kind, _, _, address = found[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no such address"
        _exit(f"cannot listen on {host} port {port} ({reason}); see --host and --port")


@contextmanager
def _private_environment() -> Iterator[None]:
    """Set the environment of the server, with a private folder for uploads, removed at the end."""
    # Waiting threads release their processor after microseconds, not milliseconds: the first
    # picture after a pause is three times as fast, and the browser keeps its share
    # (benchmarks/page.py).
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Gradio's call statistics are not used: by default 10,000 calls, summed up at each error.
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(2**62)
    for name in ("no_proxy", "NO_PROXY"):  # Gradio checks its own address, without a proxy
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost,127.0.0.1,::1"]))
    # uvicorn trusts the X-Forwarded headers of proxies on this machine, and of those of Spaces.
    proxies = "127.0.0.1,::1,10.0.0.0/8" if os.environ.get("SPACE_ID") else "127.0.0.1,::1"
    os.environ.setdefault("FORWARDED_ALLOW_IPS", proxies)
    with tempfile.TemporaryDirectory(prefix="geoseg-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        yield


if __name__ == "__main__":
    main()
