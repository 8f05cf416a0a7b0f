"""VitQ Studio: `python app.py` starts it and prints its address; Hugging Face Spaces runs this file."""

import os
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

from starlette.middleware import Middleware

from ui.parts.memory import bound_arenas
from ui.running.upload_limit import UploadLimit
from ui.studio import build_studio, theme
from ui.warm_up import warm_up
from ui.workbench import Workbench

ROOT = Path(__file__).resolve().parent
QUEUE_SIZE = 32
SESSIONS = 200


def default_host() -> str:
    """Every interface on Spaces, this machine alone elsewhere."""
    return "0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1"


def offers_tools() -> bool:
    """Whether assistants can call the studio's endpoints: where the extra `mcp` is installed."""
    return find_spec("mcp") is not None


def main() -> None:
    bound_arenas()
    bench = Workbench()
    # Gradio's own choice outlives a killed server; components read it when they are built.
    os.environ["GRADIO_TEMP_DIR"] = str(bench.uploads.folder)
    studio = build_studio(bench)
    Thread(target=warm_up, args=(bench,), daemon=True).start()
    bench.sweeps.resume()
    studio.queue(max_size=QUEUE_SIZE)
    studio.launch(
        server_name=os.environ.get("GRADIO_SERVER_NAME", default_host()),
        theme=theme(),
        css_paths=ROOT / "assets" / "style.css",
        js=(ROOT / "assets" / "page.js").read_text(),
        max_file_size="200mb",  # zips of pictures; a single picture's own limit is smaller
        state_session_capacity=SESSIONS,
        footer_links=["api", "gradio", "settings"],
        ssr_mode=False,
        mcp_server=offers_tools(),
        app_kwargs={"middleware": [Middleware(UploadLimit, uploads=bench.uploads)]},
    )


if __name__ == "__main__":
    main()
