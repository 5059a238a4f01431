// What `load_peers` reads from each tool: a line `counts CONNECTED RECEIVED` on stdout, at most every
// 50 ms and only when something changed, so that telling costs next to nothing.
export function tellCounts(connected, received) {
  let told = '';
  setInterval(() => {
    const line = `counts ${connected()} ${received()}`;
    if (line !== told) console.log((told = line));
  }, 50);
}
