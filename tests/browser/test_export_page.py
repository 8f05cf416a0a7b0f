"""The page of exports as a person uses it: export, read the certificate, download, run it elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import vitq_core as vq

try:
    from playwright.sync_api import expect
except ImportError:
    expect = None  # the browser fixture then skips, or fails under CI

from vitq_core.experiment.samples import builtin_source

from .conftest import PATIENCE, assert_fits, open_tab, settle, unfold_pictures, visited

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
PICTURES = "8"
CLEAR = 49  # of the test pictures the one whose five best classes differ most
NAME = "demo-vit · {} · W8/A8 · 8 calibration pictures"
# The script that lies in the zip, which may import nothing of ours, nor torch.
ALONE = """
import runpy, sys
for name in ("torch", "timm", "vitq_core"):
    sys.modules[name] = None
sys.argv = ["run_it.py", *sys.argv[1:]]
runpy.run_path("run_it.py", run_name="__main__")
assert "onnxruntime" in sys.modules
"""


def quantize(page, method: str, bits: str) -> None:
    """On the page Quantize, with few pictures."""
    unfold_pictures(page)
    for box in ("#calibration", "#held-out"):
        page.locator(f"{box} input").fill(PICTURES)
    page.get_by_label(method, exact=True).check()
    for slider in ("#weight-bits", "#act-bits"):
        page.locator(f"{slider} input[type=number]").fill(bits)
    settle(page)
    page.locator("#quantize").click()
    expect(page.locator("#status .vq-done")).to_contain_text(f"{method} · W{bits}/A{bits}")


def choose_format(page, name: str) -> None:
    page.get_by_label(re.compile(f"(: |^){name}$")).check()


def to_onnx(page, method: str, seed: str = "") -> str:
    """The page of exports, where the run by `method` that was just made is chosen; the name of that."""
    pytest.importorskip("onnxruntime")
    quantize(page, method, "8")
    open_tab(page, "Export")
    name = NAME.format(method) + seed
    expect(page.locator("#export-run input")).to_have_value(name)
    choose_format(page, "ONNX")
    return name


def exported(page, said: str) -> None:
    """Four processes, each of which imports torch, take longer than other work does on a busy machine."""
    expect(page.locator("#export-status .vq-done")).to_contain_text(said, timeout=3 * PATIENCE)


def downloaded(page, folder: Path) -> Path:
    """The folder in the zip."""
    with page.expect_download() as download:
        page.locator("#export-download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(folder)
    return folder / Path(download.value.suggested_filename).stem


def test_a_fresh_process_with_onnxruntime_alone_answers_as_the_page_does(page, tmp_path):
    name = to_onnx(page, "Min–max")
    page.locator("#export").click()
    exported(page, f"{name} · ONNX")
    certificate = page.locator("#export-certificate")
    expect(certificate).to_contain_text(re.compile(r"3\.\d\d MB; 14\.\d\d MB in full precision"))
    expect(certificate).to_contain_text(
        re.compile(r"\d ms for one picture, with \d+ threads?: \d+\.\d× (as fast|slower)")
    )
    expect(certificate).to_contain_text("50 of 50, 50 of them as integers on this machine")
    expect(certificate).to_contain_text("100.0 % of 8 pictures")
    folder = downloaded(page, tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "certificate.json", "model.onnx", "run_it.py", "speed.json",
    }  # fmt: skip
    stored = json.loads((folder / "certificate.json").read_text())
    expect(certificate).to_contain_text(stored["sha256"])
    open_tab(page, "Quantize")
    picture = tmp_path / "picture.png"
    builtin_source(vq.load_model("demo-vit")).held_out(CLEAR + 1)[CLEAR].read().save(picture)
    page.locator("#picture input[type=file]").set_input_files(picture)
    expect(page.locator("#verdict")).to_contain_text("picture.png")
    shown = page.locator(".vq-quantized .vq-label b")
    assert answers_alone(folder, picture) == [text.strip() for text in shown.all_inner_texts()]


def answers_alone(folder: Path, picture: Path) -> list[str]:
    """The five best classes, as the script in the zip prints them in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(picture)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = [line.split("%", 1)[1].strip() for line in done.stdout.splitlines()]
    assert len(answers) == 5
    return answers


def begin(page) -> None:
    before = page.url  # of the run on the page Quantize
    page.locator("#export").click()
    page.wait_for_url(lambda url: url != before)


@pytest.mark.wide
def test_an_export_goes_on_while_its_page_is_reloaded_and_opens_its_tab_again(page):
    name = to_onnx(page, "Percentile")
    begin(page)
    page.reload()
    expect(page.get_by_role("tab", name="Export")).to_have_attribute("aria-selected", "true")
    exported(page, f"{name} · ONNX")
    expect(page.locator("#export-run input")).to_have_value(name)
    expect(page.locator("#export-download")).to_be_visible()
    expect(page.locator("#export")).to_be_enabled()
    choose_format(page, "Packed")
    expect(page.locator("#export-status")).to_contain_text(f"Below is still {name} · ONNX")


@pytest.mark.wide
def test_cancelled_it_can_be_started_again(page):
    page.locator("#seed input").fill("3")  # what nobody has exported yet
    name = to_onnx(page, "Percentile", " · seed 3")
    begin(page)
    page.locator("#export-cancel").click()
    expect(page.locator("#export-status")).to_contain_text("Cancelled.")
    page.locator("#export").click()
    exported(page, f"{name} · ONNX")


@pytest.mark.wide
def test_on_a_phone_what_has_no_integer_form_gets_one_that_is_judged_first(browser, studio, tmp_path):
    pytest.importorskip("onnxruntime")
    with visited(browser, studio, **PHONE) as phone:
        quantize(phone, "ADFQ-ViT", "4")
        open_tab(phone, "Export")
        choose_format(phone, "ONNX")
        expect(phone.locator("#export-status")).to_contain_text("ONNX cannot hold this run.")
        expect(phone.locator("#export-status")).to_contain_text("attention values")
        assert_fits(phone)
        phone.locator("#export-integer").click()
        exported(phone, "ADFQ-ViT · W4/A4 · integer form")
        expect(phone.locator("#export-judged .vq-card")).to_have_count(4)
        expect(phone.locator("#export-certificate")).to_contain_text("50 of 50")
        assert_fits(phone)
        assert downloaded(phone, tmp_path).name == "demo-vit-adfq-w4a4-integer-cal8-onnx"
