"""What programs may call: a model quantized, written for other programs, and compared with what it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from ..parts.checks import refuse
from ..parts.forms import first_recipe, model_choices
from ..parts.raw_inputs import RawNumber
from ..running.programs import PUBLIC, or_error
from . import aims
from .making import Exports


def add_endpoint(exports: Exports) -> None:
    """Adds it to the Blocks being built."""
    with gr.Row(visible=False):
        inputs = [
            gr.Textbox(model_choices()[0][1], label="model"),
            gr.Textbox(first_recipe(), label="recipe"),
            RawNumber(8, label="weight_bits"),
            RawNumber(8, label="act_bits"),
            gr.Textbox(aims.first(), label="format"),
            gr.Checkbox(False, label="as_integers"),
        ]
        outputs = [gr.JSON(label="certificate"), gr.File(label="file")]
        gr.Button().click(_export(exports), inputs, outputs, api_name="export", **PUBLIC)


def _export(exports: Exports) -> Callable[..., tuple[dict, str]]:
    def export(
        model: str, recipe: str, weight_bits: int, act_bits: int, format: str, as_integers: bool
    ) -> tuple[dict, str]:
        """A quantized model for other programs, in one .zip, with its speed and a certificate of both.

        It is quantized first where need be. The certificate is in the .zip too.

        Args:
            model: the id of a model of `list_models`, or hf-hub:user/name (with @revision or without)
            recipe: the name of a method of `list_recipes`
            weight_bits: of every weight, from 2 to 8
            act_bits: of every activation, from 2 to 8
            format: of the file, such as onnx or packed; a wrong one is answered with all there are
            as_integers: whether to take the recipe's integer form, for formats that refuse the recipe itself
        """

        def exported() -> tuple[dict, str]:
            refuse({"format": wrong} if (wrong := aims.problem(format)) else {})
            made = exports.export(
                _settings(exports, model, recipe, weight_bits, act_bits, as_integers), format
            )
            told = made.certificate.to_json()
            # Gradio's clients fetch whatever has a "path".
            speed = made.speed and made.speed.to_json()
            return {"file": told.pop("path"), **told, "speed": speed}, str(made.path)

        return or_error(exported)

    return export


def _settings(
    exports: Exports, model: Any, recipe: Any, weight_bits: Any, act_bits: Any, as_integers: Any
) -> Any:
    """ValueError for what cannot be."""
    refuse({} if isinstance(as_integers, bool) else {"as_integers": "Send true or false."})
    source = exports.source_for(name := exports.bench.named(model))
    chosen = source.asked({"model": name, "recipe": recipe, "weight_bits": weight_bits, "act_bits": act_bits})
    return source.integer(chosen) if as_integers else chosen
