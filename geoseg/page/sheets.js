// The sheets of the drawer, in the order of their buttons.

function makeSheets(app, strip) {
  return [makeProbe(app), makeSynthetic(app), makeSaveSheet(app)];
}
