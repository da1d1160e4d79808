// What Python tells the viewer: the component's value, `{ kind, serial, ... }` (viewer.py).

import { plural } from './dom.js';
import { setOf } from './state.js';

let reviewed = ''; // the set whose labels are reviewed

const SET_START = /** @type {const} */ ({ index: 0, name: '', order: null, sort: 'file', well: 'all' });

/**
 * @param {import('./viewer.js').Viewer} viewer
 * @param {any} message
 */
export function hear(viewer, message) {
  const { state, strip, notice, scores } = viewer;
  const { kind, serial, ...fields } = message || {};
  if (kind === 'jump') {
    const { names } = strip.list;
    const { index, name = names[index] } = fields;
    const at = names[index] === name ? index : names.indexOf(name);
    if (at >= 0) viewer.jump(at); else notice.show(`${name} is in another set than the one that is shown; score this one.`);
  } else if (kind === 'scores' || kind === 'suspects') {
    if (fields.count !== strip.list.count) return; // of a set that was left meanwhile
    scores.read(fields);
    if (kind === 'suspects') {
      viewer.undecided = fields.undecided;
      reviewed = JSON.stringify(setOf(state));
      state.sort = 'doubt'; // so that the arrow keys follow the list
    }
    strip.offer();
    strip.redraw();
    if (kind === 'suspects' && viewer.undecided.length) viewer.jump(viewer.undecided[0]);
  } else if (kind === 'ended') {
    strip.giveUp();
  } else if (kind === 'set') {
    viewer.show(fields.source && fields.source !== state.source ? { ...SET_START, ...fields } : fields);
  } else if (kind === 'notice') {
    notice.show(fields.text, fields.rejected);
  } else if (kind === 'uploads') {
    const { accepted, rejected } = fields;
    if (rejected.length) {
      notice.show(accepted ? `${plural(accepted, 'patch', 'patches')} opened; left out:` : 'None of these files can be shown.', rejected);
    } else notice.hide();
    if (!accepted) return;
    viewer.show({ ...SET_START, source: 'uploads', uploads: state.uploads + 1 });
  }
}

/**
 * Go on to the next label that nobody has judged; return the request for the one that was shown.
 * @param {import('./viewer.js').Viewer} viewer
 * @param {object} request
 */
export function decide(viewer, request) {
  const at = viewer.undecided.indexOf(viewer.state.index);
  if (at < 0) return request; // a decision is undone, or changed
  if (reviewed !== JSON.stringify(setOf(viewer.state))) return request; // the server refuses it too
  viewer.undecided.splice(at, 1);
  const { length } = viewer.undecided;
  if (length) viewer.jump(viewer.undecided[at % length]);
  return request;
}
