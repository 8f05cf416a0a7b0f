"""`vitq allocate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completing, options
from .application import command


@command("vitq allocate demo-vit --importance scores.json --bits 4 --save-recipe mixed.json")
def allocate(
    model: options.Model,
    importance: Annotated[
        Path,
        typer.Option(help="The scores that `vitq importance --out scores.json` wrote.", **options.FILE),
    ],
    bits: Annotated[
        float | None,
        typer.Option(
            help="The average bits, of weights and of activations: such as 4 or 4.5.", **options.NUMBER
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="budget: the bits that lose least within the limits. paper: LRP-QViT's rule, a bit more in "
            "the first blocks and a bit less in the least important layers."
        ),
    ] = "budget",
    size_mb: Annotated[
        float | None, typer.Option(help="How large the file may be, in 10⁶ bytes.", **options.NUMBER)
    ] = None,
    gbops: Annotated[
        float | None,
        typer.Option(
            help="How much arithmetic a picture may take, in billion bit operations.", **options.NUMBER
        ),
    ] = None,
    first_blocks: Annotated[
        int | None,
        typer.Option(help="With paper: how many blocks get a bit more. Default: 2.", **options.WHOLE),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            help="The method whose rounding is measured, and that the recipe is of.",
            autocompletion=completing.recipes,
        ),
    ] = "crl",
    data: options.Pictures = None,
    pictures: Annotated[
        int,
        typer.Option(
            help="How many pictures to measure rounding on, at most 32. Default: 32.", **options.WHOLE
        ),
    ] = 32,
    seed: options.Seed = 0,
    save_recipe: options.SaveRecipe = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the bits of every layer into a .json file.", **options.FILE)
    ] = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Give every layer its own bits: more where they matter, fewer elsewhere.

    `vitq quantize MODEL --recipe-file mixed.json` then makes the model.
    """
    from .allocating import Limits, allocated, document
    from .asking import check_count, check_seed, writable_file
    from .output import show, table
    from .recipe_files import check_writable, write
    from .working import working

    check_count("--pictures", pictures)
    check_seed(seed)
    file = writable_file("--out", out, ".json")
    if save_recipe is not None:
        check_writable(save_recipe)
    limits = Limits(method, bits, size_mb, gbops, first_blocks)
    with working() as work:
        found = allocated(work, model, importance, limits, recipe, data, pictures, seed, device)
    if save_recipe is not None:
        write(save_recipe, found.recipe)
    if file is not None:
        file.write_text(found.as_json())
    rows = [(layer, weight, act) for layer, (weight, act) in found.bits.items()]
    cost = found.cost
    said = (
        f"{table(rows, ('layer', 'weights', 'activations'))}\n\naverage: weights {cost.avg_weight_bits:.2f}, "
        f"activations {cost.avg_act_bits:.2f}; {cost.size_mb:.3g} MB; {cost.gbops:.4g} billion bit operations"
    )
    show(document(found), said, as_json)
