"""What a folder of wheels offers to a card, and how pip's words are shown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from tiny_wheels import make_wheel

from edge_fer.errors import ConfigError, DeviceError
from edge_fer_firmware.facts import System
from edge_fer_firmware.pip_run import pip, shown
from edge_fer_firmware.wheel_folder import offer, platform_tags
from edge_fer_firmware.wheels import download, origin

TRIXIE = {"python": "3.13", "glibc": 41}
BOOKWORM = {"python": "3.11", "glibc": 36}
SYSTEM = System(
    name="trixie",
    title="Trixie",
    sources=(),
    python="3.13",
    glibc=41,
    mechanism="cloud-init",
    boot="/boot/firmware",
)


def missing(wheels: Sequence[Path], **how: Any) -> list[str]:
    return list(offer(wheels, **how).missing)


def ask(folder: Path, system: dict[str, object], **further: object) -> list[str]:
    return missing(list(folder.iterdir()), **system, **further)  # type: ignore[arg-type]


def test_a_complete_folder_misses_nothing(tmp_path: Path) -> None:
    make_wheel(tmp_path, "edge-fer", "0.1.0", requires=["numpy>=1.26", "Rich.Text"])
    make_wheel(tmp_path, "numpy", "2.3", tag="cp313-cp313-manylinux_2_27_aarch64")
    make_wheel(tmp_path, "rich-text", requires=["deeper (>=2)"])
    make_wheel(tmp_path, "deeper", "2.0", tag="py2.py3-none-any")
    assert ask(tmp_path, TRIXIE) == []


def test_an_empty_folder_misses_edge_fer(tmp_path: Path) -> None:
    assert ask(tmp_path, TRIXIE) == ["edge-fer is missing: no wheel of it is there."]


@pytest.mark.parametrize(
    ("tag", "version", "python", "said"),
    [
        ("cp311-cp311-manylinux_2_17_aarch64", "2.3", "", "is for Python 3.11, the image has 3.13"),
        (
            "cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64",
            "2.3",
            "",
            "is for manylinux2014_x86_64, the image is 64-bit Linux on aarch64",
        ),
        ("cp313-cp313-win_amd64", "2.3", "", "is for win_amd64, the image is 64-bit Linux"),
        ("cp313-cp313-manylinux_2_42_aarch64", "2.3", "", "needs glibc 2.42, the image has 2.41"),
        ("cp313-cp313-musllinux_1_2_aarch64", "2.3", "", "is for musllinux_1_2_aarch64"),
        ("cp313-cp313t-manylinux_2_28_aarch64", "2.3", "", "another build of Python 3.13 (cp313t)"),
        ("cp314-abi3-manylinux_2_28_aarch64", "2.3", "", "is for Python 3.14"),
        ("py2-none-any", "2.3", "", "is for Python 2, the image has 3.13"),
        ("py3-none-any", "1.25", "", "is version 1.25."),
        ("py3-none-any", "2.3", ">=3.14", "declares Python >=3.14, the image has 3.13"),
        ("cp312-cp312-linux_aarch64", "1.0", "", "is version 1.0 and is for Python 3.12"),
    ],
)
def test_the_file_that_nearly_fits_is_named(
    tmp_path: Path, tag: str, version: str, python: str, said: str
) -> None:
    make_wheel(tmp_path, "edge-fer", "0.1.0", requires=["numpy>=1.26"])
    near = make_wheel(tmp_path, "numpy", version, tag=tag, python=python)
    (sentence,) = ask(tmp_path, TRIXIE)
    assert sentence.startswith(f"numpy>=1.26 (for edge-fer 0.1.0) is missing: {near.name} ")
    assert said in sentence


@pytest.mark.parametrize(
    "tag",
    [
        "cp37-abi3-manylinux_2_28_aarch64",
        "cp310-abi3-manylinux2014_aarch64",
        "cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64",
        "cp313-none-any",
        "py3-none-manylinux_2_41_aarch64",
        "cp313-cp313-linux_aarch64",
    ],
)
def test_usable_tags(tmp_path: Path, tag: str) -> None:
    make_wheel(tmp_path, "edge-fer", requires=["a"])
    make_wheel(tmp_path, "a", tag=tag)
    assert ask(tmp_path, TRIXIE) == []


def test_the_right_version_for_another_system_is_nearer_than_a_wrong_version(
    tmp_path: Path,
) -> None:
    make_wheel(tmp_path, "edge-fer", requires=["a<3"])
    make_wheel(tmp_path, "a", "9")
    make_wheel(tmp_path, "a", "2", tag="cp311-cp311-linux_aarch64")
    (sentence,) = ask(tmp_path, TRIXIE)
    assert "a-2-cp311-cp311-linux_aarch64.whl is for Python 3.11" in sentence


def test_markers_are_the_systems_not_this_machines(tmp_path: Path) -> None:
    make_wheel(
        tmp_path,
        "edge-fer",
        requires=[
            'old; python_version < "3.12"',
            'new; python_full_version >= "3.12.0"',
            'arm; platform_machine == "aarch64" and sys_platform == "linux"',
            'elsewhere; platform_machine == "x86_64" or os_name == "nt"',
        ],
    )
    names = [s.split()[0] for s in ask(tmp_path, TRIXIE)]
    assert names == ["new", "arm"]
    assert [s.split()[0] for s in ask(tmp_path, BOOKWORM)] == ["old", "arm"]


def test_extras_of_edge_fer_and_of_what_it_needs(tmp_path: Path) -> None:
    make_wheel(
        tmp_path, "edge-fer", requires=['paho-mqtt>=2.1; extra == "mqtt"', "a", "a[fast]>=1"]
    )
    make_wheel(tmp_path, "a", requires=['speed; extra == "fast"'])
    assert ask(tmp_path, TRIXIE) == ["speed (for a 1.0) is missing: no wheel of it is there."]
    with_mqtt = ask(tmp_path, TRIXIE, extras=["mqtt"])
    assert with_mqtt[0].startswith("paho-mqtt>=2.1 (for edge-fer 1.0) is missing")
    assert len(with_mqtt) == 2


def test_all_who_ask_count(tmp_path: Path) -> None:
    make_wheel(tmp_path, "edge-fer", requires=["a", "b"])
    make_wheel(tmp_path, "a", requires=["c>=1"])
    make_wheel(tmp_path, "b", requires=["c<2"])
    newer = make_wheel(tmp_path, "c", "3", requires=["only-of-three"])
    assert ask(tmp_path, TRIXIE) == [
        f"c<2,>=1 (for a 1.0, b 1.0) is missing: {newer.name} is version 3."
    ]
    older = make_wheel(tmp_path, "c", "1.5")
    assert ask(tmp_path, TRIXIE) == []  # nor is what only version 3 needs
    wheels = offer(list(tmp_path.iterdir()), **TRIXIE).wheels  # type: ignore[arg-type]
    assert older in wheels
    assert newer not in wheels


def test_wheels_that_need_each_other(tmp_path: Path) -> None:
    make_wheel(tmp_path, "edge-fer", requires=["a"])
    make_wheel(tmp_path, "a", requires=["b"])
    make_wheel(tmp_path, "b", requires=["a", "edge-fer"])
    assert ask(tmp_path, TRIXIE) == []


def test_versions_that_rule_each_other_out_end(tmp_path: Path) -> None:
    make_wheel(tmp_path, "edge-fer", requires=["a", "b"])
    make_wheel(tmp_path, "a", "2", requires=["b<2"])
    make_wheel(tmp_path, "a", "1", requires=["b>=2"])
    make_wheel(tmp_path, "b", "2", requires=["a<2"])
    assert ask(tmp_path, TRIXIE)  # a 1 and b 2 would do; no walk for ever, and no false peace


def test_constraints_of_the_system(tmp_path: Path) -> None:
    make_wheel(tmp_path, "edge-fer", requires=["numpy"])
    make_wheel(tmp_path, "numpy", "2.3")
    (sentence,) = ask(tmp_path, BOOKWORM, constraints=["numpy<2"])
    assert sentence.startswith("numpy<2 (for the system, edge-fer 1.0) is missing: numpy-2.3")
    make_wheel(tmp_path, "numpy", "1.26.4")
    assert ask(tmp_path, BOOKWORM, constraints=["numpy<2", "unused<1"]) == []


def test_the_version_of_edge_fer_counts_where_it_is_said(tmp_path: Path) -> None:
    make_wheel(tmp_path, "edge-fer", "0.1.0")
    assert ask(tmp_path, TRIXIE, version="0.1.0") == []
    (sentence,) = ask(tmp_path, TRIXIE, version="0.2.0")
    assert "edge_fer-0.1.0-py3-none-any.whl is version 0.1.0." in sentence


def test_only_what_is_needed_is_chosen_and_the_newest(tmp_path: Path) -> None:
    ours = make_wheel(tmp_path, "edge-fer", requires=["a"])
    make_wheel(tmp_path, "a", "1.9")
    newest = make_wheel(tmp_path, "a", "1.10")
    make_wheel(tmp_path, "a", "2.0", tag="cp311-cp311-linux_aarch64")
    make_wheel(tmp_path, "stray")
    found = offer(list(tmp_path.iterdir()), **TRIXIE)  # type: ignore[arg-type]
    assert found.wheels == (newest, ours)
    assert found.size == newest.stat().st_size + ours.stat().st_size


def test_of_one_version_the_best_platform_is_chosen(tmp_path: Path) -> None:
    make_wheel(tmp_path, "edge-fer", requires=["a"])
    make_wheel(tmp_path, "a")
    best = make_wheel(tmp_path, "a", tag="cp313-cp313-manylinux_2_17_aarch64")
    assert best in offer(list(tmp_path.iterdir()), **TRIXIE).wheels  # type: ignore[arg-type]


def broken(folder: Path) -> dict[str, str]:
    whole = make_wheel(folder, "cut").read_bytes()
    (folder / "cut-1.0-py3-none-any.whl").write_bytes(whole[: len(whole) // 2])
    (folder / "page-1.0-py3-none-any.whl").write_text("<!doctype html>")
    (folder / "empty-1.0-py3-none-any.whl").write_bytes(b"")
    (folder / "numpy.whl").write_bytes(whole)
    (folder / "notes.txt").write_text("to be bought: milk")
    (folder / "gone-1.0-py3-none-any.whl").mkdir()
    make_wheel(folder, "inner").rename(folder / "outer-1.0-py3-none-any.whl")
    make_wheel(folder, "garbled", requires=["a >>> 1"])
    damaged = make_wheel(folder, "damaged").read_bytes()
    (folder / "damaged-1.0-py3-none-any.whl").write_bytes(
        damaged.replace(b"Name: damaged", b"Name: dAmaged")
    )
    return {
        "cut-1.0": "is no zip archive, or only the beginning of one",
        "page-1.0": "is no zip archive",
        "empty-1.0": "is no zip archive",
        "numpy.whl": "does not have the name of a wheel",
        "notes.txt": "does not have the name of a wheel",
        "gone-1.0": "cannot be read (Is a directory)",
        "outer-1.0": "holds the metadata of 'inner'",
        "garbled-1.0": "holds a METADATA that cannot be read",
        "damaged-1.0": "is no zip archive",
    }


def test_files_that_are_no_wheels_are_named(tmp_path: Path) -> None:
    make_wheel(tmp_path, "edge-fer")
    expected = broken(tmp_path)
    sentences = ask(tmp_path, TRIXIE)
    assert len(sentences) == len(expected)
    for file, said in expected.items():
        assert [s for s in sentences if s.startswith(file) and said in s], (file, sentences)


def test_what_is_lacking_can_be_asked_for_again(tmp_path: Path) -> None:
    make_wheel(tmp_path, "edge-fer", requires=['a[x]>=1; sys_platform == "linux"', "b==2"])
    found = offer(list(tmp_path.iterdir()), **TRIXIE)  # type: ignore[arg-type]
    assert found.lacking == ("a[x]>=1", "b==2")


def test_platforms_go_down_to_manylinux2014() -> None:
    assert platform_tags(19) == [
        "manylinux_2_19_aarch64",
        "manylinux_2_18_aarch64",
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
        "linux_aarch64",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "Looking in indexes: https://me:hunter2@pypi.example/simple",
            "Looking in indexes: https://***@pypi.example/...",
        ),
        (
            "Downloading https://me:hunter2@pypi.example/t0ken/numpy-2.3-py3-none-any.whl (9 MB)",
            "Downloading numpy-2.3-py3-none-any.whl (9 MB)",
        ),
        (
            "Link requires a different Python: https://pypi.example/t0ken/simple/a/?auth=hunter2",
            "Link requires a different Python: https://pypi.example/...",
        ),
        ("WARNING: https://t0ken@pypi.example: 401", "WARNING: https://***@pypi.example: 401"),
        ("Collecting numpy>=1.26", "Collecting numpy>=1.26"),
    ],
)
def test_no_secret_of_an_index_is_shown(line: str, expected: str) -> None:
    assert shown(line) == expected


def installed_from(folder: Path, stated: object) -> Distribution:
    info = folder / "edge_fer-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: edge-fer\nVersion: 0.1.0\n")
    if stated is not None:
        (info / "direct_url.json").write_text(json.dumps(stated))
    return Distribution.at(info)


def test_our_wheel_is_made_from_where_edge_fer_came_from(tmp_path: Path) -> None:
    source = tmp_path / "a b"
    source.mkdir()
    stated = {"url": source.as_uri(), "dir_info": {"editable": True}}
    assert origin(lambda name: installed_from(tmp_path, stated)) == str(source)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (None, "edge-fer==0.1.0"),
        (
            {"url": "https://git.example/e.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "edge-fer @ git+https://git.example/e.git@abc",
        ),
        (
            {"url": "https://files.example/e.whl", "archive_info": {}},
            "edge-fer @ https://files.example/e.whl",
        ),
    ],
)
def test_our_wheel_from_an_index_or_an_address(
    tmp_path: Path, stated: object, expected: str
) -> None:
    assert origin(lambda name: installed_from(tmp_path, stated), "0.1.0") == expected


def test_a_tree_that_was_never_installed_is_asked_of_the_index() -> None:
    def none(name: str) -> Distribution:
        raise PackageNotFoundError(name)

    assert origin(none, "0.1.0") == "edge-fer==0.1.0"


def test_a_source_folder_that_went_away_is_named(tmp_path: Path) -> None:
    stated = {"url": (tmp_path / "gone").as_uri(), "dir_info": {}}
    with pytest.raises(DeviceError, match="gone, which is not there any more"):
        origin(lambda name: installed_from(tmp_path, stated))


def test_a_folder_of_other_things_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.odt").write_text("x")
    with pytest.raises(ConfigError, match=r"something else than wheels: thesis\.odt"):
        download(SYSTEM, folder=tmp_path / "out", ours="edge-fer")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is not a folder"):
        download(SYSTEM, folder=tmp_path / "file", ours="edge-fer")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "out"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DeviceError, match="could not be written: ") as caught:
        download(SYSTEM, folder=tmp_path / "file" / "wheels", ours="edge-fer")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("package", "call", "remedy"),
    [
        (
            "packaging",
            "from edge_fer_firmware.wheel_folder import offer\noffer([], python='3.13', glibc=41)",
            "pip install 'edge-fer[provision]'",
        ),
        (
            "pip",
            "from pathlib import Path\nfrom edge_fer_firmware.pip_run import pip\n"
            "pip(['list'], work=Path(), on_line=print)",
            "-m ensurepip --upgrade",
        ),
    ],
)
def test_a_package_that_is_not_installed(package: str, call: str, remedy: str) -> None:
    hidden = f"import sys\nsys.modules[{package!r}] = None\n{call}"
    command = [sys.executable, "-c", hidden]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "MissingExtra" in done.stderr
    assert remedy in done.stderr


@pytest.mark.parametrize(
    ("said", "message", "remedy"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk is full", "df -h"),
        ("WARNING: Retrying: SSLError(CERTIFICATE_VERIFY_FAILED)", "certificate", "PIP_CERT"),
        ("WARNING: 401 Error, Credentials not correct for URL", "refuses this user", "~/.netrc"),
        ("ERROR: HTTP error 403 Client Error: Forbidden", "refuses this user", "~/.netrc"),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH\nthe file do not match the hashes",
            "announces",
            "CACHE",
        ),
        ("ERROR: ResolutionImpossible: for help", "go together", "PIP_CONSTRAINT"),
        (
            "WARNING: Retrying: NewConnectionError\nERROR: No matching distribution",
            "reached",
            "PIP_N",
        ),
        ("ERROR: No matching distribution found for a==1", "no wheel that fits", "PIP_INDEX_URL"),
        ("no such option: --no-input", "too old", "--upgrade pip"),
        ("Traceback\nZeroDivisionError", "pip gave up: Traceback | ZeroDivisionError", "by itself"),
        ("", "pip gave up: it said nothing", "by itself"),
        (f"ERROR: {'x' * 500}", f"pip gave up: {'x' * 200}...", "by itself"),
    ],
)
def test_what_pip_could_not_do_is_said_with_what_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, message: str, remedy: str
) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").touch()  # without it the installed one is found first
    (tmp_path / "pip" / "__main__.py").write_text(f"print({said!r})\nraise SystemExit(1)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    lines: list[str] = []
    with pytest.raises(DeviceError) as caught:
        pip(["list"], work=tmp_path, on_line=lines.append)
    assert message in caught.value.message
    assert remedy in caught.value.remedy
    assert lines == said.splitlines()
