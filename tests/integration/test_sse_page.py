"""The kiosk's page in a real browser: what a visitor sees, and what the browser asks for."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import cv2
import numpy as np
import pytest
from chromium import CHROMIUM, Browser

from edge_fer.records import Record
from edge_fer.sinks.sse import SseWriter

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")

LABELS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
TEXTS = {
    "operator": "City <Museum>",
    "purpose": "Counting how visitors like the exhibition",
    "notice": "A camera here reads facial expressions. Ask the desk if you do not want this.",
}
RUNNING = {"state": "running", "camera": {"state": "streaming"}}
AWAY = {"state": "camera_away", "camera": {"state": "away"}}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def writer() -> Iterator[SseWriter]:
    with closing(SseWriter("sse://127.0.0.1:0", device="Lobby", texts=TEXTS)) as opened:
        opened.watch(lambda: RUNNING)
        yield opened


def face(label: str, p: float, size: float = 100.0, reason: str | None = None) -> dict[str, Any]:
    top = label if label in LABELS else "neutral"
    return {
        "box": [0, 0, size, size],
        "expression": label,
        "reason": reason,
        "probabilities": {k: p if k == top else round((1 - p) / 7, 3) for k in LABELS},
    }


def record(seq: int, *faces: dict[str, Any]) -> Record:
    return Record.of({"schema": "edge-fer/observation/1", "seq": seq, "faces": list(faces)})


def show(browser: Browser, writer: SseWriter, *, width: int = 1280, height: int = 720) -> None:
    browser.open(f"http://127.0.0.1:{writer.port}/", width=width, height=height)


def shown(browser: Browser, label: str) -> None:
    browser.wait_for(f"document.querySelector('#label')?.textContent === {label!r}")


def detail(browser: Browser) -> str:
    text: str = browser.evaluate("document.querySelector('#detail').textContent")
    return text


def bars(browser: Browser) -> dict[str, str]:
    found: dict[str, str] = browser.evaluate(
        "Object.fromEntries([...document.querySelectorAll('#bars:not([hidden]) li')]"
        ".map(row => [row.firstChild.textContent, row.lastChild.textContent]))"
    )
    return found


def seen_text(browser: Browser) -> str:
    text: str = browser.evaluate("document.body.innerText")
    return text


def picture(browser: Browser) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(browser.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def test_a_happy_face_its_probabilities_and_the_texts(browser: Browser, writer: SseWriter) -> None:
    browser.requests.clear()
    writer.write([record(1, face("happiness", 0.87))])
    show(browser, writer)
    shown(browser, "Happiness")
    assert detail(browser) == "87% · 1 face"
    assert list(bars(browser)) == [label.capitalize() for label in LABELS]
    assert bars(browser)["Happiness"] == "87%"
    assert bars(browser)["Fear"] == "2%"
    text = seen_text(browser)
    for words in (*TEXTS.values(), "Lobby", "not a feeling"):
        assert words in text
    assert browser.evaluate("document.querySelector('#spoken').textContent") == "Happiness"
    # The bar is drawn as long as it says: orange from the left for 87 % of its track.
    browser.wait_for("document.getAnimations().length === 0")
    left, right, y = browser.evaluate(
        "(() => { const r = document.querySelector('.top .track').getBoundingClientRect();"
        " return [r.left, r.right, (r.top + r.bottom) / 2].map(Math.round); })()"
    )
    row = picture(browser)[y, left:right].astype(int)
    orange = (row[:, 2] - row[:, 0]) > 80
    assert abs(orange.mean() - 0.87) < 0.05
    # Nothing was asked of anybody but us.
    ours = f"http://127.0.0.1:{writer.port}/"
    assert browser.requests
    assert {r.removeprefix(ours) for r in browser.requests} <= {"", "events", "health"}


def test_it_follows_unknown_several_faces_nobody_and_counts(
    browser: Browser, writer: SseWriter
) -> None:
    writer.write([record(1, face("unknown", 0.31, reason="dark"))])
    show(browser, writer)
    shown(browser, "Not sure")
    assert detail(browser) == "It is too dark · 1 face"
    writer.write([record(2, face("anger", 0.6, 50.0), face("surprise", 0.7, 90.0))])
    shown(browser, "Surprise")
    assert detail(browser) == "70% · 2 faces, nearest shown"
    writer.write([record(3)])
    shown(browser, "Nobody in view")
    assert bars(browser) == {}
    counts = {"schema": "edge-fer/aggregate/1", "seq": 4, "faces": 8}
    writer.write([Record.of({**counts, "expressions": {"anger": 6, "neutral": 2}})])
    shown(browser, "Anger")
    assert bars(browser) == {"Anger": "75%", "Neutral": "25%"}
    assert TEXTS["notice"] in seen_text(browser)


def test_a_camera_that_is_away_is_said_and_a_face_after_it_is_back(
    browser: Browser, writer: SseWriter
) -> None:
    writer.write([record(1, face("happiness", 0.9))])
    writer.watch(lambda: AWAY)
    show(browser, writer)
    shown(browser, "No camera")
    assert bars(browser) == {}
    assert TEXTS["notice"] in seen_text(browser)
    writer.watch(lambda: RUNNING)
    shown(browser, "Happiness")


def test_it_comes_back_by_itself_after_a_restart(browser: Browser) -> None:
    with closing(SseWriter("sse://127.0.0.1:0", texts=TEXTS)) as first:
        first.write([record(900, face("happiness", 0.9))])
        show(browser, first)
        shown(browser, "Happiness")
        address = f"sse://127.0.0.1:{first.port}"
    shown(browser, "No connection")
    assert TEXTS["notice"] in seen_text(browser)
    with closing(SseWriter(address, texts=TEXTS)) as second:
        second.write([record(0, face("sadness", 0.9))])
        shown(browser, "Sadness")


@pytest.mark.parametrize(("width", "height"), [(320, 568), (800, 480), (1080, 1920), (1920, 1080)])
def test_it_fits_the_screen_with_the_notice_in_view(
    browser: Browser, writer: SseWriter, width: int, height: int
) -> None:
    writer.write([record(1, face("happiness", 0.9), face("anger", 0.5, 20.0))])
    show(browser, writer, width=width, height=height)
    shown(browser, "Happiness")
    wide, lowest, large, clipped = browser.evaluate(
        "[document.documentElement.scrollWidth,"
        " document.querySelector('footer').getBoundingClientRect().bottom,"
        " parseFloat(getComputedStyle(document.querySelector('#label')).fontSize),"
        " [...document.querySelectorAll('#bars li span')].some(e => e.scrollHeight > 3.2 *"
        " parseFloat(getComputedStyle(e).fontSize))]"
    )
    assert wide == width
    assert lowest <= height
    assert large >= max(26, min(width, height) / 16)
    assert not clipped


def test_dark_and_light_differ_and_both_can_be_read(browser: Browser, writer: SseWriter) -> None:
    writer.write([record(1, face("happiness", 0.9))])
    address = f"http://127.0.0.1:{writer.port}/"
    for dark in (False, True):
        browser.open(address, width=800, height=480, dark=dark)
        shown(browser, "Happiness")
        ground = picture(browser)[5, 400].mean()
        assert (ground < 60) if dark else (ground > 200)
        for name in ("#label", "#detail", "#notice", ".fine", "#bars li:last-child"):
            assert contrast(browser, name) >= 4.5, (dark, name)


def contrast(browser: Browser, selector: str) -> float:
    """WCAG 2's contrast ratio of an element's text and what lies behind it."""
    colours = browser.evaluate(
        f"(() => {{ let e = document.querySelector({selector!r}); const ink ="
        " getComputedStyle(e).color; let ground; do { ground ="
        " getComputedStyle(e).backgroundColor; e = e.parentElement; }"
        " while (ground === 'rgba(0, 0, 0, 0)'); return [ink, ground]; })()"
    )
    light, dark = sorted((luminance(c) for c in colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(v) / 255 for v in colour.removeprefix("rgb(").rstrip(")").split(",")]
    r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
