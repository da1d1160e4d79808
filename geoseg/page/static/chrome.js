// The viewer's surroundings: the place in the set, the notes of a measurement, the notice.

import { el, tell } from './dom.js';
import { placeOf } from './state.js';

/** @typedef {import('./types.js').State} State */
/** @typedef {import('./types.js').Scene} Scene */

/**
 * The arrows, the name and the position of the patch.
 * @param {{ step: (by: number) => void, goTo: (name: string) => void, goToPlace: (place: number) => void }} host
 */
export function makePlace(host) {
  const node = el('div', 'gs-place');
  /** @param {string} text @param {string} label @param {() => void} act */
  const button = (text, label, act) => {
    const made = /** @type {HTMLButtonElement} */ (el('button', 'gs-arrow', text));
    made.type = 'button';
    made.title = made.ariaLabel = label;
    made.addEventListener('click', act);
    return made;
  };
  const names = el('datalist'), name = /** @type {HTMLInputElement} */ (el('input', 'gs-jump'));
  names.id = 'gs-names';
  Object.assign(name, { autocomplete: 'off', spellcheck: false, ariaLabel: 'Name of the patch' });
  name.setAttribute('list', names.id);
  const position = /** @type {HTMLInputElement} */ (el('input', 'gs-position'));
  Object.assign(position, { type: 'number', min: '1', step: '1', ariaLabel: 'Position of the patch' });
  const count = el('span', 'gs-count'), line = el('label', 'gs-where'), middle = el('div', 'gs-middle');
  line.append('Patch ', position, ' ', count);
  middle.append(name, names, line);
  node.append(button('\u2190', 'Previous patch (left arrow)', () => host.step(-1)), middle,
    button('\u2192', 'Next patch (right arrow)', () => host.step(1)));
  let shown = '';
  name.addEventListener('change', () => { name.blur(); host.goTo(name.value); });
  name.addEventListener('keydown', event => {
    if (event.key === 'Escape') { name.value = shown; name.blur(); }
    if (event.key === 'Enter') name.blur(); // which is a change, if there was one
  });
  position.addEventListener('change', () => { position.blur(); host.goToPlace(Math.round(Number(position.value)) - 1); });

  return {
    node,
    focus() { name.focus(); name.select(); },
    /** @param {string[]} all */
    list(all) { names.replaceChildren(...[...new Set(all)].map(value => Object.assign(el('option'), { value }))); },
    /** @param {Scene} scene @param {State} state @param {number} n patches that are browsed @param {string} set */
    paint(scene, state, n, set) {
      shown = scene.name;
      name.title = `${scene.name}\nType a name, or a part of it, to go there (/)`;
      if (document.activeElement !== name) name.value = scene.name;
      tell(count, `of ${n.toLocaleString('en')}${set ? ` \u00b7 ${set}` : ''}`);
      position.max = String(n);
      if (document.activeElement !== position) position.value = String(placeOf(state) + 1);
    },
  };
}

/** A message that floats above the page until it is dismissed, with the files that were rejected. */
export function makeNotice() {
  const node = el('div', 'gs-notice'), text = el('div', 'gs-notice-text');
  const dismiss = /** @type {HTMLButtonElement} */ (el('button', '', '\u00d7'));
  dismiss.type = 'button';
  dismiss.ariaLabel = 'Close this message';
  node.setAttribute('role', 'status');
  node.hidden = true;
  node.append(text, dismiss);
  const hide = () => { node.hidden = true; };
  dismiss.addEventListener('click', hide);
  return {
    node, hide,
    get shown() { return !node.hidden; },
    /** @param {string} message @param {{ name: string, reason: string }[]} [rejected] */
    show(message, rejected = []) {
      const list = el('ul');
      for (const { name, reason } of rejected) {
        const item = el('li');
        item.append(el('strong', '', name), ' ', el('span', '', reason));
        list.append(item);
      }
      text.replaceChildren(el('p', '', message), ...(rejected.length ? [list] : []));
      node.hidden = false;
    },
  };
}

/** What was assumed of the patch's measurements, beside its name. */
export function makeNotes() {
  const node = el('p', 'gs-notes');
  node.setAttribute('role', 'note');
  return {
    node,
    /** @param {Scene} scene */
    paint(scene) {
      node.hidden = !scene.notes.length;
      node.replaceChildren(el('strong', '', `\u26a0 ${scene.name}`), ' ', scene.notes.join(' '));
    },
  };
}
