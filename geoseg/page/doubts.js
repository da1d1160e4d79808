// The sheet "Doubts": labels that the models doubt, looked at one by one, each kept or doubted.

const DECISIONS = ['keep', 'doubt'];

/** A set told from others by 32 bits (FNV-1a) of what it holds: folders have no name of their own. */
function markOf({ label, count, names }, toy) {
  let hash = 0x811c9dc5;
  for (const unit of JSON.stringify([label, count, names, toy])) {
    hash = Math.imul(hash ^ unit.codePointAt(0), 0x01000193);
  }
  return (hash >>> 0).toString(16);
}

/**
 * What was decided, by mark of the set and name of the patch, in this browser alone. Without room
 * for it, or in a private window, it lasts as long as the page.
 */
function makeDecisions() {
  let all = {}, mark = null;
  const place = () => `geoseg doubts ${mark}`;
  const read = () => {
    try { all = { ...all, ...JSON.parse(localStorage.getItem(place())) }; } catch { /* none, or not ours */ }
  };
  return {
    of(name) { return DECISIONS.includes(all[name]) ? all[name] : ''; },
    load(ofMark) {
      if (mark === ofMark) return;
      mark = ofMark;
      all = {};
      read();
    },
    set(name, decision) {
      read(); // another tab may have decided meanwhile
      if (decision) all[name] = decision; else delete all[name];
      try { localStorage.setItem(place(), JSON.stringify(all)); } catch { /* it lasts as long as the page */ }
    },
  };
}

/** The names of patches; of equal ones the second and later get a number, as each has its own label. */
function ownNames(names) {
  const seen = new Map();
  return names.map(name => {
    seen.set(name, (seen.get(name) || 0) + 1);
    return seen.get(name) > 1 ? `${name} (${seen.get(name)})` : name;
  });
}

function kindOf(suspect) {
  if (suspect.kind !== 'shifted') return say(`doubts.kinds.${suspect.kind}`);
  return say(suspect.shift > 0 ? 'doubts.kinds.right' : 'doubts.kinds.left', { columns: many(Math.abs(suspect.shift), 'column') });
}

