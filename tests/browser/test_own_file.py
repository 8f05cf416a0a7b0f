"""A story on a phone: a checkpoint is uploaded with a wrong architecture, which is corrected."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from safetensors.torch import save_file

from tests.models.checkpoints.files import net, state

from .conftest import assert_fits, quantize_two_pictures, settle

PHONE = {"width": 390, "height": 844}
SIZES = {"img_size": 32, "patch_size": 16, "embed_dim": 192, "depth": 12}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    save_file(state(net("vit_tiny_patch16_224", **SIZES)), path)
    return path


def test_a_checkpoint_with_a_wrong_architecture_is_corrected(page, file: Path) -> None:
    from playwright.sync_api import expect

    page.set_viewport_size(PHONE)
    settle(page)
    page.get_by_role("button", name="Another model").click()
    page.get_by_label("A file of mine", exact=True).check()
    expect(page.locator("#another-name")).to_be_hidden()
    page.locator("#own-file input[type=file]").set_input_files(str(file))
    expect(page.locator("#own-facts")).to_contain_text("12 blocks, width 192")
    architecture = page.locator("#own-architecture input")
    expect(architecture).to_have_value("vit_tiny_patch16_224")
    architecture.fill("vit_small_patch16_224")
    architecture.press("Enter")
    page.locator("#own-mean textarea, #own-mean input").fill("half")
    page.locator("#own-use").click()
    expect(page.locator("#own-mean")).to_contain_text("Numbers between commas")
    page.locator("#own-mean textarea, #own-mean input").fill("0.5, 0.5, 0.5")
    page.locator("#own-labels textarea").fill("ant\nbee\nfox")
    page.locator("#own-use").click()
    status = page.locator("#own-status")
    expect(status).to_contain_text("mine.safetensors did not work.")
    expect(status).to_contain_text("vit_small_patch16_224")
    assert_fits(page)
    architecture.fill("vit_tiny_patch16_224")
    architecture.press("Enter")
    page.locator("#own-use").click()
    expect(status).to_contain_text(re.compile(r"mine\.safetensors@\w{7} is chosen\."))
    name = page.locator("#model input").input_value()
    assert re.fullmatch(r"mine\.safetensors@\w{7}", name)
    quantize_two_pictures(page, name)
