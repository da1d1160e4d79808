// The page's side of the channels of blocks.py: a message out, one or more answers back.

/**
 * `call(name, message, heard)` sends on a channel, and calls `heard(answer, isLast)` for each answer:
 * `isLast` tells whether nothing was asked on this channel since. `stop(name)` ends a running job.
 */
function makeChannels() {
  const RETRY_MS = 30;
  const open = new Map();
  let tickets = 0;

  const send = (name, message) => {
    const ask = (window.geosegAsk || {})[name];
    if (ask) return ask(message);
    // The page is still being put together; by then something newer may have been asked.
    return setTimeout(() => { if (!open.has(name) || open.get(name).last === message.ticket) send(name, message); }, RETRY_MS);
  };

  window.geosegHear = (name, answer) => {
    const channel = open.get(name);
    if (!channel) return;
    const heard = channel.heard.get(answer.ticket);
    // Answers come in order; what was asked before and has none was overtaken.
    for (const ticket of channel.heard.keys()) if (ticket < answer.ticket) channel.heard.delete(ticket);
    if (heard) heard(answer, answer.ticket === channel.last);
  };

  return {
    call(name, message, heard) {
      tickets += 1;
      if (!open.has(name)) open.set(name, { heard: new Map(), last: 0 });
      const channel = open.get(name);
      channel.heard.set(tickets, heard);
      channel.last = tickets;
      send(name, { ...message, ticket: tickets });
      return tickets;
    },
    /** Hear what the server says without being asked, such as of uploads. */
    listen(name, heard) { open.set(name, { heard: new Map([[undefined, heard]]), last: undefined }); },
    stop(name) {
      const channel = open.get(name);
      if (!channel || !channel.last) return;
      send(`stop-${name}`, { ticket: channel.last }); // and all before it
      channel.last = 0;
      channel.heard.clear();
    },
  };
}
