"""What every format owes: files in the folder, and a sentence for what is no result."""

import pytest

import vitq_core as vq
from vitq_core.exporters.base import EXPORTERS


@pytest.mark.parametrize("name", list(EXPORTERS))
def test_every_format_writes_files_and_refuses_what_is_no_result(name: str, model, images, tmp_path) -> None:
    folder = EXPORTERS[name](vq.quantize(model, images, "minmax"), tmp_path / "out")
    assert folder == tmp_path / "out" and any(path.stat().st_size for path in folder.iterdir())
    with pytest.raises(ValueError, match="quantize"):
        EXPORTERS[name](model, tmp_path / "other")
