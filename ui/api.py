"""What programs may call: typed endpoints that need no page."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr
from PIL import Image

from vitq_core.experiment import open_picture

from .explaining.explained import Question
from .parts.checks import one_of, refuse
from .parts.forms import first_recipe, model_choices
from .parts.method_options import methods
from .parts.model_list import offered_ids, offered_models
from .parts.outcome import Neighbours
from .parts.raw_inputs import raw_image
from .parts.settings import NO_EFFORT, RunSettings, from_form, problems
from .relevance.settings import LIMITS, allocation_of, bits_problems, score_problems, scoring_of
from .running.runs import HEAVY, sentence
from .workbench import Workbench

RECIPE = first_recipe()  # the page's own
ONLY_BUDGET = 'Only the policy "budget" keeps limits; choose it or leave this out.'
PUBLIC = {**HEAVY, "api_visibility": "public"}


def add_endpoints(bench: Workbench) -> None:
    """Adds every endpoint to the Blocks being built."""
    gr.api(list_models, api_name="models", queue=False)
    gr.api(_quantize(bench), api_name="quantize", **PUBLIC)
    gr.api(_allocate(bench), api_name="allocate", **PUBLIC)
    models, recipes = [name for _, name in model_choices()], list(methods())
    with gr.Row(visible=False):
        inputs = [
            raw_image(label="picture"),
            gr.Dropdown(models, value=models[0], label="model"),
            gr.Dropdown(recipes, value=RECIPE, label="recipe"),
            gr.Number(4, label="weight_bits"),
            gr.Number(4, label="act_bits"),
        ]
        answers = gr.JSON(label="answers")
        gr.Button().click(_classify(bench), inputs, answers, api_name="classify", **PUBLIC)
        inputs = [*inputs[:2], gr.Textbox("", label="target")]
        gr.Button().click(_explain(bench), inputs, gr.JSON(label="relevance"), api_name="relevance", **PUBLIC)


def list_models() -> list[dict]:
    """Every model that can be quantized, with its id, number of parameters and whether it works offline."""
    return [asdict(info) for info in offered_models()]


def _quantize(bench: Workbench) -> Callable[..., dict]:
    def quantize(
        model: str = "demo-vit",
        recipe: str = RECIPE,
        weight_bits: int = 4,
        act_bits: int = 4,
        calibration: int = 32,
        held_out: int = 256,
        seed: int = 0,
        effort: str = "none",
        iterations: int | None = None,
    ) -> dict:
        """Quantize a model on the studio's own pictures: sizes, bits, accuracy, agreement, errors of modules.

        `effort`: how much is learned after calibrating: none, quick, standard or paper. `iterations`: steps
        for each module, null for the effort's own. `calibration`: pictures; an effort needs a batch at least.
        """
        if effort == NO_EFFORT and iterations is not None:
            _refuse({"iterations": "They do nothing without an effort; name one or leave them out."})
        chosen = _settings(
            model=model,
            recipe=recipe,
            weight_bits=weight_bits,
            act_bits=act_bits,
            calibration=calibration,
            held_out=held_out,
            seed=seed,
            effort=effort,
            iterations=iterations,
        )
        outcome = _or_error(lambda: bench.quantize(chosen))
        report = {name: value for name, value in outcome.result.report.as_dict().items() if name != "sites"}
        full, quantized = outcome.reference.evaluation.as_dict(), outcome.evaluation.as_dict()
        return {"report": report, "full_precision": full, "quantized": quantized}

    return quantize


def _classify(bench: Workbench) -> Callable[..., dict]:
    def classify(picture: str | None, model: str, recipe: str, weight_bits: int, act_bits: int) -> dict:
        """Both models' five best answers for one picture, as [name, probability] pairs, best first.

        A model without classes answers with the most alike test pictures, as [number, cosine], and `cosine`.
        `unlike`: whether the picture is unlike those of the run, null where there were too few to tell.
        """
        chosen = _settings(model=model, recipe=recipe, weight_bits=weight_bits, act_bits=act_bits)
        pair = _or_error(lambda: bench.classify(chosen, _opened(picture)))
        told = {"cosine": pair.cosine} if isinstance(pair, Neighbours) else {"flipped": pair.flipped}
        return {"full_precision": pair.full, "quantized": pair.quantized, "unlike": pair.unlike, **told}

    return classify


def _explain(bench: Workbench) -> Callable[..., dict]:
    def relevance(picture: str | None, model: str, target: str) -> dict:
        """Why a model answers what it answers: the relevance of every patch for the class `target`.

        `target` names a class; empty: the model's own answer. `patches` has a list for each row of patches.
        """
        found = _or_error(lambda: bench.relevance.explain(*_question(bench, picture, model, target))).full
        return {"answer": found.answer, "target": found.target, "patches": found.patches.tolist()}

    return relevance


def _question(bench: Workbench, path: str | None, model: str, target: str) -> tuple[Question, Image.Image]:
    refuse({"model": wrong} if (wrong := one_of(model, offered_ids())) else {})
    picture, classes = _opened(path), bench.relevance.frame(model).classes
    if target and target not in classes:
        raise ValueError(f"target: {target!r} is no class of {model}; one of them is {classes[0]!r}")
    return Question(model, ("file", path), target=classes.index(target) if target else None), picture


def _opened(path: str | None) -> Image.Image:
    if not path:
        raise ValueError("picture: Send one.")
    return open_picture(path)


def _allocate(bench: Workbench) -> Callable[..., dict]:
    def allocate(
        model: str = "demo-vit",
        policy: str = "paper",
        importance: str = "relevance",
        pictures: int = 64,
        seed: int = 0,
        base_weight: int = 4,
        base_act: int = 4,
        first_blocks: int = 2,
        reductions: bool = True,
        avg_weight_bits: float | None = None,
        avg_act_bits: float | None = None,
        size_mb: float | None = None,
        gbops: float | None = None,
    ) -> dict:
        """Bits for every layer of a model, from scores on the studio's own pictures, and what they cost.

        `policy`: "paper" (LRP-QViT's, around the base bits), "budget" (within the limits that are given) or
        "uniform". `bits` is {layer: [weight bits or null, activation bits]}.
        """
        values = {name: value for name, value in locals().items() if name not in ("bench", "pictures")}
        values["scored"] = pictures
        wrong = {**score_problems(values), **bits_problems(values), **_unused_limits(values)}
        _refuse({"pictures" if name == "scored" else name: said for name, said in wrong.items()})
        return _or_error(lambda: _allocated(bench, values))

    return allocate


def _unused_limits(values: dict[str, Any]) -> dict[str, str]:
    """Limits that were given to a policy that keeps none, with a sentence."""
    given = [name for name in LIMITS if values[name] is not None]
    return {} if values["policy"] == "budget" else dict.fromkeys(given, ONLY_BUDGET)


def _allocated(bench: Workbench, values: dict[str, Any]) -> dict:
    scoring, relevance = scoring_of(values), bench.relevance
    if values["policy"] == "uniform":
        table = relevance.uniform(scoring.model, values["base_weight"], values["base_act"])
    else:
        table = relevance.allocate(scoring, relevance.score(scoring), allocation_of(values))
    return {"bits": table, "cost": asdict(relevance.cost(scoring.model, table))}


def _settings(**values: Any) -> RunSettings:
    complete = {"calibration": 32, "held_out": 256, "seed": 0, **values}
    _refuse(problems(complete))
    return from_form(complete)


def _refuse(wrong: dict[str, str]) -> None:
    if wrong:
        raise gr.Error("; ".join(f"{name}: {text}" for name, text in wrong.items()), print_exception=False)


def _or_error(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:
        raise gr.Error(sentence(error), print_exception=False) from error
