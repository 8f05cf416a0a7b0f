"""What programs may call: typed endpoints that need no page."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr

import vitq_core as vq
from vitq_core.pictures import open_picture

from .quantize_form import first_recipe, model_choices
from .quantize_tab import HEAVY, sentence
from .raw_image import raw_image
from .session import Workbench
from .settings import RunSettings, from_form, problems

PUBLIC = {**HEAVY, "api_visibility": "public"}


def add_endpoints(bench: Workbench) -> None:
    """Adds `/models`, `/quantize` and `/classify` to the Blocks being built."""
    gr.api(list_models, api_name="models", queue=False)
    gr.api(_quantize(bench), api_name="quantize", **PUBLIC)
    with gr.Row(visible=False):
        models, recipes = [name for _, name in model_choices()], list(vq.RECIPES)
        inputs = [
            raw_image(label="picture"),
            gr.Dropdown(models, value=models[0], label="model"),
            gr.Dropdown(recipes, value=first_recipe(), label="recipe"),
            gr.Number(4, label="weight_bits", precision=0),
            gr.Number(4, label="act_bits", precision=0),
        ]
        answers = gr.JSON(label="answers")
        gr.Button().click(_classify(bench), inputs, answers, api_name="classify", **PUBLIC)


def list_models() -> list[dict]:
    """Every model that can be quantized, with its id, number of parameters and whether it works offline."""
    return [asdict(info) for info in vq.list_models()]


def _quantize(bench: Workbench) -> Callable[..., dict]:
    def quantize(
        model: str = "demo-vit",
        recipe: str = "adfq",
        weight_bits: int = 4,
        act_bits: int = 4,
        calibration: int = 32,
        held_out: int = 256,
        seed: int = 0,
    ) -> dict:
        """Quantize a model on the studio's own pictures: sizes, bits, accuracy and agreement."""
        chosen = _settings(
            model=model,
            recipe=recipe,
            weight_bits=weight_bits,
            act_bits=act_bits,
            calibration=calibration,
            held_out=held_out,
            seed=seed,
        )
        outcome = _or_error(lambda: bench.quantize(chosen))
        report = {name: value for name, value in outcome.result.report.as_dict().items() if name != "sites"}
        full, quantized = outcome.reference.evaluation.as_dict(), outcome.evaluation.as_dict()
        return {"report": report, "full_precision": full, "quantized": quantized}

    return quantize


def _classify(bench: Workbench) -> Callable[..., dict]:
    def classify(picture: str | None, model: str, recipe: str, weight_bits: int, act_bits: int) -> dict:
        """Both models' five best answers for one picture, as [name, probability] pairs, best first."""
        chosen = _settings(model=model, recipe=recipe, weight_bits=weight_bits, act_bits=act_bits)
        if not picture:
            raise gr.Error("picture: Send one.", print_exception=False)
        pair = _or_error(lambda: bench.classify(chosen, open_picture(picture)))
        return {"full_precision": pair.full, "quantized": pair.quantized, "flipped": pair.flipped}

    return classify


def _settings(**values: Any) -> RunSettings:
    complete = {"calibration": 32, "held_out": 256, "seed": 0, **values}
    wrong = problems(complete)
    if wrong:
        raise gr.Error("; ".join(f"{name}: {text}" for name, text in wrong.items()), print_exception=False)
    return from_form(complete)


def _or_error(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:
        raise gr.Error(sentence(error), print_exception=False) from error
