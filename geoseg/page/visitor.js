// Who looks at a Space on ZeroGPU: a GPU that is lent counts as theirs only where the server is told.

const VISITOR_MS = 2000; // a frame that does not answer lends nothing

/**
 * The headers with which huggingface.co vouches for its visitor, as Gradio's own events ask for them;
 * none anywhere else. Gradio's script has found out whether the frame around the page knows the question.
 */
function visitorHeaders() {
  if (window.parent === window || !window.supports_zerogpu_headers) return {};
  return new Promise(resolve => {
    const { port1, port2 } = new MessageChannel();
    const answer = headers => { port1.close(); resolve(headers || {}); };
    port1.onmessage = event => answer(event.data);
    setTimeout(answer, VISITOR_MS);
    window.parent.postMessage('zerogpu-headers', 'https://huggingface.co', [port2]);
  });
}
