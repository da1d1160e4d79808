// Numbers only: from the server's bytes to classes, scores and outlines. Z depth, A azimuth.

/** @import { Scene, State, Scores, ModelResult } from './types.js' */

/** The classes of a pixel: background and groove with a truth; null; marked without a truth. */
export const TN = 0, FP = 1, FN = 2, TP = 3, NULL = 4, FOUND = 5;

/** @type {readonly (keyof Scores)[]} */
export const SCORES = ['accuracy', 'precision', 'recall', 'dice', 'iou'];

/** Decode base64. @param {string} base64 */
export function bytesOf(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Decode float32 numbers in base64. @param {string} base64 */
export const floatsOf = base64 => new Float32Array(bytesOf(base64).buffer);

/**
 * The class of every pixel; a probability above the threshold is a groove, NaN is a null.
 * @param {Float32Array} probability @param {Uint8Array | null} truth @param {number} threshold
 */
export function classify(probability, truth, threshold) {
  const limit = Math.fround(threshold); // the server compares in float32
  return Uint8Array.from(probability, (p, i) => {
    if (Number.isNaN(p)) return NULL;
    if (!truth) return p > limit ? FOUND : TN;
    return p > limit ? (truth[i] ? TP : FP) : (truth[i] ? FN : TN);
  });
}

/** The five scores of one patch by the challenge's rule, as geoseg.metrics; null without pixels. @param {Uint8Array} classes */
export function scoresOf(classes) {
  const n = [0, 0, 0, 0, 0, 0];
  for (const c of classes) n[c] += 1;
  return scoresFrom(n[TP], n[FP], n[FN], n[TN]);
}

/**
 * The five scores from counts of pixels; null without pixels.
 * @param {number} tp @param {number} fp @param {number} fn @param {number} tn
 * @returns {Scores | null}
 */
export function scoresFrom(tp, fp, fn, tn) {
  const total = tn + fp + fn + tp;
  if (total === 0) return null;
  const agreed = tp + fp + fn === 0 ? 1 : 0; // neither holds a groove
  /** @param {number} part @param {number} whole */
  const ratio = (part, whole) => (whole > 0 ? part / whole : agreed);
  return {
    accuracy: (tp + tn) / total,
    precision: ratio(tp, tp + fp),
    recall: ratio(tp, tp + fn),
    dice: ratio(2 * tp, 2 * tp + fp + fn),
    iou: ratio(tp, tp + fp + fn),
  };
}

/** The part of the measured pixels that a model marks, 0 to 1. @param {Uint8Array} classes */
export function shareOf(classes) {
  let marked = 0, measured = 0;
  for (const c of classes) {
    if (c === NULL) continue;
    measured += 1;
    if (c === FP || c === TP || c === FOUND) marked += 1;
  }
  return measured ? marked / measured : 0;
}

/**
 * An SVG path along the edges of `inside(i)`, open at the top, the bottom and the seam.
 * @param {number} rows @param {number} columns @param {(i: number) => boolean} inside
 */
export function outline(rows, columns, inside) {
  const parts = [];
  for (let z = 0; z < rows; z++) {
    for (let a = 0; a < columns; a++) {
      const here = inside(z * columns + a);
      if (z > 0 && here !== inside((z - 1) * columns + a)) parts.push(`M${a} ${z}h1`);
      // Column 0 lies next to the last one: a groove across the seam has no edge there.
      const left = inside(z * columns + (a + columns - 1) % columns);
      if (here !== left) parts.push(`M${a === 0 && left ? columns : a} ${z}v1`);
    }
  }
  return parts.join('');
}

/**
 * An SVG path that covers every null, a run at a time.
 * @param {number} rows @param {number} columns @param {Float32Array} values
 */
export function nullPath(rows, columns, values) {
  const parts = [];
  for (let z = 0; z < rows; z++) {
    for (let a = 0; a < columns; a++) {
      const start = a;
      while (a < columns && Number.isNaN(values[z * columns + a])) a += 1;
      if (a > start) parts.push(`M${start} ${z}h${a - start}v1h${start - a}z`);
    }
  }
  return parts.join('');
}

/** How undecided a model is, pixel by pixel: 0 at probabilities of 0 and 1, 1 at a half. @param {Float32Array} probability */
export const uncertaintyOf = probability => probability.map(p => 1 - Math.abs(2 * p - 1));

/**
 * How far a model is from the mean of the others, pixel by pixel, 0 to 1; NaN at nulls.
 * @param {ModelResult} model @param {ModelResult[]} models
 */
export function disagreementOf(model, models) {
  const others = models.filter(other => other !== model && !other.error);
  if (!others.length) return model.probability.map(p => 0 * p);
  return model.probability.map((p, i) => (
    Math.abs(p - others.reduce((sum, other) => sum + other.probability[i], 0) / others.length)));
}

/**
 * The values from 0 to 1 that a display shows of a model; disagreement is computed before.
 * @param {State['display']} display @param {ModelResult} model
 */
export function measureOf(display, model) {
  if (display === 'uncertainty') return uncertaintyOf(model.probability);
  return (display === 'disagreement' && model.disagreement) || model.probability;
}

/**
 * The values that are shown black and white: fixed as in the original, or the patch's own.
 * @param {Float32Array} values @param {State['grey']} grey
 * @returns {[number, number]}
 */
export function rangeOf(values, grey) {
  if (grey === 'fixed') return [-0.05, 0.05];
  const sorted = values.filter(v => !Number.isNaN(v)).sort();
  if (!sorted.length) return [-0.05, 0.05];
  const share = grey === 'percentile' ? 0.01 : 0;
  /** @param {number} part */
  const at = part => sorted[Math.round(part * (sorted.length - 1))];
  const low = at(share), high = at(1 - share);
  return low < high ? [low, high] : [low - 0.05, low + 0.05];
}

/**
 * Compute classes and scores at the threshold in force, and which model is best at what.
 * @param {Scene} scene @param {number | null} threshold null for each model's own
 */
export function judge(scene, threshold) {
  for (const model of scene.models) {
    if (model.error) continue;
    const limit = threshold === null ? model.threshold : threshold;
    if (model.judgedAt === limit) continue;
    model.judgedAt = limit;
    model.classes = classify(model.probability, scene.truth, limit);
    model.scores = scene.truth ? scoresOf(model.classes) : null;
    model.share = shareOf(model.classes);
    model.outline = outline(scene.rows, scene.columns, i => model.probability[i] > Math.fround(limit));
  }
  const all = scene.models.flatMap(model => (model.scores ? [model.scores] : []));
  for (const model of scene.models) {
    const { scores } = model;
    model.best = new Set(!scores || all.length < 2 ? []
      : SCORES.filter(key => all.every(other => other[key] <= scores[key])));
  }
}
