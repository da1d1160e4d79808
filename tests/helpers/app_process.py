"""Pages that start quickly: each is a fork of a server that has imported Gradio."""

import os
import sys
import tempfile
import warnings

import app
import geoseg.page  # noqa: F401  the import that takes seconds
from tests.helpers.fork_server import fork_server


def _run(writer, words, environment):
    """Run `python app.py` with its output in the pipe."""
    os.environ.clear()  # the server's environment is that of its first user
    os.environ |= environment
    tempfile.tempdir = None
    for number in (1, 2):
        os.dup2(writer.fileno(), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    warnings.resetwarnings()
    if environment.get("PYTHONWARNINGS"):
        warnings.simplefilter("default")
        warnings.filterwarnings("ignore", "unclosed event loop", ResourceWarning)
    else:
        for category in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
    app.main(words)


class AppProcess:
    """A process of app.py, with the methods of `subprocess.Popen` that a server needs."""

    def __init__(self, words, environment):
        context = fork_server()
        reader, writer = context.Pipe(duplex=False)
        self._process = context.Process(target=_run, args=(writer, [*words], dict(environment)))
        self._process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()))
        reader.close()
        self.pid = self._process.pid

    def terminate(self):
        self._process.terminate()

    def wait(self, timeout=None):
        self._process.join(timeout)
        assert self._process.exitcode is not None, "the page does not stop"
