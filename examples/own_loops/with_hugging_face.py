"""A model of sgc in Hugging Face's Trainer, and in a loop of Accelerate: `pip install transformers accelerate`."""

from __future__ import annotations

import sys
import tempfile

import torch
from accelerate import Accelerator
from digits_rows import Rows, model
from transformers import Trainer, TrainingArguments


class Wrapped(torch.nn.Module):
    """The model as Trainer calls one: the columns of the data by name, and a `loss` in what comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.model = model()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        """Give the loss, and the bound of each row."""
        outcome = self.model.objective({"x": x, "y": y})
        return {"loss": outcome.loss, "bound": outcome.bound}


def main(epochs: int) -> list[float]:
    """Train in Trainer; give the losses that it logs."""
    with tempfile.TemporaryDirectory() as folder:
        how = TrainingArguments(
            folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=100,
            learning_rate=1e-3,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Trainer(Wrapped(), how, train_dataset=Rows())
        trainer.train()
        return [line["loss"] for line in trainer.state.log_history if "loss" in line]


def accelerated(epochs: int) -> list[float]:
    """Train in a loop of Accelerate, which moves batches and shares out the rows of several processes."""
    accelerator = Accelerator(cpu=True)
    net = Wrapped()
    loader = torch.utils.data.DataLoader(Rows(), batch_size=100, shuffle=True)
    net, optimizer, loader = accelerator.prepare(net, torch.optim.AdamW(net.parameters(), 1e-3), loader)
    losses: list[float] = []
    for _ in range(epochs):
        for batch in loader:
            loss = net(**batch)["loss"]
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            losses.append(loss.item())
    return losses


if __name__ == "__main__":
    print(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)[-1])
