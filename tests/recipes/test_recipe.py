"""Recipes: which quantizer at which bits for a site; JSON and back; errors that name what is wrong."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vitq_core as vq
from tests.pairs import in_turn
from vitq_core.graph.site import Site
from vitq_core.quantizers import QUANTIZERS, kind_of
from vitq_core.recipes.recipe import MAX_BITS, MIN_BITS, RECIPES, Options, Recipe, Use
from vitq_core.recipes.schedule import EFFORT_NAMES, EFFORTS

every_recipe = pytest.mark.parametrize("name", list(RECIPES))
OPTIONS = {
    "alpha": 3.0,
    "alpha_ratio": 0.005,
    "log_base": 2.0,
    "clip_k": 1.5,
    "collapse": True,
    "first_blocks": 1,
    "reductions": False,
    "importance": "fisher",
}
QKV = Site("blocks.0.attn.qkv", "input", "post_layernorm")
QKV_WEIGHT = Site("blocks.0.attn.qkv", "weight", "weight")
IMAGE = Site("patch_embed.proj", "input", "image")
ROLES = ("image", "post_layernorm", "query", "post_softmax", "value", "post_gelu", "features", "unheard_of")


# -- rules ---------------------------------------------------------------------------------------------
@every_recipe
def test_every_role_gets_a_quantizer_that_exists_and_takes_its_options(name: str) -> None:
    recipe = vq.recipe(name)
    sites = [QKV_WEIGHT, *(Site("blocks.1.x", "input", role) for role in ROLES)]
    for site in sites:
        use = recipe.use_for(site)
        assert kind_of(use.quantizer)(use.bits, **use.options).bits == use.bits


@every_recipe
def test_every_option_a_recipe_takes_belongs_to_a_quantizer_or_a_pass_of_it(name: str) -> None:
    passes, quantizers = RECIPES[name].passes, {use.quantizer for use in RECIPES[name].rules.values()}
    applies = RECIPES[name].applies
    assert ("clip_k" in applies) == ("reparameterize_clip" in passes)
    assert ("first_blocks" in applies) == ("allocate_paper" in passes)
    assert ("importance" in applies) == bool({"allocate_paper", "allocate_budget"} & set(passes))
    assert ("alpha" in applies) == ("per_patch_outlier" in quantizers)
    assert ("log_base" in applies) == bool({"log_sqrt2", "shift_log2"} & quantizers)
    for option in {"alpha", "alpha_ratio", "log_base"} & applies:
        recipe = vq.recipe(name, **{option: OPTIONS[option]})
        given = [recipe.options.given_to(QUANTIZERS[quantizer].Options) for quantizer in quantizers]
        assert OPTIONS[option] in [value for arguments in given for value in arguments.values()]


def test_first_matching_rule_wins() -> None:
    rules = {
        "*.qkv:input": Use("uniform", {"axis": -1}),
        "post_*": Use("log_sqrt2"),
        "post_gelu": Use("shift_log2"),
        "*": Use("uniform"),
    }
    recipe = replace(vq.recipe("minmax"), rules=rules)
    assert recipe.use_for(QKV).options == {"axis": -1}
    assert recipe.use_for(Site("blocks.0.mlp.fc2", "input", "post_gelu")).quantizer == "log_sqrt2"
    assert recipe.use_for(QKV_WEIGHT).quantizer == "uniform"


def test_a_pattern_with_a_colon_is_a_place_and_one_without_is_a_role() -> None:
    rules = {"weight": Use("log_sqrt2"), "*:input": Use("shift_log2"), "*": Use("uniform")}
    recipe = replace(vq.recipe("minmax"), rules=rules)
    assert recipe.use_for(QKV_WEIGHT).quantizer == "log_sqrt2"
    assert recipe.use_for(QKV).quantizer == "shift_log2"
    assert recipe.use_for(Site("blocks.0.attn.matmul1", "input2", "key")).quantizer == "uniform"


def test_a_site_without_a_rule_is_named() -> None:
    recipe = replace(vq.recipe("minmax"), rules={"*:weight": Use("uniform")})
    with pytest.raises(ValueError, match=r"no rule for blocks.0.attn.qkv:input .*post_layernorm.*rule '\*'"):
        recipe.use_for(QKV)


def test_bits_of_a_layer_before_bits_of_the_rule_before_bits_of_the_recipe() -> None:
    recipe = vq.recipe("adfq", 3, 5, bits={"blocks.0.attn.qkv": (6, 7), "head": (None, 2)})
    bits = {site: recipe.use_for(site).bits for site in (QKV, QKV_WEIGHT, IMAGE)}
    assert bits == {QKV: 7, QKV_WEIGHT: 6, IMAGE: 8}  # the picture's rule says 8
    assert recipe.use_for(Site("head", "weight", "weight")).bits == 3  # None leaves it to the recipe
    assert recipe.use_for(Site("head", "input", "features")).bits == 2
    table = vq.recipe("adfq", bits={"patch_embed.proj": (4, 6)})
    assert table.use_for(IMAGE).bits == 6


@every_recipe
def test_the_registered_recipe_is_not_changed_by_use(name: str) -> None:
    before = RECIPES[name]
    vq.recipe(name, 2, 8, bits={"head": (3, 3)})
    assert RECIPES[name] is before
    assert before.bits == {}
    with pytest.raises(FrozenInstanceError):
        before.weight_bits = 2


# -- JSON ----------------------------------------------------------------------------------------------
bits_strategy = st.integers(MIN_BITS, MAX_BITS)
layers = st.sampled_from(["head", "blocks.0.attn.qkv", 'größe "x"\n'])
tables = st.dictionaries(layers, st.tuples(st.none() | bits_strategy, bits_strategy), max_size=4)
option_values = st.fixed_dictionaries(
    {},
    optional={
        "alpha": st.floats(0, 1e6, exclude_min=True),
        "alpha_ratio": st.floats(0, 0.5, exclude_min=True, exclude_max=True),
        "log_base": st.floats(1, 16, exclude_min=True, exclude_max=True) | st.just("sqrt2"),
        "clip_k": st.floats(0, 10),
        "collapse": st.booleans(),
        "effort": st.sampled_from(EFFORT_NAMES),
    },
)


@settings(max_examples=60)
@given(st.sampled_from(list(RECIPES)), bits_strategy, bits_strategy, tables, option_values)
def test_comes_back_equal_from_json(name: str, weight: int, act: int, table: dict, options: dict) -> None:
    options = {key: value for key, value in options.items() if key in RECIPES[name].applies | {"effort"}}
    if "alpha" in options:
        options.pop("alpha_ratio", None)
    recipe = vq.recipe(name, weight, act, bits=table, **options)
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe
    assert again.use_for(QKV) == recipe.use_for(QKV)
    assert again.to_json() == recipe.to_json()


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"adfq"', "{}", '{"name": "adfq"}'])
def test_text_that_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a recipe's JSON"):
        Recipe.from_json(text)


@pytest.mark.parametrize(
    "key, broken",
    [
        *((key, broken) for key in ("rules", "options") for broken in (3, [3], "no", None, {"a": 3})),
        *(("passes", broken) for broken in (3, [3], "no", None, {"a": 3})),
        *((key, broken) for key in ("weight_bits", "act_bits") for broken in (9, 4.0, "4", None)),
        *(("bits", broken) for broken in (3, ["head"], None, {"head": 3}, {"head": [4, 4.0]})),
        ("rules", {"*": {"quantizer": "uniform", "bits": 11}}),
        ("rules", {"*": {"unheard_of": 1}}),
        ("options", {"alpha": -1}),
        ("unheard_of", 1),
    ],
)
def test_json_of_another_kind_is_refused(key: str, broken: object) -> None:
    data = json.loads(vq.recipe("adfq").to_json())
    with pytest.raises(ValueError):
        Recipe.from_json(json.dumps({**data, key: broken}))


@pytest.mark.parametrize("key", ["name", "rules", "options", "passes"])
def test_json_without_what_it_needs_is_refused(key: str) -> None:
    data = json.loads(vq.recipe("adfq").to_json())
    del data[key]
    with pytest.raises(ValueError, match="not a recipe's JSON"):
        Recipe.from_json(json.dumps(data))


# -- errors --------------------------------------------------------------------------------------------
ALLOCATING = [("lrp", "first_blocks", 1), ("lrp", "reductions", True), ("lrp-budget", "importance", "fisher")]


@pytest.mark.parametrize(("name", "option", "value"), ALLOCATING)
def test_a_table_leaves_nothing_to_give_out(name: str, option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"bits=… already says what every layer gets, so {option}={value!r}"):
        vq.recipe(name, bits={"head": (4, 4)}, **{option: value})
    assert getattr(vq.recipe(name, bits={}, **{option: value}).options, option) == value
    assert vq.recipe(name, bits={"head": (4, 4)}, clip_k=2.0).options.clip_k == 2.0


def test_unknown_recipe_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="unknown recipe 'repk'; available: adfq, apq, crl, fq, lrp, lrp-budget, minmax"
    ):
        vq.recipe("repk")


def test_unknown_option_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"unknown option 'aplha'; available: bits, .*alpha, alpha_ratio, .*iterations"
    ):
        vq.recipe("adfq", aplha=3.0)


@every_recipe
@pytest.mark.parametrize("option", list(OPTIONS))
def test_an_option_works_or_is_named_with_the_recipes_where_it_does(name: str, option: str) -> None:
    if option in RECIPES[name].applies:
        assert getattr(vq.recipe(name, **{option: OPTIONS[option]}).options, option) == OPTIONS[option]
        return
    with pytest.raises(ValueError, match=f"option '{option}' does nothing in recipe '{name}'") as caught:
        vq.recipe(name, **{option: OPTIONS[option]})
    named = str(caught.value).rpartition(": ")[2].split(", ")
    assert named == [other for other in RECIPES if option in RECIPES[other].applies]
    assert named


@pytest.mark.parametrize("value", [1, 9, 0, -4, 4.0, 4.5, "4", True, False, None, [4]])
@pytest.mark.parametrize("which", ["weight_bits", "act_bits"])
def test_bits_outside_2_to_8_are_refused(which: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{which} must be a whole number from 2 to 8, got "):
        vq.recipe("adfq", **{which: value})


@pytest.mark.parametrize(
    "table, message",
    [
        ([("head", (4, 4))], "must be a table"),
        ("head", "must be a table"),
        (4, "must be a table"),
        (0, "must be a table"),
        ([], "must be a table"),
        (False, "must be a table"),
        ({3: (4, 4)}, "layer names, got 3"),
        ({"head": 4}, r"bits\['head'\] must be \(weight_bits or None, act_bits\), got 4"),
        ({"head": "44"}, r"bits\['head'\] must be \(weight"),
        ({"head": (4,)}, r"bits\['head'\] must be \(weight"),
        ({"head": (4, 4, 4)}, r"bits\['head'\] must be \(weight"),
        ({"head": (9, 4)}, r"bits\['head'\] weight must be a whole number from 2 to 8, got 9"),
        ({"head": (True, 4)}, r"bits\['head'\] weight must"),
        ({"head": (4.0, 4)}, r"bits\['head'\] weight must"),
        ({"head": (4, None)}, r"bits\['head'\] activation must"),
        ({"head": (None, 1)}, r"bits\['head'\] activation must be a whole number from 2 to 8, got 1"),
        ({"ok": (4, 4), "head": (4, 1.5)}, r"bits\['head'\] activation must"),
    ],
)
def test_malformed_bits_tables_are_refused(table: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vq.recipe("adfq", bits=table)


def test_bits_of_a_rule_are_checked_too() -> None:
    for bits in (1, 9, 4.0, True):
        with pytest.raises(ValueError, match="bits of a rule for 'uniform' must be a whole number"):
            Use("uniform", bits=bits)


def test_two_thresholds_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="alpha or alpha_ratio, not both"):
        vq.recipe("adfq", alpha=3.0, alpha_ratio=0.01)


@pytest.mark.parametrize(
    "option, value",
    [
        *(("alpha", value) for value in (0, -1.0, float("nan"), float("inf"), "5", True)),
        *(("alpha_ratio", value) for value in (0, 0.5, 1.0, -0.1, float("nan"), "1%", True)),
        *(("log_base", value) for value in (1.0, 16.0, 0.5, float("nan"), "2", "√2", True)),
        *(("clip_k", value) for value in (-1, float("nan"), float("inf"), "2", True)),
        *(("collapse", value) for value in (1, 0, None, "yes")),
    ],
)
def test_option_values_that_mean_nothing_are_refused(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{option} must be "):
        Options(**{option: value})


# -- reconstruction ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "effort"), in_turn(RECIPES, EFFORT_NAMES, times=2))
def test_every_recipe_takes_every_effort(name: str, effort: str) -> None:
    recipe = vq.recipe(name, effort=effort)
    assert recipe.options.effort == effort
    own = RECIPES[name].options.reconstruction
    assert recipe.options.schedule == (None if effort == "none" else replace(EFFORTS[effort], **own))
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_recipes_with_a_reconstruction_of_their_own_do_it_unless_told_not_to() -> None:
    efforts = {name: vq.recipe(name).options.effort for name in RECIPES}
    assert efforts["adfq"] == "standard"
    published = {"minmax", "percentile", "repq", "crl", "lrp", "lrp-budget"}
    assert {efforts[name] for name in published} == {"none"}


@every_recipe
def test_a_setting_alone_asks_for_the_standard_effort(name: str) -> None:
    recipe, own = vq.recipe(name, iterations=7, temperature=3.0), RECIPES[name].options.reconstruction
    standard = replace(EFFORTS["standard"], **own)
    assert recipe.options.schedule == replace(standard, iterations=7, temperature=3.0)
    quick = vq.recipe(name, effort="quick", drop=0.0).options.schedule
    assert quick == replace(EFFORTS["quick"], **{**own, "drop": 0.0})
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe and again.options.schedule == recipe.options.schedule
    assert RECIPES[name].options.reconstruction == own


@every_recipe
def test_settings_without_reconstruction_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="option 'iterations' does nothing with effort='none'"):
        vq.recipe(name, effort="none", iterations=3)


@pytest.mark.parametrize(("name", "effort"), in_turn(RECIPES, ["slow", "", None, 3, True, ["quick"]]))
def test_an_unknown_effort_is_answered_with_the_known_ones(name: str, effort: object) -> None:
    sentence = r"^unknown effort .*; available: none, quick, standard, paper$"
    with pytest.raises(ValueError, match=sentence):
        vq.recipe(name, effort=effort)
    with pytest.raises(ValueError, match=sentence):
        vq.recipe(name, effort=effort, iterations=3)


@pytest.mark.parametrize("settings_", [{"iteration": 3}, {"effort": "quick"}, 3, [3], "no", None])
def test_settings_of_no_schedule_are_no_recipes_json(settings_: object) -> None:
    data = json.loads(vq.recipe("adfq").to_json())
    data["options"]["reconstruction"] = settings_
    with pytest.raises(ValueError):
        Recipe.from_json(json.dumps(data))


def test_log_base_sqrt2_is_the_number() -> None:
    assert vq.recipe("adfq", log_base="sqrt2") == vq.recipe("adfq", log_base=2**0.5)
