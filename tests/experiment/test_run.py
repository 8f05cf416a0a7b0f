"""An experiment: reference, quantized model, comparison, on the same pictures."""

import pytest
import torch

import vitq_core as vq
from vitq_core.experiment.folders import folder_source
from vitq_core.experiment.measure import Batches
from vitq_core.experiment.run import quantize_and_measure, refer


def test_it_measures_what_evaluate_measures(tiny_model, folder) -> None:
    source = folder_source(tiny_model, folder)
    reference = refer(tiny_model, source, 4)
    heard = []
    measured = quantize_and_measure(
        tiny_model, source, reference, vq.recipe("minmax", 3, 3), 4, progress=lambda *told: heard.append(told)
    )
    batches = Batches(reference.samples, tiny_model.preprocess)
    assert measured.evaluation == vq.evaluate(measured.result.model, batches, reference=tiny_model)
    images = torch.cat([images for images, _ in batches])
    with torch.no_grad():
        assert torch.equal(measured.logits, measured.result.model(images))
        assert torch.equal(reference.logits, tiny_model.module(images))
    assert reference.labelled and measured.result.report.pictures == 4
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] == 1.0


def test_cancelled_it_reads_no_further(tiny_model, folder) -> None:
    source = folder_source(tiny_model, folder)
    with pytest.raises(vq.Cancelled):
        refer(tiny_model, source, 4, cancel=lambda: True)
    reference = refer(tiny_model, source, 4)
    with pytest.raises(vq.Cancelled):
        quantize_and_measure(tiny_model, source, reference, vq.recipe("minmax"), 4, cancel=lambda: True)
