// The sheet "Set": score every patch, then a table, a chart by well, and a file to take away.

/** The colour of a model in charts: page.css has one for light and one for dark. */
function colourOfModel(facts, name) {
  return lineOf(facts.models.findIndex(m => m.name === name)).stroke;
}

/** An action of a sheet. */
function sheetButton(text, act, className = '') {
  const button = el('button', className, text);
  button.type = 'button';
  button.addEventListener('click', act);
  return button;
}

/** The button that scores, the progress with its end, and what is stale or failed. */
function makeRunner(app, strip, ranks) {
  const { state } = app;
  const node = el('div', 'gs-run');
  const start = sheetButton('', () => ranks.score([...state.models]), 'gs-main');
  const bar = el('progress');
  bar.setAttribute('aria-label', say('set.progress'));
  const text = el('p');
  text.setAttribute('role', 'status');
  const cancel = sheetButton(say('set.cancel'), () => ranks.cancel());
  node.append(start, bar, text, cancel);

  function sayWhat() {
    const { job, known, fault, fresh } = ranks;
    if (ranks.endless) return say('set.endless');
    if (job && job.waiting) return say('set.waiting');
    if (job) {
      const part = { done: job.done.toLocaleString('en'), total: job.total.toLocaleString('en'), model: job.model };
      return say(job.model ? 'set.scoring' : 'set.comparing', part);
    }
    const left = known ? [...known.models.values()].filter(m => m.reason).map(
      m => say('set.left_out', { model: m.name, patches: many(m.left_out, 'patch'), reason: m.reason })) : [];
    const stale = !known ? say('set.how') : fresh ? '' : say('set.stale');
    return [fault, stale, ...left].filter(Boolean).join(' ');
  }

  function paint() {
    const { job, fresh } = ranks, n = state.models.length;
    start.hidden = Boolean(job) || fresh || ranks.endless;
    start.disabled = !n;
    start.textContent = n ? say('set.score', { patches: many(strip.list.count, 'patch'), models: many(n, 'model') }) : say('set.no_models');
    bar.hidden = cancel.hidden = !job;
    if (job && job.total) { bar.max = job.total; bar.value = job.done; } else bar.removeAttribute('value');
    text.setAttribute('aria-live', job && !job.waiting ? 'off' : 'polite'); // the bar has the numbers
    tell(text, sayWhat());
    text.hidden = !text.textContent;
    node.hidden = start.hidden && text.hidden && !job;
  }

  return { node, paint };
}

