import pytest
from card_plans import plan

from edge_fer.errors import ConfigError
from edge_fer_firmware.boot.config_txt import BEGIN, END, lines, merge, settings

# RPi-Distro/pi-gen, stage1/00-boot-files/files/config.txt, arm64, shortened.
STOCK = """\
# For more options and information see
# http://rptl.io/configtxt

#dtparam=i2c_arm=on
dtparam=audio=on
camera_auto_detect=1
display_auto_detect=1
auto_initramfs=1
dtoverlay=vc4-kms-v3d
max_framebuffers=2
arm_64bit=1

[cm4]
otg_mode=1

[cm5]
dtoverlay=dwc2,dr_mode=host

[pi5]
dtoverlay=nospi10
"""
OURS = ("dtparam=watchdog=on", "camera_auto_detect=1")


def block(*rows: str, end: str = "\n") -> str:
    return "".join(row + end for row in (BEGIN, "[all]", *rows, END))


def test_a_block_is_added_after_an_explicit_all() -> None:
    assert merge(STOCK, OURS) == STOCK + block(*OURS)
    assert merge("", OURS) == block(*OURS)


def test_our_lines_hold_for_every_board_whatever_filter_came_last() -> None:
    merged = merge(STOCK, OURS)
    found = [s for s in settings(merged.splitlines()) if s.key == "dtparam=watchdog"]
    assert [s.filters for s in found] == [()]
    # Without the [all] they would not.
    bare = STOCK + "dtparam=watchdog=on\n"
    assert [s.filters for s in settings(bare.splitlines()) if s.key == "dtparam=watchdog"] == [
        ("[pi5]",)
    ]


@pytest.mark.parametrize("text", [STOCK, "", "a=1", "[pi4]\r\na=1\r\n", "\n\n", "[none]\n"])
def test_twice_is_once(text: str) -> None:
    once = merge(text, OURS)
    assert merge(once, OURS) == once
    assert once.startswith(text)


def test_an_old_block_is_replaced_where_it_stands() -> None:
    after = "\n[pi4]\narm_boost=1\n"
    changed = merge(STOCK + block("dtparam=watchdog=on", "old=1") + after, OURS)
    assert changed == STOCK + block(*OURS) + after
    assert merge(changed, OURS) == changed


def test_line_ends_and_odd_bytes_of_the_users_stay() -> None:
    text = "# Gr\udcfc\udcdfe\x0c\r\n[pi4]\r\narm_boost=1"
    merged = merge(text, OURS)
    assert merged == text + "\r\n" + block(*OURS, end="\r\n")
    assert merge(merged, OURS) == merged


