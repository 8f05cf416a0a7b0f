"""The README.md in the folder of a quantized model: how to load it."""

from __future__ import annotations

from ...quantized.result import QuantizeResult

LOADING = """# A quantized vision transformer

`model.safetensors` holds the packed low-bit weights and, in its header, everything else that loading
needs. `vitq.json` is a copy of the description in that header, for people: editing it changes nothing.
These lines, run beside this folder, load exactly this model again. Python finds `vitq_core` where
`PYTHONPATH` names the folder of VitQ Studio:

```python
import vitq_core as vq

quantized = vq.load_quantized({folder!a})
{call}
```
"""
WITH_PREPROCESS = "output = quantized(quantized.preprocess(picture)[None])  # picture: a PIL image"
WITH_PROMPTS = """from segment_anything import SamPredictor

predictor = SamPredictor(quantized.model)  # set_image(picture), then predict(point_coords, point_labels)"""
WITHOUT_PREPROCESS = "output = quantized(images)  # images: a tensor [N, {channels}, {height}, {width}]"


def readme(result: QuantizeResult, folder: str) -> str:
    """``folder``: its name."""
    return LOADING.format(folder=folder, call=call(result))


def call(result: QuantizeResult) -> str:
    """Python that asks the loaded model, ``quantized``."""
    simulation = result.model.vitq
    if simulation.prepared.task.chunk == 1:
        return WITH_PROMPTS
    if result.source is not None:
        return WITH_PREPROCESS
    channels, height, width = simulation.input_size
    return WITHOUT_PREPROCESS.format(channels=channels, height=height, width=width)
