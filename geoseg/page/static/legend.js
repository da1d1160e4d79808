// The legend under the panels, and the values under the pointer.

import { css, displayOf, HEAT, PALETTES } from './colours.js';
import { el, signed } from './dom.js';
import { FN, FOUND, FP, TN, TP } from './numbers.js';
import { setPath } from './panels.js';

/** @import { Scene, State } from './types.js' */
/** @import { View } from './panels.js' */
/** @typedef {{ kind: 'fill' | 'heat' | 'line' | 'dashed' | 'hatch', text: string, colour: string }} Sign */

/** What a scale from 0 to 1 means. */
const SCALES = {
  probability: 'probability of a groove, 0 to 1',
  uncertainty: 'sure 0 \u2013 1 undecided',
  disagreement: 'how far from the mean of the other models, 0 to 1',
};
const CLASSES = { fill: '', heat: 'gs-heat', line: 'gs-line', dashed: 'gs-line gs-dashed', hatch: 'gs-hatch' };

/**
 * What is on the screen now, and nothing else; an empty `colour` is the kind's own.
 * @param {Scene} scene @param {State} state
 * @returns {Sign[]}
 */
export function legendOf(scene, state) {
  const palette = PALETTES[state.palette];
  const display = displayOf(state, scene.truth);
  /** @param {string} text @param {number} kind @returns {Sign} */
  const sign = (text, kind) => ({ kind: 'fill', text, colour: css(palette[kind]) });
  /** @type {Sign[]} */
  const items = display === 'errors'
    ? [sign('background, correct', TN), sign('groove, correct', TP), sign('groove missed', FN), sign('false alarm', FP)]
    : display === 'mask' ? [sign('groove, says the model', FOUND), sign('background', TN)]
      : [{ kind: 'heat', text: SCALES[display], colour: '' }, { kind: 'dashed', text: 'threshold', colour: '' }];
  if (scene.truth && state.truth) items.push({ kind: 'line', text: 'true groove', colour: palette.outline });
  if (scene.lost) items.push({ kind: 'hatch', text: 'no measurement', colour: '' });
  return items;
}

/** Repaint the legend, if it changed. @param {HTMLElement} legend @param {Scene} scene @param {State} state */
export function paintLegend(legend, scene, state) {
  const items = legendOf(scene, state), key = JSON.stringify(items);
  if (legend.dataset.key === key) return;
  legend.dataset.key = key;
  legend.replaceChildren(...items.map(({ kind, text, colour }) => {
    const item = el('span', 'gs-key'), sign = el('i', CLASSES[kind]);
    if (kind === 'heat') sign.style.background = `linear-gradient(90deg, ${HEAT.map(css).join(', ')})`;
    else if (kind === 'line') sign.style.borderColor = colour;
    else sign.style.background = colour;
    item.append(sign, el('span', '', text));
    return item;
  }));
}

/**
 * Mark one pixel in every panel and read it out: the panels show the same place. The function that is
 * returned reads the same pixel of the scene that is painted now.
 * @param {HTMLElement} readout @param {() => Scene | null} current @param {View[]} views
 * @returns {(scene: Scene) => void}
 */
export function bindPointer(readout, current, views) {
  /** @type {[number, number] | null} */
  let at = null;
  const clear = () => {
    at = null;
    readout.textContent = '';
    for (const view of views) setPath(view, 'pointer', '');
  };
  /** @param {View} view @param {PointerEvent} event */
  const follow = (view, event) => {
    const scene = current();
    if (!scene) return;
    const box = view.canvas.getBoundingClientRect();
    const a = Math.floor((event.clientX - box.left) / box.width * scene.columns);
    const z = Math.floor((event.clientY - box.top) / box.height * scene.rows);
    if (a < 0 || z < 0 || a >= scene.columns || z >= scene.rows) return;
    at = [z, a];
    for (const other of views) setPath(other, 'pointer', `M${a} ${z}h1v1h-1z`);
    readout.textContent = describePixel(scene, z, a);
  };
  for (const view of views) {
    view.frame.addEventListener('pointermove', event => follow(view, event));
    view.frame.addEventListener('pointerdown', event => follow(view, event));
    view.frame.addEventListener('pointerleave', event => { if (event.pointerType === 'mouse') clear(); });
  }
  return scene => {
    if (!at) return;
    if (at[0] >= scene.rows || at[1] >= scene.columns) clear(); else readout.textContent = describePixel(scene, ...at);
  };
}

/**
 * Describe a pixel: its place, its value, its label, and each model's probability.
 * @param {Scene} scene @param {number} z @param {number} a
 */
export function describePixel(scene, z, a) {
  const i = z * scene.columns + a, value = scene.patch[i];
  return [
    `Row ${z}, column ${a}`,
    Number.isNaN(value) ? 'no measurement' : `value ${signed(value, 4)}`,
    scene.truth ? (scene.truth[i] ? 'labelled groove' : 'labelled background') : '',
    ...scene.models.filter(m => !m.error && !Number.isNaN(m.probability[i])).map(m => `${m.name} ${m.probability[i].toFixed(3)}`),
  ].filter(Boolean).join('  \u00b7  ');
}
