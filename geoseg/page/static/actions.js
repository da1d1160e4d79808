// What keys and buttons do: by name, as keys.js and the page's buttons have them.

import { CHOICES, initialState, stepModel } from './state.js';

/** @typedef {import('./types.js').State} State */

const PAN = 0.2; // of a frame
const TABS = ['set', 'labels', 'probe', 'synthetic', 'save', 'help'];
export const NEEDS_TWO = 'It takes two models to compare; tick another one.';

/** Press one of Gradio's buttons. @param {string} id */
export const press = id => document.getElementById(id)?.click();

/**
 * @param {import('./viewer.js').Viewer} viewer
 * @returns {Record<string, () => void>}
 */
export function makeActions(viewer) {
  const { state, facts, notice } = viewer;
  /** @param {() => void} change */
  const changing = change => () => { change(); viewer.paint(); viewer.push(); };
  /** Show one display, or the other one where it is shown already. @param {State['display']} display @param {State['display']} [other] */
  const swap = (display, other = 'errors') => changing(() => { state.display = state.display === display ? other : display; });

  return {
    previous: () => viewer.step(-1),
    next: () => viewer.step(1),
    modelUp: changing(() => stepModel(state, -1)),
    modelDown: changing(() => stepModel(state, 1)),
    errors: swap('errors', 'mask'),
    probability: swap('probability'),
    uncertainty: swap('uncertainty'),
    disagreement: () => (state.models.length > 1 ? swap('disagreement')() : notice.show(NEEDS_TWO)),
    truth: changing(() => { state.truth = !state.truth; }),
    grey: changing(() => { Object.assign(state, { grey: CHOICES.grey[(CHOICES.grey.indexOf(state.grey) + 1) % 3] }); }),
    palette: changing(() => { state.palette = state.palette === 'safe' ? 'classic' : 'safe'; }),
    zoomIn: () => viewer.zoom.scale(1.5),
    zoomOut: () => viewer.zoom.scale(1 / 1.5),
    zoomOff: () => viewer.zoom.reset(),
    panLeft: () => viewer.zoom.pan(PAN, 0),
    panRight: () => viewer.zoom.pan(-PAN, 0),
    panUp: () => viewer.zoom.pan(0, PAN),
    panDown: () => viewer.zoom.pan(0, -PAN),
    full: () => { if (document.fullscreenElement) document.exitFullscreen(); else document.documentElement.requestFullscreen?.(); },
    jump: () => viewer.place.focus(),
    keep: () => press('keep-label'),
    doubt: () => press('doubt-label'),
    reset: () => {
      const { source, uploads, index } = state;
      Object.assign(state, initialState(facts), { source, uploads, index, name: '' });
      viewer.zoom.reset();
      viewer.strip.reorder();
      viewer.ask();
      viewer.push();
    },
    escape: () => { if (notice.shown) notice.hide(); else viewer.open(''); },
    ...Object.fromEntries(TABS.map(name => [name, () => viewer.open(name)])),
  };
}
