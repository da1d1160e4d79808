// A link that opens the same patch, models and settings: the state, as far as it is not the usual one.

import { CHOICES, clamp } from './state.js';

/** @import { State, Facts } from './types.js' */

// `patch` is the name of the patch; uploads exist for this tab alone, and another one is told so.
const LINKED = ['source', 'knobs', 'letters', 'models', 'focus', 'shift', 'noise', 'seed', 'display', 'truth',
  'grey', 'threshold', 'opacity', 'palette', 'sort', 'well'];

/** @param {unknown} value */
function write(value) {
  if (Array.isArray(value)) return value.join(',');
  if (value && typeof value === 'object') return Object.entries(value).map(pair => pair.join(':')).join(',');
  return String(value);
}

/** The part of an address behind `#`. @param {State} state @param {State} usual @param {string} name of the patch */
export function linkOf(state, usual, name) {
  const words = new URLSearchParams();
  if (name) words.set('patch', name);
  for (const key of LINKED) {
    if (key === 'knobs' && state.source !== 'synthetic') continue;
    const of = /** @type {keyof State} */ (key), text = write(state[of]);
    if (text !== write(usual[of])) words.set(key, text);
  }
  return words.toString();
}

/**
 * Read a link into a state; what is no setting of ours, or out of range, is left as usual.
 * @param {string} hash @param {State} usual @param {Facts} facts
 * @returns {State}
 */
export function readLink(hash, usual, facts) {
  const words = new URLSearchParams(hash.replace(/^#/, ''));
  const state = { ...usual };
  /** @param {string} key */
  const text = key => words.get(key);
  /** @param {'shift' | 'noise' | 'seed' | 'opacity' | 'threshold'} key @param {number} high */
  const number = (key, high) => {
    const value = text(key);
    if (value && Number.isFinite(Number(value))) state[key] = clamp(Number(value), 0, high);
  };
  number('shift', facts.maxShift);
  number('noise', facts.maxNoise);
  number('seed', facts.maxSeed);
  number('opacity', 100);
  number('threshold', 1);
  state.shift = Math.round(state.shift);
  state.seed = Math.round(state.seed);
  for (const [key, choices] of Object.entries(CHOICES)) {
    const value = text(key);
    if (value !== null && choices.includes(value)) Object.assign(state, { [key]: value });
  }
  const truth = text('truth'), knobs = text('knobs'), models = text('models');
  if (truth !== null) state.truth = truth === 'true';
  if (knobs !== null) state.knobs = readKnobs(knobs, facts);
  state.name = text('patch') ?? (state.source === 'start' ? usual.name : '');
  state.sort = text('sort') ?? usual.sort;
  state.well = text('well') ?? usual.well;
  const names = facts.models.map(m => m.name), wanted = models === null ? usual.models : models.split(',');
  state.models = names.filter(name => wanted.includes(name));
  state.focus = text('focus') ?? usual.focus;
  if (!names.includes(state.focus)) state.focus = state.models[0] || names[0];
  return state;
}

/** @param {string} text "name:value,name:value" @param {Facts} facts @returns {State['knobs']} */
function readKnobs(text, facts) {
  const known = new Map(Object.entries(facts.synthetic.knobs));
  return Object.fromEntries(text.split(',').flatMap(pair => {
    const [name, value] = pair.split(':'), knob = known.get(name);
    if (!knob || !value || !Number.isFinite(Number(value))) return [];
    return [[name, clamp(Number(value), knob.low, knob.high)]];
  }));
}
