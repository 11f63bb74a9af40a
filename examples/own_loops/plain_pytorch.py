"""A model of sgc in a loop of plain PyTorch: it is a torch.nn.Module, and `objective` gives the loss."""

from __future__ import annotations

import sys

import torch
from digits_rows import Rows, model


def main(epochs: int) -> list[float]:
    """Train; give the loss of each epoch."""
    net, losses = model(), []
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    loader = torch.utils.data.DataLoader(Rows(), batch_size=100, shuffle=True)
    for _ in range(epochs):
        total = 0.0
        for batch in loader:
            loss = net.objective(batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total / len(loader))
    return losses


if __name__ == "__main__":
    print(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
