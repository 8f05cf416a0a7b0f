"""Every main action as a program calls it: by name over a real server, and as a tool of its MCP server."""

from __future__ import annotations

import ast
import json
import re
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.utils import get_function_description
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import vitq_core as vq
from app import offers_tools
from tests.awaiting import awaited
from tests.browser.conftest import started
from tests.segmenting import TINY, stand_in
from ui.studio import build_studio
from ui.tradeoffs import endpoints
from ui.workbench import Workbench

QUICK = {"recipe": "minmax", "weight_bits": 4, "act_bits": 4}
POLITE = 0.05  # seconds between two questions
SOON = 120.0
DOCUMENTED = Path(__file__).parents[2] / "docs" / "endpoints.md"


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def studio(patch, tiny_model: vq.Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[gr.Blocks]:
    """A running one, over models that take no time."""
    patch.setenv("VITQ_HOME", str(tmp_path_factory.mktemp("home")))
    patch.setattr(vq, "load_model", lambda name, *args: tiny_model)
    stand_in(patch.setattr)
    bench = Workbench()
    patch.setenv("GRADIO_TEMP_DIR", str(bench.uploads.folder))
    studio = build_studio(bench).queue()
    studio.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False, footer_links=["api"],
        mcp_server=offers_tools(),
    )  # fmt: skip
    yield studio
    studio.close()


