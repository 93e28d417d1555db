"""The data partition on a real disk image, and the overlay with real mounts, where that can be."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import scratch_card

MB = 2048  # sectors
NEEDED = ("sfdisk", "partx", "blkid", "mkfs.ext4", "resize2fs", "losetup")
INIT = "usr/lib/edge-fer/overlay-init"
TOOLS = (
    "sh",
    "mount",
    "umount",
    "mkdir",
    "pivot_root",
    "chroot",
    "cat",
    "grep",
    "mountpoint",
    "ls",
)
FOLDERS = (
    *("proc", "sys", "dev", "run", "etc", "sbin", "old", "usr/bin", "boot/firmware"),
    *("usr/lib/edge-fer/overlay", "usr/lib/edge-fer/lower"),
)


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, check=False, env=env, timeout=60
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def script(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.write_text(scratch_card.root_text(scratch_card.plan(), f"/usr/lib/edge-fer/{name}"))
    path.chmod(0o755)
    return path


class Disk:
    """A card as the image of Raspberry Pi OS leaves it, on a loop device."""

    def __init__(self, folder: Path, size_mb: int = 600, root_mb: int = 64) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root makes loop devices")
        for tool in NEEDED:
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not installed: apt install fdisk e2fsprogs util-linux")
        self.folder, image = folder, folder / "card.img"
        with image.open("wb") as file:
            file.truncate(size_mb * 1024 * 1024)
        table = (
            f"label: dos\nstart=8192, size={8 * MB}, type=c\n"
            f"start={16 * MB}, size={root_mb * MB}, type=83\n"
        )
        subprocess.run(["sfdisk", "-q", image], input=table, text=True, check=True)
        made = subprocess.run(
            ["losetup", "--find", "--show", "--partscan", image],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"no loop device here: {made.stderr.strip()}")
        self.device = made.stdout.strip()
        # Where the kernel knows no partition tables; where it does, they are there already.
        subprocess.run(["partx", "--add", self.device], capture_output=True, check=False)
        if not Path(self.part(2)).exists():
            self.close()
            pytest.skip("this kernel shows no partitions of loop devices")
        run("mkfs.ext4", "-q", "-L", "rootfs", self.part(2))

    def part(self, number: int) -> str:
        return f"{self.device}p{number}"

    def prepare(self, root_gb: str = "0") -> subprocess.CompletedProcess[str]:
        card = script(self.folder, "prepare-storage")
        return subprocess.run(
            ["sh", card],
            env={
                "PATH": os.environ["PATH"], "EDGE_FER_DISK": self.device,
                "EDGE_FER_ROOT_DEVICE": self.part(2), "EDGE_FER_ROOT_GB": root_gb,
            },
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def table(self) -> str:
        return run("sfdisk", "--dump", self.device)

    def tag(self, number: int, tag: str) -> str:
        return run("blkid", "-p", "-s", tag, "-o", "value", self.part(number)).strip()

    def close(self) -> None:
        subprocess.run(["partx", "--delete", self.device], check=False, capture_output=True)
        subprocess.run(["losetup", "--detach", self.device], check=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.close()


def test_data_partition_is_made_from_the_rest_and_only_once(disk: Disk) -> None:
    done = disk.prepare()
    assert done.returncode == 0, done.stderr
    assert (disk.tag(3, "LABEL"), disk.tag(3, "TYPE")) == ("edge-fer-data", "ext4")
    assert int(run("blockdev", "--getsz", disk.part(3))) > 500 * MB
    table, uuid = disk.table(), disk.tag(3, "UUID")
    again = disk.prepare()
    assert again.returncode == 0, again.stderr
    assert (disk.table(), disk.tag(3, "UUID")) == (table, uuid)


def test_root_grows_as_far_as_it_may(tmp_path: Path) -> None:
    disk = Disk(tmp_path, size_mb=1500)
    try:
        root = tmp_path / "mounted"
        root.mkdir()
        run("mount", disk.part(2), root)  # as on a card that runs
        try:
            done = disk.prepare(root_gb="1")
        finally:
            run("umount", root)
        if "Permission denied to resize" in done.stderr:
            # Containers lack CAP_SYS_RESOURCE, which growing a mounted file system takes; the
            # partition has its size by then, and the second run goes on from there.
            done = disk.prepare(root_gb="1")
        assert done.returncode == 0, done.stderr
        assert int(run("blockdev", "--getsz", disk.part(2))) == 1024 * MB
        assert disk.tag(3, "LABEL") == "edge-fer-data"
        blocks = next(
            line for line in run("dumpe2fs", "-h", disk.part(2)).splitlines()
            if line.startswith("Block count")
        )  # fmt: skip
        size = int(blocks.split()[-1])
        assert size in (1024 * 1024, 256 * 1024)  # of 1 or 4 KiB: all of it
    finally:
        disk.close()


def test_interrupted_between_partition_and_file_system(disk: Disk) -> None:
    assert disk.prepare().returncode == 0
    run("wipefs", "-a", disk.part(3))
    assert disk.prepare().returncode == 0
    assert disk.tag(3, "LABEL") == "edge-fer-data"


def test_what_an_earlier_life_of_the_card_left_is_not_taken_for_ours(disk: Disk) -> None:
    assert disk.prepare().returncode == 0
    uuid = disk.tag(3, "UUID")
    run("sfdisk", "-q", "--no-reread", "--no-tell-kernel", "--delete", disk.device, "3")
    run("partx", "--delete", "--nr", "3", disk.device)
    assert disk.prepare().returncode == 0
    assert disk.tag(3, "UUID") != uuid


def test_somebody_elses_partition_is_not_touched(disk: Disk) -> None:
    assert disk.prepare().returncode == 0
    run("mkfs.ext4", "-q", "-F", "-L", "photos", disk.part(3))
    table = disk.table()
    done = disk.prepare()
    assert done.returncode == 1
    assert "named photos, which is not ours" in done.stderr
    assert disk.tag(3, "LABEL") == "photos"
    assert disk.table() == table


@pytest.mark.parametrize(
    ("root_mb", "root_gb", "words"),
    [(560, "0", "already fills the card"), (64, "1", "too small for root_gb = 1")],
)
def test_card_without_room_is_refused_untouched(
    tmp_path: Path, root_mb: int, root_gb: str, words: str
) -> None:
    disk = Disk(tmp_path, root_mb=root_mb)
    try:
        table = disk.table()
        done = disk.prepare(root_gb)
        assert done.returncode == 1
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 2  # what, and what to do
        assert disk.table() == table
    finally:
        disk.close()


# cmdline and writable


@pytest.fixture
def card(tmp_path: Path) -> scratch_card.Scratch:
    made = scratch_card.Scratch(tmp_path, scratch_card.plan(storage="overlay"))
    here = made.root / "usr/lib/edge-fer"
    here.mkdir(parents=True)
    for name in ("cmdline", "writable"):
        shutil.copy(made.boot / f"edge-fer/root/usr/lib/edge-fer/{name}", here)
        (here / name).chmod(0o755)
    return made


def test_words_of_the_kernels_line_are_whole(card: scratch_card.Scratch) -> None:
    line = card.boot / "cmdline.txt"
    line.write_bytes(b"a=1 resize=no * resize root=x")  # without a line break, and with a *
    tool = card.root / "usr/lib/edge-fer/cmdline"
    assert card.sh(tool, "drop", "resize").returncode == 0
    assert line.read_text() == "a=1 resize=no * root=x\n"
    assert card.sh(tool, "add", "x", "a=1").returncode == 0
    assert card.sh(tool, "add", "x", "a=1").returncode == 0
    assert line.read_text() == "resize=no * root=x x a=1\n"
    assert card.sh(tool, "show").returncode == 2


def test_two_lines_are_not_touched(card: scratch_card.Scratch) -> None:
    (card.boot / "cmdline.txt").write_text("a\nb\n")
    done = card.sh(card.root / "usr/lib/edge-fer/cmdline", "add", "c")
    assert done.returncode == 1
    assert "exactly one line" in done.stderr
    assert card.cmdline == "a\nb\n"


def test_writable_and_back(card: scratch_card.Scratch) -> None:
    tool, line = card.root / "usr/lib/edge-fer/writable", card.boot / "cmdline.txt"
    assert "no overlay is set up" in card.sh(tool).stdout
    line.write_text("root=x init=/usr/lib/edge-fer/overlay-init\n")
    assert "read-only" in card.sh(tool, "status").stdout
    assert "the next boot: writable\n" in card.sh(tool, "on").stdout
    assert card.cmdline == "root=x init=/usr/lib/edge-fer/overlay-init edge-fer.overlay=off\n"
    assert "read-only" in card.sh(tool, "off").stdout
    assert card.cmdline == "root=x init=/usr/lib/edge-fer/overlay-init\n"
    assert card.sh(tool, "maybe").returncode == 2


# overlay-init


def small_root(folder: Path) -> Path:
    """A root with what overlay-init calls, and an init that tells what it sees."""
    root = folder / "root"
    for made in FOLDERS:
        (root / made).mkdir(parents=True)
    wanted = {str(Path(path)) for tool in TOOLS if (path := shutil.which(tool))}
    for program in sorted(wanted):
        for line in run("ldd", program).splitlines():
            library = next((word for word in line.split() if word.startswith("/")), None)
            if library is not None:
                wanted.add(library)
    for path in wanted:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(path).resolve(), target)
    for link in ("bin", "lib"):
        if not (root / link).exists():
            (root / link).symlink_to(f"usr/{link}")
    if not (root / "bin/sh").exists():
        shutil.copy(root / "usr/bin/sh", root / "bin/sh")
    (root / "etc/fstab").write_text(
        "# the card\nproc /proc proc defaults 0 0\nPARTUUID=aa-02 / ext4 defaults,noatime 0 1\n\n"
        "PARTUUID=aa-01 /boot/firmware vfat defaults 0 2\n"
        "LABEL=edge-fer-data /var/lib/edge-fer ext4 noatime 0 2"  # and no line break
    )
    init = root / "sbin/init"
    init.write_text(
        '#!/bin/sh\necho "init $*"\ncat /etc/fstab\necho\necho new >/written && echo wrote\n'
        "echo --\ncat /proc/mounts\necho --\nls /usr/lib/edge-fer/lower\n"
    )
    init.chmod(0o755)
    (root / INIT).write_text(
        scratch_card.root_text(scratch_card.plan(storage="overlay"), f"/{INIT}")
    )
    (root / INIT).chmod(0o755)
    return root


def boot(root: Path, cmdline: str = "root=x") -> subprocess.CompletedProcess[str]:
    """What the kernel does: the root is mounted, process 1 is what init= names."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no overlay")
    (root / "cmdline").write_text(cmdline + "\n")
    # /proc is there, as an initramfs leaves it, with a kernel's line of ours.
    steps = (
        f"mount --bind {root} {root} && cd {root} && mount -t proc proc proc && "
        "mount --bind cmdline proc/cmdline && mount -t tmpfs run run && "
        "mount -t tmpfs dev dev && "
        f"pivot_root . old && umount -l old; exec /{INIT} splash"
    )
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", steps],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


