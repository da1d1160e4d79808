// The page's life: ask, receive, paint. `window.geoseg` shows its state to tests and to the curious.

const SLOW_MS = 250; // a shorter wait needs no sign
const LOST_MS = 15000;
const REST_MS = 400;
const PAN = 0.2; // of a frame
const LINK_MS = 400; // browsers refuse an address that changes too often

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

function start(element, facts) {
  WORDS = facts.words;
  const root = element.querySelector('.gs');
  const $ = selector => root.querySelector(selector);
  const usual = initialState(facts);
  const state = readLink(location.hash, usual, facts);
  const channels = makeChannels(refused, gone), looks = makeLooks(channels);
  const panels = $('.gs-panels');
  fillWords(root);
  root.style.setProperty('--loading', JSON.stringify(say('panel.loading')));
  const patchCard = makePatchCard();
  const cards = new Map();
  let scene = null, asked = 0, count = facts.count, slow = 0, lost = 0, silent = false, linking = 0, loading = 0, noted = '';

  // The panels leave room for the notes, however many lines they have.
  new ResizeObserver(() => {
    const height = $('.gs-notes').offsetHeight;
    root.style.setProperty('--noted', `${height && height + 12}px`);
  }).observe($('.gs-notes'));

  const focus = name => { state.focus = name; paint(); };
  for (const { name } of facts.models) cards.set(name, makeModelCard(name, focus));

  function ask() {
    const mine = asked += 1;
    wait();
    looks.see(state, (answer, last) => receive(answer, last && mine === asked));
  }

  function wait() {
    if (!slow) slow = setTimeout(() => { root.dataset.busy = 'true'; }, SLOW_MS);
    if (lost) return;
    lost = setTimeout(() => {
      notify(say('notice.silent'));
      silent = true;
    }, LOST_MS);
  }

  function arrived() {
    clearTimeout(slow);
    clearTimeout(lost);
    slow = lost = 0;
    if (silent) $('.gs-notice').hidden = true;
    silent = false;
    mark(root, 'data-busy', 'false');
  }

  function refused(text) {
    arrived();
    notify(text);
  }

  /** What was opened here is not on the server any more. */
  function gone() {
    if (state.source !== 'uploads') return;
    browse('start', state.index);
    notify(say('notice.gone'));
  }

  function receive(answer, last) {
    scene = answer;
    count = scene.count;
    if (last) {
      arrived();
      if (state.name && state.name !== scene.name) notify(say('notice.missing', { name: state.name }));
      state.name = '';
      state.index = scene.index;
      state.shift %= scene.columns; // which may be a narrower patch than the one before
      if (scene.facts.note && scene.facts.note !== noted) notify(say('synthetic.note', { note: scene.facts.note }));
      noted = scene.facts.note;
      // Every step of a knob is another set: its pictures are made once the knob rests.
      clearTimeout(loading);
      if (state.source === 'synthetic' && strip.list.count) loading = setTimeout(strip.load, REST_MS); else strip.load();
    }
    paint();
    if (last) root.dataset.ticket = asked;
  }

  function paint() {
    showState(root, facts, state, scene);
    layout();
    if (scene) paintScene();
    drawer.paint();
  }

  function paintScene() {
    judge(scene, state.threshold);
    if (displayOf(state, scene.truth) === 'disagreement') {
      for (const model of scene.models) if (!model.error) model.disagreement = disagreementOf(model, scene.models);
    }
    paintPatch(patchCard, scene, state);
    for (const model of scene.models) paintModel(cards.get(model.name), scene, model, state);
    paintPlace();
    paintNotes();
    paintLegend($('.gs-legend'), scene, state);
    strip.follow();
    readPixel(scene);
    clearTimeout(linking);
    linking = setTimeout(keepLink, LINK_MS);
  }

  const keepLink = () => { if (scene) history.replaceState(null, '', app.link()); };

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
      mark(view.pick, 'aria-pressed', String(name === state.focus));
      view.card.classList.toggle('gs-pending', !scene || !scene.models.some(m => m.name === name));
    }
  }

  function paintPlace() {
    const jump = $('.gs-jump'), position = $('.gs-position');
    const n = state.order ? state.order.length : count;
    mark(jump, 'title', [scene.name, say('dock.jump_tip')].join('\n'));
    if (document.activeElement !== jump) jump.value = scene.name;
    tell($('.gs-count'), say('dock.of', { count: n.toLocaleString('en') }));
    const set = many(count, 'patch');
    tell($('.gs-set'), scene.label ? say('bar.set', { label: scene.label, count: set }) : set);
    mark(position, 'max', String(n));
    if (document.activeElement !== position) position.value = placeOf(state) + 1;
  }

  /** What was assumed of the patch's measurements, beside its name. */
  function paintNotes() {
    const line = $('.gs-notes');
    line.hidden = !scene.notes.length;
    line.replaceChildren(el('strong', '', `\u26a0 ${scene.name}`), ' ', scene.notes.join(' '));
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

  function step(by) {
    looks.travel(by);
    jump(stepped(state, count, by));
  }

  /** Go to the place that is written in the box, or to the first patch whose name holds the text. */
  function jumpTo(text) {
    const names = strip.list.names, wanted = text.trim().toLowerCase();
    if (!wanted) return paint();
    const seed = state.source === 'synthetic' ? Number(/\d*$/.exec(wanted)[0]) : 0; // "synthetic 17", or 17
    if (seed >= 1 && seed <= count) return jump(seed - 1);
    const exact = names.findIndex(name => name.toLowerCase() === wanted);
    const index = exact >= 0 ? exact : names.findIndex(name => name.toLowerCase().includes(wanted));
    if (index >= 0) return jump(index);
    notify(say('notice.no_name', { text }));
    return paint();
  }

  function browse(source, index = 0, kept = {}) {
    Object.assign(state, { source, index, name: '', order: null, sort: 'file', well: 'all', ...kept });
    ask();
    paint();
  }

  async function take(list) {
    const { good, rejected } = sortFiles(list, facts.limits);
    if (!good.length) return notify(say('notice.none'), rejected);
    notify(say('notice.uploading', { files: many(good.length, 'file') }));
    try {
      const receipt = await channels.send(good);
      return received({ ...receipt, rejected: [...receipt.rejected, ...rejected] });
    } catch (error) {
      return notify(say('notice.not_sent', { reason: error.status ? error.message : say('notice.silent') }));
    }
  }

  function received({ accepted, rejected }) {
    if (rejected.length) {
      notify(accepted ? say('notice.some', { opened: many(accepted, 'opened') }) : say('notice.none'), rejected);
    } else {
      $('.gs-notice').hidden = true;
    }
    if (!accepted) return;
    state.uploads += 1;
    browse('uploads');
  }

  const app = {
    root, facts, state, channels, notify, jump, paint, usual,
    get scene() { return scene; },
    get name() { return scene ? scene.name : state.name; },
    get zoomed() { return zoom.view; },
    get views() { return [patchCard, ...state.models.map(name => cards.get(name))]; },
    setKey: () => JSON.stringify(setOf(state)),
    browse,
    /** From the synthetic pipes back to what was browsed before. */
    before: { source: 'start', index: 0 },
    leave: () => {
      const { source, index, ...kept } = app.before;
      if (state.source === 'synthetic') return browse(source, index, kept);
      channels.send([]).catch(() => {}); // forgets what was uploaded; if it cannot now, in time it does
      return browse('start');
    },
    ask: () => { ask(); paint(); },
    link: () => `#${linkOf(state, usual, app)}`,
    /** Something needs the scores of the whole set: the sheet that has them says how. */
    wanted: () => {},
    /** Ways to sort a set that has just been listed. */
    sorts: () => [],
  };
  const show = display => { state.display = display; paint(); };
  const flip = key => { state[key] = !state[key]; paint(); };
  const swap = display => () => show(state.display === display ? 'errors' : display);
  const actions = {
    previous: () => step(-1),
    next: () => step(1),
    modelUp: () => { stepModel(state, -1); paint(); },
    modelDown: () => { stepModel(state, 1); paint(); },
    errors: () => show(state.display === 'errors' ? 'mask' : 'errors'),
    probability: swap('probability'),
    uncertainty: swap('uncertainty'),
    disagreement: () => (state.models.length > 1 ? swap('disagreement')() : notify(say('set.needs_two'))),
    truth: () => flip('truth'),
    range: () => { state.range = CHOICES.range[(CHOICES.range.indexOf(state.range) + 1) % 3]; paint(); },
    palette: () => { state.palette = state.palette === 'safe' ? 'classic' : 'safe'; paint(); },
    zoomIn: () => zoom.scale(1.5),
    zoomOut: () => zoom.scale(1 / 1.5),
    zoomOff: () => zoom.reset(),
    panLeft: () => zoom.pan(PAN, 0),
    panRight: () => zoom.pan(-PAN, 0),
    panUp: () => zoom.pan(0, PAN),
    panDown: () => zoom.pan(0, -PAN),
    full: () => { if (document.fullscreenElement) document.exitFullscreen(); else document.documentElement.requestFullscreen(); },
    jump: () => { $('.gs-jump').focus(); $('.gs-jump').select(); },
    reset: () => {
      const { source, uploads, index, sheet } = state;
      Object.assign(state, initialState(facts), { source, uploads, index, sheet });
      zoom.reset();
      strip.reorder();
      app.ask();
    },
    help: () => { const help = $('.gs-help'); if (help.open) help.close(); else help.showModal(); },
    api: () => { $('.gs-help').close(); openApiPage(); },
    open: () => $('.gs-files').click(),
    back: () => app.leave(),
    close: () => drawer.close(),
    dismiss: () => { if ($('.gs-notice').hidden) drawer.close(); else $('.gs-notice').hidden = true; },
  };

  const strip = makeStrip(app);
  const sheets = makeSheets(app, strip);
  const drawer = makeDrawer(app, sheets);
  const zoom = makeZoom(root, [patchCard, ...cards.values()].map(view => view.frame), step);
  const sheetKeys = sheets.flatMap(({ name, key, tip, keys = [] }) => [
    [[key], `sheet ${name}`, tip], ...keys.map(([all, , line], i) => [all, `sheet ${name} ${i}`, line])]);
  for (const { name, keys = [] } of sheets) {
    actions[`sheet ${name}`] = () => drawer.toggle(name);
    // A sheet's further keys work while it is open.
    keys.forEach(([, act], i) => { actions[`sheet ${name} ${i}`] = () => { if (state.sheet === name) act(); }; });
  }

  const emptyCard = el('article', 'gs-card gs-empty');
  emptyCard.append(el('p', '', say('panel.no_model')));
  root.addEventListener('click', event => {
    const button = event.target.closest('button');
    if (!button) return;
    if (button.dataset.do) actions[button.dataset.do]();
    if (button.dataset.display) show(button.dataset.display);
    if (button.dataset.toggle) flip(button.dataset.toggle);
  });
  $('.gs-position').addEventListener('change', event => {
    const place = Math.round(Number(event.target.value)) - 1, order = state.order;
    event.target.blur();
    if (place >= 0 && place < (order ? order.length : count)) jump(order ? order[place] : place); else paint();
  });
  $('.gs-jump').addEventListener('change', event => { event.target.blur(); jumpTo(event.target.value); });
  $('.gs-jump').addEventListener('keydown', event => {
    if (event.key === 'Escape') { event.target.value = app.name; event.target.blur(); }
    if (event.key === 'Enter') event.target.blur(); // which is a change, if there was one
  });
  $('.gs-limits').textContent = say('help.limits', { files: facts.limits.files, megabytes: facts.limits.bytes / 2 ** 20, total: Math.floor(facts.limits.total / 2 ** 20) });
  // What the server must be asked for is painted when it is there; the slider itself has moved.
  bindSliders(root, state, needsServer => {
    if (!needsServer) return paint();
    ask();
    return showState(root, facts, state, scene);
  });
  bindModels(root, facts, state, app.ask);
  if (!document.fullscreenEnabled) { // as on an iPhone
    $('[data-do=full]').hidden = true;
    delete actions.full;
  }
  const keys = [...KEYS, ...sheetKeys].filter(([, action]) => actions[action]);
  listKeys($('.gs-help dl'), keys);
  bindKeys(root, actions, [...keys, [['Escape'], 'dismiss', '']]);
  bindFiles(root, take);
  const readPixel = bindPointer(root, () => scene, [patchCard, ...cards.values()]);
  window.addEventListener('pagehide', keepLink);
  // A link that is pasted into the open page; what we write ourselves tells nobody.
  window.addEventListener('hashchange', () => {
    const { uploads } = state;
    Object.assign(state, readLink(location.hash, usual, facts), { uploads, order: null });
    app.ask();
  });
  window.geoseg = {
    state, facts, channels, looks, sheets, strip, zoom, keys, paint, markColour, get asked() { return asked; }, get scene() { return scene; },
    get settled() { return Number(root.dataset.ticket) === asked; },
  };
  app.ask();
}
