"""The studio with tiny Segment Anythings; it prints a line for every picture that one of them encodes."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from segment_anything.modeling import ImageEncoderViT  # noqa: E402

import app  # noqa: E402
from tests.segmenting import stand_in  # noqa: E402

ENCODED = "encoded a picture"


def main() -> None:
    stand_in(setattr)
    forward = ImageEncoderViT.forward

    def told(self, x):
        print(ENCODED, flush=True)
        return forward(self, x)

    ImageEncoderViT.forward = told
    app.main()


if __name__ == "__main__":
    main()
