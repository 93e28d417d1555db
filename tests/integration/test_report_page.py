"""The report page in a real browser: what a manager opens."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from chromium import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")

BENCHMARK = [sys.executable, "-c", "from edge_fer.cli import main; main()", "benchmark"]
BLUE = (47, 111, 176)

# Every word of a picture must lie in it; a cut-off label is read as another one.
CUT_OFF = """
[...document.querySelectorAll("svg")].flatMap(svg => {
  const all = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter(t => {
    const r = t.getBoundingClientRect();
    return r.left < all.left - 1 || r.right > all.right + 1 || r.top < all.top - 1
      || r.bottom > all.bottom + 1;
  }).map(t => t.textContent);
})
"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def report(folder: Path, *words: str) -> Path:
    subprocess.run(
        [*BENCHMARK, "--seconds", "0.5", "--quiet", "--report", str(folder), *words], check=True
    )
    return folder / "report.html"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def opened(browser: Browser, page: Path, width: int = 1280, height: int = 900) -> Browser:
    browser.requests.clear()
    browser.open(page.as_uri(), width=width, height=height)
    browser.wait_for("document.readyState == 'complete' && !!document.querySelector('.verdict')")
    return browser


def test_the_verdict_is_the_first_thing_that_is_seen(browser: Browser, plain: Path) -> None:
    opened(browser, plain)
    place = browser.evaluate(
        "JSON.stringify(document.querySelector('.verdict .word').getBoundingClientRect())"
    )
    assert '"top":' in place
    assert browser.evaluate("document.querySelector('.verdict').getBoundingClientRect().top") < 150
    picture = cv2.imdecode(np.frombuffer(browser.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    shot = picture[:, :, ::-1]
    assert shot.shape == (900, 1280, 3)
    upper = shot[:250].reshape(-1, 3)
    assert int((upper == BLUE).all(axis=1).sum()) > 500  # the verdict's own colour
    assert int((shot < 100).all(axis=2).sum()) > 2000  # words


@pytest.mark.parametrize("width", [1280, 800, 390])
def test_nothing_is_cut_off_at_any_width(browser: Browser, plain: Path, width: int) -> None:
    opened(browser, plain, width=width)
    assert browser.evaluate(OVERFLOW) <= 0
    assert browser.evaluate(CUT_OFF) is not None
    assert browser.evaluate(f"JSON.stringify({CUT_OFF})") == "[]"


def test_it_asks_the_network_for_nothing(browser: Browser, plain: Path) -> None:
    opened(browser, plain)
    asked = [url for url in browser.requests if not url.startswith("data:")]
    assert asked == [plain.as_uri()]


def test_details_are_folded_and_can_be_unfolded(browser: Browser, plain: Path) -> None:
    opened(browser, plain)
    seen = "document.querySelector('details table').checkVisibility()"
    assert browser.evaluate(seen) is False
    browser.evaluate("document.querySelector('details summary').click()")
    assert browser.evaluate(seen) is True


def test_it_prints_on_a_few_pages(browser: Browser, plain: Path) -> None:
    opened(browser, plain)
    printed = base64.b64decode(browser.call("Page.printToPDF", printBackground=False)["data"])
    assert printed.startswith(b"%PDF-")
    assert 1 <= printed.count(b"/Type /Page\n") <= 6


@pytest.mark.slow
def test_with_accuracy_the_matrices_and_the_classes_are_there(
    browser: Browser, fer2013: Path, tmp_path: Path
) -> None:
    page = report(tmp_path, "--data", str(fer2013))
    opened(browser, page)
    assert browser.evaluate("document.querySelectorAll('svg .cell').length") == 2 * 64
    assert browser.evaluate(OVERFLOW) <= 0
    assert browser.evaluate(f"JSON.stringify({CUT_OFF})") == "[]"
