"""V4L2 cameras on a fake driver: formats, damage, unplugging; and real nodes, names and locks."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.cameras.fake_v4l2 import FakeV4l2Device, fake_v4l2_camera, jpeg, yuyv
from edge_fer.cameras.lazy import LazyFrame
from edge_fer.cameras.orientation import Orientation
from edge_fer.cameras.v4l2_nodes import DeviceClaim, claim, find_node, video_nodes
from edge_fer.errors import ConfigError, DataError, DeviceError, EdgeFerError
from edge_fer.pictures import decode_luma, decode_picture, luma_of
from edge_fer.types import Image


def picture(number: int = 0, size: tuple[int, int] = (160, 120)) -> Image:
    """Smooth, of full contrast, without symmetry, different for every number."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(noise, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def off(a: Image | None, b: Image | None) -> float:
    """Mean difference of two pictures, in levels."""
    assert a is not None
    assert b is not None
    return float(np.abs(a.astype(float) - b).mean())


def same(a: Image | None, b: Image | None) -> bool:
    return a is not None and b is not None and np.array_equal(a, b)


# Formats


def test_small_pictures_come_as_yuyv() -> None:
    camera = fake_v4l2_camera(FakeV4l2Device([picture()]))
    assert camera.fourcc == "YUYV"
    frame = camera.read()
    # To full range, and not just every second byte: that would be 16..235.
    assert np.abs(frame.luma.astype(int) - luma_of(picture())).max() <= 1
    assert off(frame.colour, picture()) < 2
    camera.close()


@pytest.mark.parametrize(
    ("size", "fps", "expected"),
    [
        ((640, 480), 30.0, "YUYV"),
        ((640, 480), 41.0, "MJPG"),
        ((1280, 720), 30.0, "MJPG"),
        ((1280, 720), 10.0, "YUYV"),
    ],
)
def test_jpeg_where_usb_2_cannot_carry_the_rest(
    size: tuple[int, int], fps: float, expected: str
) -> None:
    device = FakeV4l2Device([picture(size=size)], fps=fps)
    with_camera = fake_v4l2_camera(device, size=size, fps=fps)
    assert with_camera.fourcc == expected
    assert with_camera.describe() == f"/dev/video0 Fake Camera: {size[0]}x{size[1]} " + (
        f"{expected} at {fps:g} frames a second"
    )
    with_camera.close()


def test_the_other_format_where_there_is_only_one() -> None:
    for only in ("YUYV", "MJPG"):
        size = (1280, 720) if only == "YUYV" else (160, 120)
        camera = fake_v4l2_camera(FakeV4l2Device([picture(size=size)], formats=(only,)), size=size)
        assert camera.fourcc == only
        assert off(camera.read().colour, picture(size=size)) < 3
        camera.close()


def test_the_other_format_where_opencv_would_take_a_third() -> None:
    device = FakeV4l2Device([picture(size=(1280, 720))], formats=("BGR3", "YUYV"))
    camera = fake_v4l2_camera(device, size=(1280, 720))
    assert camera.fourcc == "YUYV"
    camera.close()


def test_jpeg_is_decoded_as_gray_and_in_colour_when_looked_at() -> None:
    camera = fake_v4l2_camera(FakeV4l2Device([picture()]), format="mjpg")
    frame = camera.read()
    coded = jpeg(picture())
    assert same(frame.luma, decode_luma(coded.tobytes()))
    assert same(frame.colour, decode_picture(coded.tobytes()))
    camera.close()


def test_formats_that_opencv_has_to_convert() -> None:
    camera = fake_v4l2_camera(FakeV4l2Device([picture()], formats=("BGR3",)))
    frame = camera.read()
    assert same(frame.colour, picture())
    assert same(frame.luma, luma_of(picture()))
    camera.close()


def test_a_format_that_was_asked_for_and_is_not_there() -> None:
    device = FakeV4l2Device([picture()], formats=("YUYV",))
    with pytest.raises(DeviceError, match="does not offer mjpg; it gives YUYV") as caught:
        fake_v4l2_camera(device, format="mjpg")
    assert "Leave the format out" in caught.value.remedy
    assert not device.busy


