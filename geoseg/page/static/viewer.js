// The viewer's entry: `start` builds it, asks the server for what the state shows, and paints it.

import { makeActions, NEEDS_TWO, press } from './actions.js';
import { displayOf } from './colours.js';
import { makeNotes, makeNotice, makePlace } from './chrome.js';
import { el, svg } from './dom.js';
import { bindDrop } from './drop.js';
import { saveArray } from './files.js';
import { bindKeys } from './keys.js';
import { bindPointer, paintLegend } from './legend.js';
import { linkOf, readLink } from './link.js';
import { decide, hear } from './messages.js';
import { disagreementOf, judge } from './numbers.js';
import { makeSetScores } from './orders.js';
import { makeModelCard, makePatchCard, paintModel, paintPatch } from './panels.js';
import { savePicture } from './picture.js';
import { controlOf, initialState, setControl, stepped } from './state.js';
import { makeStrip } from './strip.js';
import { makeScenes, makeTransport } from './transport.js';
import { makeZoom } from './zoom.js';

/** @typedef {import('./types.js').Facts} Facts */
/** @typedef {import('./types.js').Scene} Scene */
/** @typedef {import('./types.js').State} State */

const SLOW_MS = 250; // a shorter wait needs no sign
const LOST_MS = 15000;
const REST_MS = 400; // after which a knob of the synthetic pipes rests
const LINK_MS = 400; // browsers refuse an address that changes too often

/** @typedef {any} Viewer what the viewer's modules share: state, parts, and ways to change what is shown */

