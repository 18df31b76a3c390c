"""Whole runs whose decoded images are kept: nothing comes out different."""

from compare import differences


def test_a_run_with_a_cache_is_the_same_to_the_bit(tool, small_run, tmp_path):
    cached = ("--data.cache", "host", "--data.cache_gb", "0.001", "--data.workers", "2")
    for name, flags in (("without", ()), ("with", cached)):
        done = tool("train.py", *small_run, *flags, "--training.steps", "8", "--out", name)
        assert done.returncode == 0, done.stderr
    assert "cache     host memory keeps " in done.stdout
    assert " are decoded in every epoch" in done.stdout
    assert differences(tmp_path / "without", tmp_path / "with") == []
