// Zoom and swipe, in all panels at once: they show the same place.

const MAX_ZOOM = 12;
const SWIPE_PX = 45;

/** @typedef {{ k: number, x: number, y: number }} Zoom scale, and the top left corner as a share of the frame, 0 to 1 - k */
/** @typedef {[number, number]} Point shares of a frame's width and height */

/**
 * Zoom by wheel, two fingers, drag and double click on the frames; `swipe(step)` browses.
 * @param {HTMLElement} root @param {HTMLElement[]} frames @param {(step: number) => void} swipe
 */
export function makeZoom(root, frames, swipe) {
  /** @type {Zoom} */
  const view = { k: 1, x: 0, y: 0 };
  /** @type {Map<number, Point>} */
  const touches = new Map();
  /** @type {PointerEvent | null} */
  let began = null;

  function apply() {
    view.k = Math.min(Math.max(view.k, 1), MAX_ZOOM);
    view.x = Math.min(Math.max(view.x, 1 - view.k), 0);
    view.y = Math.min(Math.max(view.y, 1 - view.k), 0);
    root.style.setProperty('--zoom', String(view.k));
    root.style.setProperty('--zoom-x', `${100 * view.x}%`);
    root.style.setProperty('--zoom-y', `${100 * view.y}%`);
    root.classList.toggle('gs-zoomed', view.k > 1);
  }

  /** Scale by `factor` round a point of the frame. @param {number} factor @param {Point} [point] */
  function scale(factor, [px, py] = [0.5, 0.5]) {
    const k = Math.min(Math.max(view.k * factor, 1), MAX_ZOOM);
    view.x = px - (px - view.x) * k / view.k;
    view.y = py - (py - view.y) * k / view.k;
    view.k = k;
    apply();
  }

  /** Move the picture by shares of the frame. @param {number} x @param {number} y */
  function pan(x, y) {
    view.x += x;
    view.y += y;
    apply();
  }

  const reset = () => { view.k = 1; apply(); };

  /** @param {HTMLElement} frame @param {MouseEvent} event @returns {Point} */
  const at = (frame, event) => {
    const box = frame.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const scrolls = () => document.documentElement.scrollHeight > window.innerHeight + 1;

  /** @param {HTMLElement} frame @param {PointerEvent} event */
  function move(frame, event) {
    const before = touches.get(event.pointerId);
    if (!before) return;
    const now = at(frame, event);
    const other = [...touches].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      /** @param {Point} p */
      const gap = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
      scale(gap(now) / Math.max(gap(before), 1e-3), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
      began = null;
    }
    touches.set(event.pointerId, now);
    pan((now[0] - before[0]) / (other ? 2 : 1), (now[1] - before[1]) / (other ? 2 : 1));
  }

  /** @param {PointerEvent} event */
  function up(event) {
    touches.delete(event.pointerId);
    if (!began || event.type !== 'pointerup' || view.k > 1 || event.pointerType === 'mouse') return;
    const x = event.clientX - began.clientX, y = event.clientY - began.clientY;
    if (Math.abs(x) > SWIPE_PX && Math.abs(x) > 2 * Math.abs(y)) swipe(x < 0 ? 1 : -1);
  }

  for (const frame of frames) {
    frame.addEventListener('wheel', event => {
      if (scrolls() && !event.ctrlKey && view.k === 1) return; // the wheel belongs to the page
      event.preventDefault();
      scale(Math.exp(-event.deltaY / 300), at(frame, event));
    }, { passive: false });
    frame.addEventListener('dblclick', event => { if (view.k > 1) reset(); else scale(4, at(frame, event)); });
    frame.addEventListener('pointerdown', event => {
      touches.set(event.pointerId, at(frame, event));
      began = touches.size === 1 ? event : null;
      frame.setPointerCapture(event.pointerId);
    });
    frame.addEventListener('pointermove', event => move(frame, event));
    frame.addEventListener('pointerup', up);
    frame.addEventListener('pointercancel', up);
  }
  return { scale, pan, reset, get zoom() { return view.k; }, get view() { return view; } };
}
