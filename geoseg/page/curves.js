// Line charts: one line a model, a cursor for the pointer and the keys, and the result in words.

const CHART = { width: 384, height: 152, left: 34, right: 10, top: 8, bottom: 25 };
const DASHES = ['', '7 3', '2 3', '9 3 2 3', '12 4', '4 4', '1 4', '6 2 2 2'];

/** The colours and dashes that tell models apart: a model keeps its own, whoever else is shown. */
function lineOf(number) {
  return { stroke: `var(--model-${number % 8})`, 'stroke-dasharray': DASHES[number % DASHES.length] };
}

/** Lowest and highest value of the axis: tenths, and never so near that noise looks like a cliff. */
function axisOf(lines) {
  const values = lines.flatMap(line => [...line.low, ...line.high]).filter(v => v !== null);
  if (!values.length) return [0, 1];
  const high = Math.min(1, Math.max(0.2, Math.ceil(Math.max(...values) * 10 - 1e-9) / 10));
  return [Math.max(0, Math.min(Math.floor(Math.min(...values) * 10) / 10, high - 0.2)), high];
}

/**
 * A chart of values from 0 to 1 over steps that lie evenly apart. `ticks(at)` gives the steps that
 * are written at the axis as `[index, text]`, `nameOf(value)` a step in words, and `pick(value)`, if
 * there is one, takes the step that is clicked.
 */
