"""What every run on a page has: its buttons, the line that says how far it is, and its files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import gradio as gr

from vitq_core.experiment import counted

from ..parts import markup
from ..parts.settings import RunSettings, StoppedRun
from .runs import DOWNLOAD, sentence

DOWNLOAD_NOTE = (
    "The small model in one .zip. vitq_core.load_quantized(folder) loads exactly this model again; the "
    "README inside has the lines to copy."
)

STORED = "An example that comes with the studio. Change any setting and press Quantize for your own."
KNOWN = "This is already the result of these settings."
GONE = "This result is no longer in memory; compute it again, then download it."
SAVE = """(file) => {
    const link = document.createElement('a');
    link.href = file.url;
    link.download = file.orig_name;
    link.click();
}"""

# On a phone a run's banner is far below its button. An event of Gradio's would not do: where settings are
# refused it tells nobody.
SHOW_BANNERS = """() => document.addEventListener('click', ({target}) => {
    const button = target.closest('.vq-actions button');
    if (!button) return;
    const its = (banner) => banner.offsetParent
        && banner.compareDocumentPosition(button) & Node.DOCUMENT_POSITION_PRECEDING;
    const banner = [...document.querySelectorAll('.vq-status')].find(its);
    if (banner && banner.getBoundingClientRect().top > innerHeight - 140)
        banner.scrollIntoView({behavior: 'smooth', block: 'start'});
})"""


class Packs(Protocol):
    """What has quantized models to download."""

    def download(self, settings: RunSettings) -> Path | None: ...


def start_and_stop(title: str, start_id: str, stop_id: str) -> tuple[gr.Button, gr.Button]:
    """The button that begins a run and the one that cancels it."""
    with gr.Row(elem_classes="vq-actions"):
        start = gr.Button(title, variant="primary", scale=3, elem_id=start_id)
        return start, gr.Button("Cancel", scale=1, interactive=False, elem_id=stop_id, min_width=90)


def status_line(idle: str, elem_id: str) -> gr.HTML:
    return gr.HTML(idle, elem_id=elem_id, elem_classes="vq-status", min_height=56)


def files_of(what: str) -> tuple[gr.DownloadButton, gr.UploadButton]:
    """To keep `what` (scores, bits) as a JSON file, and to bring such a file back."""
    with gr.Row(elem_classes="vq-files"):
        return (
            gr.DownloadButton(f"Download {what}", size="sm", interactive=False, elem_id=f"{what}-download"),
            gr.UploadButton(f"Upload {what}", size="sm", file_types=[".json"], elem_id=f"{what}-upload"),
        )


def model_download(elem_id: str) -> gr.Button:
    """For a quantized model, with the sentence that says what is in the file."""
    with gr.Row(elem_classes="vq-download"):
        button = gr.Button("Download", variant="primary", elem_id=elem_id, scale=0, min_width=150)
        gr.HTML(markup.note(DOWNLOAD_NOTE))
    return button


def connect_download(button: gr.Button, bench: Packs, shown: gr.State) -> None:
    """At a click the result of `shown`, its settings, is packed and downloaded, during others' runs too."""
    connect_file(button, lambda settings: pack(bench, settings), shown)


def connect_file(button: gr.Button, make: Callable[..., str], inputs: Any) -> None:
    """At a click the file whose path `make(inputs)` gives is downloaded."""
    file = gr.DownloadButton(elem_id=f"{button.elem_id}-file", elem_classes="vq-hidden")
    made = button.click(make, inputs, file, show_progress_on=button, **DOWNLOAD)
    made.success(None, file, js=SAVE)


def ended(settings: RunSettings, stored: bool = False, known: bool = False) -> str:
    """The banner of a result: whether it is complete.

    `stored`: it came with the studio. `known`: it was there before the button was pressed.
    """
    if not isinstance(settings, StoppedRun):
        details = [KNOWN] * known + [STORED] * stored
        return markup.banner("done", settings.title, " ".join(details))
    said = f"Stopped: {settings.learned} of {counted(settings.modules, 'module')} are done."
    return markup.banner("stopped", said, f"{settings.complete.title}. Start it again to go on from there.")


def pack(bench: Packs, shown: RunSettings | None) -> str:
    """The path of a zip with the result of `shown`; gr.Error where there is none."""
    try:
        path = None if shown is None else bench.download(shown)
    except Exception as error:
        raise gr.Error(sentence(error), print_exception=False) from error
    if path is None:
        raise gr.Error(GONE, print_exception=False)
    return str(path)


def care(warning: str) -> Any:
    """A banner, where there is a warning."""
    said = markup.banner("warning", "Read these numbers with care.", warning)
    return gr.update(value=said, visible=bool(warning))
