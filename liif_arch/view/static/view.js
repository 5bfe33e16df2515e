// The page: what is looked at, how it is drawn, and what is said of it.

import { Tiles } from './tiles.js';
import { listen, slide } from './gestures.js';

const state = await (await fetch('state.json')).json();
const $ = (id) => document.getElementById(id);
const canvas = $('canvas');
const context = canvas.getContext('2d', { alpha: false, willReadFrequently: true });

// The picture's point (x, y), in its pixels, lies in the window's middle; `zoom` is the level that
// is asked for, a fraction of which is animated, and `level` the whole one that is rendered.
const view = { image: 0, x: 0, y: 0, zoom: 0, level: 0, split: 0.5, left: '', right: '' };
const tiles = new Tiles(state, () => redraw());
const LEAST = 0.1; // of a level: a step that is meant
let carried = 0;
let planned = false;
let settled = null;

function shown() { return state.images[view.image]; }
function scale() { return tiles.scale(view.zoom); }

function redraw() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => { planned = false; draw(); });
}

function fitLevel() {
  const { width, height } = shown();
  const fits = Math.min(canvas.width / width, canvas.height / height);
  return Math.floor(state.steps * Math.log2(fits) + 1e-9);
}

function lowest() { return Math.min(0, fitLevel()); }

function limit() {
  view.zoom = Math.min(state.highest, Math.max(lowest(), view.zoom));
  view.x = Math.min(shown().width, Math.max(0, view.x));
  view.y = Math.min(shown().height, Math.max(0, view.y));
}

// Where the top-left corner of the picture lies, in whole pixels of the canvas.
function corner(level) {
  const { width, height } = shown();
  const [full, tall] = tiles.size(view.image, level);
  return [Math.round(canvas.width / 2 - view.x * full / width),
    Math.round(canvas.height / 2 - view.y * tall / height)];
}

// Rows and columns of the tiles of a level that the window shows, the middle ones first.
function visible(level) {
  const [left, top] = corner(level);
  const [full, tall] = tiles.size(view.image, level);
  const range = (start, end, length) => [Math.max(0, Math.floor(start / state.tile)),
    Math.min(Math.ceil(length / state.tile), Math.ceil(end / state.tile))];
  const [firstRow, lastRow] = range(-top, canvas.height - top, tall);
  const [firstCol, lastCol] = range(-left, canvas.width - left, full);
  const found = [];
  for (let row = firstRow; row < lastRow; row++) {
    for (let col = firstCol; col < lastCol; col++) found.push([row, col]);
  }
  const away = ([row, col]) => Math.hypot((row + 0.5) * state.tile + top - canvas.height / 2,
    (col + 0.5) * state.tile + left - canvas.width / 2);
  return found.sort((one, other) => away(one) - away(other));
}

function key(method, level, row, col) {
  return Tiles.key(view.image, method, level, row, col);
}

// Coarse tiles first, so that there is something everywhere.
function want() {
  const base = Math.max(lowest(), Math.min(0, view.level));
  const keys = [];
  for (const level of view.level - base > 2 * state.steps ? [base, view.level] : [view.level]) {
    for (const [row, col] of visible(level)) {
      for (const method of new Set([view.left, view.right])) keys.push(key(method, level, row, col));
    }
  }
  tiles.want(keys);
}

function draw() {
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  const middle = Math.round(view.split * canvas.width);
  drawMethod(view.left, 0, middle);
  drawMethod(view.right, middle, canvas.width);
  tell();
}