function makeSetSheet(app, strip, ranks) {
  const { state, facts } = app;
  const node = el('div', 'gs-ranks');
  const runner = makeRunner(app, strip, ranks);
  const results = el('div');
  node.append(runner.node, results);
  let average = 'macro', metric = 'iou', shown = '';

  const inWell = i => state.well === 'all' || String(strip.list.wells[i]) === state.well;
  const nameOfWell = well => (well === null ? say('strip.no_well') : say('strip.some_well', { well }));
  const keys = () => (strip.list.labelled ? SCORES : ['share']);
  const format = value => (Number.isNaN(value) ? '\u2013' : value.toFixed(3));
  const again = () => { shown = ''; paint(); };
  const nameOf = part => part.getAttribute('aria-label') || part.textContent;

  function averageChoice() {
    const group = el('div', 'gs-group');
    group.setAttribute('role', 'group');
    group.setAttribute('aria-label', say('set.average'));
    for (const kind of ['macro', 'micro']) {
      const button = sheetButton(say(`set.${kind}`), () => { average = kind; again(); });
      button.title = say(`set.${kind}_tip`);
      button.setAttribute('aria-pressed', String(average === kind));
      group.append(button);
    }
    return group;
  }

  function modelCell(name) {
    const cell = el('th', '', ''), dot = el('i', 'gs-dot');
    cell.scope = 'row';
    dot.style.background = colourOfModel(facts, name);
    cell.append(dot, el('span', '', name));
    return cell;
  }

  /** Models down, scores across; the best of each is bold. */
  function table(ranked, indices) {
    const head = el('tr'), body = el('tbody');
    const top = text => Object.assign(el('th', '', text), { scope: 'col' });
    head.append(top(say('set.model')), ...keys().map(key => top(say(`set.scores.${key}`))));
    const columns = keys().map(key => ranked.map(rank => averageOf(rank, key, indices, average)));
    const best = columns.map(column => Math.max(...column.filter(v => !Number.isNaN(v))));
    ranked.forEach((rank, row) => {
      const line = el('tr');
      line.append(modelCell(rank.name), ...columns.map((column, k) => {
        const leads = keys()[k] !== 'share' && ranked.length > 1 && column[row] === best[k];
        return el('td', leads ? 'gs-best' : '', format(column[row]));
      }));
      body.append(line);
    });
    const where = state.well === 'all' ? say('set.every_well')
      : nameOfWell(state.well === 'null' ? null : Number(state.well));
    const whole = el('table', 'gs-table');
    whole.append(el('caption', '', captionOf(where, indices)), el('thead'), body);
    whole.querySelector('thead').append(head);
    return whole;
  }

  /** Scores are means over the patches that have labels. */
  function captionOf(where, indices) {
    const patches = many(indices.length, 'patch');
    const labelled = indices.filter(i => ranks.known.labelled[i]).length;
    if (!labelled || labelled === indices.length) return say('set.caption', { where, patches });
    return say('set.caption_labelled', { where, labelled, patches });
  }

  function metricChoice() {
    const choice = el('select');
    choice.setAttribute('aria-label', say('set.metric'));
    choice.append(...keys().map(key => Object.assign(el('option', '', say(`set.scores.${key}`)), { value: key })));
    if (!keys().includes(metric)) metric = keys().at(-1);
    choice.value = metric;
    choice.addEventListener('change', () => { metric = choice.value; choice.blur(); again(); });
    return choice;
  }

  function filterBy(well) {
    state.well = state.well === String(well) ? 'all' : String(well);
    strip.reorder();
  }

  function wells(ranked) {
    const byWell = new Map();
    strip.list.wells.forEach((well, i) => {
      if (!byWell.has(well)) byWell.set(well, []);
      byWell.get(well).push(i);
    });
    const groups = [...byWell].sort(([a], [b]) => (a ?? Infinity) - (b ?? Infinity)).map(([well, indices]) => {
      const values = ranked.map(rank => averageOf(rank, metric, indices, average));
      const note = many(indices.length, 'patch');
      const numbers = ranked.map((rank, m) => say('set.model_value', { model: rank.name, value: format(values[m]) }));
      return {
        name: nameOfWell(well), note, values, pressed: state.well === String(well), pick: () => filterBy(well),
        title: say('set.well_title', { well: nameOfWell(well), patches: note, score: say(`set.scores.${metric}`), numbers: numbers.join(', ') }),
      };
    });
    return barChart(groups, ranked.map(rank => colourOfModel(facts, rank.name)));
  }

  /** The patches by the focused model's score. */
  function spread(rank, indices) {
    const score = say(`set.scores.${metric}`);
    return histogram(rank.values[metric], indices, colourOfModel(facts, rank.name),
      (n, low, high) => say('set.bin', { patches: many(n, 'patch'), score, low: low.toFixed(2), high: high.toFixed(2) }),
      bin => app.jump(bin[(bin.indexOf(state.index) + 1) % bin.length]));
  }

  /** Both charts, with the choice of their score beside the first title. */
  function charts(ranked, indices) {
    const focus = ranks.known.models.get(state.focus) || ranked[0];
    const choice = metricChoice();
    const title = el('h3', '', say('set.spread', { score: say(`set.scores.${metric}`), model: focus.name }));
    const parts = [title, spread(focus, indices)];
    if (new Set(strip.list.wells).size > 1) {
      parts.unshift(el('h3', '', say('set.by_well')), wells(ranked), el('p', '', say('set.pick_well')));
    }
    const row = el('div', 'gs-row');
    row.append(parts[0], ...(keys().length > 1 ? [choice] : []));
    return [row, ...parts.slice(1)];
  }

  function marksLegend(name) {
    return swatch('gs-ramp-marks', say('set.marks', { model: name }), `linear-gradient(90deg, ${MARKS.map(css).join(', ')})`);
  }

  function exportScores() {
    const { known } = ranks, ranked = [...known.models.values()];
    const columns = [...SCORES, 'share'];
    const two = known.together.length > 1;
    saveCsv('geoseg-scores.csv', [
      ['name', 'well', 'position', ...ranked.flatMap(rank => columns.map(key => `${rank.name} ${key === 'share' ? 'marked share' : key}`)), 'disagreement', 'notes'],
      ...strip.list.names.map((name, i) => [
        name, strip.list.wells[i], i + 1, ...ranked.flatMap(rank => columns.map(key => rank.values[key][i])),
        two ? known.disagreement[i] : null, strip.list.notes[i]]),
    ]);
  }

  function paint() {
    runner.paint();
    const { known } = ranks;
    const now = [ranks.version, state.well, state.focus, strip.list.count].join();
    if (now === shown) return;
    shown = now;
    const held = results.contains(document.activeElement) ? nameOf(document.activeElement) : null;
    results.replaceChildren();
    if (!known || known.labelled.length !== strip.list.count) return;
    const ranked = facts.models.map(m => known.models.get(m.name)).filter(Boolean);
    const indices = strip.list.names.map((_, i) => i).filter(inWell);
    results.append(averageChoice(), table(ranked, indices), ...charts(ranked, indices));
    if (strip.list.labelled && known.models.has(state.focus)) results.append(marksLegend(state.focus));
    results.append(sheetButton(say('set.export'), exportScores));
    const same = held && [...results.querySelectorAll('button, select, [tabindex]')].find(part => nameOf(part) === held);
    if (same) same.focus();
  }

  ranks.heard(() => { if (state.sheet === 'set') paint(); });
  return { name: 'set', title: say('set.title'), tip: say('set.tip'), key: 's', node, open: again, seen: paint };
}
