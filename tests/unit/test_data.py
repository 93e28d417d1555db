import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.errors import DataError
from edge_fer.evaluation.data import labelled, load, read, select
from edge_fer.evaluation.labels import (
    FER2013_7,
    FERPLUS8,
    canonical,
    majority,
    plurality,
    vote_distribution,
)


def faces(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 4, 4), dtype=np.uint8)


def csv_text(images: np.ndarray, emotion: list[int], usage: list[str], header: str) -> str:
    rows = [
        f"{e},{' '.join(map(str, image.ravel()))},{u}"
        for e, image, u in zip(emotion, images, usage, strict=True)
    ]
    return "\n".join([header, *rows]) + "\n"


def test_majority_by_the_published_rule() -> None:
    votes = np.array(
        [
            [6, 4, 0, 0, 0, 0, 0, 0, 0, 0],  # 6 of 10
            [5, 5, 0, 0, 0, 0, 0, 0, 0, 0],  # half is not more than half
            [4, 1, 1, 1, 1, 1, 1, 0, 0, 0],  # single votes dropped: 4 of 4
            [0, 0, 0, 0, 0, 0, 0, 0, 9, 1],  # unknown
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 9],  # not a face
            [0, 0, 0, 0, 0, 0, 0, 3, 2, 0],  # contempt, 3 of 5
            [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],  # nothing left
        ]
    )
    assert majority(votes).tolist() == [0, -1, 0, -1, -1, 7, -1]
    # To learn from, a divided crowd will do; one that mostly saw no emotion will not.
    assert plurality(votes).tolist() == [0, 0, 0, -1, -1, 7, -1]


def test_vote_distribution_drops_single_votes_and_other_columns() -> None:
    votes = np.array([[6, 2, 1, 0, 0, 0, 0, 0, 4, 0], [1, 1, 0, 0, 0, 0, 0, 0, 0, 8]])
    found = vote_distribution(votes)
    assert found[0].tolist() == pytest.approx([0.75, 0.25, 0, 0, 0, 0, 0, 0])
    assert found[1].sum() == 0
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "known"), [("Happy", "happiness"), (" ANGRY ", "anger"), ("neutral", "neutral")]
)
def test_synonyms(name: str, known: str) -> None:
    assert canonical(name) == known


def test_row_counts_of_fer2013(fer2013: Path) -> None:
    rows = read(fer2013)
    public = labelled(rows, FERPLUS8, split="PublicTest")
    assert len(public) == 3199
    assert public.copy_of_training is not None
    assert int((~public.copy_of_training).sum()) == 2948
    assert np.bincount(public.truth).tolist() == [1182, 865, 415, 351, 287, 24, 62, 13]
    assert np.array_equal(public.target.argmax(1), public.truth)
    assert len(labelled(rows, FER2013_7, split="PublicTest")) == 3589


def test_training_shares_no_picture_with_validation_or_the_test_split(fer2013: Path) -> None:
    rows = read(fer2013)

    def digests(split: str) -> list[str]:
        chosen = select(rows, split)[1].tolist()
        return [hashlib.sha256(rows.images[i].tobytes()).hexdigest() for i in chosen]

    training, validation, public = map(digests, ("Training", "validation", "PublicTest"))
    assert not set(training) & set(validation)
    assert not set(training) & set(public)
    assert all(int(d[:8], 16) % 10 == 0 for d in validation)
    assert len(training) + len(validation) > 28_000


def test_the_default_split_is_publictest(fer2013: Path) -> None:
    assert select(read(fer2013), None)[0] == "PublicTest"


@pytest.mark.parametrize("header", ["emotion,pixels,Usage", "emotion, Usage, pixels"])
def test_both_csv_forms(tmp_path: Path, header: str) -> None:
    images = faces(3)
    text = csv_text(
        images, [3, 0, 6], ["Training", "PublicTest", "PublicTest"], "emotion,pixels,Usage"
    )
    if " " in header:  # icml_face_data.csv: other order, blanks in the names
        lines = [",".join(row.split(",")[i] for i in (0, 2, 1)) for row in text.splitlines()[1:]]
        text = "\n".join([header, *lines])
    path = tmp_path / "fer.csv"
    path.write_text(text)
    found = load(path, FER2013_7, split="PublicTest")
    assert [found.labels[i] for i in found.truth] == ["anger", "neutral"]
    assert np.array_equal(found.images[0], images[1])