function drawMethod(method, from, to) {
  if (to <= from) return;
  context.save();
  context.beginPath();
  context.rect(from, 0, to - from, canvas.height);
  context.clip();
  const [full, tall] = tiles.size(view.image, view.level);
  const [left, top] = corner(view.zoom);
  const exact = view.zoom === view.level;
  const levels = new Set([...tiles.kept.keys()].filter((name) => name.startsWith(
    `${view.image}/${encodeURIComponent(method)}/`)).map((name) => Number(name.split('/')[2])));
  levels.delete(view.level);
  // Those further away lie below; the level itself above all.
  const distance = (level) => Math.abs(level - view.level);
  const order = [...levels].sort((one, other) => distance(other) - distance(one)).slice(-4);
  for (const level of [...order, view.level]) {
    const [levelWidth, levelHeight] = tiles.size(view.image, level);
    const ratio = exact ? [full / levelWidth, tall / levelHeight]
      : [shown().width * scale() / levelWidth, shown().height * scale() / levelHeight];
    const plain = exact && level === view.level;
    context.imageSmoothingEnabled = !plain;
    for (const [row, col] of visible(level)) {
      const bitmap = tiles.get(key(method, level, row, col));
      if (!bitmap) continue;
      const x = left + col * state.tile * ratio[0], y = top + row * state.tile * ratio[1];
      if (plain) context.drawImage(bitmap, x, y);
      else context.drawImage(bitmap, x, y, bitmap.width * ratio[0], bitmap.height * ratio[1]);
    }
  }
  context.restore();
}

// ------------------------------------------------------------------------------------ what is said

function tell() {
  const value = scale();
  $('scale').textContent = `x${value >= 10 ? value.toFixed(1) : value.toFixed(2)}`;
  $('speed').textContent = tiles.milliseconds === null ? '' : `${tiles.milliseconds} ms a tile`;
  const toCome = tiles.waiting ? `${tiles.waiting} tiles to come` : '';
  $('busy').textContent = tiles.gone ? 'no answer: is basicsr view still running?' : toCome;
  document.body.dataset.failed = String(tiles.failed.size);
  document.body.dataset.ready = String(!tiles.waiting && view.zoom === view.level);
}

let asked = 0;
async function tellPsnr() {
  const number = ++asked;
  $('psnr').textContent = '';
  if (!shown().original) return;
  const [left, top] = corner(view.level);
  const [full, tall] = tiles.size(view.image, view.level);
  const part = [-top / tall, (canvas.height - top) / tall, -left / full,
    (canvas.width - left) / full].map((share) => Math.min(1, Math.max(0, share)));
  const pixels = (part[1] - part[0]) * (part[3] - part[2]) * shown().original;
  if (pixels > state.compared) {
    $('psnr').textContent = 'PSNR: zoom in';
    return;
  }
  const told = [];
  for (const method of new Set([view.left, view.right])) {
    if (method === 'original') continue;
    const path = `psnr/${view.image}/${encodeURIComponent(method)}?part=${part.join(',')}`;
    const answer = await fetch(path).catch(() => null);
    if (!answer?.ok) return;
    const { psnr } = await answer.json();
    if (number !== asked) return; // one has looked elsewhere since
    if (psnr !== null) told.push(`${method} ${psnr.toFixed(2)} dB`);
  }
  $('psnr').textContent = told.join(', ');
}

function hover(x, y) {
  const ratio = canvas.width / window.innerWidth;
  const [left, top] = corner(view.zoom);
  const px = (x * ratio - left) / scale(), py = (y * ratio - top) / scale();
  const inside = px >= 0 && py >= 0 && px < shown().width && py < shown().height;
  if (!inside) {
    $('cursor').textContent = '';
    return;
  }
  const [red, green, blue] = context.getImageData(x * ratio, y * ratio, 1, 1).data;
  $('cursor').textContent = `y ${py.toFixed(2)}  x ${px.toFixed(2)}  rgb ${red} ${green} ${blue}`;
  $('swatch').style.background = `rgb(${red} ${green} ${blue})`;
}

// ------------------------------------------------------------------------------------ what is done

// The whole level nearest to what was asked for is rendered; the zoom comes to rest on it. What
// was asked for is another level than before, however small the step of a wheel is.
function settle() {
  clearTimeout(settled);
  settled = setTimeout(() => {
    const change = view.zoom - view.level + carried;
    const whole = Math.abs(change) < 1 ? Math.sign(change) * (Math.abs(change) > LEAST)
      : Math.round(change);
    carried = whole ? 0 : change; // what is too little for a step adds up
    view.zoom = view.level += whole;
    limit();
    view.level = view.zoom;
    want();
    redraw();
    tellPsnr();
  }, 120);
}

