// The sheets of the drawer, in the order of their buttons.

function makeSheets(app, strip) {
  const ranks = makeRanks(app, strip);
  return [
    makeSetSheet(app, strip, ranks), makeDoubtsSheet(app, strip, ranks), makeProbe(app), makeSynthetic(app), makeSaveSheet(app),
  ];
}
