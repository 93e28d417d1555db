"""A machine as its files and its firmware tell of it, for the tests of what watches one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Event

from edge_fer.machine import Reading

# As printed by a Raspberry Pi 4 Model B and a Raspberry Pi 5 Model B Rev 1.0.
PI4 = {
    "measure_temp": "temp=51.4'C\n",
    "get_throttled": "throttled=0x0\n",
    "measure_clock arm": "frequency(48)=1800457088\n",
    "pmic_read_adc": 'error=1 error_msg="Command not registered"\n',
}
PMIC = """\
 3V7_WL_SW_A current(0)=0.00000000A
   3V3_SYS_A current(1)=0.06245952A
   1V8_SYS_A current(2)=0.16102850A
  DDR_VDD2_A current(3)=0.00780744A
  DDR_VDDQ_A current(4)=0.00000000A
   1V1_SYS_A current(5)=0.17566740A
    0V8_SW_A current(6)=0.32791250A
  VDD_CORE_A current(7)=10.87674000A
   3V3_DAC_A current(17)=0.00036630A
   3V3_ADC_A current(18)=0.00042735A
   0V8_AON_A current(16)=0.00579975A
      HDMI_A current(22)=0.01367520A
 3V7_WL_SW_V volt(8)=3.79999600V
   3V3_SYS_V volt(9)=3.30632200V
   1V8_SYS_V volt(10)=1.79828900V
  DDR_VDD2_V volt(11)=1.10292900V
  DDR_VDDQ_V volt(12)=0.60476130V
   1V1_SYS_V volt(13)=1.10439400V
    0V8_SW_V volt(14)=0.80256330V
  VDD_CORE_V volt(15)=0.89745940V
   3V3_DAC_V volt(20)=3.30494200V
   3V3_ADC_V volt(21)=3.30219400V
   0V8_AON_V volt(19)=0.79736190V
      HDMI_V volt(23)=5.07056000V
     EXT5V_V volt(24)=5.06788000V
      BATT_V volt(25)=3.01110800V
"""
PMIC_WATTS = 10.7999  # of its twelve rails, added up with awk; the core alone has 9.7614
PI5 = PI4 | {"measure_clock arm": "frequency(0)=2400033792\n", "pmic_read_adc": PMIC}


class FakeFirmware:
    """Gives these readings and answers one after the other, the last reading for ever."""

    def __init__(self, looks: Sequence[tuple[Reading, str | None]]) -> None:
        self._looks = list(looks)
        self.said = ""
        self.answers = 0
        self.looked = 0
        self.closed = False

    def look(self) -> Reading:
        """The next."""
        reading, answer = self._looks[min(self.looked, len(self._looks) - 1)]
        self.looked += 1
        if answer is not None and self.looked <= len(self._looks):
            self.said = answer
            self.answers += 1
        return reading

    def close(self) -> None:
        """Nothing to leave behind."""
        self.closed = True


class FakeTime:
    """A clock that only waiting moves, and that ends the waiting after so many times."""

    def __init__(self, waits: int) -> None:
        self.now_ns = 7_000_000_000
        self._left = waits
        self.over = Event()

    def __call__(self) -> int:
        return self.now_ns

    def wait(self, seconds: float) -> bool:
        """Whether to stop."""
        self.now_ns += round(seconds * 1e9)
        self._left -= 1
        if self._left <= 0:
            self.over.set()
        return self.over.is_set()


def write(root: Path, files: dict[str, str]) -> Path:
    """Put files under a root."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def stat(user: int, steal: int = 0) -> str:
    """``/proc/stat`` of two cores, in ticks of a hundredth of a second."""
    cores = "".join(f"cpu{i} {user // 2} 0 0 500 0 0 0 {steal // 2} 0 0\n" for i in range(2))
    return f"cpu  {user} 10 20 1000 30 5 5 {steal} 0 0\n{cores}intr 1\n"
