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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from geoseg.measurements import MeasurementOptions

ROOT = Path(__file__).resolve().parent
SAMPLES = ROOT / "geoseg" / "samples" / "validation" / "images"


@dataclass(frozen=True)
class Options:
    """The command line; the help of each option says what it means.

    `measurements` are those of `input` and of uploads.
    """

    input: Sequence[str]
    experiments: Sequence[str]
    checkpoints: str
    preload: bool
    device: str
    precision: Literal["fast", "exact"]
    host: str
    port: int
    root_path: str
    auth: Sequence[str]
    measurements: MeasurementOptions


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, load the models, and serve the page until Ctrl-C or SIGTERM."""
    # Waiting threads release their processor after microseconds, not milliseconds: the first
    # picture after a pause is three times as fast, and the browser keeps its share
    # (benchmarks/page.py). Set before the parser imports torch, which reads it.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    parser = make_parser()
    from geoseg.measurement_options import take_measurement_options

    values = vars(parser.parse_args(arguments))
    options = Options(measurements=take_measurement_options(values), **values)
    # The message does not repeat what was typed: it may be a password.
    if not all(re.fullmatch("[^:]+:.+", user) for user in options.auth):
        parser.error("--auth, or a line of GEOSEG_AUTH, is USER:PASSWORD; neither may be empty")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the upload folder is removed
    try:
        _check_address(options.host, options.port)
        with tempfile.TemporaryDirectory(prefix="geoseg-", ignore_cleanup_errors=True) as uploads:
            _set_environment(uploads)
            serve(options)
    except KeyboardInterrupt:  # while loading
        sys.exit(130)
    except (ValueError, OSError, RuntimeError) as error:
        parser.exit(2, f"app.py: {error}\n")


def serve(options: Options) -> None:
    """Build the page and serve it until Ctrl-C.

    Raise ValueError if patches or checkpoints cannot be used; OSError if the port is taken or a
    path is invalid; RuntimeError if a home directory cannot be determined.
    """
    # Imported here, after the upload folder is set, and so that --help and mistakes are fast.
    from geoseg.page import build, launch, live_device, load_set
    from geoseg.segmenter import Segmenter

    sources, label = (options.input, "") if options.input else ([str(SAMPLES)], "Samples")
    patches = load_set(sources, label, options.measurements)
    for name, reason in patches.rejected[:10]:
        print(reason if name in reason else f"{name}: {reason}", file=sys.stderr)
    paths = select_checkpoints(options.checkpoints, options.experiments)
    segmenter = Segmenter(paths, live_device(options.device), options.precision)
    if options.preload:
        segmenter.preload()
    shown = segmenter.names if options.experiments else None
    page = build(segmenter, patches, shown, options.measurements)
    url = launch(page, options.host, options.port, options.root_path, options.auth)
    models = f"{len(segmenter.names)} models on {segmenter.device}"
    print(f"{len(patches.entries):,} patches ({len(patches.rejected):,} files left out), {models}")
    print(f"geoseg is at {url} (Ctrl-C stops it)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
    finally:
        page.close(verbose=False)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from geoseg.measurement_options import add_measurement_options

    parser = argparse.ArgumentParser(
        prog="app.py", description="Segment patches of pipe logs live in the browser."
    )
    users = os.environ.get("GEOSEG_AUTH", "")
    add = parser.add_argument_group("content").add_argument
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
        default=str(ROOT / "checkpoints"),
        metavar="DIR",
        help="folder of <id>-<name>.safetensors, or of runs, or hf://user/repo on the Hugging Face "
        "Hub (default: checkpoints/ beside app.py)",
    )
    add_measurement_options(parser)
    add = parser.add_argument_group("models").add_argument
    add("--preload", action="store_true", help="load and warm up every model before serving")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: %(default)s")
    add(
        "--precision",
        choices=["fast", "exact"],
        default="fast",
        help="fast: bf16 if the processor supports it, 99.9%% of pixels the same; exact: float32, "
        "as in python -m train.evaluate (default: %(default)s)",
    )
    add = parser.add_argument_group("server").add_argument
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
        # Blank lines are skipped; nothing but these is an error, as no user would admit everybody.
        default=re.findall(r"\S.*\S", users) or users.splitlines(),
        metavar="USER:PASSWORD",
        help="only these users may open the page and the endpoints; the environment variable "
        "GEOSEG_AUTH, one user a line, is safer: other users of this machine can read a command "
        "line",
    )
    return parser


def select_checkpoints(folder: str, wanted: Sequence[str]) -> list[Path]:
    """Return the files of the wanted experiments, in that order, or all; ValueError lists them.

    Of all, those that cannot be used are printed and left out; the last one's fault is raised if
    none can.
    """
    from geoseg.checkpoint import CheckpointError, checkpoint_name, find_checkpoints, read_card
    from geoseg.hub import is_hub_address
    from geoseg.page import choose

    if not (Path(folder).is_dir() or is_hub_address(folder)):
        raise ValueError(f"checkpoint folder {folder!r} does not exist")
    files = {checkpoint_name(path): path for path in find_checkpoints(folder)}
    if not files:
        raise ValueError(f"{folder!r} holds no checkpoint; train one with python -m train")
    if not wanted:
        faults = {}
        for path in files.values():
            try:
                read_card(path)
            except CheckpointError as error:
                faults[path] = error
                print(error, file=sys.stderr)
        if len(faults) == len(files):
            raise faults.popitem()[1]
        return [path for path in files.values() if path not in faults]
    chosen: list[str] = []
    for experiment in wanted:
        names = choose(tuple(files), experiment)
        if not names:
            listed = ", ".join(files)
            raise ValueError(f"no checkpoint {experiment!r} in {folder!r}; there are {listed}")
        chosen += names
    return [files[name] for name in dict.fromkeys(chosen)]


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
    """Raise ValueError if the address cannot be used, before anything slow is loaded."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        socket.create_server(found[0][4], family=found[0][0]).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no such address"
        raise ValueError(
            f"cannot listen on {host} port {port} ({reason}); see --host and --port"
        ) from error


def _set_environment(uploads: str) -> None:
    """Set the environment variables of the server."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Gradio's call statistics are not used: by default 10,000 calls, summed up at each error.
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(2**62)
    os.environ["GRADIO_TEMP_DIR"] = uploads
    for name in ("no_proxy", "NO_PROXY"):  # Gradio checks its own address, without a proxy
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost,127.0.0.1,::1"]))
    # uvicorn trusts the X-Forwarded headers of proxies on this machine, and of those of Spaces.
    proxies = "127.0.0.1,::1,10.0.0.0/8" if os.environ.get("SPACE_ID") else "127.0.0.1,::1"
    os.environ.setdefault("FORWARDED_ALLOW_IPS", proxies)


if __name__ == "__main__":
    main()
