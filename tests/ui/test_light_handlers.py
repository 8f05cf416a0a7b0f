"""What a visitor looks at never waits for a run: light handlers answer while a run has its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import gradio as gr
import torch

from ui.activations.tab import Page as ActivationsPage
from ui.explaining.scoring import Scoring
from ui.parts.model_bar import ModelBar
from ui.relevance.tab import Page as RelevancePage
from ui.tradeoffs.tab import Page as TradeoffsPage
from ui.workbench import Workbench
from vitq_core.experiment.tensors import PICTURES

SOON = 20.0
MODEL = "demo-vit"
ME = SimpleNamespace(session_hash="me", query_params={})
PAGES = {"activations": ActivationsPage, "relevance": RelevancePage, "tradeoffs": TradeoffsPage}


@contextmanager
def long_run(bench: Workbench) -> Iterator[None]:
    """Somebody's run, under way meanwhile."""
    begun, ends = Event(), Event()

    def run() -> None:
        with bench.computing():
            begun.set()
            ends.wait(2 * SOON)

    thread = Thread(target=run)
    thread.start()
    assert begun.wait(SOON)
    try:
        yield
    finally:
        ends.set()
        thread.join()


def beside_a_run(bench: Workbench, work: Callable[[], Any]) -> Any:
    """What `work()` gives while a run has its turn. Fails where it waits for the run's end."""
    found: list[Any] = []
    with long_run(bench):
        thread = Thread(target=lambda: found.append(work()), daemon=True)
        thread.start()
        thread.join(SOON)
        assert found, "it waits for the run"
    return found[0]


def page_of(bench: Workbench, name: str) -> tuple[Any, dict[Any, Any]]:
    """A page, and what a browser holds that has just opened it."""
    with gr.Blocks() as blocks, gr.Tab(name):
        page = PAGES[name](bench, ModelBar())
    return page, {part: getattr(part, "value", None) for part in blocks.blocks.values()}


def test_tensors_of_a_model_that_nobody_looked_at(bench):
    page, held = page_of(bench, "activations")
    seen = beside_a_run(bench, lambda: page.open(held))
    assert seen[page.fields["site"]]["choices"] and page.cards in seen
    chosen = {**held, page.fields["site"]: seen[page.fields["site"]]["value"]}
    assert "vq-error" not in beside_a_run(bench, lambda: page.choose(chosen))[page.cards]


def test_bits_of_a_model_that_nobody_looked_at(bench):
    page, held = page_of(bench, "relevance")
    shown = beside_a_run(bench, lambda: page.bits.start_table(page.bits.values(held)))
    held |= {page.bits.table: shown[page.bits.table]["value"], page.bits.rows: "", page.bits.columns: ""}
    bench.memory.limit_mb = 1.0
    bench.memory.keep_within()  # lets go of what was looked at
    assert page.bits.costs in beside_a_run(bench, lambda: page.bits.edit(held))
    assert beside_a_run(bench, lambda: page.quantize.reflect(held, ME))


def test_the_list_of_runs(bench):
    page, held = page_of(bench, "tradeoffs")
    assert page.runs.table in beside_a_run(bench, lambda: page.runs.open(held, ME))


def test_a_look_beside_a_run_disturbs_no_hook_of_its(bench, tiny_model):
    """The run counts what passes through the model that all share."""
    passed = []
    hook = tiny_model.module.register_forward_hook(lambda *given: passed.append(given))
    try:
        bench.looking.tensors(Scoring(MODEL))
        bench.relevance.frame(MODEL)
        assert not passed
        tiny_model.module(torch.zeros(1, 3, 16, 16))
        assert len(passed) == 1
    finally:
        hook.remove()


def test_a_look_gives_the_tensors_of_the_shared_model(bench, tiny_model):
    looked = bench.looking.tensors(Scoring(MODEL))
    pictures, _ = next(iter(bench.relevance.batches(Scoring(MODEL), PICTURES, None, None)))
    assert torch.equal(looked.inputs[looked.sites["patch_embed.proj:input"]], pictures)
    qkv = tiny_model.module.blocks[0].attn.qkv
    assert torch.equal(looked.values(looked.sites["blocks.0.attn.qkv:weight"]), qkv.weight)


def test_a_copy_apart_shares_the_weights(bench, tiny_model):
    apart = bench.apart(MODEL)
    ours, theirs = apart.module.head.weight, tiny_model.module.head.weight
    assert apart.module is not tiny_model.module and ours.data_ptr() == theirs.data_ptr()
