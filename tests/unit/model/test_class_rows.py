import pytest
import torch

from ssd.model.class_rows import describe, has_classes, shared_rows, take_rows


def test_shared_names_are_found_wherever_they_stand():
    file_classes = ["person", "N/A", "car", "dog"]
    assert shared_rows(["dog", "tram", "person"], file_classes, 5) == {0: 0, 1: 4, 3: 1}


def test_rows_of_nobody_are_never_taken():
    assert shared_rows(["N/A", "car"], ["person", "N/A", "car"], 4) == {0: 0, 2: 3}


def test_without_a_shared_name_only_the_background_is_kept():
    assert shared_rows(["a", "b"], ["c", "d"], 3) == {0: 0}


@pytest.mark.parametrize(("rows", "kept"), [(3, {0: 0, 1: 1, 2: 2}), (4, {0: 0}), (2, {0: 0})])
def test_rows_without_names_are_taken_if_there_are_as_many(rows, kept):
    assert shared_rows(["a", "b"], None, rows) == kept


@pytest.mark.parametrize("shape", [(), (7,), (7, 3, 3)])
def test_rows_go_where_a_loop_puts_them(shape):
    num_boxes, num_classes, num_file_rows = 4, 3, 5
    given = torch.randn(num_boxes * num_file_rows, *shape)
    fresh = torch.randn(num_boxes * num_classes, *shape)
    before, rows = fresh.clone(), {0: 0, 2: 4}
    expected = fresh.clone()
    for box in range(num_boxes):
        for row, source in rows.items():
            expected[box * num_classes + row] = given[box * num_file_rows + source]
    assert torch.equal(take_rows(given, fresh, rows, num_classes), expected)
    assert torch.equal(fresh, before)


def test_only_the_outputs_of_class_predictors_have_classes():
    assert has_classes("head.logits.0.weight")
    assert has_classes("head.logits.12.3.bias")
    others = ("head.logits.0.0.weight", "head.logits.0.1.bias", "head.locations.0.weight")
    assert not any(map(has_classes, others))


def test_what_is_kept_is_told_in_a_line():
    names = [f"c{index}" for index in range(1, 9)]
    assert describe(names[:2], {0: 0, 1: 7}, by_name=True) == "classes kept: c1; fresh: c2"
    all_rows = {row: row for row in range(9)}
    told = describe(names, all_rows, by_name=False)
    assert told == "classes kept in the file's order: c1, c2, c3, c4, c5, c6 and 2 more"
    assert describe(names[:1], {0: 0}, by_name=True) == "all classes fresh: c1"
