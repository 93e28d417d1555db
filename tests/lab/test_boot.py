"""A rendered card boots into the service, and keeps its records when the power goes; emulated.

A stock system of Debian trixie for arm64 stands in for Raspberry Pi OS (boot.sh says how), with
what ``edge-fer provision render --into`` wrote to its boot partition, on QEMU's board ``virt`` with
the processor of a Pi 4. Emulated seconds say nothing about a Pi, and a virtual machine that is
killed does not show what an SD card does when it loses power in the middle of a write.
"""

from __future__ import annotations

import html
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from boot_machine import Answer, Card, Machine
from boot_records import DURABLE, checked, complete, on_disk
from needs import ROOT, run_script, workplace

TOOLS = {
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-aarch64-static": "qemu-user-static",
    "update-binfmts": "binfmt-support",
    "apt-get": "apt",
    "cpio": "cpio",
    "depmod": "kmod",
    "mke2fs": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "sfdisk": "fdisk",
    "xz": "xz-utils",
}
SETTINGS = Path(__file__).with_name("boot_card.toml")
KILLS = 20 if os.environ.get("EDGE_FER_LONG") == "1" else 5
STATUS = "/run/edge-fer/status.json"
UNIT = "edge-fer.service"

# Runs in the control group of the service itself, under its own packet filter. What that drops of
# TCP is never answered; of UDP it is said at once.
INSIDE = """
import json, socket
said = {}
def tried(name, kind, address):
    with socket.socket(socket.AF_INET, kind) as s:
        s.settimeout(5)
        try:
            s.connect(address)
            s.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
            said[name] = "sent"
        except OSError as err:
            said[name] = type(err).__name__
tried("tcp", socket.SOCK_STREAM, ("10.0.2.15", 9009))
tried("udp", socket.SOCK_DGRAM, ("10.0.2.15", 9009))
tried("page", socket.SOCK_STREAM, ("127.0.0.1", 8765))
print(json.dumps(said))
"""


@dataclass(slots=True)
class Lab:
    """Where it is built, the card, and the time line so far."""

    work: Path
    card: Card
    began: float
    lines: list[str]

    def tell(self, what: str, guest_s: float | None = None) -> None:
        """One line of the time line: seconds here, and since the guest's boot."""
        guest = "        " if guest_s is None else f"{guest_s:6.1f} s"
        self.lines.append(f"{time.monotonic() - self.began:7.1f} s  {guest}  {what}")
        sys.stdout.write(f"TIME LINE {self.lines[-1]}\n")
        sys.stdout.flush()

    def machine(self, name: str, **how: Any) -> Machine:
        return Machine(self.card, self.work / f"{name}.log", **how)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A card as somebody flashed it: the stock image, then ``render --into`` its boot folder."""
    work = workplace(tmp_path_factory.mktemp("boot"), TOOLS, lane="boot")
    made = Lab(
        work=work,
        card=Card(image=work / "card.img", kernel=work / "vmlinuz", first=work / "first.gz"),
        began=time.monotonic(),
        lines=[],
    )
    sys.stdout.write(
        "Emulated: its seconds say nothing about a Pi, and killing it nothing about an SD card.\n"
        "TIME LINE here       guest\n"
    )
    for step in ("system", "stock"):
        code, said = run_script("boot.sh", work, step)
        assert code == 0, said[-4000:]
    made.tell("a stock system for arm64 was built")
    wheels = work / "wheels"
    edge_fer("provision", "wheels", SETTINGS, "-o", wheels)
    made.tell(f"{len(list(wheels.glob('*.whl')))} wheels for its Python")
    edge_fer("provision", "render", SETTINGS, "--wheels", wheels, "--into", work / "bootfs")
    code, said = run_script("boot.sh", work, "card", made.card.image)
    assert code == 0, said[-4000:]
    made.tell("the card was rendered and written")
    return made


def edge_fer(*words: object) -> None:
    command = [sys.executable, "-m", "edge_fer", *map(str, words)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout}{ran.stderr}"


@pytest.fixture(scope="module")
def installed(lab: Lab) -> Lab:
    """The first boot: cloud-init applies user-data, install.sh makes the rest and reboots."""
    machine = lab.machine("boot1", cache="writeback")
    try:
        machine.start(900)
        machine.up()
        lab.tell("first boot: the guest answers", float(machine.hello["up"]))
        until_it_reboots(machine, 840)
    finally:
        machine.kill()
    said = machine.log.read_text(errors="replace")
    finished = re.search(r"Cloud-init v\. \S+ finished at .* Up ([\d.]+) seconds", said)
    assert finished, said[-6000:]
    lab.tell("cloud-init done, the card reboots", float(finished[1]))
    return lab


def until_it_reboots(machine: Machine, limit_s: float) -> None:
    """QEMU ends then; fails early where cloud-init does."""
    end = time.monotonic() + limit_s
    with suppress(EOFError, ConnectionError):
        while time.monotonic() < end:
            state = machine.ask("systemctl is-failed cloud-init-main.service").out.strip()
            said = machine.log.read_text(errors="replace")
            # On the way down it has failed, too: systemd ended it.
            assert state != "failed" or "finished at" in said, said[-6000:]
            machine.listen(5)
        raise AssertionError(f"the first boot took more than {limit_s:g} s")
    machine.off(30)


@pytest.fixture(scope="module")
def running(installed: Lab) -> Iterator[Machine]:
    """The second boot: the one that a kiosk has every morning."""
    machine = installed.machine("boot2")
    try:
        machine.start(600)
        machine.up()
        yield machine
    finally:
        machine.kill()


def waited(
    machine: Machine, command: str, fits: Callable[[Answer], bool], limit_s: float
) -> Answer:
    """Ask until the answer fits."""
    end = time.monotonic() + limit_s
    while True:
        answer = machine.ask(command)
        if fits(answer):
            return answer
        if time.monotonic() > end:
            state = machine.ask(
                f"systemctl status {UNIT} --no-pager; journalctl -b -n 60 --no-pager"
            )
            raise AssertionError(f"{command}: {answer}\n{state.out}")
        time.sleep(1)


def shown(machine: Machine, *names: str) -> dict[str, str]:
    """Properties of the service, as systemd has them."""
    words = " ".join(f"-p {name}" for name in names)
    lines = machine.ask(f"systemctl show {UNIT} {words}").out.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def active(machine: Machine, limit_s: float = 300) -> float:
    """Wait for the service; seconds from the guest's boot until READY=1."""
    is_active = f"systemctl is-active {UNIT}"
    waited(machine, is_active, lambda answer: answer.out.strip() == "active", limit_s)
    return (
        int(shown(machine, "ActiveEnterTimestampMonotonic")["ActiveEnterTimestampMonotonic"]) / 1e6
    )


