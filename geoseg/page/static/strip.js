// The set at a glance: small pictures in the order in which they are browsed.

import { fill } from './colours.js';
import { el, plural } from './dom.js';
import { bytesOf } from './numbers.js';
import { orderOf, placeOf, setOf } from './state.js';

/** @typedef {import('./types.js').State} State */
/** @typedef {{ names: string[], wells: (number | null)[], notes: string[], count: number, labelled: number, label: string }} SetList */

const NO_SET = { names: [], wells: [], notes: [], count: 0, labelled: 0, label: '' };

/**
 * What the strip needs of the viewer: `jump(index)` shows a patch, `paint()` repaints, `wanted(key)`
 * asks for an order that is not known yet, `listed()` hears that the set has been listed.
 * @typedef {Object} StripHost
 * @property {State} state
 * @property {import('./types.js').Facts} facts
 * @property {ReturnType<typeof import('./transport.js').makeTransport>} transport
 * @property {ReturnType<typeof import('./orders.js').makeSetScores>} scores
 * @property {(index: number) => void} jump
 * @property {() => void} paint
 * @property {(key: string) => void} wanted
 * @property {() => void} listed
 */

/** @param {string} value @param {string} text */
const option = (value, text) => Object.assign(el('option', '', text), { value });

/** @param {string} name @param {string} label */
function choice(name, label) {
  const select = /** @type {HTMLSelectElement} */ (el('select'));
  select.name = name;
  select.setAttribute('aria-label', label);
  return select;
}

/**
 * Make the strip: `load()` fetches the list of the set in force, `reorder()` applies order and well,
 * `follow()` keeps the patch that is shown in sight, `redraw()` repaints the marks.
 * @param {StripHost} host
 */
