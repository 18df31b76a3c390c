"""Whatever the bytes of a log are, they give logs or a sentence."""

import json
import struct

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.spikes.explain import explain
from ssd.spikes.log import Log
from ssd.spikes.read import read_log, read_logs
from tests.unit.spikes.samples import READ, TEXTS, event_file, row, written

SEEDS = [
    b"Wall time,Step,Value\n" + b"".join(b"1.0,%d,%d.5\n" % (i, i % 7) for i in range(60)),
    b"epoch;batch;loss;lr\n" + b"".join(b"%d;%d;2.5;0.1\n" % (i // 6, i % 6) for i in range(60)),
    b"".join(b"%d\n" % (1 + i % 9) for i in range(60)),
    b"".join(json.dumps(row(step)).encode() + b"\n" for step in range(1, 40)),
]
SPLICES = [b"", b"\n", b",", b";", b'"', b"nan", b"1e999", b"-1", b"99999999999999999999", b"\xff"]
SPLICES += [b"{", b"}", b"[", b"#", b"epoch", b"loss", b"\r", b"\x0c", b"0x", b"null", b": 1e300"]


def mutated(rng):
    content = SEEDS[rng.integers(len(SEEDS))]
    for _ in range(int(rng.integers(1, 30))):
        start = int(rng.integers(len(content) + 1))
        end = start + int(rng.choice([0, 1, 5, 200]))
        piece = SPLICES[rng.integers(len(SPLICES))] if rng.random() < 0.9 else rng.bytes(3)
        content = content[:start] + piece + content[end:]
    return content


def log_or_sentence(path):
    try:
        return read_log(path)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("made", ["mutated", "random"])
def test_any_bytes_give_a_log_or_a_sentence(tmp_path, made):
    rng = np.random.default_rng(0)
    outcomes = {Log: 0, str: 0}
    path = tmp_path / "log.csv"
    for _ in range(300):
        content = mutated(rng) if made == "mutated" else rng.bytes(int(rng.integers(0, 300)))
        path.write_bytes(content)
        log = log_or_sentence(path)
        outcomes[type(log)] += 1
        if isinstance(log, str):
            assert "\n" not in log
            continue
        assert (np.diff(log.steps) > 0).all()
        assert all(
            len(column) == len(log.steps) == len(log.loss) for column in log.columns.values()
        )
        explain(log)
    assert outcomes[str] > 0
    assert outcomes[Log] > 100 or made == "random"


def damaged(content, rng):
    for _ in range(int(rng.integers(1, 20))):
        start = int(rng.integers(len(content) + 1))
        end = start + int(rng.choice([0, 1, 5, 200]))
        pieces = [b"", b"\n", b"-1", b"1e999", b"{", b"]", b'"', b"null", b"9" * 25, rng.bytes(3)]
        content = content[:start] + pieces[rng.integers(len(pieces))] + content[end:]
    return content


def text_of(name):
    line, places, _ = TEXTS[name]
    return "\n".join(line.format(e=e, i=i, x=1.5) for e, i in places).encode()


def event_bytes(folder):
    return event_file(folder, [("loss", 1.0, step) for step in range(20)]).read_bytes()


def logs_or_sentence(path):
    try:
        return read_logs(path)
    except UserError as refusal:
        return str(refusal)


@pytest.mark.parametrize("name", [*READ, *TEXTS, "events"])
def test_any_damage_gives_logs_or_a_sentence(tmp_path, name):
    rng = np.random.default_rng(0)
    if name == "events":
        content = event_bytes(tmp_path / "whole")
    else:
        content = READ[name][0].encode() if name in READ else text_of(name)
    path = tmp_path / "log"
    outcomes = {list: 0, str: 0}
    for _ in range(60):
        path.write_bytes(damaged(content, rng))
        logs = logs_or_sentence(path)
        outcomes[type(logs)] += 1
        if isinstance(logs, str):
            assert "\n" not in logs
            continue
        for log in logs[:3]:
            assert (np.diff(log.steps) > 0).all()
            assert all(len(values) == len(log.steps) for values in log.columns.values())
            explain(log)
    assert outcomes[list] > 0


def test_a_line_without_an_end_takes_no_time(tmp_path):
    line = "Epoch: [1]  [ 1/2]  eta: " * 200_000
    with pytest.raises(UserError):
        read_log(written(tmp_path, line))


def test_a_frame_that_claims_to_be_larger_than_the_file(tmp_path):
    content = event_bytes(tmp_path / "whole")
    content += struct.pack("<Q", 2**63) + bytes(100)
    assert len(read_log(written(tmp_path, content)).steps) == 20
