"""The notice to print: true, and in every language."""

from html.parser import HTMLParser
from typing import Any

import pytest
from card_plans import DEPLOYMENT, plan

from edge_fer_firmware import notice

NOTICES = {
    "en": "A camera here reads facial expressions.",
    "de-AT": "Hier liest eine Kamera Gesichtsausdrücke.",
    "ar": "هنا كاميرا تقرأ تعابير الوجه.",
    "he": "כאן מצלמה קוראת הבעות פנים.",
    "ja": "ここではカメラが表情を読み取ります。",
    "fr": "Ici, une caméra lit les expressions du visage.",
}


def page(sinks: tuple[str, ...] = (), aggregate: str = "", **deployment: Any) -> str:
    run = {"source": "synthetic", "sinks": list(sinks), "aggregate": aggregate}
    (file,) = notice.files(plan(run=run, deployment={**DEPLOYMENT, **deployment}))
    assert file.path == "notice.html"
    assert isinstance(file.content, bytes)
    return file.content.decode()


class Reader(HTMLParser):
    """Attributes of all tags, and what tags there are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_it_says_who_what_for_and_what_it_is_not() -> None:
    text = page()
    for part in (DEPLOYMENT["operator"], DEPLOYMENT["purpose"], DEPLOYMENT["notice"]["en"]):
        assert part in text
    assert "An expression is not a feeling" in text
    assert "No picture is stored or sent." in text


@pytest.mark.parametrize(
    ("sinks", "aggregate", "stored", "sent"),
    [
        ((), "", "Nothing about you is stored", None),
        (("sse://127.0.0.1:8765", "jsonl:-"), "", "Nothing about you is stored", None),
        (("sqlite:a.db",), "", "Stored on this device: the time", None),
        (("jsonl:a.jsonl",), "1min", "Stored on this device: how many", None),
        (("mqtt://10.0.0.1",), "", "Stored on this device: the time", "operator: the time"),
        (("mqtts://h",), "1min", "Stored on this device: how many", "operator: such counts"),
    ],
)
def test_what_is_kept_and_sent_follows_from_the_sinks(
    sinks: tuple[str, ...], aggregate: str, stored: str, sent: str | None
) -> None:
    text = page(sinks, aggregate)
    assert stored in text
    assert text.count("tored on this device: ") == (0 if stored.startswith("Nothing") else 1)
    assert ("Sent to the operator" in text) is (sent is not None)
    assert sent is None or sent in text


def test_each_language_has_its_direction() -> None:
    sections = [a for tag, a in Reader(page(notice=NOTICES)).tags if tag == "section"]
    assert [(a["lang"], a["dir"]) for a in sections] == [
        ("en", "ltr"), ("de-AT", "ltr"), ("ar", "rtl"), ("he", "rtl"), ("ja", "ltr"), ("fr", "ltr"),
    ]  # fmt: skip


def test_a_language_that_we_do_not_have_takes_english_words_and_says_so() -> None:
    (part,) = notice.parts(plan(deployment={**DEPLOYMENT, "notice": {"ja": NOTICES["ja"]}}))
    assert (part.words_language, part.words_direction) == ("en", "ltr")
    (farsi,) = notice.parts(plan(deployment={**DEPLOYMENT, "notice": {"fa-IR": "x"}}))
    assert (farsi.direction, farsi.words_direction) == ("rtl", "ltr")
    (austrian,) = notice.parts(plan(deployment={**DEPLOYMENT, "notice": {"de-AT": "x"}}))
    assert austrian.words_language == "de-AT"
    assert austrian.words["purpose"] == "Zweck"


def test_every_language_has_every_word() -> None:
    words = {
        language: notice.parts(plan(deployment={**DEPLOYMENT, "notice": {language: "x"}}))[0]
        for language in ("en", "de", "fr", "es", "it", "nl", "ar", "he")
    }
    for language, part in words.items():
        assert part.words_language == language
        assert set(part.words) == set(words["en"].words)
        assert all(v for k, v in part.words.items() if k != "sent_nothing")


def test_it_is_escaped_and_fetches_nothing() -> None:
    text = page(operator="<script>alert(1)</script> & Sons", notice={'en" onload="x': "<b>Hi</b>"})
    assert "<script" not in text
    assert "&lt;b&gt;Hi&lt;/b&gt;" in text
    tags = Reader(text).tags
    assert not [a for _, a in tags if {"src", "href", "onload", "srcset"} & set(a)]
    assert "url(" not in text
    assert "@import" not in text