def test_what_the_driver_gives_instead_is_stated() -> None:
    device = FakeV4l2Device([picture()], sizes=[(320, 240)], fps=15.0)
    camera = fake_v4l2_camera(device, size=(800, 600), fps=30.0)
    assert (camera.size, camera.fps) == ((320, 240), 15.0)
    assert camera.describe().endswith(
        "320x240 MJPG at 15 frames a second (asked for 800x600 at 30)"
    )
    assert camera.read().luma.shape == (240, 320)
    camera.close()


def test_padded_rows_are_cut() -> None:
    device = FakeV4l2Device([picture()])
    camera = fake_v4l2_camera(device)
    rows = yuyv(picture()).reshape(120, 320)
    padded = np.pad(rows, ((0, 0), (0, 64)), constant_values=255).reshape(1, -1)
    kwargs = {"t_ns": 0, "sequence": 0, "source": "test"}
    plain, cut = (camera._of_yuyv(data, kwargs) for data in (rows.reshape(1, -1), padded))
    assert same(plain.luma, cut.luma)
    assert same(plain.colour, cut.colour)
    camera.close()


@pytest.mark.parametrize("formats", [("YUYV",), ("MJPG",), ("BGR3",)])
def test_turned_once(formats: tuple[str, ...]) -> None:
    orientation = Orientation(rotate=90, mirror=True)
    plain = fake_v4l2_camera(FakeV4l2Device([picture()], formats=formats))
    turned = fake_v4l2_camera(FakeV4l2Device([picture()], formats=formats), orientation=orientation)
    a, b = plain.read(), turned.read()
    assert same(orientation.apply(a.luma), b.luma)
    assert a.colour is not None
    assert same(orientation.apply(a.colour), b.colour)
    assert b.luma.flags.c_contiguous
    plain.close()
    turned.close()


# Frames


def test_colour_is_made_once_and_only_when_looked_at() -> None:
    made = []

    def colour() -> Image:
        made.append(1)
        return picture()

    frame = LazyFrame(luma=luma_of(picture()), colour=colour, t_ns=1, sequence=2, source="test")
    assert (frame.width, frame.height, frame.t_ns, frame.sequence) == (160, 120, 1, 2)
    assert not made
    assert frame.colour is frame.colour
    assert made == [1]
    with pytest.raises(AttributeError):
        frame.t_ns = 3  # type: ignore[misc]
    assert LazyFrame(luma=frame.luma, colour=None, t_ns=1, sequence=2, source="").colour is None


def test_frames_outlive_the_next_and_the_camera() -> None:
    for formats in (("YUYV",), ("MJPG",)):
        camera = fake_v4l2_camera(FakeV4l2Device([picture(n) for n in range(3)], formats=formats))
        frames = [camera.read() for _ in range(3)]
        camera.close()
        for number, frame in enumerate(frames):
            assert off(frame.luma, luma_of(picture(number))) < 2
            assert off(frame.colour, picture(number)) < 3


def test_time_is_the_drivers_where_it_is_of_our_clock() -> None:
    now = 50_000_000_000
    # On time; of the wall clock; of a clock that began elsewhere; ahead by a little; late.
    stamps = [now - 30_000_000, 1_700_000_000_000_000_000, 17, now + 1_000_000, now - 40_000_000]
    left = iter(stamps)
    device = FakeV4l2Device([picture()] * 5, clock_ns=lambda: next(left))
    camera = fake_v4l2_camera(device, clock_ns=lambda: now)
    # The last one: never backwards.
    assert [camera.read().t_ns for _ in stamps] == [stamps[0], now, now, now, now]
    camera.close()
    old = fake_v4l2_camera(FakeV4l2Device([picture()], clock_ns=lambda: 17), clock_ns=lambda: now)
    assert old.read().t_ns == now
    old.close()


# Damage and loss


