"""The wheel alone, in a folder outside the clone; its dependencies are those of the tests."""

import json
import os
import shutil
import subprocess
import sys

import pytest

PARTS = ("pyproject.toml", "README.md", "LICENSE", "configs", "ssd")


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory):
    """A folder with what the wheel installs."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for part in PARTS:
        if (repository / part).is_dir():
            shutil.copytree(repository / part, source / part, symlinks=True)
        else:
            shutil.copy(repository / part, source / part)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "wheels", "."]
    subprocess.run([*pip, *build], cwd=source, check=True)
    (file,) = (source / "wheels").glob("*.whl")
    install = ["install", "--no-deps", "--no-index", "--target", str(target), str(file)]
    subprocess.run([*pip, *install], check=True)
    return target


@pytest.fixture
def ssd(wheel, tmp_path):
    """Runs the installed command in a folder that knows nothing of the clone."""

    def run(*arguments, program=None):
        environment = os.environ | {"PYTHONPATH": str(wheel), "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(
            [*(program or [str(wheel / "bin" / "ssd")]), *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.mark.long
def test_the_wheel_trains_predicts_and_explains(ssd, wheel, tmp_path):
    home = ssd("-c", "import ssd; print(ssd.__file__)", program=[sys.executable])
    assert home.stdout.startswith(str(wheel))
    flags = ("--training.steps", 20, "--training.device", "cpu", "--data.workers", 0)
    done = ssd("train", "quickstart", *flags, "--out", "r")
    assert done.returncode == 0, done.stderr
    photo = next((tmp_path / "datasets" / "shapes" / "JPEGImages").iterdir())
    done = ssd("predict", "r", photo, "--min-score", 0.01, "--out", "found")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "found" / "detections.json").read_text())
    losses = [1 + 0.1 * (step % 7) + 15 * (step % 20 == 19) for step in range(200)]
    (tmp_path / "losses.csv").write_text("loss\n" + "\n".join(map(str, losses)))
    done = ssd("spikes", "--explain", "losses.csv", "--steps-per-epoch", 20)
    assert done.returncode == 0, done.stderr
    assert "short last batch" in done.stdout
    done = ssd("compare", "r", "r")
    assert done.stdout.count("20") >= 2, done.stderr


def test_the_wheel_has_the_recipes_and_the_chain_of_albumentations(ssd):
    done = ssd("-m", "ssd", "recipes", program=[sys.executable])
    assert done.returncode == 0, done.stderr
    assert {"quickstart", "custom_voc", "ssd300_vgg16_voc"} < {
        line.split()[0] for line in done.stdout.splitlines()
    }
    done = ssd("recipes", "custom_voc")
    assert "format: auto" in done.stdout
    script = "from ssd.augment.library_file import read_pipeline as r; "
    script += "from ssd.config.recipes import ALBUMENTATIONS as a; print(len(r(a).transforms))"
    assert int(ssd("-c", script, program=[sys.executable]).stdout) > 3
