// Files for the user: arrays as numpy.load reads them.

import { el } from './dom.js';

/** @import { Scene, State } from './types.js' */

/** Give the browser a file to save. @param {string} name @param {Blob} blob */
export function download(name, blob) {
  const link = el('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/**
 * Encode an array (rows, columns) as a .npy file: float32, or uint8.
 * @param {Float32Array | Uint8Array} values @param {number} rows @param {number} columns
 */
export function npyOf(values, rows, columns) {
  const type = values instanceof Float32Array ? '<f4' : '|u1';
  const header = `{'descr': '${type}', 'fortran_order': False, 'shape': (${rows}, ${columns}), }`;
  const length = Math.ceil((10 + header.length + 1) / 64) * 64 - 10; // data begins at a multiple of 64
  const head = new TextEncoder().encode(`\u0000NUMPY\u0001\u0000\u0000\u0000${header.padEnd(length - 1)}\n`);
  head[0] = 0x93;
  head[8] = length & 255;
  head[9] = length >> 8;
  return new Blob([head, values.slice()], { type: 'application/octet-stream' });
}

/** The name of a patch without its ending. @param {string} name */
export const stemOf = name => name.replace(/\.npy$/i, '');

/**
 * Save the patch, or the mask or the probability of the model in focus, at the settings in force.
 * @param {'patch' | 'mask' | 'probability'} kind @param {Scene} scene @param {State} state
 * @returns {boolean} whether there was something to save
 */
export function saveArray(kind, scene, state) {
  const { rows, columns, name } = scene, stem = stemOf(name);
  if (kind === 'patch') {
    download(`${stem}.npy`, npyOf(scene.patch, rows, columns));
    return true;
  }
  const answered = scene.models.filter(m => !m.error);
  const model = answered.find(m => m.name === state.focus) || answered[0];
  if (!model) return false;
  const limit = Math.fround(model.judgedAt ?? model.threshold);
  const values = kind === 'mask' ? Uint8Array.from(model.probability, p => Number(p > limit)) : model.probability;
  download(`${stem}.${model.name}.${kind}.npy`, npyOf(values, rows, columns));
  return true;
}
