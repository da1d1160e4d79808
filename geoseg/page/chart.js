// Charts of the set, in SVG: each bar is a button, named with its numbers.

const CHART_WIDTH = 384;

/** A part of a chart that can be clicked, reached by Tab and read out. */
function chartButton(className, name, pick) {
  const part = svg('g', { class: className, role: 'button', tabindex: 0, 'aria-label': name });
  part.appendChild(svg('title', {})).textContent = name;
  part.addEventListener('click', pick);
  part.addEventListener('keydown', event => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    pick();
  });
  return part;
}

function chartText(x, y, text, attributes = {}) {
  const node = svg('text', { x, y, ...attributes });
  node.textContent = text;
  return node;
}

function makeChart(height) {
  return svg('svg', { class: 'gs-chart', viewBox: `0 0 ${CHART_WIDTH} ${height}`, role: 'group' });
}

/**
 * Groups of horizontal bars from 0 to 1: `groups` are `{ name, note, title, values, pressed, pick }`
 * with a value for each of `colours`, NaN for none.
 */
function barChart(groups, colours) {
  const LEFT = 84, RIGHT = 38, BAR = 11, STEP = 13, GAP = 9, AXIS = 16;
  const tall = Math.max(colours.length * STEP, 28);
  const bottom = groups.length * (tall + GAP);
  const chart = makeChart(bottom + AXIS);
  const at = value => LEFT + value * (CHART_WIDTH - LEFT - RIGHT);
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    chart.append(svg('path', { class: 'gs-grid', d: `M${at(tick)} 0V${bottom}` }));
    chart.append(chartText(at(tick), bottom + 12, String(tick), { class: 'gs-tick', 'text-anchor': 'middle' }));
  }
  groups.forEach(({ name, note, title, values, pressed, pick }, k) => {
    const top = k * (tall + GAP) + GAP / 2;
    const part = chartButton('gs-bars', title, pick);
    part.setAttribute('aria-pressed', String(pressed));
    part.append(svg('rect', { class: 'gs-back', x: 0, y: top - GAP / 2, width: CHART_WIDTH, height: tall + GAP, rx: 6 }));
    part.append(chartText(6, top + tall / 2 - 2, name, { class: 'gs-name' }));
    part.append(chartText(6, top + tall / 2 + 12, note, { class: 'gs-tick' }));
    const first = top + (tall - values.length * STEP) / 2 + 1;
    values.forEach((value, m) => {
      const y = first + m * STEP;
      if (!Number.isNaN(value)) {
        part.append(svg('rect', { x: LEFT, y, width: Math.max(at(value) - LEFT, 1), height: BAR, rx: 2, fill: colours[m] }));
      }
      const text = Number.isNaN(value) ? '\u2013' : value.toFixed(2);
      part.append(chartText(Number.isNaN(value) ? LEFT + 4 : at(value) + 4, y + 9, text, { class: 'gs-value' }));
    });
    chart.append(part);
  });
  return chart;
}

/** How many patches have which value from 0 to 1; `pick(indices)` gets those of a bar, lowest first. */
function histogram(values, indices, colour, titleOf, pick) {
  const BINS = 20, HEIGHT = 72, AXIS = 16, MARGIN = 6;
  const bins = Array.from({ length: BINS }, () => []);
  for (const i of indices) if (!Number.isNaN(values[i])) bins[Math.min(Math.floor(values[i] * BINS), BINS - 1)].push(i);
  const most = Math.max(1, ...bins.map(bin => bin.length));
  const chart = makeChart(HEIGHT + AXIS);
  const wide = (CHART_WIDTH - 2 * MARGIN) / BINS;
  bins.forEach((bin, k) => {
    if (!bin.length) return;
    bin.sort((a, b) => values[a] - values[b]);
    const part = chartButton('gs-bin', titleOf(bin.length, k / BINS, (k + 1) / BINS), () => pick(bin));
    const tall = Math.max(HEIGHT * bin.length / most, 2), x = MARGIN + k * wide;
    part.append(svg('rect', { class: 'gs-back', x, y: 0, width: wide, height: HEIGHT }));
    part.append(svg('rect', { x: x + 1, y: HEIGHT - tall, width: wide - 2, height: tall, rx: 1.5, fill: colour }));
    chart.append(part);
  });
  chart.append(svg('path', { class: 'gs-grid', d: `M${MARGIN} ${HEIGHT + 0.5}H${CHART_WIDTH - MARGIN}` }));
  for (const tick of [0, 0.5, 1]) {
    chart.append(chartText(MARGIN + tick * (CHART_WIDTH - 2 * MARGIN), HEIGHT + 13, String(tick),
      { class: 'gs-tick', 'text-anchor': 'middle' }));
  }
  return chart;
}
