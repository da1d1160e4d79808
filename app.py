"""The page: look at patches and at what the models make of them, live in the browser.

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
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
SAMPLES = ROOT / "geoseg" / "samples" / "validation" / "images"
CHECKPOINTS = ROOT / "checkpoints"
LISTED = 10  # files named on the console before the rest is counted


class Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Print the message, without the usage, and exit with code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def make_parser() -> Parser:
    """The command line."""
    parser = Parser(prog="app.py", description="Segment patches of pipe logs live in the browser.")
    _add_subject(parser.add_argument_group("what to show").add_argument)
    _add_work(parser.add_argument_group("how to work").add_argument)
    _add_place(parser.add_argument_group("where, and for whom").add_argument)
    return parser


def _add_subject(add: Callable[..., object]) -> None:
    add(
        "-i",
        "--input",
        nargs="+",
        metavar="GLOB",
        help="patches to browse: .npy files, folders or quoted globs, ** included; labels are "
        "found in the labels/ folder beside an images/ folder (default: the packaged samples)",
    )
    add(
        "-e",
        "--experiments",
        nargs="+",
        metavar="ID",
        help="models to show, in this order, by experiment id (200), name (stacked) or file name "
        "(200-stacked) (default: all, with the last of each family ticked, three at most)",
    )
    add(
        "--checkpoints",
        default=str(CHECKPOINTS),
        metavar="DIR",
        help="folder of <id>-<name>.safetensors, or of runs, or hf://user/repo on the Hugging Face "
        "Hub (default: checkpoints/ beside app.py)",
    )


def _add_work(add: Callable[..., object]) -> None:
    add("--preload", action="store_true", help="load and warm up every model before serving")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: %(default)s")
    add(
        "--precision",
        choices=["fast", "exact"],
        default="fast",
        help="fast: bf16 where the processor has it, 99.9%% of pixels the same; exact: float32, as "
        "python -m train.evaluate scores (default: %(default)s)",
    )


def _add_place(add: Callable[..., object]) -> None:
    add(
        "--host",
        type=_host,
        default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="address to listen on; 0.0.0.0 lets other machines in (default: %(default)s)",
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
        help="where a proxy shows the page, such as /geoseg or https://example.org/geoseg; the "
        "whole address if the proxy passes its own Host on",
    )
    add(
        "--auth",
        nargs="+",
        default=os.environ.get("GEOSEG_AUTH", "").splitlines(),
        metavar="USER:PASSWORD",
        help="let in these users only, to page and endpoints; better in the environment variable "
        "GEOSEG_AUTH, one a line, as others on this machine can read a command line",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, load, serve until Ctrl-C or a polite kill."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    accounts = [line.strip() for line in options.auth if line.strip()]
    # Whatever was typed may be a password: it is not repeated. Nothing typed lets nobody in, rather
    # than everybody.
    if (options.auth and not accounts) or not all(
        re.fullmatch("[^:]+:.+", account) for account in accounts
    ):
        parser.error("--auth, or a line of GEOSEG_AUTH, is USER:PASSWORD, neither of them empty")
    _check_address(parser, options.host, options.port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder below is removed
    try:
        with _private_folder():
            serve(parser, options, accounts)
    except KeyboardInterrupt:  # while it was loading
        sys.exit(130)


def serve(parser: Parser, options: argparse.Namespace, accounts: Sequence[str]) -> None:
    """Build the page and hold it up."""
    # Here, not above: `--help` and mistakes answer at once, and the folder's name is set by now.
    from geoseg.page import build, launch, live_device, load_set
    from geoseg.segmenter import Segmenter

    try:
        patches = load_set(options.input or [str(SAMPLES)], "" if options.input else "Samples")
        for line in _list_rejected(patches.rejected):
            print(line, file=sys.stderr)
        segmenter = Segmenter(
            _checkpoints(options.checkpoints, options.experiments),
            live_device(options.device),
            options.precision,
        )
        if options.preload:
            segmenter.preload()
    # Patches and checkpoints that cannot be used are ValueErrors; a name no disk can hold is an
    # OSError, a home that nobody has a RuntimeError.
    except (ValueError, OSError, RuntimeError) as error:
        parser.error(str(error))
    demo = build(segmenter, patches, segmenter.names if options.experiments else None)
    try:
        url = launch(demo, options.host, options.port, options.root_path, accounts)
    except OSError:
        parser.error(f"port {options.port} of {options.host} is taken; choose another with --port")
    print(f"{len(patches.entries):,} patches, {len(segmenter.names)} models on {segmenter.device}")
    print(f"geoseg is at {url} (Ctrl-C stops it)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
    finally:
        demo.close(verbose=False)


def _checkpoints(folder: str, wanted: Sequence[str] | None) -> list[Path]:
    """The files for the experiments asked for, in that order, or all; ValueError lists them."""
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
    for one in wanted:
        names = choose(tuple(files), one)
        if not names:
            raise ValueError(f"no checkpoint {one!r} in {folder!r}; there are {', '.join(files)}")
        chosen.update((name, files[name]) for name in names)
    return list(chosen.values())


def _list_rejected(rejected: Sequence[tuple[str, str]]) -> Iterator[str]:
    for name, reason in rejected[:LISTED]:
        yield reason if name in reason else f"{name}: {reason}"
    if len(rejected) > LISTED:
        yield f"and {len(rejected) - LISTED:,} more files"


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def _host(text: str) -> str:
    """Brackets round IPv6, as in an address."""
    return f"[{text}]" if ":" in text and not text.startswith("[") else text


def _root_path(text: str) -> str:
    if text and not re.fullmatch(r"(https?:/)?(/[\w.~:-]+)+/?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a path like /geoseg nor an address")
    return text.rstrip("/")


def _check_address(parser: Parser, host: str, port: int) -> None:
    """Say that a port is taken before anything slow is loaded."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        family, kind, _, _, address = found[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no such address"
        parser.error(f"cannot listen on {host} port {port} ({reason}); see --host and --port")


@contextmanager
def _private_folder() -> Iterator[None]:
    """A folder of our own for uploads, which nobody else can list, removed at the end."""
    # Threads that wait for the next operation let go of their processor after some microseconds,
    # not milliseconds: a first picture after a rest then comes three times as soon, and what else
    # runs, such as the browser, is not held up (benchmarks/page.py).
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Statistics of calls, which nobody looks at: 10,000 remembered, and summed up at each mistake.
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(2**62)
    for name in ("no_proxy", "NO_PROXY"):  # Gradio asks itself whether it is up, not a proxy
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost,127.0.0.1,::1"]))
    # Whose word uvicorn takes for whom they forward: proxies on this machine, and those of Spaces.
    proxies = "127.0.0.1,::1,10.0.0.0/8" if os.environ.get("SPACE_ID") else "127.0.0.1,::1"
    os.environ.setdefault("FORWARDED_ALLOW_IPS", proxies)
    with tempfile.TemporaryDirectory(prefix="geoseg-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        yield


if __name__ == "__main__":
    main()