def test_csv_with_votes(tmp_path: Path) -> None:
    path, votes = tmp_path / "fer.csv", tmp_path / "fer2013new.csv"
    path.write_text(csv_text(faces(2), [3, 0], ["PublicTest"] * 2, "emotion,pixels,Usage"))
    votes.write_text(
        f"Usage,Image name,{','.join(FERPLUS8)},unknown,NF\n"
        "PublicTest,a.png,0,0,0,0,0,0,0,9,1,0\nPublicTest,b.png,0,0,0,0,0,0,0,0,0,10\n"
    )
    found = load(path, FERPLUS8, split="PublicTest", ferplus=votes)
    assert [found.labels[i] for i in found.truth] == ["contempt"]
    votes.write_text(votes.read_text().rsplit("\n", 2)[0])
    with pytest.raises(DataError, match="1 rows"):
        load(path, FERPLUS8, split="PublicTest", ferplus=votes)


def make_folder(root: Path, names: list[str]) -> Path:
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), faces(1, i)[0])
    return root


def test_class_folders_with_synonyms_and_a_bad_picture(tmp_path: Path) -> None:
    root = make_folder(tmp_path, ["happy/a.png", "angry/b.png", "sleepy/c.png"])
    (root / "happy" / "cut.png").write_bytes((root / "happy/a.png").read_bytes()[:30])
    rows = read(root)
    assert len(rows.skipped) == 1
    found = labelled(rows, FERPLUS8, split=None)
    assert sorted(found.labels[i] for i in found.truth) == ["anger", "happiness"]
    assert "sleepy" in found.left_out
    assert "contempt" in found.left_out
    assert found.split == "everything"


def test_split_folders_prefer_test(tmp_path: Path) -> None:
    root = make_folder(tmp_path, ["train/happy/a.png", "test/sad/b.png", "test/happy/c.png"])
    found = load(root, FERPLUS8, split=None)
    assert (found.split, len(found)) == ("test", 2)
    assert len(load(root, FERPLUS8, split="train")) == 1
    with pytest.raises(DataError, match="It has: test, train"):
        load(root, FERPLUS8, split="PublicTest")


def test_folders_can_teach(tmp_path: Path) -> None:
    """train/ is Training; without a val/ a tenth of it, by hash, is validation."""
    names = [f"train/{c}/{i}.png" for c in ("happy", "sad") for i in range(40)]
    rows = read(make_folder(tmp_path, [*names, "test/sad/x.png"]))
    training, validation = (set(select(rows, s)[1].tolist()) for s in ("Training", "validation"))
    assert not training & validation
    assert 1 <= len(validation) < 20
    # The picture of test/ is none of train/'s, so that nothing else is left out.
    assert len(training) + len(validation) == 80
    own = read(make_folder(tmp_path, ["val/sad/y.png"]))
    assert len(select(own, "validation")[1]) == 1
    assert len(select(own, "Training")[1]) >= 79


def test_data_without_splits_can_teach(tmp_path: Path) -> None:
    rows = read(
        make_folder(tmp_path, [f"{c}/{i}.png" for c in ("happy", "sad") for i in range(30)])
    )
    parts = [select(rows, s)[1].tolist() for s in ("Training", "validation")]
    assert sorted(parts[0] + parts[1]) == list(range(60))
    assert select(rows, None)[0] == "everything"


def test_colour_pictures_come_as_rgb(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 2] = 255
    cv2.imwrite(str(tmp_path / "happy" / "red.png"), red)
    assert read(tmp_path).images[0][0, 0].tolist() == [255, 0, 0]


def bad_files() -> list[pytest.param]:  # type: ignore[valid-type]
    good = csv_text(faces(2), [3, 0], ["PublicTest"] * 2, "emotion,pixels,Usage")
    return [
        pytest.param("none.csv", None, "no data", id="missing"),
        pytest.param("a.txt", b"hello", "no data set", id="another kind"),
        pytest.param(
            "a.csv", b"label,image\n1,2\n", "no column emotion, pixels, usage", id="columns"
        ),
        pytest.param("a.csv", b"", "no column", id="empty csv"),
        pytest.param("a.csv", b"emotion,pixels,Usage\n", "no rows", id="no rows"),
        pytest.param("a.csv", good[:-30].encode(), "line 3", id="cut csv"),
        pytest.param("a.csv", good.replace("3,", "9,", 1).encode(), "0 to 6", id="wrong class"),
        pytest.param("a.csv", b"\xff\xfe\x00emotion", "not a readable csv", id="not text"),
        pytest.param("a.npz", b"PK\x03\x04junk", "not a readable", id="cut npz"),
    ]


