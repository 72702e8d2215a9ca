"""The processes of one hospital that share a batch: who takes which rows, and how their sums meet.

Each process builds the same batch from the same seeds and encodes its own rows. Embeddings are gathered,
every process works out the coupled losses in full, and takes the gradient for its own rows from that;
gradients of parameters are then added. Nothing here leaves the hospital.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from common.objectives.base import Loss


@dataclass(frozen=True)
class Peers:
    """This process among those that share a batch."""

    rank: int = 0
    count: int = 1

    def share_of(self, rows: int) -> tuple[int, int]:
        """First row of this process, and the first that is no longer its own."""
        return rows * self.rank // self.count, rows * (self.rank + 1) // self.count

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes in the order of their ranks; how many each has may differ."""
        if self.count == 1:
            return rows
        sizes = self._sizes(len(rows), rows.device)
        sent = rows.byte() if rows.dtype == torch.bool else rows
        sent = F.pad(sent, (0, 0) * (rows.ndim - 1) + (0, max(sizes) - len(rows))).contiguous()
        received = [torch.empty_like(sent) for _ in sizes]
        dist.all_gather(received, sent)
        return torch.cat([part[:size] for part, size in zip(received, sizes, strict=True)]).to(rows.dtype)

    def own(self, rows: Tensor, count: int) -> Tensor:
        """Those of the gathered `rows` that came from this process, which sent `count`."""
        if self.count == 1:
            return rows
        start = sum(self._sizes(count, rows.device)[: self.rank])
        return rows[start : start + count]

    def add_losses(self, found: dict[str, Loss]) -> dict[str, Loss]:
        """The sum over all processes; each names the same objectives."""
        if self.count == 1 or not found:
            return {name: loss for name, loss in found.items() if loss.rows}
        device = next(iter(found.values())).mean.device
        sums = torch.tensor([[loss.mean.item(), loss.rows] for loss in found.values()], dtype=torch.float64)
        sums = sums.to(device) if device.type == "cuda" else sums
        dist.all_reduce(sums)
        return {
            name: Loss(mean.to(device), int(rows))
            for name, (mean, rows) in zip(found, sums, strict=True)
            if int(rows)
        }

    def add_gradients(self, model: nn.Module) -> None:
        """Give every process the sum of all gradients; a parameter that none has a gradient for stays so."""
        if self.count == 1:
            return
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        device = weights[0].device
        known = torch.tensor(
            [weight.grad is not None for weight in weights], dtype=torch.uint8, device=device
        )
        dist.all_reduce(known, op=dist.ReduceOp.MAX)
        moved = [weight for weight, there in zip(weights, known.tolist(), strict=True) if there]
        if not moved:
            return
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in moved]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for weight, part in zip(moved, torch.split(flat, [weight.numel() for weight in moved]), strict=True):
            weight.grad = part.view_as(weight)

    def _sizes(self, rows: int, device: torch.device) -> list[int]:
        sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(self.count)]
        dist.all_gather(sizes, torch.tensor([rows], device=device))
        return [int(size) for size in sizes]


ALONE = Peers()
"""One process for the whole batch."""