def test_first_boot_applies_the_settings(installed: Lab, running: Machine) -> None:
    log = installed.card.read("edge-fer/install.log")
    assert "Z done" in log.splitlines()[-1], log
    assert "FAILED" not in log, log
    assert installed.card.read("cmdline.txt").count("\n") == 1
    assert "init=/usr/lib/edge-fer/overlay-init" in installed.card.read("cmdline.txt")
    assert " resize" not in installed.card.read("cmdline.txt")
    result = json.loads(running.ask("cat /var/lib/cloud/data/result.json").out)["v1"]
    assert result["errors"] == [], result
    stages = json.loads(running.ask("cat /var/lib/cloud/data/status.json").out)["v1"]
    troubles = [s["recoverable_errors"] for s in stages.values() if isinstance(s, dict)]
    assert troubles, stages
    assert not any(troubles), troubles
    assert ",file:///boot/firmware]" in result["datasource"]
    assert running.ask("hostname").out.strip() == "lab-kiosk"


def test_the_root_is_read_only_and_the_data_partition_is_not(running: Machine) -> None:
    active(running)
    mounts = {
        words[0]: words[1:]
        for line in running.ask("findmnt -rn -o TARGET,FSTYPE,OPTIONS").out.splitlines()
        if len(words := line.split()) == 3
    }
    assert mounts["/"][0] == "overlay"
    lower = re.search(r"lowerdir=([^,]+)", mounts["/"][1])
    assert lower is not None
    kind, options = mounts["/var/lib/edge-fer"]
    assert kind == "ext4"
    assert "noatime" in options.split(",")
    assert "rw" in options.split(",")
    assert mounts["/boot/firmware"][1].split(",")[0] == "ro"
    ext4 = running.ask("grep -w ext4 /proc/self/mounts").out.splitlines()
    writable = [line for line in ext4 if "rw" in line.split()[3].split(",")]
    assert [line.split()[1] for line in writable] == ["/var/lib/edge-fer"], ext4


def test_the_service_is_up(installed: Lab, running: Machine) -> None:
    ready_s = active(running)
    installed.tell("service active", ready_s)
    names = ("User", "MainPID", "Result", "NRestarts")
    props = shown(running, *names)
    assert props["User"] == "edge-fer"
    assert props["NRestarts"] == "0"
    user = running.ask(f"stat -c %U /proc/{props['MainPID']}").out.strip()
    assert user == "edge-fer"
    mine = f"grep -m 1 {running.hello['hello']} /var/lib/edge-fer/seen.jsonl"
    first = waited(running, mine, lambda answer: answer.rc == 0, 60)
    record = json.loads(first.out)
    assert record["schema"] == "edge-fer/observation/1"
    installed.tell("first observation", record["t_ns"] / 1e9)
    status = waited(running, "/opt/edge-fer/bin/edge-fer status --json", lambda a: a.rc == 0, 60)
    document = json.loads(status.out)
    assert document["state"] == "running"
    assert document["systemd"]["watchdog_s"] == 30
    assert {sink["state"] for sink in document["sinks"]} == {"ok"}
    page = running.ask(
        "python3 -c 'import urllib.request as u;"
        ' print(u.urlopen("http://127.0.0.1:8765/", timeout=20).read().decode())\''
    )
    assert page.rc == 0, page
    assert "nobody's face" in html.unescape(page.out)
    assert "/var/lib/edge-fer" in running.ask("grep edge-fer /proc/self/mounts").out
    installed.tell("status and page answer", page.up)


