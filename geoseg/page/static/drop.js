// Files that are dropped anywhere on the page go through the button that opens files.

/** @param {HTMLElement} root which shows by a class that files may be dropped */
export function bindDrop(root) {
  let depth = 0; // dragenter and dragleave fire for every child
  /** @param {string} name @param {(event: DragEvent) => void} handle */
  const on = (name, handle) => document.addEventListener(name, event => {
    const drag = /** @type {DragEvent} */ (event);
    if (!root.isConnected || !drag.dataTransfer?.types.includes('Files')) return;
    drag.preventDefault();
    handle(drag);
    root.classList.toggle('gs-dropping', depth > 0);
  });
  on('dragenter', () => { depth += 1; });
  on('dragleave', () => { depth = Math.max(0, depth - 1); });
  on('dragover', () => {});
  on('drop', event => {
    depth = 0;
    const input = /** @type {HTMLInputElement | null} */ (document.querySelector('#header input[type=file]'));
    if (!input || !event.dataTransfer) return;
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
  });
}