def test_overlay_takes_all_writing_and_the_card_stays_as_it_is(tmp_path: Path) -> None:
    with scratch_mount(tmp_path) as folder:
        root = small_root(folder)
        done = boot(root)
        assert "init splash" in done.stdout, done.stderr
        assert "\nwrote\n" in done.stdout
        assert not (root / "written").exists()
        assert "/boot/firmware vfat defaults,ro 0 2" in done.stdout
        assert " / ext4" not in done.stdout.partition("--")[0]
        assert "LABEL=edge-fer-data /var/lib/edge-fer ext4 noatime 0 2" in done.stdout
        mounts = done.stdout.split("--\n")[1]
        assert "overlay / overlay rw" in mounts
        assert "run /run tmpfs" in mounts
        assert "dev /dev tmpfs" in mounts
        lower = next(line for line in mounts.splitlines() if " /usr/lib/edge-fer/lower " in line)
        assert lower.split()[3].split(",")[0] == "ro"
        assert "sbin" in done.stdout.split("--\n")[2].split()
        assert (root / "etc/fstab").read_text().count("ext4 defaults,noatime") == 1


def test_overlay_can_be_switched_off_on_the_kernels_line(tmp_path: Path) -> None:
    with scratch_mount(tmp_path) as folder:
        root = small_root(folder)
        done = boot(root, "root=x edge-fer.overlay=off quiet")
        assert "the overlay is off" in done.stderr
        assert "init splash" in done.stdout
        assert (root / "written").read_text() == "new\n"
        assert "overlay / overlay" not in done.stdout


