"""Exported networks with random weights, beside the models that they were made of."""

import pytest

from tests.unit.deploy.nets import facts_of, random_detector


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Writes a detector's ONNX file, once for each form; skips where a package is missing."""
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install '.[export]'")
    pytest.importorskip("onnxscript", reason="needs onnxscript: pip install '.[export]'")
    from ssd.deploy.export import file_contents

    written = {}

    def write(backbone="ssd7", form="detections", pixels=False, suffix=".onnx", **thresholds):
        if backbone.startswith("timm:"):
            pytest.importorskip("timm", reason="needs timm: pip install timm")
        if suffix == ".xml":
            pytest.importorskip("openvino", reason="needs openvino: pip install '.[openvino]'")
        key = (backbone, form, pixels, suffix, *sorted(thresholds.items()))
        if key not in written:
            detector = random_detector(backbone, **thresholds)
            path = tmp_path_factory.mktemp("exported") / f"model{suffix}"
            facts = facts_of(detector, form, pixels)
            for each, content in file_contents(detector, facts, suffix).items():
                path.with_suffix(each).write_bytes(content)
            written[key] = path, detector
        return written[key]

    return write
