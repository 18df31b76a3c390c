"""The page in a real browser, where there is one: Chromium without a window."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ssd.evaluation.at_score import best_f1
from ssd.evaluation.by_size import results_by_size
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.mistakes import judge_detections
from ssd.report.analysis import Analysis, Example
from ssd.report.page import write_report
from ssd.report.pictures import Box, Picture
from ssd.report.score_plots import Curve
from ssd.run.changes import Change, write_changes
from ssd.structures import Record

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Debian's chromium")

CLASSES = ["cat", "a_rather_long_name_of_a_class", *(f"class {number}" for number in range(22))]
# Whatever the page would load breaks this policy, and the browser says so on the console.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'unsafe-inline'"
MEASURE = """<script>addEventListener("load", () => {
  const all = [...document.querySelectorAll(".pictures")];
  const shown = [...document.querySelectorAll("svg")].filter(each => each.clientWidth);
  parent.postMessage(JSON.stringify({
    inner: innerWidth,
    scroll: document.documentElement.scrollWidth,
    requests: performance.getEntriesByType("resource").map(each => each.name),
    heights: all.map(grid => [...grid.querySelectorAll("img")].map(each => each.clientHeight)),
    charts: shown.map(each => [each.clientWidth, each.parentElement.clientWidth]),
    letters: Math.min(...shown.map(each => each.getScreenCTM().a * 8)),
    paper: getComputedStyle(document.body).backgroundColor,
  }), "*");
});</script></body>"""
# The page is in a frame, since a window of Chromium is at least 500 pixels wide.
FRAME = """<!DOCTYPE html><meta name="color-scheme" content="light dark"><body><script>
addEventListener("message", event => document.body.replaceChildren(event.data));
</script><iframe src="copy.html" style="border: 0; width: {width}px; height: 900px"></iframe>"""


def analysis():
    rng = np.random.default_rng(0)

    def boxes(count):
        corners = rng.uniform(0, 300, (count, 2))
        return np.concatenate([corners, corners + rng.uniform(5, 150, (count, 2))], 1)

    records = [
        Record(
            f"image_{index}",
            Path("a.jpg"),
            500,
            500,
            boxes(9).astype(np.float32),
            rng.integers(1, 25, 9),
            np.zeros(9, np.bool_),
            np.zeros(9, np.bool_),
        )
        for index in range(20)
    ]
    near = np.concatenate([record.boxes for record in records]).astype(float)
    labels = np.concatenate([record.labels for record in records])
    labels[::5] = 1 + labels[::5] % 24
    table = DetectionTable(np.repeat(np.arange(20), 9), labels, rng.uniform(0.1, 1, 180), near)
    judged = judge_detections(records, table)
    curve = Curve(np.linspace(0, 1, 9), np.linspace(1, 0.5, 9), 0.8)
    pictures = [
        Picture(
            f"a_long_name_of_a_picture_{width}_by_{height}",
            grey,
            [Box("cat", 1, (9, 9, 60, 60), 0.5)],
        )
        for width, height in ((640, 480), (200, 300), (90, 600))
        for grey in [np.full((height, width, 3), 120, np.uint8)]
    ]
    examples = [Example(picture, "wrong class: cat 0.50", "on a dog") for picture in pictures]
    return Analysis(
        classes=CLASSES,
        judged=judged,
        at=best_f1(judged),
        right_iou=0.5,
        sizes=results_by_size(judged, 0.5, "voc07", None),
        curves=dict.fromkeys(CLASSES, curve),
        pictures=pictures,
        mistakes=examples,
        misses=examples,
    )


def train_row(step):
    return {
        **{"kind": "train", "step": step, "epoch": (step - 1) // 5, "steps_per_epoch": 5},
        **{"loss": 2.5, "class_loss_sum": 70.0, "box_loss_sum": 30.0, "num_positives": 40},
        **{"num_images": 8, "lr": 1e-3, "grad_norm": 2.0, "images_per_second": 0.1},
    }


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page with everything on it, and one of a run that has only begun, by name."""
    folder = tmp_path_factory.mktemp("pages")
    full, begun = folder / "full", folder / "begun"
    for run, steps in ((full, 60), (begun, 1)):
        run.mkdir()
        rows = [train_row(step) for step in range(1, steps + 1)]
        rows += [{"kind": "eval", "step": rows[-1]["step"], "epoch": 2, "mAP": 0.5}]
        (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    evaluation = {
        "metric": "coco",
        "mAP": 0.5,
        "per_class": dict.fromkeys(CLASSES, 0.25),
        "num_ground_truth": dict.fromkeys(CLASSES, 12345),
        "data": "/a/very/long/path/to/the/data/" * 4,
        "coco": dict.fromkeys(["AP", "AP50", "AP75", *(f"x{number}" for number in range(9))], 0.5),
    }
    (full / "evaluation.json").write_text(json.dumps(evaluation))
    (full / "config.yaml").write_text("data:\n  root: " + "long" * 50)
    (full / "environment.json").write_text(json.dumps({"command": ["word" * 50]}))
    moved = "/an/old/place/of/the/data", "/another/place/of/it" * 3
    write_changes(full, [Change(31, "data.root", *moved, "2026-11-28T12:00:00+00:00")])
    write_report(full, "The loss spikes.", analysis())
    write_report(begun)
    return {"full": full / "report.html", "begun": begun / "report.html"}


def opened(page, folder, width, dark):
    """What the page measures in the browser, and what the console says."""
    text = page.read_text("utf-8")
    head = f'<head>\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    copy = folder / "copy.html"
    copy.write_text(text.replace("<head>", head).replace("</body>", MEASURE), "utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width))
    command = [
        *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
        *(f"--user-data-dir={folder}", "--window-size=1600,1000", "--hide-scrollbars"),
        *("--virtual-time-budget=5000", f"--blink-settings=preferredColorScheme={int(not dark)}"),
        *("--disable-background-networking", "--dump-dom", frame.as_uri()),
    ]
    home = os.environ | {"HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=home)
    console = re.findall(r".*CONSOLE.*", done.stderr.decode("utf-8", "replace"))
    measured = re.search(r"<body[^>]*>(.*)</body>", done.stdout.decode(), re.DOTALL)
    return json.loads(measured[1]), console


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("name", ["full", "begun"])
def test_the_page_fits_its_window_and_asks_for_nothing(pages, tmp_path, name, width, dark):
    measured, console = opened(pages[name], tmp_path, width, dark)
    assert console == []
    assert measured["requests"] == []
    assert measured["inner"] == width
    assert measured["scroll"] <= width
    assert all(len(set(heights)) == 1 for heights in measured["heights"])
    assert len(measured["charts"]) == (5 if name == "full" else 3)
    assert all(chart <= frame for chart, frame in measured["charts"])
    assert measured["letters"] >= 8  # pixels of the smallest letters of a chart
    assert measured["paper"] == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")


def test_a_request_or_an_error_would_be_seen(pages, tmp_path):
    text = pages["begun"].read_text("utf-8")
    page = tmp_path / "bad.html"
    page.write_text(text.replace("<main>", '<main><img src="http://localhost:9/a.png">'), "utf-8")
    _, console = opened(page, tmp_path, 400, dark=False)
    assert any("Content Security Policy" in line for line in console)
    page.write_text(text.replace("<main>", "<main><script>throw new Error('odd')</script>"))
    _, console = opened(page, tmp_path, 400, dark=False)
    assert any("odd" in line for line in console)
    page.write_text(text.replace("<main>", '<main><p style="width: 500px">a</p>'), "utf-8")
    measured, _ = opened(page, tmp_path, 400, dark=False)
    assert measured["scroll"] >= 500
