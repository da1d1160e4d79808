"""How every command ends: an exit code, and one sentence where something went wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable


def run_command(program: str, work: Callable[[], int], stopped: str = "stopped") -> int:
    """Run `work` and return its exit code; print an error as one sentence, never a traceback.

    A ValueError is a mistake of the user (2), an OSError or RuntimeError a failure (1), Ctrl-C 130;
    `stopped` says what an interrupted command leaves behind.
    """
    try:
        return work()
    except KeyboardInterrupt:
        sentence, code = f"{stopped}.", 130
    except ValueError as error:
        sentence, code = str(error), 2
    except (OSError, RuntimeError) as error:
        sentence, code = str(error), 1
    print(f"{program}: {sentence}", file=sys.stderr)
    return code
