"""`basicsr upscale` at work: networks, one job after the other, progress over all of them."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import nn

from liif_arch.archs.self_ensemble import SelfEnsemble
from liif_arch.cli.networks import load_on
from liif_arch.cli.upscale_jobs import Job
from liif_arch.cli.upscale_report import Outcome, Report
from liif_arch.cli.upscale_sources import STANDARD
from liif_arch.cli.upscale_target import Shape, Target
from liif_arch.coordinates import scaled_size
from liif_arch.errors import UserError
from liif_arch.files.decoding import header_size
from liif_arch.files.formats import (
    HEAD,
    Format,
    content_format,
    format_of,
    lossless_extension,
    sniff,
)
from liif_arch.files.images import Picture, decode_picture, read_picture, require_unit_range
from liif_arch.files.lossy import lossy_format
from liif_arch.films.animation import enlarge_animation
from liif_arch.films.frames import Done, Enlarge
from liif_arch.films.kinds import is_video, require_film_name
from liif_arch.progress import progress_of_parts
from liif_arch.threads import use_threads
from liif_arch.upscaling.estimate import tell_long
from liif_arch.upscaling.upscale import upscale, upscale_to_file
from liif_arch.weights import DEFAULT, PHOTO

UNKNOWN_PIXELS = 10**6  # of a result whose source must be decoded to know
LONG_HEAD = 2**16  # bytes of a file by which its compression is told


class Choice(NamedTuple):
    """A network, its weights' name, and what is said of them; nothing where they were named."""

    net: nn.Module
    weights: str
    said: str


class Networks:
    """The networks that images are enlarged with, each loaded when the first image needs it.

    Args:
        args: The command's flags.
        network: The option `network_g` of `-opt`.
    """

    def __init__(self, args: argparse.Namespace, network: dict | None) -> None:
        use_threads(args.threads)
        self.args, self.network = args, network
        self.loaded: dict[str | float, nn.Module] = {}

    def for_image(self, lossy: str | None) -> Choice:
        """The network for an image.

        Args:
            lossy: The lossy format that the image is in.
        """
        args = self.args
        if args.weights is not None or self.network is not None:
            name = args.weights or DEFAULT
            return Choice(self._load(name), name, '')
        if args.strength is not None:
            said = f'strength {args.strength:g}'
            return Choice(self._load(args.strength), f'{DEFAULT} and {PHOTO}', said)
        if lossy is not None:
            return Choice(self._load(PHOTO), PHOTO, f'weights {PHOTO}, for {lossy}')
        return Choice(self._load(DEFAULT), DEFAULT, f'weights {DEFAULT}, for lossless files')

    def _load(self, which: str | float) -> nn.Module:
        """The network of some weights or of a strength, on the device and in the precision that
        the flags name.
        """
        if which in self.loaded:
            return self.loaded[which]
        net = load_on(which, self.args.device, self.args.precision, self.network)
        if self.args.ensemble:
            net = SelfEnsemble(net, self.args.ensemble).eval()
            net.precision = self.args.precision
        self.loaded[which] = net
        return net


def begin(networks: Networks, jobs: list[Job], target: Target, memory: float) -> list[int]:
    """Load the network of the first image, and say about how long all will take.

    Returns:
        Pixels of every result, from the sources' headers; 0 where these do not say.

    Raises:
        UserError: The network cannot be loaded.
    """
    pixels = _expected_pixels(jobs, target)
    if sum(pixels):
        first = next(job for job, count in zip(jobs, pixels, strict=True) if count)
        tell_long(_network_of(networks, first), sum(pixels), max(pixels), memory)
    return pixels


def upscale_all(
    networks: Networks,
    jobs: list[Job],
    pixels: list[int],
    target: Target,
    args: argparse.Namespace,
    report: Report,
) -> None:
    """Do every job, and name those that cannot be done; `pixels` is what `begin` returned.

    Raises:
        UserError: Some could not; of a single one, why.
    """
    failed = 0
    before, total = 0, sum(pixels) or len(jobs) * UNKNOWN_PIXELS
    with progress_of_parts('') as advance:
        for number, (job, count) in enumerate(zip(jobs, pixels, strict=True), 1):
            count = count or UNKNOWN_PIXELS
            label = f'{job.source.name} ({number}/{len(jobs)})'
            tell = _share(advance, label, before, count, max(total, before + count))
            try:
                _do(networks, job, target, args, tell, report)
            except UserError as error:
                if len(jobs) == 1:
                    report.single_failed(job, error)
                    raise
                failed += 1
                report.failed(job, error)
            before += count
    if failed:
        raise UserError(f'{failed} of {len(jobs)} images were left out, see above.')


