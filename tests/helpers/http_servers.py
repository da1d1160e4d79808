"""Local HTTP servers that stand in for services on the internet."""

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


@contextmanager
def in_thread(run, *arguments) -> Iterator[None]:
    """Call a function in a thread, and wait for it when the block ends."""
    thread = threading.Thread(target=run, args=arguments, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(60)


@contextmanager
def handling(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve with a handler of the standard library until the block ends; yield the address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with server, in_thread(server.serve_forever, 0.05):
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def running_app(application: ASGIApp, port: int) -> Iterator[str]:
    """Serve an ASGI application until the block ends; yield the address."""
    server = uvicorn.Server(uvicorn.Config(application, port=port, log_level="error"))
    with in_thread(server.run):
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
