"""A model of sgc as a LightningModule: `pip install lightning`."""

from __future__ import annotations

import sys

import lightning
import torch
from digits_rows import Rows, model


class Learner(lightning.LightningModule):
    """The model, its loss and its optimiser."""

    def __init__(self) -> None:
        super().__init__()
        self.model = model()
        self.losses: list[float] = []

    def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        """Give the loss, −Σ g·bound/B in nats."""
        self.model.epoch = float(self.current_epoch)  # that of the spec's schedules
        outcome = self.model.objective(batch)
        self.log("loss", outcome.loss, batch_size=len(batch["x"]))
        self.losses.append(outcome.loss.item())
        return outcome.loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Give the optimiser."""
        return torch.optim.AdamW(self.parameters(), 1e-3)


def main(epochs: int) -> list[float]:
    """Train; give the loss of each step."""
    learner = Learner()
    loader = torch.utils.data.DataLoader(Rows(), batch_size=100, shuffle=True)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    lightning.Trainer(max_epochs=epochs, accelerator="cpu", devices=1, **quiet).fit(learner, loader)
    return learner.losses


if __name__ == "__main__":
    print(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)[-1])
