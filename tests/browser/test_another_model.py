"""A story on a phone: a hub's model is looked up by its address, downloaded and quantized."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.hub_models import SIZES, tiny_files
from tests.models.hub_server import FIRST, HubServer, Repo
from tests.server import serving

from .conftest import assert_fits, quantize_two_pictures, settle, visited

PHONE = {"width": 390, "height": 844}
NAME = "user/tiny@a1a1a1a"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    files = tiny_files(args={**SIZES, "embed_dim": 192, "depth": 3, "mlp_ratio": 2})
    server = HubServer({"user/tiny": Repo({FIRST: files})})
    yield server
    server.close()


@pytest.fixture
def page(browser, hub: HubServer, tmp_path: Path) -> Iterator:
    """Of a studio whose hub is ours."""
    own = {"HF_ENDPOINT": hub.address, "no_proxy": "*"}
    with (
        serving(["app.py"], tmp_path / "home", tmp_path / "log", own) as server,
        visited(browser, server.url, viewport=PHONE, is_mobile=True, has_touch=True) as page,
    ):
        yield page


def test_a_model_of_the_hub_is_looked_up_downloaded_and_quantized(page, hub: HubServer) -> None:
    from playwright.sync_api import expect

    settle(page)
    page.get_by_role("button", name="Another model").click()
    box, card = page.locator("#another-name textarea, #another-name input"), page.locator("#another-card")
    box.fill("https://huggingface.co/user/none")
    page.locator("#another-look").click()
    expect(card).to_contain_text("there is no user/none on the Hugging Face hub, or it is private")
    box.fill("https://huggingface.co/user/tiny")
    box.press("Enter")
    expect(card).to_contain_text("vit_tiny_patch16_224")
    expect(card).to_contain_text("apache-2.0")
    expect(card).to_contain_text(FIRST)
    assert_fits(page)
    assert not hub.asked("large")

    hub.pause, hub.piece = 0.5, 100_000
    page.locator("#another-download").click()
    expect(page.locator("#another-status")).to_contain_text(re.compile(r"\d of \d MB"))
    page.locator("#another-cancel").click()
    expect(page.locator("#another-status")).to_contain_text("Cancelled.")
    hub.pause = 0.0
    settle(page)
    page.locator("#another-download").click()
    expect(page.locator("#another-status")).to_contain_text(f"{NAME} is chosen.")
    expect(page.locator("#model input")).to_have_value(NAME)
    quantize_two_pictures(page, NAME)
