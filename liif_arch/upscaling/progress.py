"""How much of an image is done, told by the time that its parts take."""

import time
from collections.abc import Callable


class Progress:
    """How much of an image is done, in output pixels, by the time that its parts have taken so far.

    Encoding a window, and making ready to render a part of it, takes time without a pixel to show
    for it. What both kinds of work have taken per input and per output pixel says how long the rest
    of both will take; before both are known, nothing is told to be done.

    Args:
        callback: Called with (output pixels done, all), first with none done and last with all; a
            pixel counts once for each pass through the network. None: nobody asks.
        outputs: Output pixels of all passes.
        inputs: Input pixels that are encoded in all passes, windows' margins included.
    """

    def __init__(
        self, callback: Callable[[int, int], None] | None, outputs: int, inputs: int
    ) -> None:
        self.callback, self.outputs, self.inputs = callback, outputs, inputs
        self.encoded_inputs = self.rendered_outputs = 0
        self.preparing = self.rendering = 0.0  # seconds
        self.timed_outputs = 0  # those that `rendering` was spent on
        self.parts, self.part_begins = 0, False
        self.reported, self.last = 0, time.perf_counter()
        if callback:
            callback(0, outputs)

    def encoded(self, pixels: int) -> None:
        """So many input pixels have been encoded since the last call of any kind."""
        self.preparing += self._seconds()
        self.encoded_inputs += pixels

    def begin_part(self) -> None:
        """A part is going to be rendered: its first block takes longer than its others."""
        self.preparing += self._seconds()
        self.parts, self.part_begins = self.parts + 1, True

    def rendered(self, pixels: int) -> None:
        """So many output pixels have been rendered since the last call of any kind."""
        seconds = self._seconds()
        if self.part_begins:
            self.preparing += seconds
        else:
            self.rendering += seconds
            self.timed_outputs += pixels
        self.part_begins = False
        self.rendered_outputs += pixels
        if self.callback:
            self.reported = max(self.reported, int(self.outputs * self._share()))
            self.callback(self.reported, self.outputs)

    def _seconds(self) -> float:
        """Since the last call."""
        before, self.last = self.last, time.perf_counter()
        return self.last - before

    def _share(self) -> float:
        """Seconds spent, of all that it will take, as a number from 0 to 1."""
        if self.rendered_outputs == self.outputs:
            return 1
        if not self.timed_outputs and self.parts > 1:
            return self.rendered_outputs / self.outputs  # a block for each part: on GPUs
        if not self.timed_outputs:
            return 0
        spent = self.preparing + self.rendering
        left = (self.outputs - self.rendered_outputs) * self.rendering / self.timed_outputs
        if self.encoded_inputs:
            left += (self.inputs - self.encoded_inputs) * self.preparing / self.encoded_inputs
        if not left:
            return 1
        return spent / (spent + left)
