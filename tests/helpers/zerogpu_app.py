"""app.py on a ZeroGPU machine that has no GPU to lend: the process that should have it computes.

    python -m tests.helpers.zerogpu_app

Of the package `spaces` all is real but what needs a GPU: that PyTorch knows of CUDA, that a device
is opened, and that weights are moved to it.
"""

import os
import sys

import torch


def main() -> None:
    if torch.version.cuda is None:  # `spaces` cannot be imported beside a build without CUDA
        torch.version.cuda, torch._C._cuda_init, torch.cuda._is_in_bad_fork = "13.0", print, bool
    from spaces.zero import torch as zero

    import app
    from geoseg.page import zerogpu

    zero.init = zero.move = lambda *_, **__: None
    zerogpu.DEVICE = "cpu"
    for name in ("WORTH_SECONDS", "PATIENCE_SECONDS"):
        setattr(zerogpu, name, float(os.environ.get(name, getattr(zerogpu, name))))
    app.main(sys.argv[1:])


if __name__ == "__main__":
    main()