@pytest.mark.parametrize("missing", ["usr/lib/edge-fer/overlay", "etc/fstab", "pivot_root"])
def test_card_boots_writable_if_the_overlay_cannot_be_made(tmp_path: Path, missing: str) -> None:
    with scratch_mount(tmp_path) as folder:
        root = small_root(folder)
        fstab = root / "etc/fstab"
        if missing == "pivot_root":
            next(root.rglob("pivot_root")).unlink()
        elif missing == "etc/fstab":
            fstab.rename(root / "etc/fstab.away")
        else:
            (root / missing).rmdir()
        done = boot(root)
        assert "this boot changes the card" in done.stderr, done.stderr
        assert "init splash" in done.stdout
        assert "\nwrote\n" in done.stdout
        assert (root / "written").read_text() == "new\n"
        assert "edge-fer-overlay" not in done.stdout, "its tmpfs stays mounted"


class scratch_mount:  # noqa: N801
    """A file system of its own: overlay-init makes the whole of the root's read-only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "disk"

    def __enter__(self) -> Path:
        if os.geteuid() != 0:
            pytest.skip("only root may mount")
        self.folder.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", self.folder], capture_output=True, check=False
        )
        if made.returncode:
            pytest.skip("no tmpfs can be mounted here")
        return self.folder

    def __exit__(self, *error: object) -> None:
        subprocess.run(["mount", "-o", "remount,rw", self.folder], check=False)
        subprocess.run(["umount", self.folder], check=True)
