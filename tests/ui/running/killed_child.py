"""What tests of a sudden end kill: one process that has imported everything, and a fork of it for each task.

`python killed_child.py` reads a line of JSON for each fork and prints its process id, then how it ended.
"""

import json
import os
import sys
import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import torch
from gradio import http_server

import app
import vitq_core as vq
from ui import workbench
from ui.workbench import Workbench
from vitq_core.experiment.runs import DONE, RUNNING, Plan, PlanStore, RunStore
from vitq_core.reconstruction import progress

SLOWLY = 0.02  # seconds at each step of a run
PAUSE = 0.3  # seconds before a run


def writes(given: dict[str, Any]) -> None:
    """Runs and plans without end. What the database has taken is written down, a line each."""
    runs, plans, record = RunStore(), PlanStore(), torch.load(given["record"], weights_only=False)
    with Path(given["taken"]).open("a", buffering=1) as taken:
        for number in count():
            name = f"{os.getpid()}-{number}"
            runs.add(replace(record, id=name, key=name))
            runs.rename(name, f"run {name}", record.owner)
            plans.add(Plan(name, ({"n": number},), id=name))
            plans.mark(name, DONE if number % 2 else RUNNING)
            print(name, file=taken)


def server(given: dict[str, Any]) -> None:
    """The real server with a tiny model. A pause before each run, so that there is a middle to kill it in."""
    log = os.open(given["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    tiny = torch.load(given["model"], weights_only=False)
    vq.load_model = lambda model_id: tiny
    workbench.OPENING = Path("nowhere")  # the stored result is of another model, as the examples are
    workbench.examples = tuple
    http_server.INITIAL_PORT_VALUE = int(given["port"])  # Gradio read the environment long ago
    make = Workbench.make

    def slowly(*wanted: Any) -> None:
        time.sleep(PAUSE)
        make(*wanted)

    Workbench.make = slowly
    app.main()
    Event().wait()


def sweep(given: dict[str, Any]) -> None:
    """Go on with the plans there are, slowly; the modules that are learned are written down by number."""
    tiny = torch.load(given["model"], weights_only=False)
    vq.load_model = lambda model_id: tiny
    progress.EVERY = 0.0
    bench = Workbench()
    make = bench.make

    def slowly(wanted: Any, owner: str, told: Any, job: Any) -> None:
        job.log = Slow(job.log, Path(given["learned"]))
        make(wanted, owner, told, job)

    bench.sweeps.make = slowly
    bench.sweeps.resume()
    bench.sweeps.wait()


class Slow:
    """A progress log that takes its time."""

    def __init__(self, log: Any, learned: Path) -> None:
        self.log, self.learned = log, learned

    def __call__(self, heard: Any) -> None:
        if heard.row.outcome == "learning":
            with self.learned.open("a") as file:
                print(heard.index, file=file)
        time.sleep(SLOWLY)
        self.log(heard)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)

    def __bool__(self) -> bool:
        return bool(self.log)


TASKS = {"server": server, "writes": writes, "sweep": sweep}


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        given = json.loads(line)
        child = os.fork()
        if child == 0:
            os.environ["VITQ_HOME"] = given["home"]
            TASKS[given["task"]](given)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
