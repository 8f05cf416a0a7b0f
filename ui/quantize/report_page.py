"""A run as one HTML file that needs nothing else: numbers, plots, and the pictures whose answer changed."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from html import escape
from pathlib import Path

from PIL import Image

from vitq_core.experiment import counted
from vitq_core.experiment.measure import opened

from ..parts import glossary, markup, plots
from ..parts.outcome import Outcome
from ..parts.thumbnails import small
from ..running.runs import without_folders

STYLE = Path(__file__).resolve().parents[2] / "assets" / "style.css"
MOST = 48  # pictures
# What the stylesheet takes from the studio's theme.
THEME = """
:root { --body-text-color: #1e293b; --body-text-color-subdued: #64748b; --border-color-primary: #e2e8f0;
  --block-background-fill: #fff; --body-background-fill: #f8fafc; --primary-600: #4f46e5; --radius-lg: 8px;
  --radius-xl: 12px; }
@media (prefers-color-scheme: dark) { :root { --body-text-color: #f1f5f9; --body-text-color-subdued: #94a3b8;
  --border-color-primary: #334155; --block-background-fill: #1e293b; --body-background-fill: #0f172a; } }
body { margin: 0 auto; max-width: 1100px; padding: 16px; background: var(--body-background-fill);
  color: var(--body-text-color); font-family: system-ui, sans-serif; }
figure { display: flex; gap: 16px; margin: 16px 0; align-items: flex-start; flex-wrap: wrap; }
figure img { width: 120px; border-radius: 8px; }
figure > div { flex: 1; min-width: 260px; }
"""


def report_page(outcome: Outcome) -> str:
    """The whole file as text. Nothing in it says where pictures or models lie on this machine."""
    outcome = replace(
        outcome, about=without_folders(outcome.about), about_pictures=without_folders(outcome.about_pictures)
    )
    title = escape(outcome.settings.title)
    sections = [
        f"<h1>{title}</h1>",
        markup.note(f"Made by VitQ Studio. {outcome.about}"),
        markup.cards(outcome),
        markup.banner("warning", "Read these numbers with care.", outcome.warning) if outcome.warning else "",
        f"<h2>{escape(_heading(outcome))}</h2>",
        *(_picture(outcome, index) for index in _shown(outcome)),
        "<h2>Layer by layer</h2>",
        markup.legend(plots.role_colors(outcome.result.report.sites)),
        plots.sqnr_figure(outcome.result.report.sites).to_html(
            full_html=False, include_plotlyjs=True, config={"displayModeBar": False}
        ),
        "<h2>How it was made</h2>",
        markup.facts(outcome),
        f"{glossary.sentences()}<script>({glossary.SHOW_SENTENCES})()</script>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    style = f"<style>{THEME}{STYLE.read_text('utf-8')}</style>"
    return f"<!doctype html><html lang=en><head>{head}{style}</head><body>{''.join(sections)}</body></html>"


def _shown(outcome: Outcome) -> list[int]:
    """The pictures whose answer changed, most first; of features those that moved most."""
    if not outcome.classifies:
        return outcome.order[:MOST]
    return [index for index in outcome.order if outcome.flips[index]][:MOST]


def _heading(outcome: Outcome) -> str:
    count = len(_shown(outcome))
    if not outcome.classifies:
        return f"The {counted(count, 'picture')} whose features moved most"
    changed = int(outcome.flips.sum())
    if not changed:
        return f"No answer changed in {counted(len(outcome.flips), 'picture')}"
    more = f", {count} of them below" if count < changed else ""
    return f"{counted(changed, 'answer')} of {len(outcome.flips)} changed{more}"


def _picture(outcome: Outcome, index: int) -> str:
    sample, pair = outcome.reference.samples[index], outcome.pair(index)
    ((_, picture),) = opened([sample])
    if outcome.classifies:
        said = markup.verdict(pair, sample.name) + markup.both(pair, outcome.settings.bits)
    else:
        said = markup.verdict(pair, sample.name)
    return (
        f'<figure><img src="{_inline(small(picture))}" alt="{escape(sample.name)}"><div>{said}</div></figure>'
    )


def _inline(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.convert("RGB").save(data, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
