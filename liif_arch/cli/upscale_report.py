"""What `basicsr upscale` says of each result: a line for people, or a JSON object for programs."""

import json
import sys
from typing import NamedTuple

from liif_arch.cli.upscale_jobs import Job
from liif_arch.progress import write_line


class Outcome(NamedTuple):
    """What became of a job.

    Attributes:
        source, result: Sizes (h, w) of what was read and written.
        weights: The weights' name or file.
        said: Which these are and why, in words; nothing where they were named.
        seconds: It took, with reading and writing.
        frames: Of a film; None of an image.
        made: Of these, how many were made in that time.
        notes: What a person has to know, in words.
    """

    source: tuple[int, int]
    result: tuple[int, int]
    weights: str
    said: str
    seconds: float
    frames: int | None = None
    made: int = 0
    notes: tuple[str, ...] = ()


class Report:
    """Tells of jobs, one by one.

    Args:
        as_json: Whether for programs.
        aside: Whether standard output is the picture's; then lines go to standard error.
    """

    def __init__(self, as_json: bool, aside: bool) -> None:
        self.as_json, self.stream = as_json, sys.stderr if aside else sys.stdout

    def done(self, job: Job, outcome: Outcome) -> None:
        """A result is there."""
        (h, w), (height, width) = outcome.source, outcome.result
        if self.as_json:
            facts = {
                'source_size': [w, h],
                'size': [width, height],
                'weights': outcome.weights,
                'why': outcome.said,
                'seconds': round(outcome.seconds, 3),
                'notes': list(outcome.notes),
            }
            if outcome.frames is not None:
                facts['frames'] = outcome.frames
            self._object(job, facts)
            return
        parts = [f'{job.result}  {w}x{h} -> {width}x{height} (width x height)']
        if outcome.frames is not None:
            rate = outcome.made / max(1e-9, outcome.seconds)
            parts.append(f'{outcome.frames} frame(s), {rate:.1f} a second')
        if outcome.said:
            parts.append(outcome.said)
        self._line('; '.join([*parts, *outcome.notes]))

    def failed(self, job: Job, error: Exception) -> None:
        """A job could not be done, and others go on."""
        if self.as_json:
            self._object(job, {'error': str(error)})
        else:
            write_line(f'basicsr upscale: {error}', sys.stderr)

    def single_failed(self, job: Job, error: Exception) -> None:
        """The only job could not be done; for people, the command's last line says it."""
        if self.as_json:
            self._object(job, {'error': str(error)})

    def skipped(self, job: Job) -> None:
        """A result exists; for people there is a line for all of these."""
        if self.as_json:
            self._object(job, {'skipped': True})

    def _object(self, job: Job, facts: dict) -> None:
        what = {'source': str(job.source), 'result': str(job.result)}
        if job.page is not None:
            what['page'] = job.page + 1
        self._line(json.dumps(what | facts, ensure_ascii=False))

    def _line(self, text: str) -> None:
        write_line(text, self.stream)
        self.stream.flush()