function makeCurves({ title, ticks, nameOf, pick }) {
  const { width, height, left, right, top, bottom } = CHART;
  const node = el('div', 'gs-curves');
  const plot = svg('svg', { viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true' });
  const tip = el('div', 'gs-tip');
  let data = { at: [], lines: [], label: '' }, axis = [0, 1], cursor = -1;
  node.tabIndex = 0;
  node.dataset.arrows = ''; // the arrow keys are the chart's own
  node.setAttribute('role', 'slider');
  node.setAttribute('aria-label', title);
  node.classList.toggle('gs-picks', Boolean(pick));
  tip.hidden = true;
  node.append(plot, tip);

  const x = i => left + (width - left - right) * (data.at.length > 1 ? i / (data.at.length - 1) : 0.5);
  const y = v => top + (height - top - bottom) * (axis[1] - v) / (axis[1] - axis[0]);
  const point = (i, v) => `${x(i).toFixed(1)} ${y(v).toFixed(1)}`;

  function lineAlong(values) {
    // A step without a value leaves a gap; a lone one is a dot, by its round cap.
    return values.map((v, i) => {
      if (v === null) return '';
      return (i && values[i - 1] !== null ? 'L' : 'M') + point(i, v) + (values.length === 1 ? 'h0.1' : '');
    }).join('');
  }

  function bandAlong({ low, high }) {
    if (low.some(v => v === null) || low.every((v, i) => v === high[i])) return '';
    const back = low.map((v, i) => `L${point(i, v)}`).reverse();
    return `M${high.map((v, i) => point(i, v)).join('L')}${back.join('')}Z`;
  }

  function write(text, px, py, anchor) {
    const label = svg('text', { x: px, y: py, 'text-anchor': anchor });
    label.textContent = text;
    return label;
  }

  function grid() {
    const step = axis[1] - axis[0] > 0.45 ? 0.2 : 0.1;
    const parts = [];
    for (let v = axis[1]; v > axis[0] - 1e-9; v -= step) {
      parts.push(svg('path', { class: 'gs-grid', d: `M${left} ${y(v)}H${width - right}` }));
      parts.push(write(v.toFixed(1), left - 7, y(v) + 4, 'end'));
    }
    for (const [i, text] of ticks(data.at)) {
      const ends = i && i === data.at.length - 1; // at the right edge a long text has no room beyond it
      parts.push(write(text, ends ? width : x(i), height - 6, ends ? 'end' : 'middle'));
    }
    return parts;
  }

  /** Where a value lies between the steps. */
  function placeOfValue(value) {
    const after = data.at.findIndex(v => v >= value);
    if (after < 0) return data.at.length - 1; // the last turns of a wide patch are not all tried
    if (after === 0) return 0;
    return after - (data.at[after] - value) / (data.at[after] - data.at[after - 1]);
  }

  function draw() {
    const parts = grid();
    const now = data.now === undefined ? -1 : placeOfValue(data.now);
    if (now >= 0) parts.push(svg('path', { class: 'gs-now', d: `M${x(now)} ${top}V${height - bottom}` }));
    for (const line of data.lines) {
      parts.push(svg('path', { class: 'gs-band', d: bandAlong(line), fill: lineOf(line.number).stroke }));
    }
    for (const line of data.lines) {
      parts.push(svg('path', { class: 'gs-curve', d: lineAlong(line.mean), 'data-model': line.name, ...lineOf(line.number) }));
    }
    if (cursor >= 0) {
      parts.push(svg('path', { class: 'gs-cursor', d: `M${x(cursor)} ${top}V${height - bottom}` }));
      for (const line of data.lines) {
        if (line.mean[cursor] === null) continue;
        parts.push(svg('circle', { cx: x(cursor), cy: y(line.mean[cursor]), r: 3.5, fill: lineOf(line.number).stroke }));
      }
    }
    plot.replaceChildren(...parts);
  }

  function readOut() {
    const at = Math.max(cursor, 0);
    const rows = [...data.lines].sort((a, b) => b.mean[at] - a.mean[at]);
    const value = line => (line.mean[at] === null ? '\u2013' : line.mean[at].toFixed(3));
    const name = data.at.length ? nameOf(data.at[at]) : '';
    node.setAttribute('aria-label', data.label);
    node.setAttribute('aria-valuemin', 0);
    node.setAttribute('aria-valuemax', Math.max(data.at.length - 1, 0));
    node.setAttribute('aria-valuenow', at);
    node.setAttribute('aria-valuetext', [name, ...rows.map(line => `${line.name} ${value(line)}`)].join(', '));
    tip.hidden = cursor < 0 || !rows.length;
    if (tip.hidden) return;
    tip.replaceChildren(el('strong', '', name), ...rows.map(line => {
      const row = el('span');
      const sign = el('i');
      sign.style.background = lineOf(line.number).stroke;
      row.append(sign, el('b', '', value(line)), ' ', line.name);
      return row;
    }));
    const share = x(cursor) / width;
    tip.style.left = share < 0.5 ? `calc(${100 * share}% + 10px)` : '';
    tip.style.right = share < 0.5 ? '' : `calc(${100 * (1 - share)}% + 10px)`;
  }

  function move(to) {
    if (to === cursor) return;
    cursor = to;
    draw();
    readOut();
  }

  const nearest = event => {
    const box = plot.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width * width - left) / (width - left - right);
    return Math.round(Math.min(Math.max(share, 0), 1) * (data.at.length - 1));
  };
  const last = () => data.at.length - 1;
  plot.addEventListener('pointermove', event => { if (data.lines.length) move(nearest(event)); });
  plot.addEventListener('pointerleave', () => move(-1));
  plot.addEventListener('click', event => { if (pick && data.lines.length) pick(data.at[nearest(event)]); });
  node.addEventListener('blur', () => move(-1));
  node.addEventListener('keydown', event => {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity };
    if (!data.lines.length) return;
    if (event.key in steps) {
      event.preventDefault();
      move(Math.min(Math.max(Math.max(cursor, 0) + steps[event.key], 0), last()));
    } else if (event.key === 'Enter' && pick && cursor >= 0) pick(data.at[cursor]);
  });

  return {
    node,
    /**
     * `at` (V,), `lines` of `{ name, number, mean, low, high }`, `now` the value in force, if there
     * is one, and `label`, the result in words.
     */
    paint(next) {
      data = next;
      cursor = Math.min(cursor, last());
      axis = axisOf(data.lines);
      draw();
      readOut();
    },
  };
}
