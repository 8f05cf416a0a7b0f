"""Takes the README's pictures of a running studio: `python docs/screenshots.py http://127.0.0.1:7860/`."""

import io
import os
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = os.environ.get("VITQ_CHROMIUM", "/usr/bin/chromium")
PATIENCE = 120_000  # milliseconds
WIDE = {"viewport": {"width": 1440, "height": 1000}}
SHOTS = {
    "studio": WIDE,
    "studio-dark": {**WIDE, "color_scheme": "dark"},
    "studio-phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}
MODEL = "Demo ViT with outliers"
# Other people's photographs, and the button that floats over the form of a page taller than the window.
HIDING = "#photographs img { visibility: hidden } .vq-actions { position: static !important }"
TILES = 6  # modules done when a run that learns is photographed


def choose_model(page: Page, elem_id: str) -> None:
    page.locator(f"#{elem_id} input").click()
    page.get_by_role("option", name=MODEL, exact=True).click()


def quantize(page: Page, address: str, dark: bool) -> None:
    page.goto(address + ("?__theme=dark" if dark else ""))
    choose_model(page, "model")
    page.get_by_label("RepQ-ViT", exact=True).check()
    expect(page.locator(".vq-form").first).to_contain_text("Moves the spread")
    page.locator("#quantize").click()
    expect(page.locator("#status")).to_contain_text("demo-vit-outliers · RepQ-ViT")
    expect(page.locator("#download")).to_be_enabled()
    page.locator("#gallery img").last.wait_for()


def shoot(browser: Browser, address: str, name: str, options: dict) -> None:
    page = browser.new_context(**options).new_page()
    quantize(page, address, options.get("color_scheme") == "dark")
    page.add_style_tag(content=HIDING)
    phone = options["viewport"]["width"] < 500
    if phone:
        page.evaluate(
            "scrollTo(0, document.querySelector('#gallery').getBoundingClientRect().top + scrollY - 60)"
        )
    save(opened(page.screenshot(full_page=not phone)), name)


def explain(page: Page, address: str) -> None:
    """The second tab with scores, the paper's bits, a run and both models' maps."""
    page.goto(address)
    page.get_by_role("tab", name="Relevance & bits").click()
    choose_model(page, "relevance-model")
    expect(page.locator("#bits-status")).to_contain_text("demo-vit-outliers · uniform")
    page.locator("#score").click()
    expect(page.locator("#importance-map .js-plotly-plot")).to_be_visible()
    page.locator("#allocate").click()
    expect(page.locator("#bits-status")).to_contain_text("demo-vit-outliers · paper")
    page.locator("#quantize-bits").click()
    expect(page.locator("#mixed-download")).to_be_enabled()
    expect(page.locator("#maps img")).to_have_count(3)
    page.locator("#relevance-gallery img").last.wait_for()


def shoot_relevance(browser: Browser, address: str) -> None:
    """The steps that the first pictures do not show, one below the other, with a shorter table."""
    page = browser.new_context(**WIDE).new_page()
    explain(page, address)
    page.add_style_tag(
        content="#bits-table .virtual-table-viewport { max-height: 262px !important }"
        ".vq-status { position: static !important } .vq-many { display: none !important }"
    )
    steps = page.locator(".vq-page:visible")
    stack([opened(steps.nth(place).screenshot()) for place in (0, 1, 3)], "relevance")


def shoot_learning(browser: Browser, address: str) -> None:
    """A run that learns: while it does, what it comes to, and every module's error."""
    page = browser.new_context(**WIDE).new_page()
    page.goto(address)
    page.get_by_label("VitQ", exact=True).check()
    page.locator("#effort").get_by_label("Quick", exact=True).check()
    for bits in ("#weight-bits", "#act-bits"):
        page.locator(f"{bits} input[type=number]").fill("3")
    expect(page.locator("#calibration input")).to_have_value("128")
    page.locator("#quantize").click()
    live = page.locator("#live .vq-live")
    expect(live.locator(".vq-tile")).to_have_count(TILES)
    while_it_learns = opened(live.screenshot())
    expect(page.locator("#status .vq-done")).to_contain_text("quick effort", timeout=3 * PATIENCE)
    expect(page.locator("#errors .js-plotly-plot")).to_be_visible()
    page.add_style_tag(content="#modules-table { display: none !important }")
    parts = [opened(page.locator(name).screenshot()) for name in ("#cards", "#modules")]
    stack([while_it_learns, *parts], "learning")


def stack(parts: list[Image.Image], name: str, gap: int = 28) -> None:
    width, height = max(part.width for part in parts), sum(part.height + gap for part in parts) + gap
    picture, top = Image.new("RGB", (width + 2 * gap, height), parts[0].getpixel((0, 0))), gap
    for part in parts:
        picture.paste(part, (gap, top))
        top += part.height + gap
    save(picture, name)


def opened(screenshot: bytes) -> Image.Image:
    return Image.open(io.BytesIO(screenshot)).convert("RGB")


def save(picture: Image.Image, name: str) -> None:
    picture.save(Path(__file__).parent / f"{name}.jpg", quality=82, optimize=True)


def main(address: str, *names: str) -> None:
    """All pictures, or those named: `relevance`, `learning`, or one of SHOTS."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for name, options in SHOTS.items():
            if not names or name in names:
                shoot(browser, address, name, options)
        if not names or "relevance" in names:
            shoot_relevance(browser, address)
        if not names or "learning" in names:
            shoot_learning(browser, address)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
