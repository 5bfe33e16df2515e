// Tiles: which are needed, in which order they are asked for, and which are kept.

const MOST_KEPT = 400; // tiles of 256 x 256: 100 MiB of pixels
const AT_ONCE = 4; // requests that wait for the server
const PAUSE = 1000; // milliseconds, where nobody answers

export class Tiles {
  /**
   * @param {object} state What the server shows.
   * @param {() => void} changed Called when a tile has come.
   */
  constructor(state, changed) {
    this.state = state;
    this.changed = changed;
    this.kept = new Map(); // key -> ImageBitmap, the one used last at the end
    this.asked = new Map(); // key -> AbortController
    this.failed = new Set();
    this.gone = false; // whether nobody answered the last request
    this.later = null; // the timer of the next one, then
    this.wanted = []; // keys, the most urgent first
    this.milliseconds = null; // of the last tile that was rendered
  }

  /** The scale of a level: a level is a part of an octave. */
  scale(level) {
    return 2 ** (level / this.state.steps);
  }

  /** Width and height of an image at a level; those of `size_at` in the server. */
  size(image, level) {
    const { width, height } = this.state.images[image];
    const scale = this.scale(level);
    return [Math.max(1, halfToEven(width * scale)), Math.max(1, halfToEven(height * scale))];
  }

  static key(image, method, level, row, col) {
    return `${image}/${encodeURIComponent(method)}/${level}/${row}/${col}`;
  }

  /** A tile that is there, or undefined. */
  get(key) {
    const found = this.kept.get(key);
    if (found) { // it is the one used last now
      this.kept.delete(key);
      this.kept.set(key, found);
    }
    return found;
  }

  /** Ask for tiles, the most urgent first; what is no longer wanted is not waited for. */
  want(keys) {
    this.wanted = keys.filter((key) => !this.kept.has(key) && !this.failed.has(key));
    const wanted = new Set(this.wanted);
    for (const [key, controller] of this.asked) {
      if (!wanted.has(key)) {
        controller.abort();
        this.asked.delete(key);
      }
    }
    this.next();
  }

  get waiting() {
    return this.wanted.filter((key) => !this.kept.has(key) && !this.failed.has(key)).length;
  }

  next() {
    if (this.later) return;
    for (const key of this.wanted) {
      if (this.asked.size >= AT_ONCE) return;
      if (!this.asked.has(key) && !this.kept.has(key) && !this.failed.has(key)) this.ask(key);
    }
  }

  async ask(key) {
    const controller = new AbortController();
    this.asked.set(key, controller);
    try {
      const answer = await fetch(`tile/${key}.png`, { signal: controller.signal });
      this.gone = false;
      if (!answer.ok) throw new Error(`${answer.status}`);
      const options = { colorSpaceConversion: 'none', premultiplyAlpha: 'none' };
      const bitmap = await createImageBitmap(await answer.blob(), options);
      this.milliseconds = Number(answer.headers.get('x-milliseconds'));
      this.keep(key, bitmap);
    } catch (error) {
      if (error instanceof TypeError) this.gone = true; // nobody answered: asked for again
      else if (error.name !== 'AbortError') this.failed.add(key);
    }
    if (this.asked.get(key) === controller) this.asked.delete(key);
    if (this.gone && !this.later) {
      this.later = setTimeout(() => {
        this.later = null;
        this.next();
      }, PAUSE);
    }
    this.changed();
    this.next();
  }

  keep(key, bitmap) {
    this.kept.get(key)?.close();
    this.kept.set(key, bitmap);
    for (const [old, tile] of this.kept) {
      if (this.kept.size <= MOST_KEPT) return;
      tile.close();
      this.kept.delete(old);
    }
  }
}

/** Rounding as Python's: halves to the even number. */
function halfToEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}
