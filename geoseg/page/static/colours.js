// What a class, a measurement and a probability look like. RGB, 0 to 255.

import { FN, FOUND, FP, measureOf, NULL, TN, TP } from './numbers.js';

/** @import { State, ModelResult } from './types.js' */
/** @typedef {{ [kind: number]: number[], outline: string }} Palette colours by class, and of the truth's outline */

/**
 * Black and green correct, red missed, blue false alarm: the original's meaning, in shades that differ
 * clearly on a screen. The second palette does so for every kind of colour blindness.
 * @type {Record<State['palette'], Palette>}
 */
export const PALETTES = {
  classic: {
    [TN]: [0, 0, 0], [TP]: [46, 204, 88], [FN]: [255, 56, 50], [FP]: [64, 125, 255],
    [NULL]: [92, 96, 104], [FOUND]: [92, 214, 232], outline: '#ffd43b',
  },
  safe: {
    [TN]: [0, 0, 0], [TP]: [255, 255, 255], [FN]: [240, 140, 0], [FP]: [40, 130, 220],
    [NULL]: [92, 96, 104], [FOUND]: [92, 214, 232], outline: '#f0e442',
  },
};

/** Five points of a scale from 0 to 1 that grows steadily in lightness and needs no colour vision. */
export const HEAT = [[8, 7, 20], [82, 24, 124], [184, 55, 120], [252, 140, 96], [252, 250, 200]];

/**
 * What the models show: no errors without a truth, no disagreement of one model.
 * @param {State} state @param {Uint8Array | null} truth
 * @returns {State['display']}
 */
export function displayOf(state, truth) {
  if (state.display === 'errors' && !truth) return 'mask';
  return state.display === 'disagreement' && state.models.length < 2 ? 'mask' : state.display;
}

/** @param {number[]} rgb */
export const css = rgb => `rgb(${rgb.join(' ')})`;

/** The colour of a value from 0 to 1. @param {number} p */
export function heat(p) {
  const x = p * (HEAT.length - 1);
  const i = Math.min(Math.floor(x), HEAT.length - 2);
  return HEAT[i].map((c, k) => c + (HEAT[i + 1][k] - c) * (x - i));
}

/**
 * Fill a canvas of one pixel a measurement; `colour(i)` gives RGB.
 * @param {HTMLCanvasElement} canvas @param {number} rows @param {number} columns
 * @param {(i: number) => number[]} colour
 */
export function fill(canvas, rows, columns, colour) {
  if (canvas.width !== columns || canvas.height !== rows) {
    canvas.width = columns;
    canvas.height = rows;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  const image = context.createImageData(columns, rows);
  for (let i = 0, k = 0; i < rows * columns; i++, k += 4) {
    const rgb = colour(i);
    image.data[k] = rgb[0];
    image.data[k + 1] = rgb[1];
    image.data[k + 2] = rgb[2];
    image.data[k + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/**
 * Measurements in grey, dark where metal is lost, under a tint of one model's classes.
 * @param {Float32Array} values @param {[number, number]} range shown black and white @param {Palette} palette
 * @param {Uint8Array | null} classes @param {number} opacity of the tint, 0 to 1
 * @returns {(i: number) => number[]}
 */
export function patchColour(values, [low, high], palette, classes, opacity) {
  return i => {
    if (Number.isNaN(values[i])) return palette[NULL];
    const grey = Math.min(Math.max((values[i] - low) / (high - low), 0), 1) * 255;
    const c = classes ? classes[i] : TN;
    if (c === TN || c === NULL) return [grey, grey, grey];
    return palette[c].map(x => grey + (x - grey) * opacity);
  };
}

/**
 * A model's map: its errors, its mask, or one of its measures from 0 to 1.
 * @param {State['display']} display @param {Palette} palette @param {ModelResult} model
 * @returns {(i: number) => number[]}
 */
export function mapColour(display, palette, model) {
  if (display === 'errors') return i => palette[model.classes[i]];
  if (display !== 'mask') {
    const values = measureOf(display, model);
    return i => (Number.isNaN(values[i]) ? palette[NULL] : heat(values[i]));
  }
  return i => {
    const c = model.classes[i];
    return palette[c === FP || c === TP ? FOUND : c === FN ? TN : c];
  };
}
