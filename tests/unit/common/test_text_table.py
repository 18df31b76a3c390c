from ssd.common.text_table import text_table


def test_columns_are_as_wide_as_their_widest_cell():
    rows = [("cat", "1,000"), ("a long name", "2")]
    assert text_table(("class", "n"), rows).splitlines() == [
        "class            n",
        "───────────  ─────",
        "cat          1,000",
        "a long name      2",
    ]
    assert text_table(("class", "n"), rows, ("all", "123,456")).splitlines()[-3:] == [
        "a long name        2",
        "───────────  ───────",
        "all          123,456",
    ]
    assert text_table(("class", "n"), []).splitlines() == ["class  n", "─────  ─"]