@pytest.mark.parametrize("formats", [("YUYV",), ("MJPG",)])
def test_damaged_pictures_are_said_and_counted(formats: tuple[str, ...]) -> None:
    device = FakeV4l2Device(
        [picture(n) for n in range(6)], formats=formats, corrupt=[1], empty=[3, 4]
    )
    camera = fake_v4l2_camera(device)
    frames, errors = [], []
    for _ in range(6):
        try:
            frames.append(camera.read())
        except DataError as err:
            errors.append(str(err))
    assert [frame.sequence for frame in frames] == [0, 2, 5]
    assert "Picture 1 of /dev/video0 is cut off" in errors[0]
    assert [error.partition(". ")[0].rpartition(" is ")[2] for error in errors[1:]] == ["empty"] * 2
    assert all(a.t_ns < b.t_ns for a, b in pairwise(frames))
    camera.close()


def test_jpeg_that_no_decoder_takes() -> None:
    camera = fake_v4l2_camera(FakeV4l2Device([picture()], formats=("MJPG",)))
    data = jpeg(picture())
    data[0, 2:-40] = 0x5A
    with pytest.raises(DataError, match="cannot be decoded"):
        camera._of_jpeg(data, {"t_ns": 0, "sequence": 7, "source": "test"})
    camera.close()


