// The set at a glance: small pictures in the order in which they are browsed.

/** Where the patch that is shown stands in the order, from 0; -1 where the filter leaves it out. */
function placeOf(state) {
  return state.order ? state.order.indexOf(state.index) : state.index;
}

/** The index of the patch that is `step` places further, round and round. */
function stepped(state, count, step) {
  const n = state.order ? state.order.length : count;
  const from = placeOf(state);
  const place = (((from < 0 && step < 0 ? 0 : from) + step) % n + n) % n;
  return state.order ? state.order[place] : place;
}

/** The order of a set: `values` ascending where there are any, of the wells that are wanted. */
function orderOf(count, values, wanted) {
  const all = [...Array(count).keys()].filter(wanted);
  if (!values && all.length === count) return null;
  // A patch without a value comes last; of equals the first in the folder comes first.
  const of = i => (Number.isNaN(values[i]) ? Infinity : values[i]);
  return values ? all.sort((a, b) => of(a) - of(b) || a - b) : all;
}

/**
 * The strip. `load()` fetches the list of the set in force, `paint()` draws; `offer(sorts)` adds ways
 * to sort, `[{ key, label, values, group }]`, lowest value first (`values` null: the way is not known
 * yet, and `wanted(key)` asks for it; ways of one `group` stand together); `mark(colourOf)` draws a line of `colourOf(index)` under each picture.
 */