export function makeStrip(host) {
  const { state, facts, scores, transport } = host;
  const node = el('div', 'gs-strip'), film = el('div', 'gs-film'), reel = el('div', 'gs-reel');
  const sort = choice('sort', 'Order of the patches'), well = choice('well', 'Wells that are shown');
  const order = el('div', 'gs-order');
  film.tabIndex = 0;
  for (const [key, value] of Object.entries({ role: 'listbox', 'aria-orientation': 'horizontal', 'aria-label': 'Patches' })) {
    film.setAttribute(key, value);
  }
  reel.setAttribute('role', 'none');
  order.append(sort, well);
  film.append(reel);
  node.append(order, film);

  // Kept, as a question for them in the middle of painting makes the browser lay out the page at once.
  let size = 50, left = 0, room = 0;
  /** @type {Map<number, HTMLElement>} */
  const cells = new Map();
  /** @type {Map<number, Uint8Array | null>} */
  const pictures = new Map();
  /** @type {SetList} */
  let list = NO_SET;
  let busy = false, set = '', shown = '';

  const length = () => (state.order ? state.order.length : list.count);
  /** @param {number} place */
  const indexAt = place => (state.order ? state.order[place] : place);
  const ways = () => (list.names.length ? scores.orders(list.labelled > 0) : []);

  function fillChoices() {
    sort.replaceChildren(option('file', 'Order of the files'));
    /** @type {Map<string, HTMLElement>} */
    const groups = new Map();
    for (const { key, label, values, group } of ways()) {
      if (group && !groups.has(group)) groups.set(group, sort.appendChild(Object.assign(document.createElement('optgroup'), { label: group })));
      (groups.get(group) || sort).appendChild(option(key, label)).classList.toggle('gs-unknown', !values);
    }
    const wells = [...new Set(list.wells)].sort((a, b) => (a ?? Infinity) - (b ?? Infinity));
    well.replaceChildren(option('all', 'Every well'), ...wells.map(k => option(String(k), k === null ? 'Without a well' : `Well ${k}`)));
    well.hidden = wells.length < 2;
    if (![...well.options].some(o => o.value === state.well)) state.well = 'all';
    if (![...sort.options].some(o => o.value === state.sort)) state.sort = 'file';
    sort.value = state.sort;
    well.value = state.well;
  }

  function reorder() {
    const way = ways().find(w => w.key === state.sort);
    well.value = state.well;
    if (way && !way.values) host.wanted(way.key);
    state.order = orderOf(list.count, way ? way.values : null, i => state.well === 'all' || String(list.wells[i]) === state.well);
    sort.value = state.sort; // which the question for it may have changed
    shown = '';
    if (state.order && state.order.length && placeOf(state) < 0) host.jump(state.order[0]); else host.paint();
  }

  function load() {
    const wanted = JSON.stringify(setOf(state));
    if (wanted === set) return;
    set = wanted;
    scores.forget();
    pictures.clear();
    list = NO_SET;
    busy = true;
    transport.call('browse', setOf(state), answer => {
      busy = false;
      if (set !== wanted) return;
      if (!answer) { set = ''; return; } // it was refused; the next patch asks again
      list = answer;
      host.listed();
      fillChoices();
      reorder();
    });
  }

  /** @param {number[]} indices */
  function fetchPictures(indices) {
    const missing = indices.filter(i => !pictures.has(i)).slice(0, facts.thumbnails.most);
    if (busy || !missing.length) return;
    busy = true;
    const wanted = set;
    transport.call('browse', { ...setOf(state), indices: missing }, answer => {
      busy = false;
      if (set !== wanted || !answer) return;
      const bytes = bytesOf(answer.pictures), area = facts.thumbnails.side ** 2;
      missing.forEach(i => pictures.set(i, null)); // not asked for again, whatever came back
      answer.indices.forEach((/** @type {number} */ index, /** @type {number} */ k) => pictures.set(index, bytes.subarray(k * area, (k + 1) * area)));
      shown = '';
      paint();
    });
  }

  /** @param {number} place */
  function cellOf(place) {
    const known = cells.get(place);
    if (known) return known;
    const cell = el('div', 'gs-cell');
    cell.id = `gs-cell-${place}`;
    cell.setAttribute('role', 'option');
    cell.setAttribute('aria-posinset', String(place + 1));
    const canvas = /** @type {HTMLCanvasElement} */ (el('canvas'));
    canvas.width = canvas.height = facts.thumbnails.side;
    cell.append(canvas, el('i'));
    cell.addEventListener('click', () => host.jump(indexAt(place)));
    cells.set(place, cell);
    return cell;
  }

  /** @param {number} place @param {number} index @param {number} n */
  function paintCell(place, index, n) {
    const cell = cellOf(place);
    const [canvas, bar] = /** @type {[HTMLCanvasElement, HTMLElement]} */ ([...cell.children]);
    cell.style.left = `${place * size}px`;
    cell.title = `${place + 1}: ${list.names[index] || ''}`;
    cell.setAttribute('aria-label', cell.title);
    cell.setAttribute('aria-setsize', String(n)); // of which only those in sight are here
    cell.setAttribute('aria-selected', String(index === state.index));
    bar.style.background = scores.colourOf(index, state.focus) || 'none';
    const bytes = pictures.get(index);
    canvas.style.visibility = bytes ? 'visible' : 'hidden';
    if (bytes && cell.dataset.drawn !== `${set} ${index}`) {
      cell.dataset.drawn = `${set} ${index}`;
      fill(canvas, facts.thumbnails.side, facts.thumbnails.side, i => [bytes[i], bytes[i], bytes[i]]);
    }
    if (!cell.isConnected) reel.append(cell);
  }

  function paint() {
    const n = length();
    const first = Math.max(0, Math.floor(left / size) - 2), last = Math.min(n, Math.ceil((left + room) / size) + 2);
    const now = [set, n, first, last, state.index, state.focus].join();
    if (now === shown) return;
    shown = now;
    reel.style.width = `${n * size}px`;
    for (const [place, cell] of cells) if (place < first || place >= last) { cell.remove(); cells.delete(place); }
    const indices = [];
    for (let place = first; place < last; place++) {
      indices.push(indexAt(place));
      paintCell(place, indexAt(place), n);
    }
    const here = cells.get(placeOf(state));
    if (here) film.setAttribute('aria-activedescendant', here.id); else film.removeAttribute('aria-activedescendant');
    fetchPictures(indices);
  }

  function follow() {
    paint(); // a new set gets its width first: there is no scrolling beyond it
    const place = placeOf(state), at = place * size;
    if (place < 0 || (at >= left && at + size <= left + room)) return;
    film.scrollLeft = at - (room - size) / 2;
    left = film.scrollLeft;
    paint();
  }

  film.addEventListener('keydown', event => {
    if (!['Home', 'End'].includes(event.key) || !length()) return; // the viewer's own arrow keys step
    event.preventDefault();
    host.jump(indexAt(event.key === 'Home' ? 0 : length() - 1));
  });
  film.addEventListener('focus', () => { if (film.matches(':focus-visible')) follow(); }); // a click stays where it is
  film.addEventListener('scroll', () => { left = film.scrollLeft; paint(); }, { passive: true });
  film.addEventListener('wheel', event => { // a mouse has a wheel up and down only
    if (event.deltaX || event.ctrlKey) return;
    event.preventDefault();
    film.scrollLeft += event.deltaY;
  }, { passive: false });
  new ResizeObserver(() => {
    room = film.clientWidth;
    size = parseFloat(getComputedStyle(film).getPropertyValue('--cell')) || size; // pixels
    shown = '';
    paint();
  }).observe(film);
  sort.addEventListener('change', () => { state.sort = sort.value; sort.blur(); reorder(); });
  well.addEventListener('change', () => { state.well = well.value; well.blur(); reorder(); });

  return {
    node, load, follow, reorder, length,
    get list() { return list; },
    /** The set's name and size. */
    describe: () => [list.label, plural(list.count, 'patch', 'patches')].filter(Boolean).join(': '),
    /** Offer the orders anew, as scores became known. */
    offer() { fillChoices(); reorder(); },
    /** Return to the order of the files where the chosen one did not become known. */
    giveUp() {
      if (!ways().some(way => way.key === state.sort && !way.values)) return;
      state.sort = 'file';
      reorder();
    },
    redraw() { shown = ''; paint(); },
  };
}