/** The hatching of nulls. */
function hatch() {
  const defs = svg('svg', { width: 0, height: 0, 'aria-hidden': 'true', class: 'gs-defs' });
  const pattern = svg('pattern', { id: 'gs-hatch', width: 0.9, height: 0.9, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' });
  pattern.append(svg('rect', { width: 0.9, height: 0.9, fill: '#5c6068' }), svg('rect', { width: 0.32, height: 0.9, fill: '#a9afb8' }));
  defs.append(pattern);
  return defs;
}

/**
 * Start the viewer in Gradio's element.
 * @param {HTMLElement} element
 * @param {Facts} facts
 * @param {{ server: any, trigger: (name: string) => void, watch: (name: string, heard: () => void) => void, props: any }} gradio
 */
export function start(element, facts, { server, trigger, watch, props }) {
  const root = /** @type {HTMLElement} */ (element.querySelector('.gs'));
  const usual = initialState(facts);
  const state = readLink(location.hash, usual, facts);
  const transport = makeTransport(server, refuse);
  const scenes = makeScenes(transport);
  const scores = makeSetScores(facts);
  const notice = makeNotice(), notes = makeNotes();
  const place = makePlace({ step, goTo, goToPlace });
  const strip = makeStrip({ state, facts, transport, scores, jump, paint, wanted, listed });
  const panels = el('div', 'gs-panels'), legend = el('div', 'gs-legend'), readout = el('p', 'gs-readout');
  const below = el('div', 'gs-below'), foot = el('div', 'gs-nav'), empty = el('div', 'gs-card gs-empty');
  const patchCard = makePatchCard();
  const cards = new Map(facts.models.map(({ name }) => [name, makeModelCard(name, () => { state.focus = name; paint(); push(); })]));
  const views = [patchCard, ...cards.values()];
  /** @type {Scene | null} */
  let scene = null;
  let asked = 0, count = facts.count, slow = 0, lost = 0, linking = 0, loading = 0, told = '', waiting = false, pushed = '', tab = '';

  empty.append(el('p', '', 'No model is chosen. Tick one below.'));
  legend.setAttribute('role', 'group');
  legend.ariaLabel = 'Legend';
  below.append(legend, readout);
  foot.append(place.node, strip.node);
  root.replaceChildren(hatch(), el('div', 'gs-progress'), notes.node, panels, below, foot, notice.node);
  root.dataset.busy = 'true';

  function ask() {
    const mine = asked += 1;
    slow ||= window.setTimeout(() => { root.dataset.busy = 'true'; }, SLOW_MS);
    lost ||= window.setTimeout(() => {
      notice.show('The server does not answer. Is app.py still running?');
      waiting = true;
    }, LOST_MS);
    scenes.see(state, (answer, isLast) => receive(answer, isLast && mine === asked));
  }

  function arrived() {
    clearTimeout(slow);
    clearTimeout(lost);
    slow = lost = 0;
    if (waiting) notice.hide();
    waiting = false;
    root.dataset.busy = 'false';
  }

  /** @param {string} text @param {boolean} gone */
  function refuse(text, gone) {
    arrived();
    if (gone && state.source === 'uploads') show({ source: 'start', name: '' });
    notice.show(text);
  }

  /** @param {Scene} answer @param {boolean} isLast */
  function receive(answer, isLast) {
    scene = answer;
    count = scene.count;
    if (isLast) {
      arrived();
      if (state.name && state.name !== scene.name) notice.show(`The set holds no patch called ${state.name}; this is another one.`);
      state.name = '';
      state.index = scene.index;
      state.shift %= scene.columns; // which may be a narrower patch than the one before
      if (scene.facts.note && scene.facts.note !== told) notice.show(`No letters here: ${scene.facts.note}`);
      told = scene.facts.note || '';
      // Every step of a knob is another set: its pictures are made once the knob rests.
      clearTimeout(loading);
      if (state.source === 'synthetic' && strip.list.count) loading = window.setTimeout(strip.load, REST_MS); else strip.load();
    }
    paint();
    push();
    if (isLast) root.dataset.ticket = String(asked);
  }

  function paint() {
    layout();
    if (!scene) return;
    judge(scene, state.threshold);
    if (displayOf(state, scene.truth) === 'disagreement') {
      for (const model of scene.models) if (!model.error) model.disagreement = disagreementOf(model, scene.models);
    }
    paintPatch(patchCard, scene, state);
    for (const model of scene.models) paintModel(cards.get(model.name), scene, model, state);
    place.paint(scene, state, state.order ? state.order.length : count, strip.list.label || scene.label);
    notes.paint(scene);
    paintLegend(legend, scene, state);
    strip.follow();
    readPixel(scene);
    clearTimeout(linking);
    linking = window.setTimeout(keepLink, LINK_MS);
  }

  function layout() {
    const wanted = [patchCard.card, ...state.models.map(name => cards.get(name).card)];
    if (!state.models.length) wanted.push(empty);
    if (wanted.length !== panels.children.length || wanted.some((card, i) => panels.children[i] !== card)) {
      panels.replaceChildren(...wanted);
      root.style.setProperty('--n', String(wanted.length));
    }
    patchCard.card.classList.toggle('gs-pending', !scene);
    for (const [name, { card, pick }] of cards) {
      card.classList.toggle('gs-focus', name === state.focus && state.models.length > 1);
      pick.setAttribute('aria-pressed', String(name === state.focus));
      card.classList.toggle('gs-pending', !scene || !scene.models.some(m => m.name === name));
    }
  }

  /** Tell Gradio's controls what the state is now, where it is another one. */
  function push() {
    const { order, index, name, ...settings } = state;
    const now = JSON.stringify([settings, scene?.columns, scene?.facts]);
    if (now === pushed) return;
    pushed = now;
    trigger('input');
  }

  const link = () => `${location.pathname}${location.search}#${linkOf(state, usual, scene ? scene.name : state.name)}`;
  const keepLink = () => { if (scene) history.replaceState(null, '', link()); };

  /** @param {number} index */
  function jump(index) {
    state.index = index;
    state.name = '';
    if (state.order && !state.order.includes(index)) {
      state.well = 'all'; // it is in another well than the chosen one
      strip.reorder();
    }
    ask();
    paint();
  }

  /** @param {number} by */
  function step(by) {
    scenes.travel(by);
    jump(stepped(state, count, by));
  }

  /** @param {number} to */
  function goToPlace(to) {
    const { order } = state;
    if (to >= 0 && to < (order ? order.length : count)) jump(order ? order[to] : to); else paint();
  }

  /** Go to the place that is written, or to the first patch whose name holds the text. @param {string} text */
  function goTo(text) {
    const { names } = strip.list, wanted = text.trim().toLowerCase();
    if (!wanted) return paint();
    const seed = state.source === 'synthetic' ? Number(/\d*$/.exec(wanted)?.[0]) : 0; // "synthetic 17", or 17
    if (seed >= 1 && seed <= count) return jump(seed - 1);
    const exact = names.findIndex(name => name.toLowerCase() === wanted);
    const index = exact >= 0 ? exact : names.findIndex(name => name.toLowerCase().includes(wanted));
    if (index >= 0) return jump(index);
    notice.show(`No patch has ${text} in its name.`);
    return paint();
  }

  /** Set fields of the state. @param {Partial<State>} fields */
  function show(fields) {
    Object.assign(state, fields);
    ask();
    paint();
    push();
  }

  function listed() { place.list(strip.list.names); }

  /** An order is chosen that needs the scores of the set. @param {string} key */
  function wanted(key) {
    if (!key.includes(' ') && state.models.length < 2) {
      notice.show(NEEDS_TWO);
      state.sort = 'file';
      return;
    }
    press('score-set');
  }

  /** Open a tab of the sidebar, or close it where the name is empty. @param {string} name */
  function open(name) {
    tab = name;
    trigger('select');
  }

  const zoom = makeZoom(root, views.map(view => view.frame), step);
  const readPixel = bindPointer(readout, () => scene, views);
  const viewer = {
    state, facts, strip, scores, scenes, transport, notice, place, zoom, jump, step, show, ask, paint, push, open,
    undecided: /** @type {number[]} */ ([]),
  };
  const actions = makeActions(viewer);
  bindKeys(root, actions);
  bindDrop(root);
  watch('value', () => hear(viewer, props.value));
  window.addEventListener('pagehide', keepLink);
  window.addEventListener('hashchange', () => { // a link that is pasted into the open page
    const { uploads } = state;
    show({ ...readLink(location.hash, usual, facts), uploads, order: null });
  });

  /** What the server needs to know for slow work on what is shown. */
  const request = () => ({ ...state, order: null, user: transport.user });
  const shown = () => [patchCard, ...state.models.map(name => cards.get(name))];
  Object.assign(window, {
    geoseg: {
      ...viewer, actions, link,
      get scene() { return scene; },
      get asked() { return asked; },
      get settled() { return Number(root.dataset.ticket) === asked; },
      request,
      /** Go on to the next label to review; return the request for this one. */
      decide: () => decide(viewer, request()),
      set: show,
      /** @param {string} key @param {any} value */
      control(key, value) {
        if (setControl(state, facts, key, value)) ask();
        paint();
        if (['options', 'threshold', 'models'].includes(key)) push();
      },
      /** @param {string[]} keys */
      controls: keys => keys.map(key => controlOf(state, facts, scene, key)),
      /** Which tab is wanted; empty for none. */
      tab: () => tab,
      savePicture: () => { if (scene) savePicture({ scene, state, views: shown(), root, zoom: zoom.view }); },
      /** @param {'patch' | 'mask' | 'probability'} kind */
      saveArray: kind => { if (scene) saveArray(kind, scene, state); },
    },
  });
  ask();
  paint();
}
