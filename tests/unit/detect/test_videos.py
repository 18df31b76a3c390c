"""Videos, cameras and streams, through a detector that finds the same in every frame."""

import http.server
import json
import os
import socket
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.detect import videos
from tests.unit.detect.one_object import predicted

LEVELS = range(20, 220, 10)  # the gray of each frame


def frame(level, width=192, height=144):
    """Noise of this mean, which keeps a codec busy."""
    noise = np.random.default_rng(level).integers(-15, 16, (height, width, 3))
    return np.uint8(level + noise - round(noise.mean()))


def video(name, codec="mp4v", fps=10.0):
    writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, (192, 144))
    assert writer.isOpened()
    for level in LEVELS:
        writer.write(frame(level))
    writer.release()
    return Path(name)


def read(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (given := capture.read())[0]:
        frames.append(given[1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


@pytest.mark.parametrize(
    ("name", "codec"), [("clip.mp4", "mp4v"), ("clip.avi", "MJPG"), ("clip.mkv", "mp4v")]
)
def test_a_video_becomes_a_video_of_its_size_and_speed(name, codec):
    told, seen = predicted(video(name, codec))
    assert not told.is_incomplete
    assert [one[:2] for one in seen] == [
        (f"clip/{n:06}", (144, 192, 3)) for n in range(len(LEVELS))
    ]
    np.testing.assert_allclose([one[2] for one in seen], LEVELS, atol=3)
    frames, fps = read("out/clip.mp4")
    assert (len(frames), frames[0].shape, fps) == (len(LEVELS), (144, 192, 3), 10.0)
    corner = [float(each[-60:, -60:].mean()) for each in frames]  # where no object is
    # Each time OpenCV writes MPEG-4, its conversion darkens a plain frame by 3 levels.
    np.testing.assert_allclose(corner, LEVELS, atol=6.5)
    np.testing.assert_allclose(np.diff(corner), np.diff(LEVELS), atol=1.5)
    assert np.ptp(frames[0].reshape(-1, 3).astype(int), axis=0).max() > 50  # the boxes
    found = json.loads(Path("out/detections.json").read_text())
    assert {one["image_id"] for one in found} == {one[0] for one in seen}
    assert "objects of score 0.4 or more in 20 frames: drawn in out" in told.told


def test_the_size_may_change(tmp_path):
    frames = [frame(100), frame(100, 384, 288), frame(100, 30, 30)] * 4
    Path("clip.mjpeg").write_bytes(
        b"".join(cv2.imencode(".jpg", one)[1].tobytes() for one in frames)
    )
    told, seen = predicted("clip.mjpeg")
    assert (told.is_incomplete, len(seen)) == (False, 12)
    assert len(read("out/clip.mp4")[0]) == 12


def movie_first(path):
    """The file with its list of frames at the front, as phones and the web want it."""
    data, boxes, at = path.read_bytes(), {}, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        boxes[data[at + 4 : at + 8]] = data[at : at + size]
        at += size
    movie = bytearray(boxes.pop(b"moov"))
    place = movie.index(b"stco") + 8  # the offsets of the frames
    count = int.from_bytes(movie[place : place + 4], "big")
    for number in range(count):
        where = slice(place + 4 + 4 * number, place + 8 + 4 * number)
        movie[where] = (int.from_bytes(movie[where], "big") + len(movie)).to_bytes(4, "big")
    path.write_bytes(boxes.pop(b"ftyp") + movie + b"".join(boxes.values()))


@pytest.mark.parametrize("name", ["cut.mp4", "cut.avi", "cut.mkv"])
def test_of_a_video_that_is_cut_off_all_frames_that_can_be_read(name, capfd):
    path = video(name, "MJPG" if name == "cut.avi" else "mp4v")
    if name == "cut.mp4":
        movie_first(path)
        assert not predicted(path, out="before")[0].is_incomplete
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    whole = video("whole.mp4")
    told, seen = predicted(path, whole)
    assert told.is_incomplete
    count = sum(one[0].startswith("cut/") for one in seen)
    assert 4 < count < len(LEVELS)
    assert len(seen) == count + len(LEVELS)
    assert len(read("out/cut.mp4")[0]) == count
    line = f"{name}: the video is cut off, after {count} of 20 frames"
    assert told.told.splitlines()[-2:] == ["not read, or not to the end:", f"  {line}"]
    assert line in capfd.readouterr().err


def test_a_video_without_its_list_of_frames_and_a_file_that_is_none():
    path = video("cut.mp4")
    path.write_bytes(path.read_bytes()[:-300])
    Path("text.mp4").write_text("no video")
    told, seen = predicted(path, "text.mp4")
    assert (told.is_incomplete, seen) == (True, [])
    assert told.told.splitlines()[-2:] == [
        "  cut.mp4: the video is cut off, and its list of frames is lost",
        "  text.mp4: is no video that can be read",
    ]


HOSTILE = {
    "list.mp4": "ffconcat version 1.0\nfile secret.mp4\n",
    "playlist.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "playlist.ts": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://localhost/a.ts\n",
    "f%01d.mp4": "a name that FFmpeg takes for many files",
}


def opened_by_opencv(name):
    return cv2.VideoCapture(name, cv2.CAP_FFMPEG).read()[0]


def test_a_file_names_no_other_files(monkeypatch):
    monkeypatch.setenv(videos.OPTIONS, "rtsp_transport;udp")
    monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "-8")
    video("secret.mp4")
    for number in range(3):
        Path(f"f{number}.jpg").write_bytes(cv2.imencode(".jpg", frame(90))[1].tobytes())
    for name, content in HOSTILE.items():
        Path(name).write_text(content)
    assert opened_by_opencv("list.mp4")  # or else this test would show nothing
    assert opened_by_opencv("f%01d.jpg")
    told, seen = predicted(*HOSTILE)
    assert seen == []
    assert told.told.splitlines()[-4:] == [
        f"  {name}: is no video that can be read" for name in HOSTILE
    ]
    assert os.environ[videos.OPTIONS] == "rtsp_transport;udp"


def test_cameras_and_addresses_that_are_not_there(monkeypatch):
    monkeypatch.setattr(videos, "PATIENCE", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        for word, told in {
            "camera:one": "camera:one is no camera: give its number, as in camera:0",
            "camera:97": "camera:97: there is no such camera, or another program uses it",
            f"rtsp://me:secret@127.0.0.1:{port}/x": f"rtsp://127.0.0.1:{port}/x does not answer",
            "http://127.0.0.1:1/x.mp4": "http://127.0.0.1:1/x.mp4 does not answer",
            "file:///etc/hostname": "file:///etc/hostname does not answer, or sends no video",
        }.items():
            with pytest.raises(UserError, match=told) as raised:
                predicted(word)
            assert "secret" not in str(raised.value)
    assert not Path("out").exists()


@pytest.fixture
def camera():
    """The address of a camera that sends JPEGs without end, or stalls after 20 of them."""

    class Camera(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):  # the name that http.server calls
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
            self.end_headers()
            jpeg = cv2.imencode(".jpg", frame(100))[1].tobytes()
            head = b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
            sent = 0
            try:
                while not (self.path == "/stalls" and sent == 20 and ended.wait(20)):
                    self.wfile.write(head + jpeg + b"\r\n")
                    sent += 1
            except OSError:
                pass

    ended = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    ended.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stream_goes_on_until_it_is_stopped(camera):
    calls = iter(range(1000))
    told, seen = predicted(f"{camera}/live", is_stopped=lambda: next(calls) >= 30)
    assert (told.is_incomplete, len(seen)) == (False, 30)
    assert seen[0][0] == "127.0.0.1_live/000000"
    assert len(read("out/127.0.0.1_live.mp4")[0]) == 30


def test_a_stream_that_stalls_is_told(camera, monkeypatch):
    monkeypatch.setattr(videos, "PATIENCE", 0.5)
    told, seen = predicted(f"{camera}/stalls", draw=False)
    assert told.is_incomplete
    assert told.told.splitlines()[-1].endswith(f" seconds, after {len(seen)} frames")
    assert len(seen) > 10
    assert sorted(path.name for path in Path("out").iterdir()) == ["detections.json", "drawn.json"]
