// The keys, which the tab Help lists.

/** @type {[string[], string][]} The keys of each action. */
export const KEYS = [
  [['ArrowLeft'], 'previous'], [['ArrowRight'], 'next'],
  [['PageUp'], 'modelUp'], [['PageDown'], 'modelDown'],
  [['e'], 'errors'], [['p'], 'probability'], [['u'], 'uncertainty'], [['d'], 'disagreement'],
  [['t'], 'truth'], [['a'], 'grey'], [['c'], 'palette'],
  [['+', '='], 'zoomIn'], [['-'], 'zoomOut'], [['0'], 'zoomOff'],
  [['Shift+ArrowLeft'], 'panLeft'], [['Shift+ArrowRight'], 'panRight'],
  [['Shift+ArrowUp'], 'panUp'], [['Shift+ArrowDown'], 'panDown'],
  [['f'], 'full'], [['/'], 'jump'], [['r'], 'reset'],
  [['s'], 'set'], [['l'], 'labels'], [['k'], 'keep'], [['x'], 'doubt'],
  [['i'], 'probe'], [['y'], 'synthetic'], [['w'], 'save'], [['?'], 'help'], [['Escape'], 'escape'],
];

/**
 * Whether a key belongs to the part that has the focus: text, a choice, a slider reached by Tab.
 * @param {KeyboardEvent} event
 */
function isTaken(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return true;
  const target = event.target;
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.closest('textarea, select, [role=listbox]:not(.gs-film)')) return event.key !== 'Escape';
  if (!(target instanceof HTMLInputElement) && target.closest('[role=tablist], [role=grid], [role=gridcell]')) {
    return /^(Arrow|Page|Home|End)/.test(event.key);
  }
  if (!(target instanceof HTMLInputElement) || target.type === 'checkbox') return false;
  if (target.type === 'radio') return event.key.startsWith('Arrow');
  return target.type !== 'range' || /^(Arrow|Page|Home|End)/.test(event.key);
}

/**
 * Bind the keys while `root` is on the page. A slider gives the focus back after a drag, since it
 * would keep the arrow keys; so does what was clicked among radio buttons.
 * @param {HTMLElement} root @param {Record<string, () => void>} actions
 */
export function bindKeys(root, actions) {
  const byKey = new Map(KEYS.flatMap(([keys, action]) => keys.map(key => /** @type {const} */ ([key, action]))));
  const page = new AbortController();
  /** @param {string} name @param {(event: any) => void} handle */
  const on = (name, handle) => document.addEventListener(name, event => {
    if (root.isConnected) handle(event); else page.abort();
  }, { capture: true, signal: page.signal });
  on('keydown', event => {
    const shifted = event.shiftKey && event.key.startsWith('Arrow') ? 'Shift+' : '';
    const action = byKey.get(event.key.length === 1 ? event.key.toLowerCase() : shifted + event.key);
    if (!action || !actions[action] || isTaken(event)) return;
    if (event.key !== 'Escape') event.preventDefault(); // page up and down would scroll
    actions[action]();
  });
  on('pointerup', () => {
    const held = document.activeElement;
    if (held instanceof HTMLInputElement && ['range', 'radio'].includes(held.type)) held.blur();
  });
}
