// The drawer at the right: one sheet at a time, opened by its button or key, closed by either.

/**
 * `sheets` are `{ name, title, tip, key, node, open, close, seen, keys }`: `open()` is called when a
 * sheet comes into sight, `close()` when it goes, `seen(scene)` for every scene that is painted in
 * between; `keys`, such as `[[['k'], act, 'line of the help']]`, work meanwhile.
 */
function makeDrawer(app, sheets) {
  const { root, state } = app;
  const drawer = root.querySelector('.gs-drawer'), tabs = root.querySelector('.gs-tabs');
  const behind = ['.gs-bar', '.gs-stage'].map(part => root.querySelector(part));
  const closer = drawer.querySelector('[data-do=close]');
  const buttons = new Map();
  let current = null;

  for (const sheet of sheets) {
    const button = el('button', '', sheet.title);
    button.type = 'button';
    button.title = `${sheet.tip} (${sheet.key.toUpperCase()})`;
    button.dataset.sheet = sheet.name;
    button.addEventListener('click', () => toggle(sheet.name));
    tabs.append(button);
    buttons.set(sheet.name, button);
  }

  function toggle(name) {
    state.sheet = state.sheet === name ? null : name;
    app.paint();
  }

  /** On a phone a sheet lies over the whole page: Tab must not go behind it. */
  function cover() {
    const box = drawer.getBoundingClientRect();
    const covers = Boolean(current) && box.top <= 0 && box.left <= 0;
    if (covers) for (const part of behind) handOver(part, closer);
    for (const part of behind) part.inert = covers;
  }
  window.addEventListener('resize', cover);

  function paint() {
    const sheet = sheets.find(s => s.name === state.sheet) || null;
    for (const [name, button] of buttons) mark(button, 'aria-pressed', String(Boolean(sheet) && name === sheet.name));
    if (sheet !== current) {
      const last = current, held = drawer.contains(document.activeElement);
      current = sheet;
      drawer.hidden = !sheet;
      root.classList.toggle('gs-drawn', Boolean(sheet));
      if (sheet) {
        drawer.querySelector('h2').textContent = sheet.title;
        drawer.setAttribute('aria-label', sheet.title);
        drawer.querySelector('.gs-sheet').replaceChildren(sheet.node);
        if (sheet.open) sheet.open();
      }
      cover();
      if (held && !sheet) buttons.get(last.name).focus({ preventScroll: true });
      else if (held && !drawer.contains(document.activeElement)) closer.focus(); // what had it is gone
      if (last && last.close) last.close();
    }
    if (sheet && sheet.seen && app.scene) sheet.seen(app.scene);
  }

  return { paint, toggle, close() { if (state.sheet) toggle(state.sheet); } };
}
