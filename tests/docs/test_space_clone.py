"""A clone of the repository that is pushed to a Space runs as it is."""

import json
import sys
from urllib.request import Request, urlopen

from huggingface_hub import RepoCard
from packaging.requirements import Requirement

from benchmarks.server import ROOT, running

# Run a script as the main program; end the process at the first attempt to leave this machine.
GUARD = """
import ipaddress, os, runpy, socket, sys

def check(event, arguments):
    if event == "socket.connect" and arguments[0].family != socket.AF_UNIX:
        host = arguments[1][0]
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            print(f"a connection to {host}", flush=True)
            os._exit(1)
    if event == "socket.getaddrinfo" and arguments[0] not in LOCAL:
        print(f"a look-up of {arguments[0]}", flush=True)
        os._exit(1)

LOCAL = (None, "", "localhost", "127.0.0.1", "0.0.0.0", "::1", socket.gethostname())
sys.addaudithook(check)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_clone_starts_as_a_space_starts_it():
    front = RepoCard((ROOT / "README.md").read_text()).data
    assert front["sdk"] == "gradio"
    required = map(Requirement, (ROOT / "requirements.txt").read_text().splitlines()[1:])
    (gradio,) = (one for one in required if one.name == "gradio")
    assert gradio.specifier.contains(front["sdk_version"])
    environment = {"SPACE_ID": "me/geoseg", "GRADIO_SERVER_NAME": "0.0.0.0"}
    program = [sys.executable, "-c", GUARD, str(ROOT / front["app_file"])]
    with running(program=program, **environment) as server:
        with urlopen(server.url, timeout=60) as page:
            assert "geoseg" in page.read().decode()
        headers = {"Content-Type": "application/json"}
        call = Request(f"{server.url}/gradio_api/run/models", b'{"data": []}', headers)
        with urlopen(call, timeout=60) as answer:
            assert "3000-ring-unet" in json.load(answer)["data"][0]
        assert server.process.poll() is None


def test_readme_fits_on_one_page():
    text = (ROOT / "README.md").read_text()
    _, _, body = text.split("---\n", 2)
    assert len(body.splitlines()) <= 150
