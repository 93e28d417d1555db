"""Weak choices are refused unless they are said twice; default passwords are recognised."""

from __future__ import annotations

from typing import Any

import pytest

from edge_fer_firmware.judging import WORDS, judge
from edge_fer_firmware.passwords import CRYPT, guessed, is_hash, weak_scheme
from edge_fer_firmware.settings import CardSettings

TOLD = {
    "operator": "Museum, museum@example.org",
    "purpose": "Counts smiles in the hall",
    "area": "exhibition",
    "notice": {"en": "A camera counts smiles."},
}
# openssl passwd -6 -salt abcdefgh raspberry
RASPBERRY = (
    "$6$abcdefgh$"
    "4o4.L3tiGL1RD7BsjaaWYcCVs87zOlvZK7S6SXQETuFMA2ELLDwmf3YDHidZ3I4E/fXmmOOWhAJHUSMf.eA6c1"
)


def crypt(word: str, setting: str) -> str:
    return RASPBERRY if word == "raspberry" else "$6$abcdefgh$other"


def settings(**changes: Any) -> CardSettings:
    return CardSettings(**{"board": "pi4", "system": "trixie", "deployment": TOLD, **changes})


def problems(card: CardSettings, **options: Any) -> list[str]:
    return [f.message for f in judge(card, crypt=crypt, **options) if f.state == "problem"]


def test_the_defaults_are_no_weak_choice() -> None:
    assert judge(settings(), crypt=crypt) == []


WEAK: dict[str, dict[str, Any]] = {
    "ssh-password": {
        "network": {"ssh": True, "ssh_password": True},
        "user": {"password_hash": "$6$abcdefgh$strongstrong"},
    },
    "default-password": {"user": {"password_hash": RASPBERRY}},
    "plain-mqtt": {"run": {"source": "synthetic", "sinks": ["mqtt://broker.example.com/t"]}},
    "open-wifi": {"network": {"wifi": {"ssid": "museum", "country": "DE"}}},
    "workplace": {"deployment": {**TOLD, "area": "workplace"}},
    "education": {"deployment": {**TOLD, "purpose": "Tells whether pupils follow the lesson"}},
}


@pytest.mark.parametrize("word", WEAK)
def test_a_weak_choice_must_be_said_twice(word: str) -> None:
    (found,) = judge(settings(**WEAK[word]), crypt=crypt)
    assert found.keys
    assert (found.state, f'accept = ["{word}"]' in found.remedy) == ("problem", True)
    (found,) = judge(settings(**WEAK[word], accept=[word]), crypt=crypt)
    assert found.state == "warning"


def test_every_word_can_be_needed() -> None:
    assert set(WORDS) == {*WEAK, "passwordless-sudo"}  # that one is only seen in files


def test_a_misspelt_word_allows_nothing() -> None:
    card = settings(**WEAK["plain-mqtt"], accept=["plain-mqt"])
    first, second = judge(card, crypt=crypt)
    assert (first.remedy, second.state) == ("Did you mean plain-mqtt?", "problem")


@pytest.mark.parametrize("key", ["operator", "purpose", "notice"])
@pytest.mark.parametrize("blank", [True, False])
def test_people_must_be_told(key: str, blank: bool) -> None:
    empty: Any = "  " if blank else ""
    told = {**TOLD, key: {"en": empty} if key == "notice" else empty}
    (message,) = problems(settings(deployment=told, accept=list(WORDS)))
    assert f"no {key}" in message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Watches employees at the till", "workplace"),
        ("Helps our staff", "workplace"),
        ("Beobachtet Mitarbeiterinnen", "workplace"),
        ("Grades students in exams", "education"),
        ("Zählt Schüler im Unterricht", "education"),
    ],
)
def test_words_that_speak_of_work_or_school(text: str, word: str) -> None:
    (found,) = judge(settings(deployment={**TOLD, "purpose": text}), crypt=crypt)
    assert f'"{word}"' in found.remedy
    assert "Article 5(1)(f)" in found.message


@pytest.mark.parametrize(
    "text",
    [
        "Counts smiles of visitors",
        "Working hours: the hall's light",
        "Aucune donnée à caractère personnel n'est gardée",
    ],
)
def test_words_that_do_not(text: str) -> None:
    assert judge(settings(deployment={**TOLD, "purpose": text}), crypt=crypt) == []


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("192.168.1.4", True),
        ("10.0.0.1:1884", True),
        ("[fd00::1]", True),
        ("localhost", True),
        ("broker", True),
        ("broker.local", True),
        ("8.8.8.8", False),
        ("[2001:4860:4860::8888]", False),
        ("broker.example.com", False),
    ],
)
def test_addresses_that_are_private(host: str, near: bool) -> None:
    run = {"source": "synthetic", "sinks": [f"mqtt://{host}/t"]}
    assert (problems(settings(run=run)) == []) is near
    tls = {"source": "synthetic", "sinks": [f"mqtts://{host}/t"]}
    assert problems(settings(run=tls)) == []


