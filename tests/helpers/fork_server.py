"""One fork server for the programs that tests start: it imports torch and Gradio once.

A start then takes milliseconds, where `python app.py` takes six seconds to import them.
"""

import multiprocessing

PROGRAMS = ("tests.helpers.train_process", "tests.helpers.app_process")


def fork_server():
    """Return the context of a fork server that has imported the programs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PROGRAMS])
    return context
