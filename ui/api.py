"""What programs may call: typed endpoints that need no page.

Each argument has a line of its own under `Args:`, because Gradio makes the schemas of its tools of those.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import gradio as gr
from PIL import Image

import vitq_core as vq
from vitq_core.experiment import open_picture

from .activations.tab import problems as look_problems
from .explaining.explained import Question
from .explaining.scoring import Scoring
from .parts import bits_table, checks
from .parts.forms import first_recipe, model_choices, opening_settings
from .parts.method_options import methods
from .parts.model_list import ALL, offered_models, wrong_model
from .parts.outcome import Neighbours
from .parts.raw_inputs import RawNumber, raw_image
from .parts.settings import NO_EFFORT, RunSettings, from_form, problems
from .relevance.settings import LIMITS, allocation_of, bits_problems, score_problems, scoring_of
from .running.programs import AT_ONCE, PUBLIC, or_error, refuse
from .workbench import Workbench

RECIPE = first_recipe()  # the page's own
ONLY_BUDGET = 'Only the policy "budget" keeps limits; choose it or leave this out.'


def add_endpoints(bench: Workbench) -> None:
    """Adds every endpoint to the Blocks being built."""
    gr.api(list_models, api_name="models", **AT_ONCE)
    gr.api(list_recipes, api_name="recipes", **AT_ONCE)
    gr.api(_quantize(bench), api_name="quantize", **PUBLIC)
    gr.api(_importance(bench), api_name="importance", **PUBLIC)
    gr.api(_allocate(bench), api_name="allocate", **PUBLIC)
    gr.api(_layer_errors(bench), api_name="layer_errors", **PUBLIC)
    models, recipes = [name for _, name in model_choices()], list(methods())
    with gr.Row(visible=False):
        inputs = [
            raw_image(label="picture"),
            gr.Dropdown(models, value=models[0], label="model", allow_custom_value=True),
            gr.Dropdown(recipes, value=RECIPE, label="recipe"),
            RawNumber(4, label="weight_bits"),
            RawNumber(4, label="act_bits"),
        ]
        answers = gr.JSON(label="answers")
        gr.Button().click(_classify(bench), inputs, answers, api_name="classify", **PUBLIC)
        file = gr.File(label="file")
        gr.Button().click(_download(bench), inputs[1:], file, api_name="download", **PUBLIC)
        inputs = [*inputs[:2], gr.Textbox("", label="target")]
        gr.Button().click(_explain(bench), inputs, gr.JSON(label="relevance"), api_name="relevance", **PUBLIC)


def list_models() -> list[dict]:
    """Every model that can be quantized: its id, task and number of parameters, whether it works offline.

    A model of the task "segmentation" is for `segment`, `segment_everything` and `start_sweep` alone.
    """
    return [asdict(info) for info in offered_models(ALL)]


def list_recipes() -> list[dict]:
    """Every method, by the name that other endpoints call `recipe`, with a sentence of what it does.

    `made_for`: the one task that a method is for, empty where it is for all. `effort`: how much it learns
    where it is used as published.
    """
    return [
        {
            "name": name, "title": recipe.title, "summary": recipe.summary, "made_for": recipe.made_for,
            "effort": recipe.options.effort,
        }
        for name, recipe in vq.RECIPES.items()
    ]  # fmt: skip


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
        bits: dict | None = None,
    ) -> dict:
        """Quantize a model on the studio's own pictures: sizes, bits, accuracy, agreement, errors of modules.

        It answers when all is done. For what takes minutes there is `start_sweep`.

        Args:
            model: the id of a model of `list_models`, or hf-hub:user/name (with @revision or without)
            recipe: the name of a method of `list_recipes`
            weight_bits: of every weight, from 2 to 8
            act_bits: of every activation, from 2 to 8
            calibration: pictures to measure ranges on; an effort needs a batch at least
            held_out: pictures to test on
            seed: of everything that is drawn at random
            effort: how much is learned after calibrating, one of none, quick, standard and paper
            iterations: steps for each module, null for the effort's own
            bits: {layer: [weight bits or null, activation bits]} as `allocate` gives them; null for none
        """
        if effort == NO_EFFORT and iterations is not None:
            refuse({"iterations": "They do nothing without an effort; name one or leave them out."})
        chosen = _settings(
            bench,
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
        outcome = or_error(lambda: bench.quantize(_with_table(bench, chosen, bits)))
        report = {name: value for name, value in outcome.result.report.as_dict().items() if name != "sites"}
        full, quantized = outcome.reference.evaluation.as_dict(), outcome.evaluation.as_dict()
        return {"report": report, "full_precision": full, "quantized": quantized}

    return quantize


def _with_table(bench: Workbench, chosen: RunSettings, bits: Any) -> RunSettings:
    """With these bits for every layer. ValueError where they do not fit the model."""
    if bits is None:
        return chosen
    table = bits_table.from_json(json.dumps(bits))
    bits_table.check_weights(table, bench.relevance.frame(chosen.model).grid)
    bench.relevance.cost(chosen.model, table)  # which says what layers are missing, or too many
    return replace(chosen, table=tuple((layer, *pair) for layer, pair in table.items()))


def _download(bench: Workbench) -> Callable[..., str]:
    def download(model: str, recipe: str, weight_bits: int, act_bits: int) -> str:
        """The quantized model in one .zip, for vitq_core.load_quantized; made first where need be.

        Args:
            model: the id of a model of `list_models`, or hf-hub:user/name (with @revision or without)
            recipe: the name of a method of `list_recipes`
            weight_bits: of every weight, from 2 to 8
            act_bits: of every activation, from 2 to 8
        """
        chosen = _settings(bench, model=model, recipe=recipe, weight_bits=weight_bits, act_bits=act_bits)

        def made() -> str:
            bench.quantize(chosen)
            return str(bench.download(chosen))

        return or_error(made)

    return download


def _classify(bench: Workbench) -> Callable[..., dict]:
    def classify(picture: str | None, model: str, recipe: str, weight_bits: int, act_bits: int) -> dict:
        """Both models' five best answers for one picture, as [name, probability] pairs, best first.

        A model without classes answers with the most alike test pictures, as [number, cosine], and `cosine`.
        `unlike`: whether the picture is unlike those of the run, null where there were too few to tell.

        Args:
            picture: to be answered
            model: the id of a model of `list_models`, or hf-hub:user/name (with @revision or without)
            recipe: the name of a method of `list_recipes`
            weight_bits: of every weight, from 2 to 8
            act_bits: of every activation, from 2 to 8
        """
        chosen = _settings(bench, model=model, recipe=recipe, weight_bits=weight_bits, act_bits=act_bits)
        pair = or_error(lambda: bench.classify(chosen, _opened(picture)))
        told = {"cosine": pair.cosine} if isinstance(pair, Neighbours) else {"flipped": pair.flipped}
        return {"full_precision": pair.full, "quantized": pair.quantized, "unlike": pair.unlike, **told}

    return classify


def _explain(bench: Workbench) -> Callable[..., dict]:
    def relevance(picture: str | None, model: str, target: str) -> dict:
        """Why a model answers what it answers: the relevance of every patch for the class `target`.

        `patches` has a list for each row of patches.

        Args:
            picture: to be explained
            model: the id of a model of `list_models`, or hf-hub:user/name (with @revision or without)
            target: the name of a class; empty for the model's own answer
        """
        found = or_error(lambda: bench.relevance.explain(*_question(bench, picture, model, target))).full
        return {"answer": found.answer, "target": found.target, "patches": found.patches.tolist()}

    return relevance


def _question(bench: Workbench, path: str | None, model: str, target: str) -> tuple[Question, Image.Image]:
    model = bench.named(model)
    checks.refuse({"model": wrong} if (wrong := wrong_model(model)) else {})
    picture, classes = _opened(path), bench.relevance.frame(model).classes
    if target and target not in classes:
        raise ValueError(f"target: {target!r} is no class of {model}; one of them is {classes[0]!r}")
    return Question(model, ("file", path), target=classes.index(target) if target else None), picture


def _opened(path: str | None) -> Image.Image:
    if not path:
        raise ValueError("picture: Send one.")
    return open_picture(path)


def _importance(bench: Workbench) -> Callable[..., dict]:
    def importance(
        model: str = "demo-vit", importance: str = "relevance", pictures: int = 64, seed: int = 0
    ) -> dict:
        """How much every layer of a model matters to its answers, with standard errors: {layer: score}.

        Args:
            model: the id of a model of `list_models`, or hf-hub:user/name (with @revision or without)
            importance: what ranks the layers, one of relevance, fisher and sqnr
            pictures: how many of the studio's own to look at
            seed: of which pictures these are
        """
        model = or_error(lambda: bench.named(model))
        values = {"model": model, "importance": importance, "scored": pictures, "seed": seed}
        refuse(_named(score_problems(values)))
        found = or_error(lambda: bench.relevance.score(scoring_of(values)))
        return json.loads(found.to_json())

    return importance


def _layer_errors(bench: Workbench) -> Callable[..., dict]:
    def layer_errors(model: str = "demo-vit", recipe: str = RECIPE, bits: int = 4) -> dict:
        """How far a model's answers move when one layer alone is quantized: {layer: error}, for every layer.

        Args:
            model: the id of a model of `list_models`, or hf-hub:user/name (with @revision or without)
            recipe: the name of a method of `list_recipes`
            bits: of the layer's weights and activations, from 2 to 8
        """
        model = or_error(lambda: bench.named(model))
        refuse(look_problems({**vars(opening_settings()), "model": model, "method": recipe, "bits": bits}))
        return or_error(lambda: bench.looking.errors(Scoring(model), recipe, int(bits)))

    return layer_errors


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

        `bits` is {layer: [weight bits or null, activation bits]}, which `quantize` takes.

        Args:
            model: the id of a model of `list_models`, or hf-hub:user/name (with @revision or without)
            policy: paper (LRP-QViT's, around the base bits), budget (within the limits given) or uniform
            importance: what ranks the layers, one of relevance, fisher and sqnr
            pictures: how many of the studio's own to look at
            seed: of which pictures these are
            base_weight: weight bits that the paper's policy starts from, and those of uniform
            base_act: activation bits that the paper's policy starts from, and those of uniform
            first_blocks: how many blocks the paper's policy gives a bit more
            reductions: whether the paper's policy takes a bit from the least important layers
            avg_weight_bits: a limit of the budget, null for none
            avg_act_bits: a limit of the budget, null for none
            size_mb: a limit of the budget, in 10⁶ bytes, null for none
            gbops: a limit of the budget, in 10⁹ bit operations a picture, null for none
        """
        values = {name: value for name, value in locals().items() if name not in ("bench", "pictures")}
        values |= {"scored": pictures, "model": or_error(lambda: bench.named(model))}
        wrong = {**score_problems(values), **bits_problems(values), **_unused_limits(values)}
        refuse(_named(wrong))
        return or_error(lambda: _allocated(bench, values))

    return allocate


def _named(wrong: dict[str, str]) -> dict[str, str]:
    """By the names of the endpoints' parameters."""
    return {"pictures" if name == "scored" else name: said for name, said in wrong.items()}


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


def _settings(bench: Workbench, **values: Any) -> RunSettings:
    model = or_error(lambda: bench.named(values["model"]))
    complete = {"calibration": 32, "held_out": 256, "seed": 0, **values, "model": model}
    refuse(problems(complete))
    return from_form(complete)