@pytest.mark.parametrize("sink", ["sse://0.0.0.0:8080", "sse://192.168.1.2:8080"])
def test_a_page_is_for_this_machine_alone(sink: str) -> None:
    (message,) = problems(settings(run={"source": "synthetic", "sinks": [sink]}))
    assert "to a network" in message


def test_a_password_in_an_address_is_not_repeated() -> None:
    run = {"source": "synthetic", "sinks": ["mqtts://edge:sesame@broker.local/t"]}
    (found,) = judge(settings(run=run), crypt=crypt)
    assert "password in its address" in found.message
    assert "sesame" not in f"{found}"


@pytest.mark.parametrize(
    "sink", ["jsonl:/var/lib/edge-fer/a.jsonl", "sqlite:a.db", "mqtts://broker.local/t"]
)
def test_nothing_is_kept_on_an_overlay(sink: str) -> None:
    run = {"source": "synthetic", "sinks": [sink]}
    (message,) = problems(settings(run=run, storage="overlay"))
    assert "an overlay" in message
    assert problems(settings(run=run)) == []


def test_what_writes_nothing_may_run_on_an_overlay() -> None:
    run = {"source": "synthetic", "sinks": ["jsonl:-", "stdout", "sse://127.0.0.1:8080"]}
    assert problems(settings(run=run, storage="overlay")) == []


def test_models_cannot_be_replaced_on_an_overlay() -> None:
    (message,) = problems(settings(storage="overlay", model_updates=True))
    assert "model_updates" in message


def test_ssh_that_nobody_can_use() -> None:
    (message,) = problems(settings(network={"ssh": True}))
    assert "nobody can log in" in message


@pytest.mark.parametrize("hashed", ["raspberry", "sesame and more"])
def test_a_password_that_is_no_hash(hashed: str) -> None:
    (found,) = judge(settings(user={"password_hash": hashed}), crypt=crypt)
    assert "plain text" in found.message
    assert hashed not in f"{found}"


def test_secrets_that_are_elsewhere_are_not_judged() -> None:
    assert judge(settings(**WEAK["open-wifi"]), secrets=False, crypt=crypt) == []


def test_without_libcrypt_it_says_so() -> None:
    (found,) = judge(settings(user={"password_hash": RASPBERRY}), crypt=None)
    assert found.state == "skipped"


def test_schemes() -> None:
    assert is_hash(RASPBERRY)
    assert not is_hash("$6$")
    assert (weak_scheme("$1$abc$def"), weak_scheme(RASPBERRY)) == ("MD5", "")


def test_a_scheme_that_libcrypt_does_not_know_is_skipped() -> None:
    card = settings(user={"password_hash": RASPBERRY})
    (found,) = judge(card, crypt=lambda word, setting: "*0")
    assert (found.state, "does not know" in found.message) == ("skipped", True)


def test_a_hash_that_takes_minutes_is_not_tried() -> None:
    with pytest.raises(ValueError, match="999999999 rounds"):
        guessed("$6$rounds=999999999$abcdefgh$x", crypt)


@pytest.mark.skipif(CRYPT is None, reason="this machine has no libcrypt")
def test_the_real_libcrypt() -> None:
    assert CRYPT is not None
    assert guessed(RASPBERRY, CRYPT) == "raspberry"
    other = CRYPT("a long and strange one", "$6$abcdefgh$")
    assert other is not None
    assert guessed(other, CRYPT) is None
    assert guessed(other, CRYPT, also=["a long and strange one"]) == "a long and strange one"


def test_each_judgement_names_its_setting() -> None:
    card = settings(
        accept=["nonsense"],
        storage="overlay",
        model_updates=True,
        network={"ssh": True},
        user={"password_hash": RASPBERRY},
        deployment={**TOLD, "operator": "", "notice": {"en": "For pupils"}},
        run={"source": "synthetic", "sinks": ["sqlite:a", "sse://0.0.0.0:1"]},
    )
    assert {".".join(found.keys) for found in judge(card, crypt=crypt)} == {
        "accept",
        "deployment.operator",
        "deployment.notice",
        "network.ssh",
        "user.password_hash",
        "run.sinks",
        "model_updates",
    }


@pytest.mark.parametrize(
    ("board", "changes", "keys"),
    [
        ("zero2w", {"service": {"memory_max_mb": 410}}, [("service", "memory_max_mb")]),
        ("zero2w", {"service": {"memory_max_mb": 409}}, []),
        ("zero2w", {"kiosk": {"enabled": True}}, [("kiosk", "enabled")]),
        ("pi3", {"kiosk": {"enabled": True}}, []),
        ("pi3", {"service": {"memory_max_mb": 8000}}, [("service", "memory_max_mb")]),
        ("unknown", {"service": {"memory_max_mb": 8000}}, []),
    ],
)
def test_memory_that_a_board_may_not_have(
    board: str, changes: dict[str, Any], keys: list[tuple[str, ...]]
) -> None:
    found = judge(settings(board=board, **changes), crypt=crypt)
    assert [f.keys for f in found] == keys
    assert all(f.state == "warning" and f.remedy for f in found)