@pytest.fixture(scope="module")
def client(studio, tmp_path_factory) -> Client:
    return Client(studio.local_url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "grey.png"
    Image.new("RGB", (40, 30), (90, 120, 150)).save(path)
    return path


@pytest.fixture(scope="module")
def call(client, picture) -> Callable[..., Any]:
    """Calls an endpoint by its name; `picture` True stands for a picture's file."""

    def called(name: str, **given: Any) -> Any:
        if given.pop("picture", False):
            given["picture"] = handle_file(picture)
        return client.predict(**given, api_name=name)

    return called


def swept(call: Callable[..., Any], **asked: Any) -> dict[str, Any]:
    """A sweep from its beginning to its end."""
    begun = call("/start_sweep", **{"recipes": ["minmax"], "bits": [4], "judged": 4, **asked})
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        state = call("/sweep_state", sweep=begun["sweep"], visitor=begun["visitor"])
        if state["state"] != "running":
            return {**begun, **state}
        time.sleep(POLITE)
    raise AssertionError(state)


def test_a_long_job_is_begun_asked_after_and_fetched(call):
    done = swept(call, recipes=["minmax", "percentile"], bits=[8, 4])
    assert (done["state"], done["done"], done["total"], done["failed"]) == ("done", 4, 4, [])
    runs = call("/runs", model="demo-vit")
    assert [run["name"] for run in runs] == done["runs"][::-1]
    details = call("/run_details", run=runs[0]["id"])
    assert details["quality"] == runs[0]["quality"] and details["judged"] == 4
    assert details["results"]["bits"]["head"] == [4, 4] and "weights" in details["made_of"]
    assert call("/runs", model="no-model") == []
    assert swept(call, recipes=["percentile", "minmax"], bits=[4])["done"] == 2
    assert len(call("/runs", model="demo-vit")) == 4


def test_segment_anything_is_swept_too(call):
    done = swept(call, model=TINY, judged=1)
    assert done["done"] == 1, done["failed"]
    (run,) = call("/runs", model=TINY)
    assert run["quality"]["name"] == "box_iou"


def test_a_sweep_is_stopped_and_goes_on(call):
    begun = call("/start_sweep", recipes=["minmax"], bits=[8, 6, 5, 4, 3, 2], judged=64)
    with pytest.raises(AppError, match="One sweep at a time"):
        call("/start_sweep", recipes=["minmax"], bits=[7])
    stopped = call("/stop_sweep", sweep=begun["sweep"])
    assert stopped["state"] in ("stopped", "done") and stopped["now"] is None
    assert call("/go_on_with_sweep", sweep=begun["sweep"])["total"] == 6
    call("/stop_sweep", sweep=begun["sweep"])


def test_a_server_takes_no_endless_work(call):
    with pytest.MonkeyPatch.context() as little:
        little.setattr(endpoints, "MOST_SWEEPS", 0)
        with pytest.raises(AppError, match="many sweeps to make"):
            call("/start_sweep", recipes=["minmax"], bits=[7])


def test_bits_that_were_given_out_are_quantized_with(call):
    found = call("/allocate", pictures=4, first_blocks=1)
    answer = call("/quantize", recipe="minmax", calibration=2, held_out=4, bits=found["bits"])
    assert answer["report"]["avg_weight_bits"] == pytest.approx(found["cost"]["avg_weight_bits"])
    assert answer["report"]["size_mb"] > 0 and answer["quantized"]["n"] == 4


def test_what_a_budget_buys_is_predicted_once_runs_are_known(call):
    found = call("/forecast", size_mb=1.0)
    assert found["cost"]["size_mb"] <= 1.0 and found["bits"]["head"][0] >= 2
    assert set(found) == {"bits", "cost", "lost", "error"}


def test_scores_errors_answers_and_files(call):
    scores = call("/importance", pictures=4)
    assert set(scores["layer_scores"]) == set(call("/layer_errors", recipe="minmax"))
    assert len(call("/classify", picture=True, **QUICK)["full_precision"]) == 5
    assert call("/relevance", picture=True)["target"][0] in call("/relevance", picture=True)["answer"]
    with zipfile.ZipFile(call("/download", **QUICK)) as archive:
        assert any(name.endswith("vitq.json") for name in archive.namelist())


def test_a_file_for_other_programs_comes_with_its_certificate(call):
    certificate, file = call("/export", **QUICK, format="packed", as_integers=False)
    with zipfile.ZipFile(file) as archive:
        (stored,) = [name for name in archive.namelist() if name.endswith("/certificate.json")]
        told = json.loads(archive.read(stored))
    speeds = certificate.pop("speed")["speeds"]
    assert {"file": told.pop("path"), **told} == certificate
    assert speeds[-1]["what"] == "Packed" and all(0 < speed["median"] < SOON for speed in speeds)
    assert certificate["format"] == "packed" and certificate["n"] == 64 and certificate["max_difference"] == 0


@pytest.mark.wide
def test_a_program_asks_for_the_integer_form_where_a_format_refuses_the_recipe(call):
    pytest.importorskip("onnxruntime")
    asked = {**QUICK, "recipe": "adfq", "format": "onnx"}
    with pytest.raises(AppError, match="its integer form"):
        call("/export", **asked, as_integers=False)
    certificate, file = call("/export", **asked, as_integers=True)
    assert certificate["integer_nodes"] == certificate["promised"] > 0
    assert file.endswith("-integer-onnx.zip")


def test_masks_of_what_is_pointed_at_and_of_everything(call):
    told, file = call("/segment", picture=True, prompts=[{"box": [2, 2, 30, 20]}], model=TINY)
    assert told["size"] == [40, 30] and zipfile.ZipFile(file).namelist() == ["full-precision/object-1.png"]
    told, file = call("/segment_everything", picture=True, model=TINY, points=2, recipe="minmax")
    assert {"full_precision", "quantized", "both", "ious"} == set(told)
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["full-precision.png", "quantized.png"]
        with archive.open("full-precision.png") as mask:
            assert Image.open(mask).mode == "I;16"


def test_what_there_is_to_name_is_listed(call):
    assert {"demo-vit", TINY} <= {model["id"] for model in call("/models")}
    assert [recipe["name"] for recipe in call("/recipes")] == list(vq.RECIPES)


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("/start_sweep", {"model": "no-model"}, "model: Choose one of"),
        ("/start_sweep", {"recipes": []}, "recipes: Give a list"),
        ("/start_sweep", {"recipes": ["magic"]}, "method: Choose one of"),
        ("/start_sweep", {"recipes": "minmax"}, "recipes: Give a list"),
        ("/start_sweep", {"bits": [9]}, "bits: A whole number"),
        ("/start_sweep", {"bits": [None]}, "bits: Give a list"),
        ("/start_sweep", {"judged": 0}, "judged: A whole number"),
        ("/start_sweep", {"effort": "heroic"}, "effort: Choose one of"),
        ("/start_sweep", {"model": TINY, "effort": "quick"}, "not fine-tuned in sweeps"),
        ("/sweep_state", {"sweep": "0" * 12}, "no such sweep"),
        ("/stop_sweep", {"sweep": ["x"]}, "no such sweep"),
        ("/go_on_with_sweep", {"sweep": {}}, "no such sweep"),
        ("/run_details", {"run": "0" * 12}, "no such run"),
        ("/run_details", {"run": ["x"]}, "no such run"),
        ("/forecast", {}, "either size_mb or points"),
        ("/forecast", {"size_mb": 1, "points": 1}, "either size_mb or points"),
        ("/forecast", {"size_mb": -1}, "either size_mb or points"),
        ("/forecast", {"size_mb": True}, "either size_mb or points"),
        ("/forecast", {"model": TINY, "points": 1}, "model: Choose one of"),
        ("/importance", {"pictures": 0}, "pictures: A whole number"),
        ("/layer_errors", {"bits": 1}, "bits: A whole number"),
        ("/layer_errors", {"recipe": "magic"}, "method: Choose one of"),
        ("/quantize", {"recipe": "minmax", "bits": {"head": [4, 4]}}, "lacks 7 of the model's 8 layers"),
        ("/quantize", {"recipe": "minmax", "bits": {"head": "many"}}, "head"),
        ("/quantize", {"recipe": "minmax", "bits": {}}, "table"),
        ("/download", {"recipe": "magic"}, "magic"),
        ("/export", {"format": "magic"}, "format: Choose one of"),
        ("/export", {"recipe": "magic"}, "recipe: Choose one of"),
        ("/export", {"model": "magic"}, "model: Choose one of"),
        ("/export", {"as_integers": "yes"}, "as_integers: Send true or false"),
        ("/segment_everything", {"picture": True, "points": 1}, "points: A whole number"),
        ("/segment_everything", {"picture": True, "model": "no-model"}, "model: Choose one of"),
    ],
)
def test_a_wrong_request_gets_a_sentence(call, name, asked, said):
    with pytest.raises((AppError, ValueError), match=said):
        call(name, **asked)