def test_nothing_leaves_the_machine(installed: Lab, running: Machine) -> None:
    active(running)
    # An address of its own that is not localhost, and somebody who listens there.
    up = running.ask(
        "for dev in /sys/class/net/e*; do dev=${dev##*/}; done;"
        " ip addr add 10.0.2.15/24 dev $dev 2>/dev/null; ip link set $dev up;"
        " (cd / && setsid python3 -m http.server --bind 10.0.2.15 9009"
        " >/dev/null 2>&1 </dev/null &) ; sleep 8; ip -br addr"
    )
    assert "10.0.2.15" in up.out, up.out
    tried = f"python3 - <<'ASKED'\n{INSIDE}\nASKED"
    outside = json.loads(running.ask(tried).out)
    assert outside == {"tcp": "sent", "udp": "sent", "page": "sent"}
    group = shown(running, "ControlGroup")["ControlGroup"]
    enter = f"echo $$ > /sys/fs/cgroup{group}/cgroup.procs && "
    inside = running.ask(enter + tried)
    said = json.loads(inside.out)
    assert said == {"tcp": "TimeoutError", "udp": "PermissionError", "page": "sent"}
    installed.tell(
        "offline proven: the filter of the service lets out neither TCP nor UDP", inside.up
    )


def test_a_hung_service_is_restarted(installed: Lab, running: Machine) -> None:
    active(running)
    pid = shown(running, "MainPID")["MainPID"]
    hung = running.ask(f"kill -STOP {pid}")
    assert hung.rc == 0
    count = f"systemctl show {UNIT} -p NRestarts --value"
    waited(running, count, lambda answer: answer.out.strip() == "1", 150)
    ready_s = active(running)
    assert shown(running, "MainPID")["MainPID"] != pid
    journal = running.ask(f"journalctl -b -u {UNIT} --no-pager").out
    assert "Watchdog timeout" in journal
    installed.tell(
        f"watchdog restart: active again {ready_s - hung.up:.0f} s after SIGSTOP", ready_s
    )


def test_how_exposed_it_is(installed: Lab, running: Machine) -> None:
    said = running.ask(f"systemd-analyze security --no-pager {UNIT}").out
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found, said
    installed.tell(f"exposure {found[1]} of 10 (systemd-analyze security)")
    assert float(found[1]) <= 2.0, said


def test_no_accepted_record_is_lost_when_the_power_goes(installed: Lab, running: Machine) -> None:
    lab, machine = installed, running
    accepted: list[dict[str, Any]] = []
    before: dict[str, int] = {}
    for number in range(1, KILLS + 1):
        active(machine)
        machine.follow(STATUS)
        machine.wait(is_accepted, 120)
        machine.listen(random.uniform(2.0, 8.0))  # noqa: S311 (no secret)
        machine.kill()
        accepted += [told for told in machine.accepted if complete(told)]
        last = {kind: accepted[-1]["sinks"][kind][1] for kind in DURABLE}
        machine = lab.machine(f"kill{number}")
        try:
            machine.start(600)
            machine.up()
            mounted = "findmnt -n -o FSTYPE,OPTIONS /var/lib/edge-fer"
            waited(machine, mounted, lambda answer: "ext4 rw" in answer.out, 300)
            before = checked(on_disk(machine), accepted, before, torn=number)
            records = sum(before.values()) // len(DURABLE)
            lab.tell(
                f"kill {number} of {KILLS}: it mounts; accepted up to {last},"
                f" {records} records on the disk, none of these missing"
            )
        except BaseException:
            machine.kill()
            raise
    assert machine.ask("systemctl poweroff").rc == 0
    machine.off(120)
    machine.kill()
    clean(lab)
    lab.tell("switched off; e2fsck finds nothing in both file systems")


def is_accepted(message: dict[str, Any]) -> bool:
    return "accepted" in message and complete(message["accepted"])


def clean(lab: Lab) -> None:
    """The file systems after the last kill and a proper end."""
    table = json.loads(
        subprocess.run(["sfdisk", "--json", lab.card.image], capture_output=True, check=True).stdout
    )
    for part in table["partitiontable"]["partitions"][1:]:
        place = f"{lab.card.image}?offset={part['start'] * 512}"
        ran = subprocess.run(["e2fsck", "-fn", place], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout
