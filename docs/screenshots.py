"""Takes the README's pictures of a running studio: `python docs/screenshots.py http://127.0.0.1:7860/`."""

import io
import os
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = os.environ.get("VITQ_CHROMIUM", "/usr/bin/chromium")
PATIENCE = 120_000  # milliseconds
SHOTS = {
    "studio": {"viewport": {"width": 1440, "height": 1000}},
    "studio-dark": {"viewport": {"width": 1440, "height": 1000}, "color_scheme": "dark"},
    "studio-phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}


def quantize(page: Page, address: str, dark: bool) -> None:
    page.goto(address + ("?__theme=dark" if dark else ""))
    page.locator("#model input").click()
    page.get_by_role("option", name="Demo ViT with outliers", exact=True).click()
    page.get_by_label("RepQ-ViT", exact=True).check()
    expect(page.locator(".vq-form")).to_contain_text("Moves the spread")
    page.locator("#quantize").click()
    expect(page.locator("#status")).to_contain_text("demo-vit-outliers · RepQ-ViT")
    expect(page.locator("#download")).to_be_enabled()
    page.locator("#gallery img").last.wait_for()


def shoot(browser: Browser, address: str, name: str, options: dict) -> None:
    page = browser.new_context(**options).new_page()
    quantize(page, address, options.get("color_scheme") == "dark")
    page.add_style_tag(content="#photographs img { visibility: hidden }")  # other people's photographs
    phone = options["viewport"]["width"] < 500
    if phone:
        page.evaluate(
            "scrollTo(0, document.querySelector('#gallery').getBoundingClientRect().top + scrollY - 60)"
        )
    picture = Image.open(io.BytesIO(page.screenshot(full_page=not phone))).convert("RGB")
    picture.save(Path(__file__).parent / f"{name}.jpg", quality=82, optimize=True)


def main(address: str) -> None:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for name, options in SHOTS.items():
            shoot(browser, address, name, options)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