function makeDoubtsSheet(app, strip, ranks) {
  const { state } = app;
  const node = el('div', 'gs-doubts');
  const runner = makeRunner(app, strip, ranks);
  const review = el('div'), tally = el('p', 'gs-tally'), list = el('ol', 'gs-suspects');
  tally.setAttribute('role', 'status');
  const verdicts = el('div', 'gs-row');
  const buttons = DECISIONS.map(decision => {
    const button = sheetButton(say(`doubts.${decision}`), () => decide(decision));
    button.title = say(`doubts.${decision}_tip`);
    button.append(el('kbd', '', decision === 'keep' ? 'K' : 'X'));
    return button;
  });
  verdicts.append(...buttons, sheetButton(say('doubts.export'), exportDoubts, 'gs-last'));
  const bar = el('div', 'gs-stuck');
  bar.append(tally, verdicts);
  review.append(el('p', '', say('doubts.honest')), bar, list);
  const none = el('p');
  node.append(runner.node, none, review);
  const decisions = makeDecisions();
  // `before` is the order of the strip that the list took the place of, `due` whether the list has
  // yet to show its first label. A link shows its own patch.
  let rows = [], names = [], built = -1, before = null, due = false;

  const suspects = () => (ranks.known && ranks.known.together.length > 1 ? ranks.known.suspects : []);
  const here = () => suspects().findIndex(suspect => suspect.patch === state.index);
  const decided = suspect => decisions.of(names[suspect.patch]);

  function choose(k) {
    sortByDoubt();
    app.jump(suspects()[k].patch);
  }

  /** While the list is open the arrow keys walk it. */
  function sortByDoubt() {
    if (state.sort === 'doubt' || !suspects().length) return;
    before = state.sort;
    state.sort = 'doubt';
    strip.reorder();
  }

  /** The place of the next label that nobody has judged, after `from`, round and round; -1 for none. */
  function undecided(from) {
    const n = suspects().length;
    const places = [...Array(n).keys()].map(k => (from + 1 + k) % n);
    return places.find(k => !decided(suspects()[k])) ?? -1;
  }

  /** Begin with the first label that nobody has judged, of the wells that are shown. */
  function begin() {
    if (!suspects().length) return;
    sortByDoubt();
    if (!due) return;
    due = false;
    const first = suspects().find(suspect => !decided(suspect) && state.order?.includes(suspect.patch));
    if (first) app.jump(first.patch);
  }

  function decide(decision) {
    const at = here();
    if (!suspects().length) return;
    if (at < 0) return choose(Math.max(undecided(-1), 0));
    const suspect = suspects()[at], undo = decided(suspect) === decision;
    decisions.set(names[suspect.patch], undo ? '' : decision);
    const next = undo ? -1 : undecided(at);
    if (next >= 0) choose(next); else app.paint();
  }

  function makeRow(suspect, k) {
    const item = el('li'), row = sheetButton('', () => choose(k));
    const numbers = say('doubts.numbers', {
      doubt: suspect.doubt.toFixed(2), agreement: suspect.agreement.toFixed(2), iou: suspect.iou.toFixed(2),
    });
    const mark = el('em');
    row.append(el('strong', '', strip.list.names[suspect.patch]), mark, el('span', '', kindOf(suspect)), el('small', '', numbers));
    item.append(row);
    return { item, row, mark };
  }

  function exportDoubts() {
    saveCsv('geoseg-doubts.csv', [
      ['name', 'well', 'kind', 'shift', 'doubt', 'agreement', 'iou', 'decision'],
      ...suspects().map(s => [
        strip.list.names[s.patch], strip.list.wells[s.patch], s.kind, s.shift, s.doubt, s.agreement, s.iou, decided(s)]),
    ]);
  }

  function build() {
    built = ranks.version;
    names = ownNames(strip.list.names);
    decisions.load(markOf(strip.list, state.toy)); // letters are other labels of the same patches
    rows = suspects().map(makeRow);
    list.replaceChildren(...rows.map(row => row.item));
  }

  function paint() {
    runner.paint();
    if (built !== ranks.version) build();
    review.hidden = !rows.length;
    const labelled = strip.list.labelled > 0;
    const compared = ranks.known && ranks.known.together.length > 1;
    runner.node.hidden ||= !labelled;
    none.hidden = labelled && (!compared || rows.length > 0) && state.models.length > 1;
    none.textContent = !labelled ? say('doubts.no_labels') : compared ? say('doubts.none') : say('set.needs_two');
    const at = here(), now = at < 0 ? '' : decided(suspects()[at]);
    buttons.forEach((button, k) => { button.setAttribute('aria-pressed', String(now === DECISIONS[k])); });
    const counted = suspects().map(decided);
    tell(tally, say('doubts.tally', {
      decided: counted.filter(Boolean).length, labels: many(rows.length, 'label'),
      kept: counted.filter(d => d === 'keep').length, doubted: counted.filter(d => d === 'doubt').length,
    }));
    rows.forEach(({ row, mark }, k) => {
      mark.textContent = counted[k] ? say(`doubts.${counted[k]}_mark`) : '';
      mark.dataset.decision = counted[k];
      if (at === k && row.getAttribute('aria-current') !== 'true') row.scrollIntoView({ block: 'nearest' });
      row.setAttribute('aria-current', String(at === k));
    });
  }

  ranks.heard(() => {
    if (state.sheet !== 'doubts') return;
    paint();
    begin();
  });
  return {
    name: 'doubts', title: say('doubts.title'), tip: say('doubts.tip'), key: 'l', node, seen: paint,
    open: () => { due = !state.name; paint(); begin(); },
    close: () => {
      if (before && state.sort === 'doubt') { state.sort = before; strip.reorder(); }
      before = null;
    },
    keys: [[['k'], () => decide('keep'), ''], [['x'], () => decide('doubt'), say('doubts.keys')]],
  };
}