def test_on_a_public_server_runs_are_kept_for_whoever_shows_what_came_back(call):
    with pytest.MonkeyPatch.context() as public:
        public.setenv("SPACE_ID", "somebody/studio")
        one, other = swept(call, judged=5), swept(call, judged=6)
        assert one["visitor"] != other["visitor"]
        with pytest.raises(AppError, match="no such sweep"):
            call("/sweep_state", sweep=one["sweep"], visitor=other["visitor"])
        (run,) = call("/runs", visitor=one["visitor"])
        for shown in ("", other["visitor"], "0" * 31):
            with pytest.raises(AppError, match="no such run"):
                call("/run_details", run=run["id"], visitor=shown)
        assert call("/runs") == []
        assert swept(call, judged=5, bits=[8], visitor=one["visitor"])["visitor"] == one["visitor"]
        assert len(call("/runs", visitor=one["visitor"])) == 2


@pytest.fixture(scope="module")
def called_here() -> set[str]:
    """The endpoints that this file calls, by its own text."""
    return set(re.findall(r'"(/[a-z_]+)"', Path(__file__).read_text()))


def test_every_endpoint_is_called_by_a_test_and_says_what_it_takes(studio, called_here):
    """A new one is found by itself."""
    named = studio.get_api_info()["named_endpoints"]
    assert named.keys() <= called_here, "nobody calls it"
    assert named.keys() == set(re.findall(r"`(/[a-z_]+)`", DOCUMENTED.read_text("utf-8")))
    by_name = {f"/{event.api_name}": event.fn for event in studio.fns.values()}
    for name in named:
        said, parameters, _ = get_function_description(by_name[name])
        assert len(said) > 40 and said.endswith("."), name
        assert all(parameters.values()), f"{name}: {parameters}"


def test_no_endpoint_is_named_after_a_clash(studio):
    assert not [name for name in studio.get_api_info()["named_endpoints"] if name[-1].isdigit()]


@pytest.fixture(scope="module")
def tools(studio) -> Callable[[Callable[..., Any]], Any]:
    """Lets a coroutine talk to the studio's MCP server: `tools(talk)` gives what `talk(session)` does."""
    mcp = pytest.importorskip("mcp")
    from mcp.client.streamable_http import streamablehttp_client

    async def connected(talk: Callable[..., Any]) -> Any:
        url = f"{studio.local_url}gradio_api/mcp/"
        async with streamablehttp_client(url) as (read, write, _), mcp.ClientSession(read, write) as session:
            await session.initialize()
            return await talk(session)

    return lambda talk: awaited(connected(talk))


def test_assistants_find_every_endpoint_as_a_tool_with_a_schema(studio, tools):
    async def listed(session: Any) -> Any:
        return (await session.list_tools()).tools

    known = {tool.name: tool for tool in tools(listed)}
    assert len(known) == len(studio.get_api_info()["named_endpoints"])
    quantize = known["quantize"]
    assert quantize.description.startswith("Quantize a model")
    properties = quantize.inputSchema["properties"]
    assert properties["weight_bits"]["type"] == "integer"
    assert "2 to 8" in properties["weight_bits"]["description"]
    assert {"list_models", "start_sweep", "sweep_state", "runs", "segment"} <= known.keys()


def test_assistants_quantize_and_are_refused_in_a_sentence(tools):
    async def asked(session: Any) -> Any:
        few = {"recipe": "minmax", "calibration": 2, "held_out": 4}
        return [
            await session.call_tool("quantize", few),
            await session.call_tool("start_sweep", {"model": "no-model"}),
            await session.call_tool("runs", {"model": "no-model"}),
        ]

    good, wrong, none = tools(asked)
    assert not good.isError and ast.literal_eval(good.content[0].text)["quantized"]["n"] == 4
    assert wrong.isError and "model: Choose one of" in wrong.content[0].text
    assert not none.isError and none.content[0].text in ("[]", "")


HIDDEN = "import sys; sys.modules['mcp'] = None; import app; app.main()"  # as where the extra is missing


def test_without_the_extra_the_studio_starts_and_offers_no_tools(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp", None)
    assert not offers_tools()
    monkeypatch.setenv("GRADIO_MCP_SERVER", "true")
    with started(["-c", HIDDEN], tmp_path / "home", tmp_path / "log") as url:
        assert "/quantize" in urllib.request.urlopen(f"{url}gradio_api/info").read().decode()
        with pytest.raises(urllib.error.HTTPError, match=r"40[45]"):
            urllib.request.urlopen(f"{url}gradio_api/mcp/")
