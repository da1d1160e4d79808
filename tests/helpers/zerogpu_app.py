"""Run app.py on a ZeroGPU machine whose GPU is the CPU of the process that should get one.

    python -m tests.helpers.zerogpu_app

Everything of the package `spaces` is real except what needs a GPU: CUDA in PyTorch, opening a
device, and moving weights to it.
"""

import os
import sys

import torch


def main() -> None:
    if torch.version.cuda is None:  # else `spaces` cannot be imported
        torch.version.cuda, torch._C._cuda_init, torch.cuda._is_in_bad_fork = "13.0", print, bool
    from spaces.zero import torch as zero

    import app
    from geoseg.page import zerogpu

    zero.init = zero.move = lambda *_, **__: None
    zerogpu.DEVICE = "cpu"
    zerogpu.WORTH_SECONDS = float(os.environ.get("WORTH_SECONDS", zerogpu.WORTH_SECONDS))
    app.main(sys.argv[1:])


if __name__ == "__main__":
    main()
