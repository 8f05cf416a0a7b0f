"""What the package of that name does on ZeroGPU, without a GPU: work in a process that was forked.

Arguments and what is yielded are pickled, and a process is used again, which then does not know what was
loaded since; as there, the work runs in a thread of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from multiprocessing import get_context
from typing import Any

import gradio as gr

END = "end"
lent: list[float] = []  # the seconds that were asked for
workers: list[tuple[Any, Any, Any]] = []


def GPU(task: Callable[..., Iterator[Any]], duration: Callable[..., float]) -> Callable[..., Iterator[Any]]:
    context = get_context("fork")

    def served(arguments: Any, results: Any) -> None:
        os.environ["ZERO_WORKER"] = "1"
        while True:
            given = arguments.get()

            def iterate(given: tuple = given) -> None:
                for each in task(*given):
                    results.put(each)

            with ThreadPoolExecutor() as pool:
                pool.submit(iterate).result()
            results.put(END)

    @wraps(task)
    def handler(*given: Any) -> Iterator[Any]:
        lent.append(duration(*given))
        if os.environ.get("ZERO_QUOTA") == "used":
            raise gr.Error("You have exceeded your GPU quota.")
        if not workers:
            arguments, results = context.SimpleQueue(), context.SimpleQueue()
            process = context.Process(target=served, args=(arguments, results), daemon=True)
            process.start()
            workers.append((process, arguments, results))
        _, arguments, results = workers[0]
        arguments.put(given)
        while (each := results.get()) != END:
            yield each

    return handler
