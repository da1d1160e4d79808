// How the page asks its server (routes.py): a question, a job that answers bit by bit, or files.

const JOBS = new Set(['rank', 'export', 'probe']);
const GONE = 410; // the files of this user
const AGAIN_MS = 500; // a server that restarts, or has too many others to answer

/** The key under which the server keeps this user's files. A reload of this tab has the same. */
function userKey() {
  const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, '0')).join('');
  try {
    return sessionStorage.geosegUser ??= fresh();
  } catch { // a frame that may store nothing
    return fresh();
  }
}

/** The lines of a body, as they come. */
async function* linesOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split('\n');
    rest = lines.pop();
    yield* lines;
  }
}

/**
 * `call(name, message, heard)` asks, and calls `heard(answer, isLast)` for each answer: `isLast` tells
 * whether nothing was asked by this name since. One question of a name is under way, and of those
 * that wait the latest counts. `stop(name)` ends a job, as another one of its name does.
 * `send(files)` resolves with their receipt; of no files, the server forgets those it has.
 * What the server will not answer is heard as null, and `refused(text)` hears why; `gone()` that it has
 * no files of this user.
 */
function makeChannels(refused, gone) {
  const base = `${location.origin}${location.pathname.replace(/\/?$/, '/')}page/`;
  const user = userKey();
  const lanes = new Map(), jobs = new Map();

  async function post(name, body, options = {}) {
    const reply = await fetch(base + name, { method: 'POST', body, ...options });
    if (reply.ok) return reply;
    const { detail } = await reply.json().catch(() => ({}));
    throw Object.assign(new Error(detail || say('notice.refused', { status: reply.status })), { status: reply.status });
  }
  const ask = (name, message, signal, visitor) => post(name, JSON.stringify({ ...message, user }), { signal, headers: { ...visitor, 'Content-Type': 'application/json' } });
  const mayComeLater = error => !error.status || [408, 429, 502, 503, 504].includes(error.status);

  async function answers(name, lane) {
    lane.busy = true;
    while (lane.next) {
      const { message, heard } = lane.next;
      lane.next = null;
      let answer;
      try {
        answer = await (await ask(name, message)).json();
      } catch (error) {
        if (mayComeLater(error)) {
          await new Promise(resolve => { setTimeout(resolve, AGAIN_MS); });
          lane.next ??= { message, heard };
          continue;
        }
        if (error.status === GONE) gone(); else refused(error.message);
        answer = null;
      }
      heard(answer, !lane.next);
    }
    lane.busy = false;
  }

  function stop(name) {
    if (jobs.has(name)) jobs.get(name).abort();
    jobs.delete(name);
  }

  async function work(name, message, heard) {
    stop(name);
    const control = new AbortController(), { signal } = control;
    jobs.set(name, control);
    try {
      const reply = await ask(name, message, signal, await visitorHeaders());
      for await (const line of linesOf(reply.body)) if (!signal.aborted) heard(JSON.parse(line), true);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === GONE) gone();
      const reason = error.status ? error.message : say('notice.silent');
      heard({ error: 'failed', reason }, true);
    }
  }

  return {
    call(name, message, heard) {
      if (JOBS.has(name)) return void work(name, message, heard);
      if (!lanes.has(name)) lanes.set(name, { busy: false, next: null });
      const lane = lanes.get(name);
      lane.next = { message, heard };
      if (!lane.busy) answers(name, lane);
    },
    stop,
    async send(files) {
      const form = new FormData();
      form.append('user', user);
      for (const file of files) form.append('files', file);
      return (await post('files', form)).json();
    },
  };
}
