"""The real server with a tiny model, for tests that kill it: `python killed_server.py MODEL`.

Runs are slowed down, so that there is a middle to kill it in.
"""

import sys
import time
from pathlib import Path

import torch

import app
import ui.workbench
import vitq_core as vq

SLOWLY = 0.3  # seconds before each run


def main(model: str) -> None:
    tiny = torch.load(model, weights_only=False)
    vq.load_model = lambda model_id: tiny
    ui.workbench.OPENING = Path("nowhere")  # the stored result is of another model
    make = ui.workbench.Workbench.make

    def slowly(*given: object) -> None:
        time.sleep(SLOWLY)
        make(*given)

    ui.workbench.Workbench.make = slowly
    app.main()


if __name__ == "__main__":
    main(sys.argv[1])
