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
MODEL = "Demo ViT with outliers"
# Other people's photographs, and the button that floats over the form of a page taller than the window.
HIDING = (
    "#photographs img, #segment-gallery .grid-container > :nth-child(n + 11) { visibility: hidden } "
    ".vq-actions { position: static !important }"
)
TILES = 6  # modules done when a run that learns is photographed
HURT = "ADFQ-ViT"  # its quantizers have something to move
TENSOR, BLOCKS = "after GELU", 8
POINTED = (0.42, 0.6)  # as shares of the picture


def choose_model(page: Page, elem_id: str) -> None:
    page.locator(f"#{elem_id} input").click()
    page.get_by_role("option", name=MODEL, exact=True).click()


def quantize(page: Page, address: str) -> None:
    page.goto(address)
    choose_model(page, "model")
    page.get_by_label("RepQ-ViT", exact=True).check()
    expect(page.locator(".vq-form").first).to_contain_text("Evens out the channels")
    page.locator("#quantize").click()
    expect(page.locator("#status .vq-done")).to_contain_text("demo-vit-outliers · RepQ-ViT")
    expect(page.locator("#download")).to_be_enabled()
    page.locator("#gallery img").last.wait_for()


def shoot_studio(browser: Browser, address: str) -> None:
    """The first page with a result."""
    page = browser.new_context(**WIDE).new_page()
    quantize(page, address)
    page.add_style_tag(content=HIDING)
    save(opened(page.screenshot(full_page=True)), "studio")


def explain(page: Page, address: str) -> None:
    """The second tab with scores, the paper's bits, a run and both models' maps."""
    page.goto(address)
    page.get_by_role("tab", name="Relevance & bits").click()
    choose_model(page, "model")
    expect(page.locator("#bits-status")).to_contain_text("demo-vit-outliers · Same everywhere")
    page.locator("#score").click()
    expect(page.locator("#importance-map .js-plotly-plot")).to_be_visible()
    page.locator("#allocate").click()
    expect(page.locator("#bits-status")).to_contain_text("demo-vit-outliers · As in LRP-QViT")
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


def opened_tab(browser: Browser, address: str, name: str) -> Page:
    """A wide page on which this tab is in front."""
    page = browser.new_context(**WIDE).new_page()
    page.goto(address)
    page.get_by_role("tab", name=name, exact=True).click()
    return page


def choose(page: Page, elem_id: str, name: str) -> None:
    page.locator(f"#{elem_id} input").click()
    page.get_by_role("option", name=name, exact=True).click()


def shoot_tradeoffs(browser: Browser, address: str) -> None:
    """The runs that come with the studio, and what a budget buys."""
    page = opened_tab(browser, address, "Trade-offs")
    expect(page.locator("#tradeoffs-table")).to_contain_text("example")
    page.locator("#afford").click()
    expect(page.locator("#afford-status")).to_contain_text("the layers are measured")
    expect(page.locator("#afford-weights .js-plotly-plot")).to_be_visible()
    shoot_page(page, "tradeoffs")


def shoot_activations(browser: Browser, address: str) -> None:
    """The layer that hurts most, with the values that reach it."""
    page = opened_tab(browser, address, "Activations")
    choose(page, "look-method", HURT)
    page.locator("#look-measure").click()
    expect(page.locator("#look-status .vq-done")).to_be_visible()
    expect(page.locator("#look-cards")).to_contain_text("Share of the damage")
    page.locator("#look-site input").click()
    page.get_by_role("option").filter(has_text=TENSOR).first.click()
    expect(page.locator("#look-where")).to_contain_text(TENSOR)
    expect(page.locator("#look-everywhere .js-plotly-plot .bars .point")).to_have_count(BLOCKS)
    expect(page.locator("#look-magnitudes .js-plotly-plot")).to_be_visible()
    shoot_page(page, "activations")


def shoot_segment(browser: Browser, address: str) -> None:
    """An object that was clicked on, as both models see it."""
    page = opened_tab(browser, address, "Segment")
    page.locator("#segment-quantize").click()
    expect(page.locator("#segment-tried .vq-card").first).to_be_visible(timeout=3 * PATIENCE)
    place = page.locator("#segment-canvas .vq-surface")
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    page.mouse.click(box["x"] + POINTED[0] * box["width"], box["y"] + POINTED[1] * box["height"])
    expect(page.locator("#segment-cards")).to_contain_text("Agreement")
    settle(page)
    end = page.locator("#everything-step").bounding_box()["y"]
    part = {"x": 0, "y": 0, "width": WIDE["viewport"]["width"], "height": end}
    save(opened(page.screenshot(full_page=True, clip=part)), "segment", "webp")


def shoot_page(page: Page, name: str) -> None:
    settle(page)
    save(opened(page.screenshot(full_page=True)), name, "webp")


def settle(page: Page) -> None:
    """Nothing stands over the page, and the pointer on no word."""
    page.add_style_tag(content=f"{HIDING} .vq-status {{ position: static !important }}")
    page.mouse.move(1, 1)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")


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


def save(picture: Image.Image, name: str, kind: str = "jpg") -> None:
    options = {"optimize": True} if kind == "jpg" else {"method": 6}
    picture.save(Path(__file__).parent / f"{name}.{kind}", quality=82, **options)


PAGES = {
    "studio": shoot_studio,
    "tradeoffs": shoot_tradeoffs,
    "activations": shoot_activations,
    "relevance": shoot_relevance,
    "segment": shoot_segment,
    "learning": shoot_learning,
}


def main(address: str, *names: str) -> None:
    """All pictures, or those named."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for name, shoot_it in PAGES.items():
            if not names or name in names:
                shoot_it(browser, address)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
