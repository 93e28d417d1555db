"""The notice as a printer gets it: one sheet, whatever stands on it."""

import base64
import re
from pathlib import Path

import pytest
from card_plans import DEPLOYMENT, plan
from chromium import CHROMIUM, Browser

from edge_fer_firmware import notice

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")

TEXTS = {
    "en": "A camera here reads facial expressions.",
    "de": "Hier liest eine Kamera Gesichtsausdrücke.",
    "ar": "هنا كاميرا تقرأ تعابير الوجه.",
    "ja": "ここではカメラが表情を読み取ります。",
    "fr": "Ici, une caméra lit les expressions du visage.",
    "es": "Aquí una cámara lee expresiones faciales.",
}
SINKS = {"source": "synthetic", "sinks": ["sqlite:a.db", "mqtt://10.0.0.1"]}


def test_it_prints_on_one_page(tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        for languages, times in ((1, 1), (2, 12), (3, 8), (6, 1), (6, 5)):
            told = {k: " ".join([v] * times) for k, v in list(TEXTS.items())[:languages]}
            (file,) = notice.files(plan(run=SINKS, deployment={**DEPLOYMENT, "notice": told}))
            path = tmp_path / file.path
            assert isinstance(file.content, bytes)
            path.write_bytes(file.content)
            browser.open(path.as_uri(), width=900, height=1200)
            browser.wait_for("document.readyState == 'complete' && !!document.querySelector('dl')")
            assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
            pdf = base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"])
            assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1, (languages, times)
        assert all(url.startswith("file:") for url in browser.requests)
