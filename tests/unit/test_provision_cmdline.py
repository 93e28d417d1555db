import pytest

from edge_fer.errors import ConfigError
from edge_fer_firmware.boot.cmdline import LIMIT, merge, parse

# RPi-Distro/pi-gen, with ROOTDEV filled in.
STOCK = (
    "console=serial0,115200 console=tty1 root=PARTUUID=8a43 rootfstype=ext4 "
    "fsck.repair=yes rootwait resize\n"
)
RUN = "systemd.run=/boot/firmware/firstrun.sh"


def test_words_are_added_once_and_in_order() -> None:
    once = merge(STOCK, ["quiet", RUN])
    assert once == STOCK.rstrip() + f" quiet {RUN}\n"
    assert merge(once, ["quiet", RUN]) == once
    assert merge(STOCK, []) == STOCK


def test_words_are_taken_out_whole() -> None:
    text = "root=/dev/sda2 resize resize2 quiet init=/usr/lib/x/firstboot\n"
    assert merge(text, [], ["resize"]) == text.replace(" resize ", " ")
    assert merge(text, [], ["init="]) == "root=/dev/sda2 resize resize2 quiet\n"
    assert merge(text, [], ["init=/another"]) == text
    assert merge(STOCK, ["resize"], ["resize"]) == STOCK


def test_root_stays_whatever_is_asked() -> None:
    assert "root=PARTUUID=8a43" in merge(STOCK, [], ["root=", "root=PARTUUID=8a43"])


def test_a_key_of_somebody_elses_customisation_is_replaced_not_doubled() -> None:
    text = "root=x systemd.run=/boot/firstrun.sh quiet systemd.run=/other ds=nocloud;i=1\n"
    merged = merge(text, [RUN, "ds=nocloud;i=2"])
    assert merged == f"root=x {RUN} quiet ds=nocloud;i=2\n"


def test_consoles_stand_side_by_side() -> None:
    assert merge("console=tty1 root=x\n", ["console=tty3"]) == "console=tty1 root=x console=tty3\n"


@pytest.mark.parametrize("word", ["root=/dev/sdb1", "init=/usr/lib/mine", "rootfstype=btrfs"])
def test_where_the_system_comes_from_is_never_changed(word: str) -> None:
    text = "root=/dev/sda2 rootfstype=ext4 init=/sbin/init\n"
    with pytest.raises(ConfigError, match=r"cmdline.txt:1: .* this card needs"):
        merge(text, [word])


def test_our_init_replaces_the_images_where_that_one_goes() -> None:
    text = "root=/dev/sda2 init=/usr/lib/x/firstboot\n"
    assert merge(text, ["init=/mine"], ["init=/usr/lib/x/firstboot"]) == (
        "root=/dev/sda2 init=/mine\n"
    )


@pytest.mark.parametrize("text", [STOCK.rstrip(), STOCK + "\n \n", STOCK.replace("\n", "\r\n")])
def test_the_line_ends_with_one_line_break(text: str) -> None:
    assert merge(text, ["quiet"]) == STOCK.rstrip() + " quiet\n"


@pytest.mark.parametrize(("text", "line"), [("a root=x\nquiet\n", 2), ("\n\nroot=x\n", 3)])
def test_a_second_line_is_refused_with_its_number(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=f"bootfs/cmdline.txt:{line}: a second line"):
        merge(text, ["quiet"], name="bootfs/cmdline.txt")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no root="),
        ("quiet\n", "no root="),
        ("xroot=1\n", "no root="),
        ('root=x a="b', "quote"),
    ],
)
def test_a_line_that_boots_nothing_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"cmdline.txt:1: .*{reason}"):
        parse(text)


def test_quoted_blanks_stay_in_their_word() -> None:
    text = 'root=x  dyndbg="file a.c +p"\tquiet\n'
    assert parse(text) == ("root=x", 'dyndbg="file a.c +p"', "quiet")
    assert merge(text, ['b="c d"']) == 'root=x dyndbg="file a.c +p" quiet b="c d"\n'


def test_what_follows_a_lone_dash_is_not_the_kernels() -> None:
    assert merge("root=x -- single\n", ["quiet"]) == "root=x quiet -- single\n"


@pytest.mark.parametrize("word", ["", "a b", "a\nb", 'a="b'])
def test_a_word_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="no parameter"):
        merge(STOCK, [word])


def test_a_line_that_the_kernel_would_cut_is_refused() -> None:
    room = LIMIT - len("root=x a=")
    assert len(merge("root=x\n", ["a=" + "b" * room])) == LIMIT + 1
    with pytest.raises(ConfigError, match="2048 bytes; the kernel takes 2047"):
        merge("root=x\n", ["a=" + "b" * (room + 1)])
