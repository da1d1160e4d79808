// The row of panels: the patch, then a card for each model. Built once, then only repainted.

import { displayOf, fill, mapColour, PALETTES, patchColour } from './colours.js';
import { el, mark, plural, signed, svg, tell } from './dom.js';
import { NULL, rangeOf, SCORES } from './numbers.js';

/** @import { Scene, State, ModelResult } from './types.js' */
/**
 * The parts of a card that are repainted.
 * @typedef {ReturnType<typeof makeCard>} View
 * @typedef {ReturnType<typeof makePatchCard>} PatchView
 * @typedef {ReturnType<typeof makeModelCard>} ModelView
 * @typedef {keyof View['paths']} PathName
 */

/** The names of the scores. */
export const SCORE_NAMES = { accuracy: 'Accuracy', precision: 'Precision', recall: 'Recall', dice: 'Dice', iou: 'IoU' };

/** A canvas with one pixel a measurement, and outlines above it at the screen's own resolution. @param {string} label */
function makeFrame(label) {
  const frame = el('div', 'gs-frame');
  const canvas = el('canvas');
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', label);
  const over = svg('svg', { preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  /** @param {string} name */
  const path = name => over.appendChild(svg('path', { class: `gs-${name}`, d: '' }));
  const paths = { nulls: path('nulls'), found: path('found'), truth: path('truth'), pointer: path('pointer') };
  frame.append(canvas, over);
  return { frame, canvas, over, paths };
}

/** @param {string} title @param {string} label */
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
  const foot = el('div', 'gs-foot'), note = el('p', 'gs-note', '\u00a0');
  card.append(head, parts.frame, foot);
  return { card, name, facts, message, foot, note, shape: '' /* 'columns rows' */, ...parts };
}

/** Make the card of the patch. */
export function makePatchCard() {
  const view = makeCard('Patch', 'The patch in grey');
  view.card.classList.add('gs-patch');
  const low = el('span', '', signed(-0.05)), high = el('span', '', signed(0.05));
  const ramp = el('div', 'gs-ramp');
  ramp.append(low, el('i'), high);
  view.foot.append(ramp, view.note);
  return { ...view, low, high };
}

/** Make the card of a model; `onFocus` hears a click on it. @param {string} name @param {() => void} onFocus */
export function makeModelCard(name, onFocus) {
  const view = makeCard(name, `What ${name} finds`);
  view.card.dataset.model = name;
  view.card.setAttribute('aria-label', name);
  const pick = el('button', 'gs-pick', name);
  pick.type = 'button';
  pick.title = 'Lay it over the patch (Page Up, Page Down)';
  view.name.replaceChildren(pick);
  view.card.addEventListener('click', onFocus); // the button's too
  const list = el('dl', 'gs-scores');
  /** @type {Record<string, HTMLElement>} */
  const values = {};
  for (const key of SCORES) {
    const item = el('div');
    values[key] = el('dd', '', '\u2013');
    item.append(el('dt', '', SCORE_NAMES[key]), values[key]);
    list.append(item);
  }
  view.foot.append(list, view.note);
  return { ...view, pick, list, values };
}

/**
 * Width and height of a patch, the larger one 1; very long ones are squeezed to a third.
 * @param {number} rows @param {number} columns
 * @returns {[number, number]}
 */
export function shapeOf(rows, columns) {
  const wide = Math.min(Math.max(columns / rows, 1 / 3), 3);
  return [Math.min(wide, 1), Math.min(1 / wide, 1)];
}

/** Give a frame the patch's shape. @param {View} view @param {number} rows @param {number} columns */
function shapeFrame(view, rows, columns) {
  if (view.shape === `${columns} ${rows}`) return;
  view.shape = `${columns} ${rows}`;
  view.over.setAttribute('viewBox', `0 0 ${view.shape}`);
  const [width, height] = shapeOf(rows, columns);
  view.frame.style.setProperty('--w', width.toFixed(4));
  view.frame.style.setProperty('--h', height.toFixed(4));
}

/** @param {View} view @param {PathName} name @param {string} d */
export const setPath = (view, name, d) => mark(view.paths[name], 'd', d);

/**
 * Paint the patch, tinted by the classes of the model in focus.
 * @param {PatchView} view @param {Scene} scene @param {State} state
 */
export function paintPatch(view, scene, state) {
  const { rows, columns, patch, truth } = scene;
  const palette = PALETTES[state.palette];
  const range = rangeOf(patch, state.grey);
  const focus = scene.models.find(m => m.name === state.focus && !m.error);
  shapeFrame(view, rows, columns);
  fill(view.canvas, rows, columns, patchColour(patch, range, palette, focus ? focus.classes : null, state.opacity / 100));
  setPath(view, 'nulls', scene.nulls);
  setPath(view, 'truth', state.truth ? scene.outline : '');
  view.paths.truth.style.stroke = palette.outline;
  tell(view.facts, `${rows} \u00d7 ${columns} pixels, depth \u2193 azimuth \u2192`);
  tell(view.low, signed(range[0]));
  tell(view.high, signed(range[1]));
  tell(view.note, [
    truth && state.letters !== 'none' ? 'letters for labels' : '',
    focus && state.opacity > 0 ? `tint: ${focus.name}` : '',
    !truth ? 'no labels' : truth.includes(1) ? '' : 'labelled without groove',
    scene.lost ? plural(scene.lost, 'null', 'nulls') : '',
  ].filter(Boolean).join(' \u00b7 ') || '\u00a0');
}

/**
 * Paint what a model finds, with its scores or the reason why there is no result.
 * @param {ModelView} view @param {Scene} scene @param {ModelResult} model @param {State} state
 */
export function paintModel(view, scene, model, state) {
  const { rows, columns, truth } = scene;
  const palette = PALETTES[state.palette];
  const display = displayOf(state, truth);
  shapeFrame(view, rows, columns);
  view.message.hidden = !model.error;
  tell(view.message, model.error || '');
  view.card.classList.toggle('gs-failed', Boolean(model.error));
  if (model.error) {
    fill(view.canvas, rows, columns, () => palette[NULL]);
    for (const path of Object.values(view.paths)) mark(path, 'd', '');
    tell(view.facts, 'no result');
    view.list.hidden = true;
    tell(view.note, '\u00a0');
    return;
  }
  fill(view.canvas, rows, columns, mapColour(display, palette, model));
  setPath(view, 'nulls', scene.nulls);
  setPath(view, 'truth', state.truth && display !== 'errors' ? scene.outline : '');
  setPath(view, 'found', display === 'errors' || display === 'mask' ? '' : model.outline);
  view.paths.truth.style.stroke = palette.outline;
  tell(view.facts, `${model.parameters.toLocaleString('en')} parameters, ${model.milliseconds.toFixed(1)}\u00a0ms`);
  const { scores } = model;
  view.list.hidden = !scores;
  tell(view.note, scores ? '' : `${(100 * model.share).toFixed(1)} % of the pixels marked`);
  if (!scores) return;
  for (const key of SCORES) {
    tell(view.values[key], scores[key].toFixed(3));
    view.values[key].classList.toggle('gs-best', model.best.has(key));
  }
}
