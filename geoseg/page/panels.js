// The row of panels: the patch, then a card for each model. Built once, then only repainted.

const SVG = 'http://www.w3.org/2000/svg';
const SCORES = ['accuracy', 'precision', 'recall', 'dice', 'iou'];

/** An element; texts go in as text, so no name is ever read as HTML. */
function el(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Write a text where it is another one: each write is laid out anew, and read aloud anew. */
function tell(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Write an attribute where it is another one, as every write costs the browser a look at styles. */
function mark(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Before a control goes it hands its focus on: the next Tab would start at the top of the page. */
function handOver(from, to) {
  if (from.contains(document.activeElement)) to.focus({ preventScroll: true });
}

function svg(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

/** A canvas with one pixel a measurement, and outlines above it at the screen's own resolution. */
function makeFrame(label) {
  const frame = el('div', 'gs-frame');
  const canvas = el('canvas');
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', label);
  const over = svg('svg', { preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  const paths = {};
  for (const name of ['nulls', 'found', 'truth', 'pointer']) {
    paths[name] = over.appendChild(svg('path', { class: `gs-${name}`, d: '' }));
  }
  frame.append(canvas, over);
  return { frame, canvas, over, paths };
}

function makeCard(title, label) {
  const card = el('article', 'gs-card');
  const head = el('div', 'gs-head');
  const name = el('h2', '', title);
  const facts = el('p', 'gs-facts', '\u00a0');
  head.append(name, facts);
  const parts = makeFrame(label);
  const message = el('p', 'gs-message');
  message.hidden = true;
  parts.frame.append(message);
  const foot = el('div', 'gs-foot');
  card.append(head, parts.frame, foot);
  return { card, name, facts, message, foot, ...parts };
}

function makePatchCard() {
  const view = makeCard(say('panel.patch'), say('panel.patch_name'));
  view.card.classList.add('gs-patch');
  view.low = el('span', '', signed(-0.05));
  view.high = el('span', '', signed(0.05));
  const ramp = el('div', 'gs-ramp');
  ramp.append(view.low, el('i'), view.high);
  view.note = el('p', 'gs-note', '\u00a0');
  view.foot.append(ramp, view.note);
  return view;
}

function makeModelCard(name, onFocus) {
  const view = makeCard(name, say('panel.model_name', { model: name }));
  view.card.dataset.model = name;
  view.card.setAttribute('aria-label', name);
  view.pick = el('button', 'gs-pick', name);
  view.pick.type = 'button';
  view.pick.title = say('panel.pick_tip');
  view.name.replaceChildren(view.pick);
  view.card.addEventListener('click', () => onFocus(name)); // the button's too
  view.list = el('dl', 'gs-scores');
  view.values = {};
  for (const key of SCORES) {
    const item = el('div');
    view.values[key] = el('dd', '', '\u2013');
    item.append(el('dt', '', say(`scores.${key}`)), view.values[key]);
    view.list.append(item);
  }
  view.note = el('p', 'gs-note');
  view.foot.append(view.list, view.note);
  return view;
}

/** Width and height of a patch, the larger one 1; very long ones are squeezed to a third rather than to a line. */
function shapeOf(rows, columns) {
  const wide = Math.min(Math.max(columns / rows, 1 / 3), 3);
  return [Math.min(wide, 1), Math.min(1 / wide, 1)];
}

/** Give a frame the patch's shape. */
function shapeFrame(view, rows, columns) {
  if (view.shape === `${columns} ${rows}`) return;
  view.shape = `${columns} ${rows}`;
  view.over.setAttribute('viewBox', `0 0 ${view.shape}`);
  const [width, height] = shapeOf(rows, columns);
  view.frame.style.setProperty('--w', width.toFixed(4));
  view.frame.style.setProperty('--h', height.toFixed(4));
}

function setPath(view, name, d) {
  mark(view.paths[name], 'd', d);
}

function paintPatch(view, scene, state) {
  const { rows, columns, patch, truth } = scene;
  const palette = PALETTES[state.palette];
  const range = rangeOf(patch, state.range);
  const focus = scene.models.find(m => m.name === state.focus && m.classes);
  shapeFrame(view, rows, columns);
  fill(view.canvas, rows, columns,
    patchColour(patch, range, palette, focus && focus.classes, state.opacity / 100));
  setPath(view, 'nulls', scene.nulls);
  setPath(view, 'truth', state.truth ? scene.outline : '');
  view.paths.truth.style.stroke = palette.outline;
  tell(view.facts, say('panel.shape', { rows, columns }));
  tell(view.low, signed(range[0]));
  tell(view.high, signed(range[1]));
  tell(view.note, [
    truth && state.toy !== 'none' ? say('panel.toy') : '',
    focus && state.opacity > 0 ? say('panel.tint', { model: focus.name }) : '',
    !truth ? say('panel.no_labels') : truth.includes(1) ? '' : say('panel.no_groove'),
    scene.lost ? many(scene.lost, 'null') : '',
  ].filter(Boolean).join(' \u00b7 ') || '\u00a0');
}

function paintModel(view, scene, model, state) {
  const { rows, columns, truth } = scene;
  const palette = PALETTES[state.palette];
  const display = displayOf(state, truth);
  shapeFrame(view, rows, columns);
  view.message.hidden = !model.error;
  tell(view.message, model.error || '');
  view.card.classList.toggle('gs-failed', Boolean(model.error));
  if (model.error) {
    fill(view.canvas, rows, columns, () => palette[NULL]);
    for (const name of Object.keys(view.paths)) setPath(view, name, '');
    tell(view.facts, say('panel.failed'));
    view.list.hidden = true;
    tell(view.note, '\u00a0');
    return;
  }
  fill(view.canvas, rows, columns, mapColour(display, palette, model));
  setPath(view, 'nulls', scene.nulls);
  setPath(view, 'truth', state.truth && display !== 'errors' ? scene.outline : '');
  setPath(view, 'found', ['probability', 'uncertainty', 'disagreement'].includes(display) ? model.outline : '');
  view.paths.truth.style.stroke = palette.outline;
  tell(view.facts, say('panel.facts', {
    parameters: model.parameters.toLocaleString('en'), ms: model.milliseconds.toFixed(1),
  }));
  view.list.hidden = !model.scores;
  tell(view.note, model.scores ? '' : say('panel.share', { share: (100 * model.share).toFixed(1) }));
  if (!model.scores) return;
  for (const key of SCORES) {
    tell(view.values[key], model.scores[key].toFixed(3));
    view.values[key].classList.toggle('gs-best', model.best.has(key));
  }
}

function signed(value) {
  return (value < 0 ? '\u2212' : '') + Math.abs(value).toFixed(3);
}
