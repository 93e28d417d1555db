"""The whole error tree: each class has an exit code, a code word and says the remedy.

EdgeFerError            70  internal
├── ConfigError          2  config        wrong flag, setting or combination
├── DataError            2  data          a file of pictures or labels that cannot be used
├── MissingExtra         3  missing_extra a package that is not installed
├── DeviceError          4  device        camera, disk, broker, accelerator or network not there
│   └── CameraAway       4  device        a live camera gives no frame now; it is being reopened
├── ModelError           5  model         no model, truncated, or a contract that cannot be honoured
├── BudgetMissed         6  budget        an accuracy or latency budget was not met
└── Interrupted          7  interrupted   stopped by the user, with a partial result
"""

from __future__ import annotations

__all__ = [
    "BudgetMissed",
    "CameraAway",
    "ConfigError",
    "DataError",
    "DeviceError",
    "EdgeFerError",
    "Interrupted",
    "MissingExtra",
    "ModelError",
]


class EdgeFerError(Exception):
    """Root of every error that edge-fer raises on purpose.

    Attributes:
        message: one paragraph that says what is wrong, naming the file or value.
        remedy: the line that mends it, or an empty string where there is none.
        exit_code: what the command line exits with.
        code: the word that ``--json`` prints under ``error.code``.
        document: what ``--json`` prints instead of the error, where the command has a whole
            result to show (a budget missed, a partial report); None otherwise.
    """

    exit_code = 70
    code = "internal"

    def __init__(
        self, message: str, remedy: str = "", *, document: dict[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.document = document

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class ConfigError(EdgeFerError, ValueError):
    """A flag, a setting or a combination of them that makes no sense."""

    exit_code = 2
    code = "config"


class DataError(EdgeFerError, ValueError):
    """Pictures, videos or labels that cannot be used."""

    exit_code = 2
    code = "data"


class MissingExtra(EdgeFerError, ImportError):
    """A package that this command needs is not installed; the remedy is the pip or apt line."""

    exit_code = 3
    code = "missing_extra"


class DeviceError(EdgeFerError, OSError):
    """A camera, disk, broker, accelerator or network is not available or not permitted."""

    exit_code = 4
    code = "device"


class CameraAway(DeviceError):
    """A live camera gives no frame at the moment; it is being reopened, so ask again."""


class ModelError(EdgeFerError, ValueError):
    """A model file that is missing, damaged, or whose contract cannot be honoured."""

    exit_code = 5
    code = "model"


class BudgetMissed(EdgeFerError):
    """An accuracy or latency budget that the user set was not met."""

    exit_code = 6
    code = "budget"


class Interrupted(EdgeFerError):
    """Stopped by the user; what was finished is kept."""

    exit_code = 7
    code = "interrupted"
