"""Samples by address: each depends on (seed, epoch, repeat, index) alone, whatever the number of
workers, processes and restarts.

BasicSR seeds its workers without the epoch, so each epoch repeats the augmentations of the first,
and a resumed epoch starts again at its first sample. Here an index says which draw it stands for
(`SampleIndex`), the sampler knows where in its epoch an iteration stands (`AddressedSampler`), and
a dataset is asked so that it draws by that address (`SampleSet`), which also names samples that
cannot be made, and leaves them out if asked.
"""

import zlib
from collections.abc import Iterator, Mapping

import torch
from basicsr.data.data_sampler import EnlargedSampler
from torch.utils.data import Dataset

from liif_arch.config.registries import dataset_options
from liif_arch.errors import UserError, require_whole, suggest
from liif_arch.training import randomness

OPTIONS = ('on_bad_sample', 'most_bad_samples')
FAULTS = 2**16  # that are told apart, by checksums of their texts
ON_BAD_SAMPLE = ('raise', 'skip')


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
        drawn = torch.randperm(self.total_size, generator=order)
        if self.epoch == epoch:
            drawn = drawn[consumed:]
        whole = len(drawn) // self.num_replicas * self.num_replicas
        for i in drawn[self.rank : whole : self.num_replicas].tolist():
            repeat, index = divmod(i, len(self.dataset))
            yield SampleIndex(index, self.epoch, repeat)


class SampleSet(Dataset):
    """A dataset as a run draws from it.

    Of a dataset that draws from Python's, NumPy's or PyTorch's global generators (BasicSR's do)
    they are seeded from (seed, epoch, repeat, index) for each sample, so that neither workers nor
    restarts change a sample.

    Options (of `datasets.train`):
        on_bad_sample: raise (default), or skip: the next sample takes its place, with a line that
            names the bad one.
        most_bad_samples: Number of different samples that are skipped above which the run stops,
            however often each of them comes up. Default 100.

    Raises:
        UserError: An option that cannot work; from `__getitem__`: a sample that cannot be made,
            named.
    """

    def __init__(self, dataset: Dataset, opt: Mapping) -> None:
        self.dataset, self.seed, self.opt = dataset, opt.get('seed') or 0, opt
        self.skip = require_choice(opt) == 'skip' and opt['phase'] == 'train'
        self.most_bad = opt.get('most_bad_samples', 100)
        require_whole(least=0, most_bad_samples=self.most_bad)
        # Which faults were met, by their texts, which name a file; all workers see the same.
        self.bad = torch.zeros(FAULTS, dtype=torch.bool).share_memory_()

    def __getattr__(self, name: str):
        if name == 'dataset':  # not there yet, while it is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        for step in range(len(self)):
            place = (index + step) % len(self)
            try:
                return self._sample(SampleIndex(place, *_draw(index)))
            except UserError as error:
                if not self.skip:
                    raise
                self._skip(error)
        raise UserError(f'{self.opt["name"]}: none of its {len(self)} samples can be made.')

    def _sample(self, index: int) -> dict:
        try:
            if getattr(self.dataset, 'addressed', False):
                return self.dataset[index]
            with randomness.seeded(self.seed, *_draw(index), int(index)):
                return self.dataset[index]
        except UserError:
            raise
        except Exception as error:  # whatever a stranger's dataset meets in a file
            raise self._as_user_error(error, index) from error

    def _as_user_error(self, error: Exception, index: int) -> UserError:
        """What a stranger's dataset raised, in a line: an option that is missing, or a bad
        sample.
        """
        kind = type(self.dataset)
        if isinstance(error, KeyError) and error.args:
            missing = error.args[0]
            if missing not in self.opt and missing in [*dataset_options(kind)]:
                return UserError(f'missing; {kind.__name__} reads it.', key=str(missing))
        skip = ''
        if self.opt['phase'] == 'train':
            skip = ', or set on_bad_sample: skip'
        return UserError(
            f'{name_of(self.dataset, int(index))}: this sample of {self.opt["name"]} '
            f'cannot be made ({type(error).__name__}: {error}); replace or remove '
            f'it{skip}.'
        )

    def _skip(self, error: UserError) -> None:
        """Say once of each fault that a sample is skipped; raise UserError where they are too many.

        One file may spoil many samples, where these are drawn of several folders or mixed.
        """
        from basicsr.utils import get_root_logger

        fault = zlib.crc32(str(error).encode()) % FAULTS
        if self.bad[fault]:
            return
        self.bad[fault] = True
        number = int(self.bad.sum())
        get_root_logger().warning(f'Sample {number} that is skipped: {error}')
        if number > self.most_bad:
            raise UserError(
                f'{self.opt["name"]}: {number} samples were skipped, and most_bad_samples is '
                f'{self.most_bad}; the last: {error}'
            )


def require_choice(opt: Mapping) -> str:
    """The option `on_bad_sample`."""
    choice = opt.get('on_bad_sample', 'raise')
    if choice not in ON_BAD_SAMPLE:
        raise UserError(f'on_bad_sample: found {choice!r}; {suggest(choice, ON_BAD_SAMPLE)}')
    return choice


def _draw(index: int) -> tuple[int, int]:
    """Epoch and repeat that an index stands for; of a plain int the first of both."""
    return getattr(index, 'epoch', 0), getattr(index, 'repeat', 0)


def name_of(dataset: Dataset, index: int) -> str:
    """The files of a sample: BasicSR's paired datasets list them in `paths`."""
    paths = getattr(dataset, 'paths', None)
    if not isinstance(paths, (list, tuple)) or index >= len(paths):
        return f'number {index}'
    entry = paths[index]
    if isinstance(entry, dict):
        return ', '.join(map(str, entry.values()))
    return str(entry)
