// Pointers, wheel and keys as movements: what the hand does, in pixels of the canvas.

/**
 * @param {HTMLElement} element
 * @param {object} on move(dx, dy), zoom(factor, x, y) and hover(x, y), in CSS pixels.
 */
export function listen(element, on) {
  const held = new Map(); // pointer -> [x, y]
  element.addEventListener('pointerdown', (event) => {
    element.setPointerCapture(event.pointerId);
    held.set(event.pointerId, [event.clientX, event.clientY]);
    element.classList.add('held');
  });
  element.addEventListener('pointermove', (event) => {
    on.hover(event.clientX, event.clientY);
    const before = held.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    if (held.size === 1) on.move(now[0] - before[0], now[1] - before[1]);
    if (held.size === 2) {
      const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const distance = (at) => Math.max(1, Math.hypot(at[0] - other[0], at[1] - other[1]));
      const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
      on.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
      on.zoom(distance(now) / distance(before), ...middle);
    }
    held.set(event.pointerId, now);
  });
  const release = (event) => {
    held.delete(event.pointerId);
    if (!held.size) {
      element.classList.remove('held');
      on.settle();
    }
  };
  element.addEventListener('pointerup', release);
  element.addEventListener('pointercancel', release);
  document.addEventListener('wheel', (event) => { // on the line between the halves, too
    if (event.target.closest('header, dialog')) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    // Browsers tell of a pinch on a touchpad as of a wheel with Ctrl, and of its exponent.
    const factor = event.ctrlKey ? Math.exp(-event.deltaY / 100) : 2 ** (-event.deltaY * lines / 400);
    on.zoom(factor, event.clientX, event.clientY);
    on.settle();
  }, { passive: false });
  element.addEventListener('dblclick', (event) => {
    on.zoom(2, event.clientX, event.clientY);
    on.settle();
  });
}

/** Let a line be dragged; `moved` gets its place as a share of the window's width. */
export function slide(element, moved) {
  element.addEventListener('pointerdown', (event) => element.setPointerCapture(event.pointerId));
  element.addEventListener('pointermove', (event) => {
    if (element.hasPointerCapture(event.pointerId)) moved(event.clientX / window.innerWidth);
  });
}
