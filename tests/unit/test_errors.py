import pytest

from edge_fer import errors


def leaves() -> list[type[errors.EdgeFerError]]:
    return [getattr(errors, name) for name in errors.__all__]


def test_all_is_sorted_and_complete() -> None:
    assert errors.__all__ == sorted(errors.__all__)
    defined = {n for n, v in vars(errors).items() if isinstance(v, type)}
    assert defined == set(errors.__all__)


def test_code_words_are_unique_and_exit_codes_are_the_documented_ones() -> None:
    # A special case of an error may go by its parent's word.
    own = [cls for cls in leaves() if "code" in vars(cls)]
    assert set(leaves()) - set(own) == {errors.CameraAway}
    codes = {cls.code: cls.exit_code for cls in own}
    assert len(codes) == len(own)
    assert codes == {
        "internal": 70,
        "config": 2,
        "data": 2,
        "missing_extra": 3,
        "device": 4,
        "model": 5,
        "budget": 6,
        "interrupted": 7,
    }


def test_the_drawing_in_the_docstring_shows_every_class_with_its_code() -> None:
    lines = (errors.__doc__ or "").splitlines()
    for cls in leaves():
        (line,) = [text for text in lines if cls.__name__ in text.split()]
        assert f" {cls.exit_code} " in line
        if cls is not errors.EdgeFerError:
            assert f" {cls.code} " in line


def test_a_builtin_parent_catches_it_too() -> None:
    with pytest.raises(ValueError, match="no model"):
        raise errors.ModelError("no model", "make one")


def test_text_is_the_message_and_then_the_remedy() -> None:
    assert (
        str(errors.DeviceError("The disk is full.", "Make room.")) == "The disk is full. Make room."
    )
    assert str(errors.DeviceError("The disk is full.")) == "The disk is full."
