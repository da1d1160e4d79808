// The page's life: ask, receive, paint. `window.geoseg` shows its state to tests and to the curious.

const SLOW_MS = 250; // a shorter wait needs no sign
const LOST_MS = 15000;

/** Decode an answer into typed arrays, once; every repaint reuses them. */
function makeScene(message) {
  const [rows, columns] = message.shape;
  const patch = floatsOf(message.patch);
  const truth = message.truth === null ? null : bytesOf(message.truth);
  const models = message.models.map(model => (
    model.error ? model : { ...model, probability: floatsOf(model.probability) }));
  return {
    ...message, rows, columns, patch, truth, models,
    nulls: nullPath(rows, columns, patch),
    lost: patch.reduce((n, v) => n + Number.isNaN(v), 0),
    outline: truth ? outline(rows, columns, i => truth[i] === 1) : '',
  };
}

/** Classes and scores at the threshold in force, and which model is best at what. */
function judge(scene, threshold) {
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
  const scored = scene.models.filter(m => m.scores);
  for (const model of scored) {
    model.best = new Set(scored.length < 2 ? [] : SCORES.filter(
      key => scored.every(other => other.scores[key] <= model.scores[key])));
  }
}

function many(n, one, more) {
  return `${n.toLocaleString('en')} ${n === 1 ? one : more}`;
}

