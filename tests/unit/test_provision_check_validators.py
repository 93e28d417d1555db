"""What is made of the tools' answers, as they really print them; the tools are played here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from card_folders import FIRSTRUN, UNITS, USER_DATA, Folder

from edge_fer_firmware.checking import Answer, Validators, check
from edge_fer_firmware.checking.tools import run_tool
from edge_fer_firmware.findings import Finding

GOOD = "→ Overall exposure level for edge-fer.service: 1.5 OK 🙂\n"
RULES = "edge-fer/root/etc/udev/rules.d/60-edge-fer-coral.rules"
Said = dict[str, Answer | Callable[[Sequence[str]], Answer]]


class Machine:
    """Tools that answer what they are told to, and remember what they were asked."""

    def __init__(self, said: Said, missing: Sequence[str] = ()) -> None:
        self.said, self.missing = said, missing
        self.asked: list[list[str]] = []

    def run(self, command: Sequence[str]) -> Answer:
        self.asked.append(list(command))
        for key, answer in self.said.items():
            if key in " ".join(command):
                return answer(command) if callable(answer) else answer
        if "security" in command:
            return Answer(code=0, out=GOOD)
        if "--version" in command:
            return Answer(code=0, out="/usr/bin/cloud-init 25.1.4\n")
        return Answer(code=0)

    def find(self, name: str) -> str | None:
        return None if name in self.missing else f"/usr/bin/{name}"

    def found(self, folder: Path, tool: str) -> list[Finding]:
        tools = Validators(run=self.run, find=self.find, units=Path("/nowhere"))
        return [f for f in check(folder, validators=tools) if f.check.startswith(tool)]


def test_all_tools_are_content(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.write(RULES, 'SUBSYSTEM=="apex", MODE="0660"\n')
    machine = Machine({})
    tools = ("sh -n", "shellcheck", "cloud-init schema", "systemd-analyze", "udevadm verify")
    for tool in tools:
        found = machine.found(tmp_path, tool)
        assert found
        assert {f.state for f in found} == {"ok"}, found


@pytest.mark.parametrize(
    ("tool", "check_name", "package"),
    [
        ("sh", "sh -n", "sh"),
        ("shellcheck", "shellcheck", "shellcheck"),
        ("cloud-init", "cloud-init schema", "cloud-init"),
        ("systemd-analyze", "systemd-analyze verify", "systemd"),
        ("udevadm", "udevadm verify", "udev"),
    ],
)
def test_a_tool_that_is_not_installed(
    tmp_path: Path, tool: str, check_name: str, package: str
) -> None:
    card = Folder(tmp_path)
    card.write(RULES, 'SUBSYSTEM=="apex", MODE="0660"\n')
    found = Machine({}, missing=[tool]).found(tmp_path, check_name)
    assert {f.state for f in found} == {"skipped"}
    assert found[0].remedy == f"apt install {package}"


def test_a_shell_that_cannot_read_a_script(tmp_path: Path) -> None:
    card = Folder(tmp_path, system="bookworm")
    card.write("firstrun.sh", FIRSTRUN.replace("#!/bin/sh", "#!/bin/bash"))
    answers: Said = {
        "sh -n": lambda c: Answer(
            code=2,
            err=f"{c[-1]}: line 4: syntax error: unexpected end of file\n"
            if c[0] == "bash"
            else f'{c[-1]}: 3: Syntax error: end of file unexpected (expecting "fi")\n',
        )
    }
    machine = Machine(answers)
    (bash,) = machine.found(tmp_path, "bash -n")
    assert (bash.state, bash.place) == ("problem", "bootfs/firstrun.sh:4")
    assert "unexpected end of file" in bash.message
    dash = machine.found(tmp_path, "sh -n")
    assert {f.line for f in dash} == {3}


def test_what_shellcheck_says(tmp_path: Path) -> None:
    Folder(tmp_path)
    said = (
        "g.sh:2:6: warning: x is referenced but not assigned. [SC2154]\n"
        "g.sh:3:7: error: Couldn't parse this then clause. [SC1073]\n"
    )
    found = Machine({"install.sh": Answer(code=1, out=said)}).found(tmp_path, "shellcheck")
    assert [(f.state, f.line) for f in found[:2]] == [("warning", 2), ("problem", 3)]
    assert found[0].file == "bootfs/edge-fer/install.sh"


OLD = Answer(code=0, out="/usr/bin/cloud-init 22.4.2\n")


def test_the_verdict_of_a_cloud_init_that_passes_typos(tmp_path: Path) -> None:
    Folder(tmp_path)
    valid = Answer(code=0, out="Valid cloud-config: user-data\n")
    machine = Machine({"--version": OLD, "user-data": valid})
    first, second = machine.found(tmp_path, "cloud-init schema")
    assert (first.state, "unknown keys" in first.message) == ("warning", True)
    assert (second.state, second.file) == ("skipped", "bootfs/network-config")


def test_a_newer_one_reads_the_network_too(tmp_path: Path) -> None:
    Folder(tmp_path)
    machine = Machine({})
    assert [f.state for f in machine.found(tmp_path, "cloud-init schema")] == ["ok", "ok"]
    asked = [c for c in machine.asked if "--schema-type" in c]
    assert asked == [
        [
            "cloud-init", "schema", "--config-file", str(tmp_path / "bootfs/network-config"),
            "--schema-type", "network-config",
        ]
    ]  # fmt: skip


NOT_YAML = """\
Error:
Cloud config schema errors: format-l2.c11: File ud2 is not valid yaml. while parsing a flow sequence
  in "<byte string>", line 2, column 11:
    hostname: [a
"""
WRONG = """\
Error:
Cloud config schema errors: hostname: 3 is not of type 'string', users: 3 is not of type 'string'
"""


@pytest.mark.parametrize(("said", "line"), [(NOT_YAML, 2), (WRONG, 2)])
def test_what_cloud_init_complains_about(tmp_path: Path, said: str, line: int) -> None:
    Folder(tmp_path)
    found = Machine({"user-data": Answer(code=1, err=said)}).found(tmp_path, "cloud-init schema")
    assert (found[0].state, found[0].place) == ("problem", f"bootfs/user-data:{line}")


def test_an_older_one_than_the_cards_is_not_believed(tmp_path: Path) -> None:
    Folder(tmp_path)
    machine = Machine({"--version": OLD, "user-data": Answer(code=1, err=WRONG)})
    assert machine.found(tmp_path, "cloud-init schema")[0].state == "warning"


def test_a_network_that_it_cannot_read_without_netplan(tmp_path: Path) -> None:
    card = Folder(tmp_path, network={"wifi": {"ssid": "museum", "country": "DE"}})
    card.write("network-config", "version: 2\nwifis: {}\n")
    said = "Additional properties are not allowed ('wifis' was unexpected)\n"
    answers: Said = {"network-config": Answer(code=1, err=said)}
    without = Machine(answers, missing=["netplan"]).found(tmp_path, "cloud-init schema")[1]
    assert (without.state, without.remedy) == ("skipped", "apt install netplan.io")
    assert Machine(answers).found(tmp_path, "cloud-init schema")[1].state == "problem"


def test_secrets_in_its_words_are_not_repeated(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    hashed = "$6$abcdefgh$eBbGORKhoekJ6zEJ"
    text = USER_DATA.replace("lock_passwd: true", f'hashed_passwd: "{hashed}"')
    card.write("user-data", f"{text}password: sesame99\n", 0o600)
    said = (
        "Error:\nCloud config schema errors: users.0: {'name': 'edge', 'hashed_passwd': "
        f"'{hashed}'}} is not valid, password: 'sesame99' is not of type 'x', passwd: {hashed}\n"
    )
    found = Machine({"user-data": Answer(code=1, err=said)}).found(tmp_path, "cloud-init schema")
    assert found[0].line == 3
    assert "is not valid" in found[0].message
    assert "sesame99" not in f"{found}"
    assert "eBbGORK" not in f"{found}"


def test_any_word_of_systemd_is_a_problem(tmp_path: Path) -> None:
    card = Folder(tmp_path)

    def verify(command: Sequence[str]) -> Answer:
        root = command[3].removeprefix("--root=")
        # The programs that pip and the image bring have stand-ins; others have not.
        assert (Path(root) / "opt/edge-fer/bin/edge-fer").is_file()
        assert not (Path(root) / "usr/lib/edge-fer/gone").exists()
        return Answer(
            code=0,
            err=f"{root}/etc/systemd/system/edge-fer.service:7: Unknown key 'WatchdogSecs' in "
            "section [Service], ignoring.\n"
            "edge-fer.service: Command /usr/lib/edge-fer/gone is not executable: No such file\n"
            "Something else.\n",
        )

    card.edit(f"{UNITS}/edge-fer.service", "DynamicUser", "ExecStop=/usr/lib/edge-fer/gone\n#")
    found = Machine({"verify --man=no": verify}).found(tmp_path, "systemd-analyze verify")
    name = f"bootfs/{UNITS}/edge-fer.service"
    assert [(f.state, f.place) for f in found] == [
        ("problem", f"{name}:7"),
        ("problem", name),
        ("problem", ""),
    ]
    assert "Unknown key 'WatchdogSecs'" in found[0].message
    assert "edge-fer-check-" not in f"{found}"


@pytest.mark.parametrize(
    ("unit", "state"), [("edge-fer", "problem"), ("edge-fer-kiosk", "warning")]
)
def test_an_exposure_that_is_too_high(tmp_path: Path, unit: str, state: str) -> None:
    card = Folder(tmp_path)
    card.write(f"{UNITS}/edge-fer-kiosk.service", "[Service]\nExecStart=/usr/bin/cage\n")
    said = f"→ Overall exposure level for {unit}.service: 9.4 UNSAFE 😨\n"
    machine = Machine({f"{unit}.service": Answer(code=1, out=said), "verify": Answer(code=0)})
    found = machine.found(tmp_path, "systemd-analyze security")
    assert [(f.state, "9.4" in f.message) for f in found if f.state != "ok"] == [(state, True)]
    assert all("--threshold=20" in c for c in machine.asked if "security" in c)


def test_a_rule_that_udev_cannot_read(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.write(RULES, 'SUBSYSTEM="apex"\n')
    said = "/x/60-edge-fer-coral.rules:1 Invalid operator for SUBSYSTEM.\n"
    (found,) = Machine({"udevadm": Answer(code=1, err=said)}).found(tmp_path, "udevadm")
    assert (found.state, found.place) == ("problem", f"bootfs/{RULES}:1")


def test_a_udevadm_that_cannot_verify(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.write(RULES, 'SUBSYSTEM=="apex"\n')
    answer = Answer(code=1, err="Unknown command verb verify.\n")
    (found,) = Machine({"udevadm": answer}).found(tmp_path, "udevadm")
    assert (found.state, "254" in found.message) == ("skipped", True)


@pytest.mark.parametrize("tool", ["shellcheck", "udevadm verify", "systemd-analyze verify"])
def test_a_tool_that_fails_without_a_word(tmp_path: Path, tool: str) -> None:
    card = Folder(tmp_path)
    card.write(RULES, 'SUBSYSTEM=="apex"\n')
    found = Machine({tool: Answer(code=124, err="")}).found(tmp_path, tool)
    assert found[0].state == "problem"
    assert "124" in found[0].message


def test_a_tool_that_is_not_there_and_one_that_is() -> None:
    assert run_tool(["edge-fer-no-such-tool"]).code == 127
    assert run_tool(["sh", "-c", "echo out; echo err >&2; exit 3"]) == Answer(
        code=3, out="out\n", err="err\n"
    )
