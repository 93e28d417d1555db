import json
import lzma
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from card_plans import plan

from edge_fer.errors import ConfigError
from edge_fer_firmware.boot.imager import NAME, files

# The schema's "required" of an operating system, and devices of schema-notes.md.
REQUIRED = {
    "name", "description", "icon", "url", "extract_size", "extract_sha256",
    "image_download_size", "release_date", "devices",
}  # fmt: skip
RAW = b"not really an image " * 5000


def manifest(image: Path | None = None, **settings: Any) -> dict[str, Any]:
    (file,) = files(plan(**settings), image)
    assert file.path == NAME
    assert isinstance(file.content, bytes)
    document: dict[str, Any] = json.loads(file.content)
    assert set(document) == {"imager", "os_list"}, "the schema allows nothing else"
    return document


def test_without_an_image_it_is_a_form_that_says_how_to_fill_it_in() -> None:
    (entry,) = manifest()["os_list"]
    assert set(entry) >= REQUIRED
    assert entry["url"].startswith("file:///path/to/")
    assert "sha256sum" in entry["description"]
    assert (entry["extract_size"], entry["image_download_size"]) == (0, 0)


@pytest.mark.parametrize("packed", [False, True])
def test_an_image_is_described_by_what_is_in_it(tmp_path: Path, packed: bool) -> None:
    name = "2025-12-04-raspios-trixie-arm64-lite.img" + (".xz" if packed else "")
    image = tmp_path / "with a blank" / name
    image.parent.mkdir()
    image.write_bytes(lzma.compress(RAW) if packed else RAW)
    (entry,) = manifest(image)["os_list"]
    assert set(entry) >= REQUIRED
    assert entry["url"] == image.as_uri()
    assert "with%20a%20blank" in entry["url"]
    assert entry["extract_size"] == len(RAW)
    assert entry["extract_sha256"] == sha256(RAW).hexdigest()
    assert entry["image_download_size"] == image.stat().st_size
    assert entry["release_date"] == "2025-12-04"
    assert "FILLED" not in entry["description"]


def test_an_image_without_a_date_in_its_name_has_its_own(tmp_path: Path) -> None:
    image = tmp_path / "mine.img"
    image.write_bytes(RAW)
    os.utime(image, (86400 * 365, 86400 * 365))
    (entry,) = manifest(image)["os_list"]
    assert entry["release_date"] == "1971-01-01"


@pytest.mark.parametrize(("board", "tag"), [("zero2w", "pi3-64bit"), ("pi5", "pi5-64bit")])
def test_it_is_offered_for_the_cards_board_alone(board: str, tag: str) -> None:
    document = manifest(board=board)
    (entry,), (device,) = document["os_list"], document["imager"]["devices"]
    assert entry["devices"] == device["tags"] == [tag]
    assert entry["icon"].startswith("data:image/svg+xml;base64,")


@pytest.mark.parametrize("system", ["trixie", "bookworm"])
def test_the_imager_does_not_set_up_the_first_boot_as_well(system: str) -> None:
    (entry,) = manifest(system=system)["os_list"]
    assert entry["init_format"] == "none"
    assert system in entry["name"]


def test_an_image_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        manifest(tmp_path / "missing.img")
    torn = tmp_path / "torn.img.xz"
    torn.write_bytes(lzma.compress(RAW)[:100])
    with pytest.raises(ConfigError, match=r"torn.img.xz cannot be read: .*end"):
        manifest(torn)
    torn.write_bytes(b"no xz at all")
    with pytest.raises(ConfigError, match=r"torn.img.xz cannot be read: .*format"):
        manifest(torn)
    with pytest.raises(ConfigError, match=r"no .img"):
        manifest(tmp_path / "image.zip")
