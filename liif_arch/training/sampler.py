"""Remedies 4 and 5: every sample is drawn from its address, whatever the number of workers, ranks
and restarts.

BasicSR seeds its workers without the epoch, so each epoch repeats the augmentations of the first,
and a resumed epoch starts again at its first sample. Here an index says which draw it stands for,
and the sampler knows where in its epoch an iteration stands.
"""

from collections.abc import Iterator

import torch
from basicsr.data.data_sampler import EnlargedSampler


class SampleIndex(int):
    """An index into a dataset, with the epoch, and the how manyth draw of it in that epoch, it
    stands for.

    It is an int for every dataset that does not ask; it is pickled with these two on its way to a
    worker.
    """

    epoch: int
    repeat: int

    def __new__(cls, index: int, epoch: int = 0, repeat: int = 0) -> 'SampleIndex':
        self = super().__new__(cls, index)
        self.epoch, self.repeat = epoch, repeat
        return self

    def __reduce__(self):
        return SampleIndex, (int(self), self.epoch, self.repeat)


class AddressedSampler(EnlargedSampler):
    """BasicSR's sampler, in its own order, yielding `SampleIndex` from any place in an epoch.

    Every rank draws every how manyth sample of one list, so that a batch of all ranks together is
    the same for any number of them. What is left over at an epoch's end is not drawn (BasicSR
    repeats samples to fill it up).
    """

    def __init__(self, dataset, num_replicas: int, rank: int, ratio: int = 1) -> None:
        super().__init__(dataset, num_replicas, rank, ratio)
        self.total_size = len(dataset) * ratio
        self.num_samples = self.total_size // num_replicas
        self.start_at(0, 0, 0)

    def start_at(self, iteration: int, epoch: int, consumed: int) -> None:
        """Go on after `iteration` iterations, in an epoch of which all ranks together have drawn
        `consumed` samples.
        """
        self._start = iteration, epoch, min(consumed, self.total_size)

    def position(self, iteration: int, batch: int) -> tuple[int, int]:
        """Epoch, and samples of it drawn by all ranks, after an iteration of this run; `batch`: of
        all ranks.
        """
        begun, epoch, consumed = self._start
        done, first = iteration - begun, (self.total_size - consumed) // batch
        if done <= first:
            return epoch, consumed + done * batch
        epochs, rest = divmod(done - first - 1, self.total_size // batch)
        return epoch + 1 + epochs, (rest + 1) * batch

    def __iter__(self) -> Iterator[SampleIndex]:
        order = torch.Generator()
        order.manual_seed(self.epoch)
        _, epoch, consumed = self._start
        drawn = torch.randperm(self.total_size, generator=order)[
            consumed if self.epoch == epoch else 0 :
        ]
        whole = len(drawn) // self.num_replicas * self.num_replicas
        for i in drawn[self.rank : whole : self.num_replicas].tolist():
            repeat, index = divmod(i, len(self.dataset))
            yield SampleIndex(index, self.epoch, repeat)