def test_jpeg_cut_off_and_padded() -> None:
    camera = fake_v4l2_camera(FakeV4l2Device([picture()], formats=("MJPG",)))
    data = jpeg(picture())
    data = np.pad(data[:, : data.size // 2], ((0, 0), (0, 100_000)))
    assert decode_luma(data.tobytes()) is not None  # the decoder does not mind
    with pytest.raises(DataError, match="is cut off"):
        camera._of_jpeg(data, {"t_ns": 0, "sequence": 7, "source": "test"})
    camera.close()


def test_unplugged_and_back() -> None:
    device = FakeV4l2Device([picture(n) for n in range(4)], unplug_after=2)
    camera = fake_v4l2_camera(device)
    camera.read()
    camera.read()
    for _ in range(2):
        with pytest.raises(DeviceError, match="was unplugged"):
            camera.read()
    camera.close()
    with pytest.raises(DeviceError, match="no camera"):
        fake_v4l2_camera(device)
    device.plug()
    again = fake_v4l2_camera(device)
    assert off(again.read().luma, luma_of(picture(2))) < 2
    again.close()


def test_opens_but_gives_no_picture() -> None:
    camera = fake_v4l2_camera(FakeV4l2Device([picture()], silent=True))
    with pytest.raises(DeviceError, match="opens but gives no picture") as caught:
        camera.read()
    assert "size=320x240" in caught.value.remedy
    camera.close()


def test_two_instances_on_one_camera() -> None:
    device = FakeV4l2Device([picture()] * 3)
    first = fake_v4l2_camera(device)
    with pytest.raises(DeviceError, match="in use") as caught:
        fake_v4l2_camera(device)
    assert caught.value.exit_code == 4
    assert first.read().sequence == 0
    first.close()
    first.close()
    with pytest.raises(EdgeFerError, match="closed"):
        first.read()
    second = fake_v4l2_camera(device)
    second.close()


def test_a_driver_that_does_not_open_holds_nothing() -> None:
    device = FakeV4l2Device([picture()])
    mine = device.claim("/dev/video0")
    device.unplug()
    mine.close()
    with pytest.raises(DeviceError, match="cannot be opened"):
        # Pulled out between the claim and the opening.
        fake_v4l2_camera_late(device)
    assert not device.busy


def fake_v4l2_camera_late(device: FakeV4l2Device) -> None:
    from edge_fer.cameras.fake_v4l2 import FakeClaim
    from edge_fer.cameras.v4l2 import V4l2Camera

    V4l2Camera("/dev/video0", claim=lambda _: FakeClaim(device), capture=device.capture)


# Nodes, names and locks, on real files


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Path]:
    """Adds a camera to a made-up /dev and /sys: the way the kernel and udev describe them."""

    def add(
        number: int,
        name: str,
        *,
        index: int = 0,
        serial: str = "",
        link: str = "",
        usb: bool = True,
    ) -> Path:
        stick = tmp_path / "sys/devices/usb1" / f"1-{number - index}"
        interface = stick / f"1-{number - index}:1.0"
        entry = interface / "video4linux" / f"video{number}"
        entry.mkdir(parents=True)
        (entry / "name").write_text(f"{name}\n")
        (entry / "index").write_text(f"{index}\n")
        (entry / "device").symlink_to(interface)
        if usb:
            (stick / "idVendor").write_text("046d\n")
            (stick / "idProduct").write_text("082d\n")
        if serial:
            (stick / "serial").write_text(f"{serial}\n")
        known = tmp_path / "sys/class/video4linux"
        known.mkdir(parents=True, exist_ok=True)
        (known / entry.name).symlink_to(entry)
        node = tmp_path / "dev" / f"video{number}"
        node.parent.mkdir(exist_ok=True)
        node.touch()
        if link:
            by_id = tmp_path / "dev/v4l/by-id"
            by_id.mkdir(parents=True, exist_ok=True)
            (by_id / link).symlink_to(f"../../video{number}")
        return node

    return add


def roots(tmp_path: Path) -> dict[str, Path]:
    return {"dev": tmp_path / "dev", "sysfs": tmp_path / "sys"}


def test_cameras_and_their_names(machine: Callable[..., Path], tmp_path: Path) -> None:
    machine(10, "bcm2835-codec-decode", usb=False)
    machine(2, "HD Webcam", serial="8A33", link="usb-046d_HD_Webcam_8A33-video-index0")
    machine(3, "HD Webcam", index=1, link="usb-046d_HD_Webcam_8A33-video-index1")
    nodes = video_nodes(**roots(tmp_path))
    assert [node.path.name for node in nodes] == ["video2", "video10"]
    assert (nodes[0].name, nodes[0].serial, nodes[0].usb_id) == ("HD Webcam", "8A33", "046d:082d")
    assert nodes[0].links == ("usb-046d_HD_Webcam_8A33-video-index0",)
    assert (nodes[1].serial, nodes[1].usb_id, nodes[1].links) == ("", "", ())


@pytest.mark.parametrize(
    "name",
    ["usb-046d_HD_Webcam_8A33-video-index0", "HD Webcam", "hd web", "8A33", "046d:082d", "046D_HD"],
)
def test_found_under_another_number_by_a_name_that_stays(
    name: str, machine: Callable[..., Path], tmp_path: Path
) -> None:
    link = "usb-046d_HD_Webcam_8A33-video-index0"
    machine(10, "bcm2835-codec-decode", usb=False)
    machine(0, "HD Webcam", serial="8A33", link=link)
    assert find_node(f"usb:{name}", **roots(tmp_path)).path.name == "video0"
    (tmp_path / "sys/class/video4linux/video0").unlink()
    (tmp_path / "dev/video0").unlink()
    (tmp_path / "dev/v4l/by-id" / link).unlink()
    with pytest.raises(DeviceError, match="No camera is called"):
        find_node(f"usb:{name}", **roots(tmp_path))
    machine(4, "HD Webcam", serial="8A33", link=link)
    assert find_node(f"usb:{name}", **roots(tmp_path)).path.name == "video4"


def test_a_name_that_fits_two(machine: Callable[..., Path], tmp_path: Path) -> None:
    machine(0, "HD Webcam", serial="1111", link="usb-HD_1111-video-index0")
    machine(2, "HD Webcam", serial="2222")
    with pytest.raises(ConfigError, match="fits 2 cameras") as caught:
        find_node("usb:Webcam", **roots(tmp_path))
    assert "(usb:usb-HD_1111-video-index0)" in caught.value.remedy
    assert find_node("usb:2222", **roots(tmp_path)).path.name == "video2"
    machine(4, "HD Webcam Pro", serial="22220")
    assert find_node("usb:2222", **roots(tmp_path)).path.name == "video2"
    with pytest.raises(ConfigError, match="names no camera"):
        find_node("usb:", **roots(tmp_path))


def test_no_such_camera_names_those_that_are_there(
    machine: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(DeviceError, match="There is no camera") as caught:
        claimed(tmp_path / "dev/video7", tmp_path)
    assert "No camera is there" in caught.value.remedy
    machine(0, "HD Webcam")
    machine(10, "bcm2835-codec-decode", usb=False)
    with pytest.raises(DeviceError, match="There is no camera") as caught:
        claimed(tmp_path / "dev/video7", tmp_path)
    assert "video0 HD Webcam" in caught.value.remedy
    assert "bcm2835" not in caught.value.remedy


def claimed(
    node: Path,
    folder: Path,
    *,
    opened: Callable[[Path, int], int] = os.open,
    ioctl: Callable[[int, int, bytearray], int] | None = None,
) -> DeviceClaim:
    dev, sysfs = folder / "dev", folder / "sys"
    return claim(str(node), dev=dev, sysfs=sysfs, opened=opened, ioctl=ioctl or fcntl.ioctl)


def says(capabilities: int, busy: int = 0, kinds: list[int] | None = None) -> Callable[..., int]:
    """A driver that answers VIDIOC_QUERYCAP, and VIDIOC_REQBUFS with an error or with a yes."""

    def ioctl(handle: int, request: int, data: bytearray) -> int:
        if request == 0x80685600:
            assert len(data) == 104
            # The whole stick can capture, and gives metadata; the node's own stand behind.
            struct.pack_into("=3I", data, 80, 0x060100, 0x84A00001, capabilities)
            return 0
        assert request == 0xC0145608
        count, kind, memory = struct.unpack_from("=3I", data)
        assert (count, memory, len(data)) == (0, 1, 20)
        if kinds is not None:
            kinds.append(kind)
        if busy:
            raise OSError(busy, os.strerror(busy))
        return 0

    return ioctl


def test_claimed_once_at_a_time(machine: Callable[..., Path], tmp_path: Path) -> None:
    node = machine(0, "HD Webcam")
    kinds: list[int] = []
    first = claimed(node, tmp_path, ioctl=says(0x1, kinds=kinds))
    assert (first.node.path, first.node.name, first.present()) == (node, "HD Webcam", True)
    with pytest.raises(
        DeviceError, match=rf"is in use by this process \(pid {os.getpid()}\)"
    ) as caught:
        claimed(node, tmp_path, ioctl=says(0x1))
    assert caught.value.remedy.endswith(f"fuser -v {node}")
    first.close()
    first.close()
    second = claimed(node, tmp_path, ioctl=says(0x1000, kinds=kinds))
    second.close()
    assert kinds == [1, 9]
    node.unlink()
    assert not second.present()


def test_the_process_that_has_it_is_named(machine: Callable[..., Path], tmp_path: Path) -> None:
    node = machine(0, "HD Webcam")
    program = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(node)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(DeviceError) as caught:
            claimed(node, tmp_path, ioctl=says(0x1))
        assert f"(pid {other.pid})" in caught.value.message
        other.communicate()
    claimed(node, tmp_path, ioctl=says(0x1)).close()


@pytest.mark.parametrize(
    ("capabilities", "error", "message"),
    [
        (0x1, errno.EBUSY, "in use by another process"),
        (0x1, errno.ENODEV, "is gone"),
        (0x1, errno.EIO, "cannot be opened"),
        (0x1, errno.EINVAL, "is no camera"),
        (0x00A00000, 0, "is no camera"),  # V4L2_CAP_META_CAPTURE
    ],
)
def test_what_the_driver_says(
    capabilities: int, error: int, message: str, machine: Callable[..., Path], tmp_path: Path
) -> None:
    node = machine(0, "HD Webcam")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(DeviceError, match=message) as caught:
        claimed(node, tmp_path, ioctl=says(capabilities, error))
    assert caught.value.remedy
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_is_no_camera(tmp_path: Path) -> None:
    file = tmp_path / "video0"
    file.touch()
    with pytest.raises(DeviceError, match="is no camera"):
        claimed(file, tmp_path)


def test_not_permitted(machine: Callable[..., Path], tmp_path: Path) -> None:
    node = machine(0, "HD Webcam")

    def opened(path: Path, flags: int) -> int:
        assert (path, flags & os.O_NONBLOCK) == (node, os.O_NONBLOCK)
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(DeviceError, match="may not be used") as caught:
        claimed(node, tmp_path, opened=opened)
    assert "usermod -aG video" in caught.value.remedy
