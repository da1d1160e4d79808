// The viewer's requests to the server, and a memory of its answers, so that nothing is asked twice.

import { floatsOf, bytesOf, nullPath, outline } from './numbers.js';
import { inputOf, stepped } from './state.js';

/** @typedef {import('./types.js').State} State */
/** @typedef {import('./types.js').Scene} Scene */
/** @typedef {import('./types.js').ModelResult} ModelResult */

const MEMORY_BYTES = 2 ** 26; // of the answers kept, the latest used ones; 41 kB each of 36x36 and three models
const LEAST_KEPT = 2; // however large: the one that is shown, and the next
const AHEAD_AFTER_MS = 30; // of quiet, before the next patch is fetched
const AHEAD_BELOW_MS = 200; // a slower server is not asked for what nobody has asked for yet
const RETRY_MS = 500;

/** The key of this user's uploads at the server. A reload of this tab has the same. */
function userKey() {
  const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, '0')).join('');
  try {
    return sessionStorage.geosegUser ??= fresh();
  } catch { // a frame that may store nothing
    return fresh();
  }
}

/**
 * Make the requests. `call(name, message, heard)` calls a server function and then `heard(answer,
 * isLast)`; `isLast` tells that nothing was asked by this name since. One request of a name is under
 * way, and of those that wait the latest counts. An answer that says `error` is heard as null, and
 * `refused(text, gone)` hears why.
 * @param {Record<string, (message: object) => Promise<any>>} server
 * @param {(text: string, gone: boolean) => void} refused
 */
export function makeTransport(server, refused) {
  const user = userKey();
  /** @typedef {{ message: object, heard: (answer: any, isLast: boolean) => void }} Call */
  /** @type {Map<string, { busy: boolean, next: Call | null }>} */
  const lanes = new Map();

  /** @param {string} name @param {{ busy: boolean, next: Call | null }} lane */
  async function work(name, lane) {
    lane.busy = true;
    while (lane.next) {
      const { message, heard } = lane.next;
      lane.next = null;
      const answer = await server[name]({ ...message, user });
      if (!answer) { // no connection, or too many requests: a later one may do better
        await new Promise(resolve => { setTimeout(resolve, RETRY_MS); });
        lane.next ??= { message, heard };
        continue;
      }
      if (answer.error) refused(answer.error, Boolean(answer.gone));
      heard(answer.error ? null : answer, !lane.next);
    }
    lane.busy = false;
  }

  return {
    user,
    /** @param {string} name @param {object} message @param {Call['heard']} heard */
    call(name, message, heard) {
      const lane = lanes.get(name) || { busy: false, next: null };
      lanes.set(name, lane);
      lane.next = { message, heard };
      if (!lane.busy) work(name, lane);
    },
  };
}

/**
 * Decode an answer into typed arrays, once; every repaint uses them again.
 * @param {any} answer
 * @returns {Scene}
 */
function makeScene(answer) {
  const [rows, columns] = answer.shape;
  const patch = floatsOf(answer.patch);
  const truth = answer.truth === null ? null : bytesOf(answer.truth);
  return {
    ...answer, rows, columns, patch, truth, found: new Map(), failed: new Map(), models: [], bytes: 0,
    nulls: nullPath(rows, columns, patch),
    lost: patch.reduce((n, v) => n + Number(Number.isNaN(v)), 0),
    outline: truth ? outline(rows, columns, i => truth[i] === 1) : '',
  };
}

/**
 * Make the memory of scenes. `see(state, show)` brings the scene of a state: from memory, or from the
 * server, which is asked for the missing models only. While a slider moves, older answers are shown as
 * they come.
 * @param {ReturnType<typeof makeTransport>} transport
 */
export function makeScenes(transport) {
  /** @type {Map<string, Scene>} */
  const memory = new Map();
  let direction = 0, ahead = 0, began = 0, roundTrip = Infinity;

  /** @param {string} key */
  function recall(key) {
    const scene = memory.get(key);
    if (scene) { memory.delete(key); memory.set(key, scene); } // the latest used comes last
    return scene;
  }
  /** @param {Scene | undefined} scene @param {string[]} models */
  const missing = (scene, models) => models.filter(name => !scene || !scene.found.has(name));

  /** @param {object} input @param {any} answer */
  function remember(input, answer) {
    const key = JSON.stringify({ ...input, index: answer.index });
    const scene = recall(key) || makeScene(answer);
    for (const model of answer.models) {
      if (model.error) scene.failed.set(model.name, model);
      else scene.found.set(model.name, { ...model, probability: floatsOf(model.probability) });
    }
    scene.stages = answer.stages;
    // A pixel: its value and truth; of each model a probability, and later a class and a disagreement.
    scene.bytes = scene.patch.length * (5 + 9 * scene.found.size);
    memory.set(key, scene);
    let bytes = [...memory.values()].reduce((sum, kept) => sum + kept.bytes, 0);
    for (const [oldest, kept] of memory) {
      if (bytes <= MEMORY_BYTES || memory.size <= LEAST_KEPT) break;
      memory.delete(oldest);
      bytes -= kept.bytes;
    }
    return scene;
  }

  /** @param {Scene} scene @param {string[]} models */
  function compose(scene, models) {
    const results = models.map(name => scene.found.get(name) || scene.failed.get(name));
    scene.models = /** @type {ModelResult[]} */ (results.filter(Boolean));
    return scene;
  }

  /** @param {State} state @param {number} count */
  function fetchAhead(state, count) {
    clearTimeout(ahead);
    if (!direction || count < 2 || roundTrip > AHEAD_BELOW_MS) return;
    ahead = setTimeout(() => {
      const input = { ...inputOf(state), index: stepped(state, count, direction) };
      const models = missing(memory.get(JSON.stringify(input)), state.models);
      if (models.length) transport.call('look', { ...input, models }, answer => { if (answer) remember(input, answer); });
    }, AHEAD_AFTER_MS);
  }

  return {
    /** @param {State} state @param {(scene: Scene, isLast: boolean) => void} show */
    see(state, show) {
      clearTimeout(ahead);
      const input = inputOf(state);
      const models = [...state.models];
      const known = state.name ? undefined : recall(JSON.stringify(input));
      if (known && !missing(known, models).length) {
        began = 0; // answers that are under way belong to the past
        show(compose(known, models), true);
        fetchAhead(state, known.count);
        return;
      }
      const sent = began = performance.now();
      transport.call('look', { ...input, name: state.name, models: missing(known, models) }, answer => {
        if (!answer) return;
        const scene = remember(input, answer);
        if (sent > began || !began) return;
        roundTrip = performance.now() - sent;
        const isLast = sent === began;
        show(compose(scene, models), isLast);
        if (isLast) fetchAhead(state, scene.count);
      });
    },
    /** The direction in which the user browses: the next patch that way is fetched ahead. @param {number} step */
    travel(step) { direction = Math.sign(step); },
    forget() { memory.clear(); },
  };
}
