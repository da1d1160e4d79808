// The scores of the whole set, as the server's message has them: marks under the strip's pictures, and
// the orders in which its patches can be browsed.

import { css } from './colours.js';
import { bytesOf, floatsOf, SCORES, scoresFrom } from './numbers.js';

/** @typedef {import('./types.js').Facts} Facts */
/** @typedef {{ key: string, label: string, group: string, values: Float64Array | Float32Array | null }} Order */

// From bad to good, as lightness alone.
const MARKS = [[206, 36, 52], [236, 140, 66], [250, 226, 140]];
const NAMES = { accuracy: 'Accuracy', precision: 'Precision', recall: 'Recall', dice: 'Dice', iou: 'IoU', share: 'Marked' };

/** The colour of a score from 0 to 1. @param {number} value */
export function markColour(value) {
  const i = value < 0.5 ? 0 : 1;
  return css(MARKS[i].map((c, k) => Math.round(c + (MARKS[i + 1][k] - c) * (2 * value - i))));
}

/**
 * One model's scores of every patch and its marked share, from counts (N, 4) of pixels that are true
 * positive, false positive, false negative, true negative.
 * @param {Int32Array} counts @param {Uint8Array} labelled
 * @returns {Record<string, Float64Array>}
 */
export function scorePatches(counts, labelled) {
  const values = Object.fromEntries(
    [...SCORES, 'share'].map(key => [key, new Float64Array(labelled.length).fill(NaN)]));
  for (let i = 0; i < labelled.length; i++) {
    const [tp, fp, fn, tn] = counts.subarray(4 * i, 4 * i + 4);
    const scores = labelled[i] ? scoresFrom(tp, fp, fn, tn) : null;
    if (scores) for (const key of SCORES) values[key][i] = scores[/** @type {'iou'} */ (key)];
    values.share[i] = (tp + fp) / (tp + fp + fn + tn); // 0 / 0 is NaN
  }
  return values;
}

/** @param {ArrayLike<number>} values */
const negated = values => Float64Array.from(values, v => -v);

/**
 * Keep the scores of one set. `read(message)` takes those that the server has computed, `forget()`
 * drops them as another set is browsed.
 * @param {Facts} facts
 */
export function makeSetScores(facts) {
  /** @type {Map<string, Record<string, Float64Array>>} */
  const models = new Map();
  /** @type {Float64Array | null} */
  let disagreement = null;
  /** @type {Float64Array | null} */
  let doubt = null;

  return {
    /** @param {any} message */
    read(message) {
      const labelled = bytesOf(message.labelled);
      for (const { name, counts } of message.models) {
        models.set(name, scorePatches(new Int32Array(bytesOf(counts).buffer), labelled));
      }
      if (message.models.length < 2) return;
      disagreement = negated(floatsOf(message.disagreement));
      doubt = new Float64Array(labelled.length).fill(NaN);
      for (const suspect of message.suspects) doubt[suspect.patch] = -suspect.doubt;
    },
    forget() {
      models.clear();
      disagreement = doubt = null;
    },
    /** The colour of a patch's mark, its IoU by a model; empty without one. @param {number} index @param {string} model */
    colourOf(index, model) {
      const value = models.get(model)?.iou[index] ?? NaN;
      return Number.isNaN(value) ? '' : markColour(value);
    },
    /**
     * Every order, lowest value first; `values` is null until the set is scored.
     * @param {boolean} labelled
     * @returns {Order[]}
     */
    orders(labelled) {
      /** @type {Order[]} */
      const all = [];
      if (facts.models.length > 1) {
        all.push({ key: 'disagreement', label: 'Models disagree most', group: '', values: disagreement });
        if (labelled) all.push({ key: 'doubt', label: 'Labels most likely wrong', group: '', values: doubt });
      }
      for (const { name } of facts.models) {
        const scores = models.get(name), group = `Worst first by ${name}`;
        if (labelled) {
          for (const key of SCORES) {
            all.push({ key: `${key} ${name}`, label: `${NAMES[/** @type {'iou'} */ (key)]}, ${name}`, group, values: scores?.[key] ?? null });
          }
        }
        all.push({ key: `share ${name}`, label: `${NAMES.share}, ${name}`, group, values: scores ? negated(scores.share) : null });
      }
      return all;
    },
  };
}