@pytest.mark.parametrize(("name", "content", "says"), bad_files())
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read(path)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"images": faces(2)}, "no array emotion"),
        ({"images": faces(2).astype(float), "emotion": [0, 1]}, "float64"),
        ({"images": faces(2), "emotion": [0]}, "for 1 labels"),
        ({"images": faces(0), "emotion": []}, "for 0 labels"),
        ({"images": np.zeros((2, 4, 4, 2), np.uint8), "emotion": [0, 1]}, "4, 4, 2"),
        ({"images": faces(2), "emotion": [0.5, 1.2]}, "float64"),
        ({"images": faces(2), "emotion": [0, 1], "usage": [0]}, "usage"),
        ({"images": faces(2), "emotion": [0, 1], "usage": [0, 9]}, "usage"),
        ({"images": faces(2), "emotion": [0, 9]}, "7 names"),
        ({"images": faces(2), "emotion": [0, 1], "ferplus": np.zeros((2, 3))}, "votes"),
    ],
)
def test_bad_npz_arrays(tmp_path: Path, arrays: dict[str, object], says: str) -> None:
    np.savez(tmp_path / "a.npz", **{k: np.asarray(v) for k, v in arrays.items()})
    with pytest.raises(DataError, match=says):
        read(tmp_path / "a.npz")


def test_an_empty_folder_and_foreign_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        read(tmp_path)
    make_folder(tmp_path, ["cat/a.png", "dog/b.png"])
    with pytest.raises(DataError, match="None of the classes"):
        load(tmp_path, FERPLUS8, split=None)


def test_rows_with_divided_votes_teach_but_are_never_scored(tmp_path: Path) -> None:
    votes = np.zeros((3, 10), np.int8)
    votes[0, 0] = 10
    votes[1, [0, 1]] = 4, 6
    votes[2, [3, 4, 8]] = 4, 3, 3
    np.savez(
        tmp_path / "r.npz", images=faces(3), emotion=np.zeros(3, np.uint8), ferplus=votes,
        usage=np.array(["PublicTest"] * 3),
    )  # fmt: skip
    rows = read(tmp_path / "r.npz")
    assert labelled(rows, FERPLUS8, split=None).truth.tolist() == [0, 1]
    every = labelled(rows, FERPLUS8, split=None, every_vote=True)
    assert every.truth.tolist() == [0, 1, 3]
    assert every.target[2].tolist() == pytest.approx([0, 0, 0, 4 / 7, 3 / 7, 0, 0, 0])


def test_some_rows_keep_everything_that_belongs_to_them(tmp_path: Path) -> None:
    votes = np.zeros((4, 10), np.int8)
    votes[[0, 1, 2, 3], [0, 1, 3, 4]] = 10
    votes[3, [0, 1, 4]] = 4, 3, 4
    np.savez(
        tmp_path / "r.npz", images=faces(4), emotion=np.zeros(4, np.uint8), ferplus=votes,
        usage=np.array(["Training"] + ["PublicTest"] * 3),
    )  # fmt: skip
    whole = labelled(read(tmp_path / "r.npz"), FERPLUS8, split="PublicTest", every_vote=True)
    some = whole.take(np.array([2, 0]))
    assert some.truth.tolist() == whole.truth[[2, 0]].tolist()
    assert (some.target == whole.target[[2, 0]]).all()
    assert (some.images[1] == whole.images[0]).all()
    assert some.rows is not None
    assert some.rows.tolist() == [3, 1]
    assert some.clear is not None
    assert some.clear.tolist() == [False, True]
    assert some.copy_of_training is not None
    assert len(some.copy_of_training) == 2


def test_an_unknown_split_is_told_of_the_ones_that_can_be_asked_for(tmp_path: Path) -> None:
    """Of 40 training rows some are ``validation``, which no row is called."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (44, 4, 4)).astype(np.uint8)
    usage = np.array(["Training"] * 40 + ["PublicTest"] * 4)
    arrays = {"images": images, "emotion": np.zeros(44, np.int64)}
    np.savez(tmp_path / "made.npz", **arrays, usage=usage)
    np.savez(tmp_path / "own.npz", **arrays, usage=np.where(usage == "PublicTest", "val", usage))
    np.savez(tmp_path / "none.npz", **arrays)
    np.savez(tmp_path / "test.npz", **arrays, usage=np.full(44, "PublicTest"))
    for name, says in (
        ("made", "It has: PublicTest, Training, validation (a share of the training rows)."),
        ("own", "It has: Training, val."),
        ("none", "leave --split out for all rows, say Training or validation"),
        ("test", "It has: PublicTest."),
    ):
        with pytest.raises(DataError, match="no rows of split 'nope'") as caught:
            load(tmp_path / f"{name}.npz", FER2013_7, split="nope")
        assert says in caught.value.remedy
    assert len(load(tmp_path / "made.npz", FER2013_7, split="validation")) > 0
    assert len(load(tmp_path / "none.npz", FER2013_7, split="validation")) > 0
