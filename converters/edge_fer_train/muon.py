"""Muon for convolutions: momentum whose every update is made orthogonal (Jordan et al., 2024).

Keras's ``Muon`` leaves all but matrices to AdamW. A 3x3 kernel is a matrix, too, from the patch to
the output channels, and most of these nets' weights are in such kernels. Updates are scaled
to AdamW's size (Liu et al., arXiv:2502.16982), so that rate and decay mean the same for both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["muon"]


def muon(learning_rate: Any, weight_decay: float, *, adamw: Sequence[str] = ("logits",)) -> Any:
    """The optimiser: Muon for kernels, AdamW for the classifier, scales and biases.

    Args:
        learning_rate: a number or a Keras schedule.
        weight_decay: decoupled, per unit of learning rate, for kernels and classifier.
        adamw: words in the names of layers whose kernels are no such matrices: what the loss sees,
            depthwise ones.
    """
    import keras
    from keras import ops

    class ConvolutionMuon(keras.optimizers.Muon):  # type: ignore[misc]
        def _should_use_adamw(self, variable: Any) -> bool:
            return len(variable.shape) < 2 or any(word in variable.path for word in adamw)

        def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
            self.assign_add(m, gradient + m * (self.momentum - 1))
            update = gradient + self.momentum * m
            columns = variable.shape[-1]
            matrix = ops.reshape(update, (-1, columns))
            orthogonal = self.zeropower_via_newtonschulz5(matrix, self.ns_steps)
            size = math.sqrt(max(math.prod(variable.shape[:-1]), columns)) * self.rms_rate
            self.assign_sub(variable, ops.reshape(lr * size * orthogonal, variable.shape))

    optimizer = ConvolutionMuon(
        learning_rate, weight_decay=weight_decay, adam_weight_decay=weight_decay
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer
