"""What a run's datasets give: addressed randomness, errors that name the file, and bad samples left
out if asked.
"""

from collections.abc import Mapping

import torch
from torch.utils.data import Dataset

from liif_arch.config.registries import dataset_options
from liif_arch.errors import UserError, require_whole, suggest
from liif_arch.training import randomness
from liif_arch.training.sampler import SampleIndex

OPTIONS = ('on_bad_sample', 'most_bad_samples')
ON_BAD_SAMPLE = ('raise', 'skip')


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
        # Which samples were skipped; all workers see the same.
        self.bad = torch.zeros(len(dataset), dtype=torch.bool).share_memory_()

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
                self._skip(place, error)
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
        missing = error.args[0] if isinstance(error, KeyError) and error.args else None
        if missing not in self.opt and missing in [*dataset_options(type(self.dataset))]:
            return UserError(f'missing; {type(self.dataset).__name__} reads it.', key=str(missing))
        skip = ', or set on_bad_sample: skip' if self.opt['phase'] == 'train' else ''
        return UserError(
            f'{name_of(self.dataset, int(index))}: this sample of {self.opt["name"]} '
            f'cannot be made ({type(error).__name__}: {error}); replace or remove '
            f'it{skip}.'
        )

    def _skip(self, place: int, error: UserError) -> None:
        """Say once of each sample that it is skipped; raise UserError where they are too many."""
        from basicsr.utils import get_root_logger

        if self.bad[place]:
            return
        self.bad[place] = True
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
    return getattr(index, 'epoch', 0), getattr(index, 'repeat', 0)


def name_of(dataset: Dataset, index: int) -> str:
    """The files of a sample: BasicSR's paired datasets list them in `paths`."""
    paths = getattr(dataset, 'paths', None)
    entry = (
        paths[index]
        if isinstance(paths, (list, tuple)) and index < len(paths)
        else f'number {index}'
    )
    return ', '.join(map(str, entry.values())) if isinstance(entry, dict) else str(entry)
