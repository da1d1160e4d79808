"""The command line of the page."""

import socket
from pathlib import Path

import pytest

import app
from benchmarks.server import ROOT, free_port, make_checkpoints, make_folder, running, serve
from tests.helpers.requests import call, send, upload_paths


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Checkpoints, a folder of patches, and one broken file in it."""
    root = tmp_path_factory.mktemp("app")
    (root / "checkpoints").mkdir()
    make_checkpoints(root / "checkpoints")
    images = make_folder(root / "set")
    (images / "broken.npy").write_bytes(b"nothing")
    return root


@pytest.fixture
def mistake(folder, monkeypatch, capsys):
    """Run the command line to its end; gives what it says on stderr."""
    monkeypatch.setattr(app.signal, "signal", lambda *_: None)
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")
    for name in ("no_proxy", "NO_PROXY", "FORWARDED_ALLOW_IPS"):
        monkeypatch.setenv(name, "")

    def run(*arguments: str) -> str:
        images, models = str(folder / "set" / "images"), str(folder / "checkpoints")
        usual = ["-i", images, "--checkpoints", models, "--port", str(free_port())]
        with pytest.raises(SystemExit) as stop:
            app.main([*usual, *arguments])
        assert stop.value.code == 2
        said = capsys.readouterr()
        assert said.out == ""
        return said.err.splitlines()[-1]

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-e", "200", "999"], "no checkpoint '999'"),
        (["-e", "999"], "there are 200-stacked, 300-vanilla, 402-unet"),
        (["-i", "nowhere/*.npy"], "nowhere/*.npy matches no file"),
        (["-i", "nowhere"], "nowhere does not exist"),
        (["--checkpoints", "nowhere"], "checkpoint folder 'nowhere' does not exist"),
        (["--checkpoints", str(ROOT / "tests")], "holds no checkpoint"),
        (["--unit", "furlong"], "invalid choice: 'furlong'"),
        (["--device", "tpu"], "invalid choice: 'tpu'"),
        (["--port", "70000"], "'70000' is not a port from 1 to 65535"),
        (["--port", "http"], "'http' is not a port"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["--root-path", "geoseg"], "'geoseg' is neither a path like /geoseg nor an address"),
        (["--auth", ""], "--auth, or a line of GEOSEG_AUTH, is USER:PASSWORD"),
        (["--auth", "root", "ann:secret"], "--auth, or a line of GEOSEG_AUTH, is USER:PASSWORD"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_invalid_arguments_print_one_sentence_and_exit_with_2(mistake, arguments, said):
    line = mistake(*arguments)
    assert line.startswith("app.py: ")
    assert said in line


def test_an_occupied_port_is_reported_before_models_load(mistake):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "(Address already in use" in mistake("--port", str(taken.getsockname()[1]))


def test_a_damaged_checkpoint_is_named(mistake, tmp_path):
    (tmp_path / "200-stacked.safetensors").write_bytes(b"nothing")
    assert "200-stacked.safetensors" in mistake("--checkpoints", str(tmp_path))


@pytest.mark.parametrize("name", ["~nosuchuser/x.npy", "x" * 300])
def test_invalid_paths_print_one_sentence(mistake, name):
    assert mistake("-i", name).startswith("app.py: ")


def test_experiments_keep_the_order_of_the_arguments(folder):
    found = app.select_checkpoints(str(folder / "checkpoints"), ["unet", "200", "402"])
    assert [path.stem for path in found] == ["402-unet", "200-stacked"]


def test_defaults_follow_gradios_environment_variables(monkeypatch):
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    monkeypatch.delenv("GRADIO_SERVER_PORT", raising=False)
    options = app.make_parser().parse_args([])
    assert (options.host, options.port, options.device) == ("127.0.0.1", 7860, "auto")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7000")
    options = app.make_parser().parse_args([])
    assert (options.host, options.port) == ("0.0.0.0", 7000)


def test_ipv6_hosts_work_with_and_without_brackets(folder):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    images, models = str(folder / "set" / "images"), str(folder / "checkpoints")
    with running(["-i", images, "--checkpoints", models, "--host", "::1"]) as one:
        url = one.url.replace("127.0.0.1", "[::1]")
        assert "geoseg" in send(url, "/").text
        assert send(url, "/", Host="evil.test").status == 421
    hosts = [app.make_parser().parse_args(["--host", h]).host for h in ("::1", "[::1]", "a.test")]
    assert hosts == ["[::1]", "[::1]", "a.test"]


def test_the_shipped_models_segment_a_shipped_sample():
    with serve(["--preload"]) as url:
        answer = call(url, "segment", upload_paths(url, sorted(app.SAMPLES.iterdir())[0])[0])
    assert {name.split("-")[1] for name in answer["models"]} >= {"stacked", "vanilla", "unet"}
