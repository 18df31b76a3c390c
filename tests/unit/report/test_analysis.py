import numpy as np

from ssd.report.analysis import MOST_CONFUSED, bars, confusion_rows


def test_bars_are_shares_of_detections_and_of_objects():
    kinds = {"right": 2, "duplicate": 1, "wrong class": 1, "poor box": 0, "background": 4}
    counts = {"cat": {**kinds, "uncounted": 9, "missed": 2}, "dog": dict.fromkeys(kinds, 0)}
    counts["dog"] |= {"uncounted": 0, "missed": 4}
    (_, detections), (_, objects) = bars(counts)
    assert [(name, n, share) for name, n, share in detections] == [
        ("right", 2, 0.25),
        ("duplicate", 1, 0.125),
        ("wrong class", 1, 0.125),
        ("poor box", 0, 0),
        ("background", 4, 0.5),
    ]
    assert objects == [("found", 2, 0.25), ("missed", 6, 0.75)]


def test_without_detections_there_is_no_bar_of_them():
    none = dict.fromkeys(("right", "duplicate", "wrong class", "poor box", "background"), 0)
    ((name, parts),) = bars({"cat": {**none, "missed": 3}})
    assert (name, parts) == ("objects", [("found", 0, 0), ("missed", 3, 1)])
    assert bars({}) == []
    assert bars({"cat": {**none, "missed": 0}}) == []


def test_of_many_classes_the_most_confused_are_shown():
    number = 40
    matrix = np.diag(np.full(number + 1, 50))
    matrix[number, number] = 0
    matrix[7, 3], matrix[30, 7], matrix[0, number] = 5, 2, 99  # a miss is no confusion
    shown = confusion_rows(matrix, [f"class {index}" for index in range(number)])
    assert len(shown["columns"]) == MOST_CONFUSED
    assert {"class 3", "class 7", "class 30"} <= set(shown["columns"])
    rows = dict(shown["rows"])
    place = shown["columns"].index("class 3")
    assert rows["class 7"][place] == (5, 5 / 55, False)
    assert rows["class 3"][place] == (50, 1.0, True)
    assert rows["class 0"][-1] == (99, 99 / 149, False)
    assert shown["rows"][-1][0] == ""