function start(element, props, watch, facts) {
  const root = element.querySelector('.gs');
  const $ = selector => root.querySelector(selector);
  const state = initialState(facts);
  const panels = $('.gs-panels');
  const patchCard = makePatchCard();
  const cards = new Map();
  let scene = null, ticket = 0, count = facts.count, slow = 0, lost = 0, silent = false, refused = [];

  const focus = name => { state.focus = name; paint(); };
  for (const { name } of facts.models) cards.set(name, makeModelCard(name, focus));

  function ask() {
    if (!window.geosegSend) return; // the page is still being put together, and will ask by itself
    ticket += 1;
    const { source, index, shift, noise, seed, models } = state;
    wait();
    window.geosegSend({ ticket, source, index, shift, noise, seed, models });
  }

  function wait() {
    if (!slow) slow = setTimeout(() => { root.dataset.busy = 'true'; }, SLOW_MS);
    if (lost) return;
    lost = setTimeout(() => {
      notify('The server does not answer. Is app.py still running?');
      silent = true;
    }, LOST_MS);
  }

  function arrived() {
    clearTimeout(slow);
    clearTimeout(lost);
    slow = lost = 0;
    if (silent) $('.gs-notice').hidden = true;
    silent = false;
    root.dataset.busy = 'false';
  }

  function changed(needsServer) {
    if (needsServer) ask();
    paint();
  }

  function receive() {
    const message = props.value;
    if (!message || !message.shape) return;
    scene = makeScene(message);
    count = message.count;
    if (message.ticket >= ticket) {
      arrived();
      if (state.source !== message.source) {
        state.source = message.source;
        notify('Your files were kept for four hours and are gone; open them again.');
      }
      state.index = message.index;
    }
    paint();
    root.dataset.ticket = message.ticket;
  }

  function paint() {
    showState(root, facts, state, !scene || scene.truth);
    layout();
    if (!scene) return;
    judge(scene, state.threshold);
    paintPatch(patchCard, scene, state);
    for (const model of scene.models) paintModel(cards.get(model.name), scene, model, state);
    paintPlace();
    paintLegend($('.gs-legend'), scene, state);
  }

  function layout() {
    const wanted = [patchCard.card, ...state.models.map(name => cards.get(name).card)];
    if (!state.models.length) wanted.push(emptyCard);
    if (wanted.length !== panels.children.length || wanted.some((c, i) => panels.children[i] !== c)) {
      panels.replaceChildren(...wanted);
      root.style.setProperty('--n', wanted.length);
    }
    patchCard.card.classList.toggle('gs-pending', !scene);
    for (const [name, view] of cards) {
      view.card.classList.toggle('gs-focus', name === state.focus && state.models.length > 1);
      view.card.setAttribute('aria-current', String(name === state.focus));
      view.card.classList.toggle('gs-pending', !scene || !scene.models.some(m => m.name === name));
    }
  }

  function paintPlace() {
    $('.gs-name').textContent = scene.name;
    $('.gs-name').title = scene.name;
    $('.gs-count').textContent = count.toLocaleString('en');
    $('.gs-set').textContent = [scene.label, many(count, 'patch', 'patches')].filter(Boolean).join(': ');
    const position = $('.gs-position');
    position.max = count;
    if (document.activeElement !== position) position.value = state.index + 1;
  }

  function notify(text, rejected = []) {
    const list = el('ul');
    for (const { name, reason } of rejected) {
      const item = el('li');
      item.append(el('strong', '', name), ' ', el('span', '', reason));
      list.append(item);
    }
    $('.gs-notice-text').replaceChildren(el('p', '', text), ...(rejected.length ? [list] : []));
    $('.gs-notice').hidden = false;
  }

  function go(index) {
    state.index = ((index % count) + count) % count;
    ask();
    paint();
  }

  function browse(source) {
    state.source = source;
    state.index = 0;
    ask();
    paint();
  }

  function take(list) {
    const { good, rejected } = sortFiles(list, facts.limits);
    refused = rejected;
    if (!good.length) return notify('None of these files can be shown.', rejected);
    notify(`Uploading ${many(good.length, 'file', 'files')} \u2026`);
    return sendFiles(good);
  }

  function received(receipt) {
    if (!receipt) return;
    const rejected = [...receipt.rejected, ...refused];
    refused = [];
    const shown = `${many(receipt.accepted, 'patch', 'patches')} opened`;
    if (rejected.length) {
      notify(receipt.accepted ? `${shown}; left out:` : 'None of these files can be shown.', rejected);
    } else {
      $('.gs-notice').hidden = true;
    }
    if (receipt.accepted) browse('uploads');
  }

  const show = display => { state.display = display; paint(); };
  const flip = key => { state[key] = !state[key]; paint(); };
  const actions = {
    previous: () => go(state.index - 1),
    next: () => go(state.index + 1),
    modelUp: () => { stepModel(state, -1); paint(); },
    modelDown: () => { stepModel(state, 1); paint(); },
    errors: () => show(state.display === 'errors' ? 'mask' : 'errors'),
    probability: () => show(state.display === 'probability' ? 'errors' : 'probability'),
    truth: () => flip('truth'),
    adapt: () => flip('adapt'),
    palette: () => { state.palette = state.palette === 'safe' ? 'classic' : 'safe'; paint(); },
    reset: () => {
      const { source, index } = state;
      Object.assign(state, initialState(facts), { source, index });
      changed(true);
    },
    help: () => { const help = $('.gs-help'); if (help.open) help.close(); else help.showModal(); },
    api: () => { $('.gs-help').close(); openApiPage(); },
    open: () => $('.gs-files').click(),
    back: () => browse('start'),
    dismiss: () => { $('.gs-notice').hidden = true; },
  };

  const emptyCard = el('article', 'gs-card gs-empty');
  emptyCard.append(el('p', '', 'No model is chosen. Tick one below.'));
  root.addEventListener('click', event => {
    const button = event.target.closest('button');
    if (!button) return;
    if (button.dataset.do) actions[button.dataset.do]();
    if (button.dataset.display) show(button.dataset.display);
    if (button.dataset.toggle) flip(button.dataset.toggle);
  });
  $('.gs-position').addEventListener('change', event => {
    const wanted = Math.round(Number(event.target.value));
    event.target.blur();
    if (wanted >= 1 && wanted <= count) go(wanted - 1); else paint();
  });
  $('.gs-count').textContent = count.toLocaleString('en');
  $('.gs-limits').textContent = `Open up to ${facts.limits.files} files of ${facts.limits.bytes / 2 ** 20} MB each, `
    + 'by the button or by dropping them here. Only you see them; they are forgotten after four hours.';
  bindSliders(root, state, changed);
  bindModels(root, facts, state, changed);
  bindKeys(root, actions);
  bindFiles(root, take);
  bindPointer(root, () => scene, [patchCard, ...cards.values()]);
  window.geoseg = { state, facts, received, get scene() { return scene; }, get ticket() { return ticket; } };
  watch('value', receive);
  wait();
  paint();
  receive();
}
