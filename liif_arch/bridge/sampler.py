"""Remedy 5: every epoch draws its own samples, whatever the number of workers and ranks.

BasicSR seeds its workers without the epoch, so each epoch repeats the augmentations of the first. Here an index says
which draw it stands for, and a dataset addresses its randomness by (seed, epoch, repeat, index).
"""
from collections.abc import Iterator

import torch
from basicsr.data.data_sampler import EnlargedSampler


class SampleIndex(int):
    """An index into a dataset, with the epoch, and the how manyth draw of it in that epoch, it stands for.

    It is an int for every dataset that does not ask; it is pickled with these two on its way to a worker.
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
    """BasicSR's sampler, in its own order, yielding `SampleIndex`."""

    def __iter__(self) -> Iterator[SampleIndex]:
        order = torch.Generator()
        order.manual_seed(self.epoch)
        for i in torch.randperm(self.total_size, generator=order).tolist()[self.rank::self.num_replicas]:
            repeat, index = divmod(i, len(self.dataset))
            yield SampleIndex(index, self.epoch, repeat)
