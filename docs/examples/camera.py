#!/usr/bin/env python3
"""Detects in a camera's or a video's frames with the release that is active on this board, and says how fast.

    python3 camera.py --source 0                                  a USB camera
    python3 camera.py --source csi                                a CSI camera of a Jetson
    python3 camera.py --source street.mp4 --out seen.avi          a file; boxes are drawn into another

It ends when another release becomes active, so that a service that is always restarted runs the new one. Python 3.6 and
later, with OpenCV and what the release needs: numpy, and TensorRT or onnxruntime.
"""

import argparse
import os
import sys
import time

import cv2

CSI = (
    "nvarguscamerasrc ! video/x-raw(memory:NVMM),width=1280,height=720 ! nvvidconv ! video/x-raw,format=BGRx "
    "! videoconvert ! video/x-raw,format=BGR ! appsink drop=1"
)
COLOURS = ((80, 200, 80), (80, 80, 230), (230, 160, 60), (60, 200, 230), (200, 80, 200), (180, 180, 60))
#: Seconds between two lines, and looks at which release is active.
SAID, LOOKED = 2.0, 0.5


def main():
    given = arguments()
    current = os.path.join(given.root, "current")
    release = os.path.realpath(current)
    if not os.path.isdir(release):
        sys.exit(f"no release is active in {given.root}: deliver one first")
    sys.path.insert(0, release)
    from jetlane_runtime import AgentError, Detector

    source = opened(given.source)
    try:
        more = {"collect": True} if given.collect else {}  # the detectors of older releases know nothing of it
        detector = Detector(given.root, threshold=given.threshold, **more)
    except AgentError as error:
        sys.exit(f"{error.what}: {error.why}; what to do: {error.remedy}")
    with detector:
        print(f"{detector.release}, {given.source}", flush=True)
        ended = watch(source, detector, given, lambda: os.path.realpath(current) != release)
    source.release()
    print(ended, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", default=os.path.expanduser("~/jetlane"), help="the agent's folder")
    parser.add_argument("--source", default="0", help="a camera's number, csi, a file, or a GStreamer pipeline")
    parser.add_argument("--out", help="a video (.avi) to write, with the boxes")
    parser.add_argument("--show", action="store_true", help="show a window; q closes it")
    parser.add_argument("--threshold", type=float, help="least score; default: the release's")
    parser.add_argument("--collect", action="store_true", help="keep frames to label, if the owner wants that")
    parser.add_argument("--loop", action="store_true", help="begin a file again at its end")
    return parser.parse_args()


def opened(source):
    """The camera or video."""
    if source.isdigit():
        found = cv2.VideoCapture(int(source))
    elif source == "csi" or "!" in source:
        found = cv2.VideoCapture(CSI if source == "csi" else source, cv2.CAP_GSTREAMER)
    else:
        found = cv2.VideoCapture(source)
    if not found.isOpened():
        sys.exit(f"{source} cannot be opened: is it there, and was OpenCV built for it (GStreamer)?")
    return found


def watch(source, detector, given, is_replaced):
    """Detect in frame after frame; returns why it ended."""
    writer, times, said, looked = None, [], time.monotonic(), time.monotonic()
    while True:
        there, frame = source.read()
        if not there and given.loop and source.set(cv2.CAP_PROP_POS_FRAMES, 0):
            there, frame = source.read()
        if not there:
            tell(times, said, detector.names)
            return "the source has ended"
        begun = time.monotonic()
        boxes, labels, scores = detector.detect(frame[:, :, ::-1])  # OpenCV has BGR
        now = time.monotonic()
        times.append((now - begun, labels))
        if given.out or given.show:
            draw(frame, boxes, labels, scores, detector.names)
        if given.out:
            writer = writer or written(given.out, frame, source.get(cv2.CAP_PROP_FPS))
            writer.write(frame)
        if given.show:
            cv2.imshow("jetlane", frame)
            if cv2.waitKey(1) == ord("q"):
                return "closed"
        if now - said >= SAID:
            tell(times, said, detector.names)
            times, said = [], now
        if now - looked >= LOOKED:
            looked = now
            if is_replaced():
                return "another release is active: start again to use it"


def tell(times, since, names):
    """A line: frames a second, of that the detection, and what is in the newest frame."""
    if not times:
        return
    seconds = sorted(each for each, _ in times)
    found = [names[label] for label in times[-1][1]]
    counts = ", ".join(f"{found.count(name)} {name}" for name in sorted(set(found)))
    rate = len(times) / max(time.monotonic() - since, 1e-9)
    median = 1000 * seconds[len(seconds) // 2]
    print(f"{rate:.1f} frames/s, detection {median:.1f} ms, now: {counts or 'nothing'}", flush=True)


def draw(frame, boxes, labels, scores, names):
    height, width = frame.shape[:2]
    for box, label, score in zip(boxes, labels, scores):
        left, top, right, bottom = (int(value) for value in box * (width, height, width, height))
        colour = COLOURS[int(label) % len(COLOURS)]
        cv2.rectangle(frame, (left, top), (right, bottom), colour, 2)
        text = f"{names[label]} {score:.2f}"
        cv2.putText(frame, text, (left, max(top - 4, 12)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)


def written(path, frame, rate):
    """A video file for frames of this size; Motion JPEG, which every OpenCV can write."""
    height, width = frame.shape[:2]
    return cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), rate or 25, (width, height))


if __name__ == "__main__":
    main()
