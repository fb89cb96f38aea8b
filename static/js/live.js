// The client of the live tables: one socket a tab to /ws/live, many views. Messages:
//   → {"op":"sub","view","rev"}  → {"op":"unsub","view"}
//   ← {"op":"patch","view","from","rev","up","rm","order","counts"}  ← {"op":"stale","view","rev"}  ← {"op":"hb"}
//   ← {"op":"build","hash"}
// A revision that does not follow ours means a missed patch: the rows are fetched again and morphed in.

const DEAD_AFTER = 45_000; // ms of silence; the server beats every 20 s
const HIDDEN_AFTER = 3_000; // ms a hidden tab keeps its socket
const LONGEST_WAIT = 30_000; // ms between two attempts
const REFETCH_SPREAD = 1_500; // ms, so that a thousand viewers do not ask at once
const WORDS = { live: "Live", reconnecting: "Reconnecting…", paused: "Paused", out: "Signed out" };

/** @type {Map<string, InstanceType<typeof BnLiveView>>} */
const views = new Map();
/** @type {WebSocket | null} */
let socket = null;
let attempts = 0;
let heard = 0;
let signedOut = false;
let refetches = 0;
/** @type {number | undefined} */ let reconnectTimer;
/** @type {number | undefined} */ let hideTimer;

/** @param {keyof typeof WORDS} state */
function say(state) {
  for (const el of document.querySelectorAll("[data-live-state]")) {
    if (!(el instanceof HTMLElement) || el.dataset.state === state) continue;
    el.dataset.state = state;
    el.textContent = WORDS[state];
  }
}

/** @param {object} message */
function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

/** @param {InstanceType<typeof BnLiveView>} view */
function subscribe(view) {
  send({ op: "sub", view: view.key, rev: view.rev });
}

function stop() {
  signedOut = true;
  clearTimeout(reconnectTimer);
  socket?.close(1000);
  say("out");
}

function connect() {
  clearTimeout(reconnectTimer);
  if (signedOut || document.hidden || !views.size || (socket && socket.readyState <= WebSocket.OPEN)) return;
  const own = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/live`);
  socket = own;
  heard = Date.now();
  own.onopen = () => {
    heard = Date.now();
    say("live");
    views.forEach(subscribe);
  };
  own.onmessage = (event) => {
    heard = Date.now();
    attempts = 0;
    hear(JSON.parse(event.data));
  };
  own.onclose = (event) => {
    if (socket !== own) return;
    socket = null;
    if (event.code === 1008 && /signed out/i.test(event.reason)) return stop();
    if (signedOut) return;
    if (document.hidden) return say("paused");
    if (!views.size) return;
    say("reconnecting");
    // A refused handshake has no status here: ask over HTTP, which says when the session has ended.
    if (attempts === 2) refetch([...views.values()][0]);
    reconnectTimer = setTimeout(connect, Math.random() * Math.min(LONGEST_WAIT, 500 * 2 ** attempts++));
  };
}

/** @param {{op: string, view: string, from: number, rev: number, hash?: string}} message */
function hear(message) {
  if (message.op === "build") return offerReload(message.hash ?? "");
  const view = views.get(message.view);
  if (!view || view.fetching) return;
  if (message.op === "stale") return refetch(view);
  if (message.op !== "patch") return;
  if (message.from === view.rev) view.receive(message);
  else if (message.rev > view.rev) refetch(view); // older ones are replays that we already have
}

/** @param {string} hash */
function offerReload(hash) {
  const mine = document.querySelector('meta[name="bn-build"]')?.getAttribute("content");
  const note = document.querySelector("[data-build-note]");
  if (mine && hash && hash !== mine && note instanceof HTMLElement) note.hidden = false;
}

/** Fetches the rows again and morphs them in, then subscribes anew. @param {InstanceType<typeof BnLiveView>} view */
async function refetch(view) {
  if (view.fetching) return;
  view.fetching = true;
  refetches += 1;
  await new Promise((done) => setTimeout(done, Math.random() * REFETCH_SPREAD));
  let again = false;
  try {
    const headers = { "HX-Request": "true", Accept: "text/html" };
    const answer = await fetch(view.src, { headers, redirect: "manual", cache: "no-store" });
    if (answer.status === 401 || answer.type === "opaqueredirect") return stop();
    if (answer.status === 403 || answer.status === 404) return forget(view);
    again = !answer.ok;
    if (answer.ok && views.get(view.key) === view) {
      const rev = answer.headers.get("X-Rev");
      view.replace(await answer.text(), rev === null ? NaN : Number(rev));
    }
  } catch {
    again = true; // the network is away; the socket's own reconnect tells the person
  } finally {
    view.fetching = false;
  }
  if (again) setTimeout(() => views.get(view.key) === view && refetch(view), 5_000 + Math.random() * 10_000);
  else subscribe(view);
}

/** @param {InstanceType<typeof BnLiveView>} view */
function forget(view) {
  views.delete(view.key);
  send({ op: "unsub", view: view.key });
}

/** Finds regions that came with a swap, and lets go of those that left. */
function scan() {
  const present = new Set(document.querySelectorAll("[data-live]"));
  for (const view of [...views.values()]) {
    if (!present.has(view.el) || view.el.dataset.live !== view.key) forget(view);
  }
  for (const el of present) {
    if (!(el instanceof HTMLElement) || !el.dataset.live || views.has(el.dataset.live)) continue;
    const view = new BnLiveView(el);
    views.set(view.key, view);
    subscribe(view);
  }
  if (views.size) connect();
  else if (socket) socket.close(1000);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hideTimer);
  if (!document.hidden) return connect();
  hideTimer = setTimeout(() => socket?.close(1000, "hidden"), HIDDEN_AFTER);
});
document.addEventListener("click", (event) => {
  const note = event.target instanceof Element && event.target.closest("[data-live-note]");
  if (!note) return;
  for (const view of views.values()) if (view.el.id === note.getAttribute("data-live-note")) view.apply();
});
for (const name of ["htmx:afterSwap", "htmx:load"]) document.addEventListener(name, scan);
addEventListener("online", connect);
addEventListener("pageshow", connect);
addEventListener("pagehide", () => socket?.close(1000, "left"));
setInterval(() => {
  if (socket?.readyState === WebSocket.OPEN && Date.now() - heard > DEAD_AFTER) {
    // close() alone would wait for an answer that a dead peer never sends.
    const dead = socket;
    dead.onclose?.(new CloseEvent("close", { code: 4000 }));
    dead.close(4000);
  }
}, 5_000);

globalThis.bnLive = {
  views,
  get socket() {
    return socket;
  },
  get refetches() {
    return refetches;
  },
  scan,
};
scan();
