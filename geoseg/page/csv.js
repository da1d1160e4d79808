// Tables to take away, made in the browser: RFC 4180, and harmless in a spreadsheet.

const CSV_DIGITS = 6;

/** One cell. A text that a spreadsheet would take for a formula gets an apostrophe before it. */
function csvCell(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '';
  if (typeof value === 'number') return String(Number(value.toFixed(CSV_DIGITS)));
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csvOf(rows) {
  return rows.map(row => `${row.map(csvCell).join(',')}\r\n`).join('');
}

/** Hand a table to the browser as a file; a mark tells spreadsheets that it is UTF-8. */
function saveCsv(name, rows) {
  download(name, new Blob(['\ufeff', csvOf(rows)], { type: 'text/csv' }));
}