function makeStrip(app) {
  const { root, state, facts } = app;
  const film = root.querySelector('.gs-film'), reel = root.querySelector('.gs-reel');
  const sort = root.querySelector('[name=sort]'), well = root.querySelector('[name=well]');
  const cellSize = () => parseFloat(getComputedStyle(root).getPropertyValue('--cell')); // pixels
  // Kept, as asking for them in the middle of painting makes the browser lay out the page at once.
  let size = cellSize(), left = 0, room = film.clientWidth;
  const cells = new Map(), pictures = new Map();
  let list = { names: [], wells: [], notes: [], count: 0 }, sorts = [], colourOf = null, busy = false, set = '', shown = '';

  const option = (value, text) => Object.assign(el('option', '', text), { value });

  function fillChoices() {
    sort.replaceChildren(option('file', say('strip.file')));
    const groups = new Map();
    for (const { key, label, values, group } of sorts) {
      if (group && !groups.has(group)) groups.set(group, sort.appendChild(Object.assign(el('optgroup'), { label: group })));
      const way = (groups.get(group) || sort).appendChild(option(key, label));
      way.classList.toggle('gs-unknown', !values);
    }
    const wells = [...new Set(list.wells)].sort((a, b) => (a ?? Infinity) - (b ?? Infinity));
    well.replaceChildren(option('all', say('strip.every_well')), ...wells.map(
      k => option(String(k), k === null ? say('strip.no_well') : say('strip.some_well', { well: k }))));
    well.hidden = wells.length < 2;
    if (![...well.options].some(o => o.value === state.well)) state.well = 'all';
    if (![...sort.options].some(o => o.value === state.sort)) state.sort = 'file';
    sort.value = state.sort;
    well.value = state.well;
  }

  function reorder() {
    const way = sorts.find(s => s.key === state.sort);
    well.value = state.well;
    if (way && !way.values) app.wanted(way.key);
    state.order = orderOf(list.count, way && way.values,
      i => state.well === 'all' || String(list.wells[i]) === state.well);
    sort.value = state.sort; // which asking may have changed
    shown = '';
    if (state.order && state.order.length && placeOf(state) < 0) app.jump(state.order[0]); else app.paint();
  }

  function load() {
    const wanted = app.setKey();
    if (wanted === set) return;
    set = wanted;
    pictures.clear();
    list = { names: [], wells: [], notes: [], count: 0 };
    busy = true;
    app.channels.call('browse', setOf(state), answer => {
      busy = false;
      if (set !== wanted) return;
      if (!answer) { set = ''; return; } // it was refused; the next patch asks again
      list = answer;
      sorts = app.sorts();
      root.querySelector('#gs-names').replaceChildren(...[...new Set(list.names)].map(name => option(name, '')));
      fillChoices();
      reorder();
    });
  }

  function fetchPictures(indices) {
    const missing = indices.filter(i => !pictures.has(i)).slice(0, facts.small.most);
    if (busy || !missing.length) return;
    busy = true;
    const wanted = set;
    app.channels.call('browse', { ...setOf(state), indices: missing }, answer => {
      busy = false;
      if (set !== wanted || !answer) return;
      const bytes = bytesOf(answer.pictures), area = facts.small.side ** 2;
      missing.forEach(i => pictures.set(i, null)); // not asked for again, whatever came back
      answer.indices.forEach((index, k) => pictures.set(index, bytes.subarray(k * area, (k + 1) * area)));
      shown = '';
      paint();
    });
  }

  function cellOf(place) {
    if (cells.has(place)) return cells.get(place);
    const cell = el('div', 'gs-cell');
    cell.id = `gs-cell-${place}`;
    cell.setAttribute('role', 'option');
    cell.setAttribute('aria-posinset', place + 1);
    const canvas = el('canvas');
    canvas.width = canvas.height = facts.small.side;
    cell.append(canvas, el('i'));
    cell.addEventListener('click', () => app.jump(state.order ? state.order[place] : place));
    cells.set(place, cell);
    return cell;
  }

  function paintCell(place, index, n) {
    const cell = cellOf(place);
    cell.style.left = `${place * size}px`;
    const name = say('strip.patch', { place: place + 1, name: list.names[index] || '' });
    cell.title = name;
    cell.setAttribute('aria-label', name);
    cell.setAttribute('aria-setsize', n); // of which only those in sight are here
    cell.setAttribute('aria-selected', String(index === state.index));
    cell.lastChild.style.background = (colourOf && colourOf(index)) || 'none';
    const bytes = pictures.get(index);
    cell.firstChild.style.visibility = bytes ? 'visible' : 'hidden';
    if (bytes && cell.dataset.drawn !== `${set} ${index}`) {
      cell.dataset.drawn = `${set} ${index}`;
      fill(cell.firstChild, facts.small.side, facts.small.side, i => [bytes[i], bytes[i], bytes[i]]);
    }
    return cell;
  }

  function paint() {
    const n = state.order ? state.order.length : list.count;
    const first = Math.max(0, Math.floor(left / size) - 2);
    const last = Math.min(n, Math.ceil((left + room) / size) + 2);
    const now = [set, n, first, last, state.index, colourOf && state.focus].join();
    if (now === shown) return;
    shown = now;
    reel.style.width = `${n * size}px`;
    const places = [];
    for (let place = first; place < last; place++) places.push(place);
    const indices = places.map(place => (state.order ? state.order[place] : place));
    for (const [place, cell] of cells) if (place < first || place >= last) { cell.remove(); cells.delete(place); }
    places.forEach((place, k) => {
      const cell = paintCell(place, indices[k], n);
      if (!cell.isConnected) reel.append(cell);
    });
    const here = cells.get(placeOf(state));
    if (here) film.setAttribute('aria-activedescendant', here.id); else film.removeAttribute('aria-activedescendant');
    fetchPictures(indices);
  }

  /** Keep the patch that is shown in sight. */
  function follow() {
    paint(); // a new set gets its width first: there is no scrolling beyond it
    const place = placeOf(state), at = place * size;
    if (place < 0 || (at >= left && at + size <= left + room)) return;
    film.scrollLeft = at - (room - size) / 2;
    left = film.scrollLeft;
    paint();
  }

  // The page's own arrow keys step.
  film.addEventListener('keydown', event => {
    const n = state.order ? state.order.length : list.count;
    if (!['Home', 'End'].includes(event.key) || !n) return;
    event.preventDefault();
    const place = event.key === 'Home' ? 0 : n - 1;
    app.jump(state.order ? state.order[place] : place);
  });
  film.addEventListener('focus', () => { if (film.matches(':focus-visible')) follow(); }); // a click stays where it is
  film.addEventListener('scroll', () => { left = film.scrollLeft; paint(); }, { passive: true });
  new ResizeObserver(() => {
    room = film.clientWidth;
    size = cellSize();
    shown = '';
    paint();
  }).observe(film);
  // A mouse has a wheel up and down only.
  film.addEventListener('wheel', event => {
    if (event.deltaX || event.ctrlKey) return;
    event.preventDefault();
    film.scrollLeft += event.deltaY;
  }, { passive: false });
  sort.addEventListener('change', () => { state.sort = sort.value; sort.blur(); reorder(); });
  well.addEventListener('change', () => { state.well = well.value; well.blur(); reorder(); });

  return {
    load, follow, reorder,
    get list() { return list; },
    offer(more) { sorts = more; fillChoices(); reorder(); },
    mark(colours) { colourOf = colours; shown = ''; paint(); },
    redraw() { shown = ''; paint(); },
  };
}