function zoom(factor, x = window.innerWidth / 2, y = window.innerHeight / 2) {
  const ratio = canvas.width / window.innerWidth;
  const away = [x * ratio - canvas.width / 2, y * ratio - canvas.height / 2];
  const before = scale();
  view.zoom += state.steps * Math.log2(factor);
  limit();
  view.x += away[0] / before - away[0] / scale();
  view.y += away[1] / before - away[1] / scale();
  limit();
  redraw();
}

function move(dx, dy) {
  const ratio = canvas.width / window.innerWidth;
  view.x -= dx * ratio / scale();
  view.y -= dy * ratio / scale();
  limit();
  want();
  redraw();
}

function to(level) {
  view.zoom = view.level = level;
  limit();
  view.level = view.zoom;
  want();
  redraw();
  tellPsnr();
}

function fit() {
  view.x = shown().width / 2;
  view.y = shown().height / 2;
  to(fitLevel());
}

function split(share) {
  view.split = Math.min(1, Math.max(0, share));
  $('divider').style.left = `${view.split * 100}%`;
  $('divider').setAttribute('aria-valuenow', Math.round(view.split * 100));
  redraw();
}

function choose(left, right) {
  [view.left, view.right] = [left, right];
  $('left').value = left;
  $('right').value = right;
  to(view.level);
}

function open(number) {
  view.image = (number + state.images.length) % state.images.length;
  const { methods, name } = shown();
  document.title = `${name} - basicsr view`;
  for (const id of ['left', 'right']) {
    $(id).replaceChildren(...methods.map((method) => new Option(method, method)));
  }
  [...$('images').children].forEach((button, index) => button.setAttribute('aria-current',
    index === view.image));
  const kept = (method, other) => (methods.includes(method) ? method : other);
  choose(kept(view.left, 'bicubic'), kept(view.right, methods[0]));
  fit();
}

function save() {
  canvas.toBlob((blob) => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = `${shown().name.replace(/\.[^.]*$/, '')}_${$('scale').textContent}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

function resize() {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(window.innerWidth * ratio);
  canvas.height = Math.round(window.innerHeight * ratio);
}

const step = 80; // CSS pixels of an arrow key
function nudge(dx, dy) {
  move(dx, dy);
  settle();
}

const keys = {
  '+': () => to(view.level + 2), '=': () => to(view.level + 2), '-': () => to(view.level - 2),
  0: fit, 1: () => to(0), x: () => choose(view.right, view.left), s: save,
  n: () => open(view.image + 1), p: () => open(view.image - 1),
  '[': () => split(view.split - 0.05), ']': () => split(view.split + 0.05),
  '?': () => $('keys').showModal(),
  ArrowLeft: () => nudge(step, 0), ArrowRight: () => nudge(-step, 0),
  ArrowUp: () => nudge(0, step), ArrowDown: () => nudge(0, -step),
};

state.images.forEach(({ name }, index) => {
  const button = document.createElement('button');
  const picture = new Image();
  picture.src = `thumbnail/${index}.png`;
  picture.alt = button.title = name;
  button.append(picture);
  button.addEventListener('click', () => open(index));
  $('images').append(button);
});
listen(canvas, { move, zoom, hover, settle });
slide($('divider'), split);
$('divider').addEventListener('keydown', (event) => {
  if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
    event.stopPropagation();
    split(view.split + (event.key === 'ArrowLeft' ? -0.02 : 0.02));
  }
});
for (const id of ['left', 'right']) {
  let byPointer = false; // by keys one goes through the list, which needs them
  $(id).addEventListener('pointerdown', () => { byPointer = true; });
  $(id).addEventListener('keydown', () => { byPointer = false; });
  $(id).addEventListener('change', () => {
    choose($('left').value, $('right').value);
    if (byPointer) canvas.focus();
  });
}
const buttons = { swap: 'x', fit: 0, one: 1, out: '-', in: '+', save: 's', help: '?' };
for (const [id, name] of Object.entries(buttons)) $(id).addEventListener('click', keys[name]);
window.addEventListener('keydown', (event) => {
  if (event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey) return;
  if ($('keys').open) return;
  keys[event.key]?.();
});
window.addEventListener('resize', () => { resize(); to(view.level); });
resize();
split(0.5);
open(0);