@pytest.mark.parametrize(
    ("theirs", "where"),
    [
        ("dtparam=watchdog=off\n", ":1"),
        ("\n# why\n  dtparam=watchdog=off\n", ":3"),
        ("[pi4]\ndtparam=watchdog=off\n", ":2"),
        ("dtparam=audio=on\ndtparam=i2c=on,watchdog=off\n", ":2"),
        (block("dtparam=watchdog=on") + "dtparam=watchdog=off\n", ":5"),
        ("a=1\n" + block("dtparam=watchdog=off", "b=2") + "c=3\ndtparam=watchdog=off\n", ":8"),
    ],
)
def test_a_setting_that_contradicts_ours_is_named_with_its_line(theirs: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        merge(theirs, OURS, name="/media/bootfs/config.txt")
    assert caught.value.message.startswith(f"/media/bootfs/config.txt{where}: ")
    assert caught.value.remedy


def test_a_kernel_beside_ours_is_refused_with_its_filter() -> None:
    with pytest.raises(ConfigError, match=r"config.txt:2: 'kernel=mine.img' under \[pi5\]"):
        merge("[pi5]\nkernel=mine.img\n", ["kernel=kernel8.img"])
    assert "kernel8" in merge("[pi5]\nkernel=kernel8.img\n", ["kernel=kernel8.img"])


@pytest.mark.parametrize(
    "theirs",
    [
        "#dtparam=watchdog=off\n",
        "[none]\ndtparam=watchdog=off\n",
        "camera_auto_detect=1\n",
        "dtoverlay=imx219\ndtparam=audio=off\ninclude more.txt\n",
    ],
)
def test_what_does_not_contradict_stays(theirs: str) -> None:
    assert merge(theirs, OURS).startswith(theirs)


@pytest.mark.parametrize("where", ["", "[pi4]\n"])
def test_a_camera_that_the_user_set_up_by_hand_stays_so(where: str) -> None:
    theirs = f"{where}camera_auto_detect=0\ndtoverlay=imx519\n"
    merged = merge(theirs, OURS)
    assert merged == theirs + block("dtparam=watchdog=on")
    assert merge(merged, OURS) == merged
    # In a block of ours it is not the user's.
    assert merge(block("camera_auto_detect=0"), OURS) == block(*OURS)


def test_an_overlay_is_not_loaded_twice_but_under_a_filter_it_does_not_count() -> None:
    overlay = "dtoverlay=vc4-kms-v3d"
    assert merge(STOCK, [overlay]).count(overlay) == 1
    filtered = f"[pi4]\n{overlay}\n"
    assert merge(filtered, [overlay]).count(overlay) == 2
    once = merge(STOCK, [*OURS, overlay])
    assert merge(once, [*OURS, overlay]) == once


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{BEGIN}\na=1\n", 1),
        (f"a=1\n{END}\n", 2),
        (f"{END}\na=1\n{BEGIN}\n", 3),
        (block("a=1") + block("a=1"), 8),
    ],
)
def test_half_a_block_is_refused(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=f"config.txt:{line}: "):
        merge(text, OURS)


@pytest.mark.parametrize("line", ["a=" + "x" * 97, "", "a=1\nb=2", "[pi4]", "a=ü", " a=1", "#a"])
def test_a_line_that_the_firmware_would_not_read_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="98 ASCII"):
        merge(STOCK, [line])
    assert merge(STOCK, ["a=" + "x" * 96])


def test_filters_of_one_kind_replace_each_other_and_of_two_kinds_hold_together() -> None:
    rows = ["[EDID=DEL-X]", "[pi4]", "a=1", "[pi5]", "b=1", "[gpio4=1]", "c=1", "[all]", "d=1"]
    assert [(s.key, s.filters, s.line) for s in settings(rows)] == [
        ("a", ("[EDID=DEL-X]", "[pi4]"), 3),
        ("b", ("[EDID=DEL-X]", "[pi5]"), 5),
        ("c", ("[EDID=DEL-X]", "[pi5]", "[gpio4=1]"), 7),
        ("d", (), 9),
    ]


def test_settings_are_read_as_they_are_written() -> None:
    rows = ["include a.txt", "initramfs x followkernel", "dtparam=i2c,spi=on", "dtoverlay=a,b=c"]
    assert [(s.key, s.value) for s in settings(rows)] == [
        ("include", "a.txt"),
        ("initramfs", "x followkernel"),
        ("dtparam=i2c", "on"),
        ("dtparam=spi", "on"),
        ("dtoverlay", "a,b=c"),
    ]


def test_a_card_asks_for_what_it_uses() -> None:
    assert lines(plan(run={"source": "/dev/video0"})) == ("dtparam=watchdog=on",)
    assert lines(plan(run={"source": "picamera2:0"})) == OURS
    kiosk = lines(plan(run={"source": "/dev/video0"}, kiosk={"enabled": True}))
    assert kiosk == ("dtparam=watchdog=on", "dtoverlay=vc4-kms-v3d")


def test_a_coral_on_pcie_has_its_whole_set() -> None:
    made = lines(plan(board="pi5-coral-pcie", run={"source": "/dev/video0"}))
    assert made == (
        "dtparam=watchdog=on",
        "kernel=kernel8.img",
        "dtparam=pciex1",
        "dtoverlay=pcie-32bit-dma-pi5",
    )
    assert merge(STOCK, made) == STOCK + block(*made)
