"""`vitq quantize`."""

from __future__ import annotations

from . import options
from .application import command


@command("vitq quantize demo-vit --recipe repq --weight-bits 4 --act-bits 4 --out small")
def quantize(
    model: options.Model,
    recipe: options.Recipe = None,
    weight_bits: options.WeightBits = None,
    act_bits: options.ActBits = None,
    data: options.Data = None,
    calibration: options.Calibration = None,
    judged: options.Judged = None,
    effort: options.Effort = None,
    settings: options.Settings = None,
    recipe_file: options.RecipeFile = None,
    save_recipe: options.SaveRecipe = None,
    integer: options.Integer = False,
    seed: options.Seed = 0,
    device: options.Device = None,
    out: options.Out = None,
    as_json: options.Json = False,
) -> None:
    """Make a model smaller, and measure on held-out pictures what that costs.

    The run is kept among those of the studio; where one with the same numbers is there, it is shown at once.
    Stopped or killed while it learns, the same command goes on from there.
    """
    import vitq_core as vq

    from . import kept, recipe_files, recipes
    from .asking import asked_for, writable_folder
    from .bench import Bench, Made
    from .output import show
    from .report import document, text
    from .working import working

    folder = writable_folder("--out", out)
    if save_recipe is not None:
        recipe_files.check_writable(save_recipe)
    with working() as work:
        bench = Bench(work, model, device)
        chosen = recipes.chosen_recipe(
            bench.model.info.task, recipe, weight_bits, act_bits, effort, settings, recipe_file, integer
        )
        asked = asked_for(bench.model, model, chosen, data, calibration, judged, seed)
        known = bench.known(asked)
        if save_recipe is not None:
            recipe_files.write(save_recipe, chosen)
        if known is not None:
            made = Made(known, kept.found(known.key) if folder else None)
            if folder and made.result is None:
                made = bench.made_anew(asked)
            work.say("Already made: this is what was measured then.")
        else:
            made = bench.made_anew(asked)
        if folder is not None:
            vq.save_quantized(made.result, folder)
    for sentence in made.sentences:
        work.say(sentence)
    saved = None if folder is None else str(folder)
    show(
        {**document(made.record), "known": known is not None, "out": saved, "sentences": made.sentences},
        text(made.record) + (f"\nsaved in {saved}" if saved else ""), as_json,
    )  # fmt: skip