def _share(
    advance: Callable[[int, int, str], None], label: str, before: int, count: int, total: int
) -> Callable[[int, int], None]:
    """Tells how much of all jobs is done, from how much of one is."""

    def tell(done: int, all_of_it: int) -> None:
        advance(before + done * count // max(1, all_of_it), total, label)

    return tell


def _expected_pixels(jobs: list[Job], target: Target) -> list[int]:
    """Pixels of every result, from the sources' headers; 0 where these do not say."""
    found = []
    for job in jobs:
        size = None
        if job.source != STANDARD and not job.moves:
            size = header_size(job.source)
        if size is None:
            found.append(0)
            continue
        try:
            height, width = _result_size(target, size, job.source)
        except UserError:  # the job says it
            height = width = 0
        found.append(height * width)
    return found


def _result_size(target: Target, full: tuple[int, int], name: Path) -> tuple[int, int]:
    """Output size (H, W) of an image (h, w), about, if a crop does not lie in it."""
    _, _, height, width = target.crop_of(full) or (0, 0, *full)
    shape = target.of_image((height, width), name)
    if shape.size is not None:
        return shape.size
    assert shape.scale is not None
    if target.crop is None:
        return scaled_size(full, shape.scale)
    return round(height * shape.scale[0]), round(width * shape.scale[1])


def _network_of(networks: Networks, job: Job) -> nn.Module:
    """The network that a job will use."""
    with open(job.source, 'rb') as file:
        return networks.for_image(lossy_format(file.read(LONG_HEAD))).net


def _do(
    networks: Networks,
    job: Job,
    target: Target,
    args: argparse.Namespace,
    progress: Callable[[int, int], None],
    report: Report,
) -> None:
    """Do a job, and tell of it."""
    start = time.perf_counter()
    if job.moves:
        done, choice = _do_film(networks, job, target, args, progress)
        seconds = time.perf_counter() - start
        report.done(
            job,
            Outcome(
                done.source,
                done.result,
                *choice[1:],
                seconds,
                done.frames,
                done.made,
                done.notes,
            ),
        )
        return
    picture, kind = _read(job, args.strict)
    if job.result == STANDARD:
        with tempfile.TemporaryDirectory() as folder:
            suffix = lossless_extension(kind)
            if args.format is not None:
                suffix = f'.{args.format.removeprefix(".")}'
            result = Path(folder) / f'image{suffix}'
            try:
                outcome = _do_image(networks, job, picture, result, target, args, progress, start)
            except UserError as error:
                raise UserError(str(error).replace(str(result), '-o -')) from None
            with open(result, 'rb') as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    else:
        outcome = _do_image(networks, job, picture, job.result, target, args, progress, start)
    report.done(job, outcome)


def _do_image(
    networks: Networks,
    job: Job,
    picture: Picture,
    result: Path,
    target: Target,
    args: argparse.Namespace,
    progress: Callable[[int, int], None],
    start: float,
) -> Outcome:
    image, metadata = picture
    if not metadata.linear:
        require_unit_range(image, str(job.source))
    full = (image.shape[0], image.shape[1])
    crop = target.crop_of(full)
    shape = target.of_image(crop[2:] if crop else full, job.source)
    choice = networks.for_image(metadata.lossy)
    size = upscale_to_file(
        choice.net,
        image,
        result,
        scale=shape.scale,
        size=shape.size,
        memory=args.memory,
        progress=progress,
        metadata=metadata,
        crop=crop,
        quality=args.quality,
    )
    notes = list(metadata.notes)
    lost = ', '.join(metadata.left_out(result.suffix))
    if lost:
        notes.append(f'not kept: {lost}')
    seconds = time.perf_counter() - start
    return Outcome(full, size, *choice[1:], seconds, notes=tuple(notes))


def _read(job: Job, strict: bool) -> tuple[Picture, Format | None]:
    """A job's image, and the format of its file; another one in the name is noted."""
    if job.source == STANDARD:
        data = sys.stdin.buffer.read()
        return decode_picture(data, 'standard input', strict), sniff(data[:HEAD])
    picture, kind = read_picture(job.source, strict, job.page), content_format(job.source)
    named = format_of(job.source)
    if kind is not None and named is not None and named.name != kind.name:
        said = f'its content is {kind.name}, whatever its name says'
        metadata = picture.metadata._replace(notes=(said, *picture.metadata.notes))
        picture = picture._replace(metadata=metadata)
    return picture, kind


def _do_film(
    networks: Networks,
    job: Job,
    target: Target,
    args: argparse.Namespace,
    progress: Callable[[int, int], None],
) -> tuple[Done, Choice]:
    """Enlarge a film or an animation; what became of it, and with which network."""
    require_film_name(job.source, job.result)
    if target.crop is not None:
        raise UserError('--crop: found it with a film or animation; it is of single pictures.')
    with open(job.source, 'rb') as file:
        lossy = 'films' if is_video(job.source) else lossy_format(file.read())
    choice = networks.for_image(lossy)

    def size_of(full: tuple[int, int]) -> tuple[int, int]:
        shape: Shape = target.of_image(full, job.source)
        return shape.size or scaled_size(full, shape.scale)

    def enlarge_to(size: tuple[int, int]) -> Enlarge:
        return lambda frame: upscale(choice.net, frame, size=size, memory=args.memory)

    if not is_video(job.result):
        done = enlarge_animation(
            job.source,
            job.result,
            lambda frame: enlarge_to(size_of(frame.shape[:2]))(frame),
            args.quality,
            progress,
        )
        return done, choice
    from liif_arch.films.video import enlarge_film

    settings = repr((choice.net.digest(), args.precision, args.ensemble, args.strength))
    done = enlarge_film(
        job.source, job.result, size_of, enlarge_to, settings, args.quality, progress
    )
    return done, choice
